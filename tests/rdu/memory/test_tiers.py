import pytest

from rdu.errors import CapacityError, SpecError
from rdu.memory.tiers import Link, Tier


def test_times():
    tier = Tier("hbm", 100, 10.0, 0.5)
    assert tier.seconds(20) == pytest.approx(2.5)
    assert tier.seconds(0) == 0
    link = Link("pcie", 5.0, 2, 1.0)
    assert link.bytes_per_second == 10
    assert link.seconds(20) == pytest.approx(3.0)
    assert link.seconds(0) == 0


def test_what_does_not_fit_is_named():
    tier = Tier("hbm", 100, 10.0)
    tier.require(100, "all")
    with pytest.raises(CapacityError, match=r"the cache needs 103 bytes of hbm.*3 bytes too many"):
        tier.require(103, "the cache")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tier("t", 0, 1),
        lambda: Tier("t", 1, -1),
        lambda: Tier("t", 1, float("inf")),
        lambda: Tier("t", 1, 1, -1),
        lambda: Link("l", 0),
        lambda: Link("l", 1, 0),
        lambda: Link("l", 1, 1, float("nan")),
    ],
)
def test_senseless_values_are_refused(make):
    with pytest.raises(SpecError):
        make()
