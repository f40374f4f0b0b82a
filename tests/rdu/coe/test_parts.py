import pytest

from rdu.coe import Composition, Expert, Router
from rdu.errors import SpecError


def test_sizes_add_up():
    composition = Composition([Expert("a", 10, 2), Expert("b", 5)], Router(weight_bytes=7))
    assert composition.bytes == 24
    assert len(composition) == 2


def test_a_router_may_be_left_out_of_hbm():
    assert Router(weight_bytes=7, cache_bytes=1).hbm_bytes == 8
    assert Router(weight_bytes=7, counted=False).hbm_bytes == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Composition([]),
        lambda: Composition.uniform(0),
        lambda: Composition([Expert("a"), Expert("a")]),
        lambda: Expert("a", 0),
        lambda: Expert("a", float("nan")),
        lambda: Expert("a", 1, -1),
        lambda: Expert("a", probability=1.5),
        lambda: Expert("a", run_seconds=-1),
        lambda: Router(output_tokens=0),
    ],
)
def test_impossible_parts_are_refused(make):
    with pytest.raises(SpecError):
        make()
