"""Which passes conversions take, and what is proved to leave the others out."""

import numpy as np
import pytest

from sparsedsl.conversion.kept import with_kept_order
from sparsedsl.conversion.order import determines, implies, scanned
from sparsedsl.conversion.plan import choose
from sparsedsl.conversion.stream import of_layout
from sparsedsl.conversion.target_from_layout import target_of
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.spf import terms as t

I, J, K = (  # noqa: E741
    t.var(f"c{mode}") for mode in range(3)
)


def plan(source, target, rankable=False, rank=2, short=False):
    start = source if not isinstance(source, str) else resolve(source, rank)
    to = target if not isinstance(target, str) else resolve(target, rank)
    stream = of_layout(start, "float64", 0.0)
    return choose(stream, target_of(to), rankable=rankable, short=short)


def test_orders_of_scans():
    assert scanned(resolve("csr", 2)) == (I, J)
    assert scanned(resolve("csc", 2)) == (J, I)
    assert scanned(resolve("coo_unsorted", 2)) == ()
    assert scanned(resolve("csf", 3, (2, 0, 1))) == (K, I, J)
    blocks = scanned(layouts["bcsr"](2, 4))
    assert blocks[:2] == (t.floordiv(I, 2), t.floordiv(J, 4))


def test_orders_that_follow():
    assert implies(2, (I, J), (t.floordiv(I, 4),))
    assert implies(2, (I, J), (t.floordiv(I, 8), t.floordiv(I, 4)))
    assert implies(2, (J, I, J), (J, I))
    assert not implies(2, (I, J), (J,))
    assert not implies(2, (I, J), (t.floordiv(I, 4), t.floordiv(J, 4)))
    assert implies(2, (t.floordiv(I, 2), t.mod(I, 2), J), (I, J))
    assert determines(2, (I, t.subtract(J, I)))
    assert not determines(2, (t.subtract(J, I),))


@pytest.mark.parametrize(
    ("source", "target", "strategy", "sorts"),
    [
        ("coo", "csr", "sequence", ()),
        ("csr", "csc", "count", ()),
        ("csc", "csr", "count", ()),
        ("csr", "ell", "count", ()),
        ("csr", "dcsr", "sequence", ()),
        ("csr", "coo", "sequence", ()),
        ("csc", "dcsr", "sequence", (I,)),
        ("coo_unsorted", "csr", "count", (J,)),
        ("coo_unsorted", "coo", "sequence", (J, I)),
        ("csr", "dense", "place", ()),
        ("dia", "csr", "count", (J,)),
        ("dense", "coo_unsorted", "sequence", ()),
    ],
)
def test_passes(source, target, strategy, sorts):
    found = plan(source, target)
    assert (found.strategy, found.sorts) == (strategy, sorts)


def test_blocks_are_ranked_by_a_table_or_sorted():
    blocks = layouts["bcsr"](4, 4)
    strips = plan("csr", blocks, rankable=True)
    assert strips.strategy == "strips"
    assert "a group is 4 rows" in strips.proofs[0]
    assert plan("coo", blocks, rankable=True).strategy == "rank"
    without = plan("csr", blocks)
    assert (without.strategy, without.sorts) == ("count", (t.floordiv(J, 4),))
    assert "sorted by (floor(c1/4))" in without.proofs[0]


def test_short_groups_are_sorted_where_they_lie():
    """So no second list of entries is needed; where order follows, nothing is sorted."""
    for source, target in (("coo_unsorted", "csr"), ("coo_repeated", "coo"), ("dia", "csc")):
        found = plan(source, target, short=True)
        assert (found.strategy, found.sorts, found.arranged) == ("count", (), True)
        assert "then each group is sorted by" in found.proofs[0]
    listed = plan("csr", "dcsc", short=True)
    assert listed.arranged
    assert listed.proofs == ("entries are put down by (c1), no sort",)
    assert not plan("csr", "dcsr", short=True).arranged
    for source, target in (("csr", "csc"), ("coo", "csr"), ("csc", "coo"), ("coo_unsorted", "ell")):
        assert not plan(source, target, short=True).arranged
    assert not plan("coo_unsorted", layouts["bcsr"](2, 2), short=True).arranged
    assert not plan("coo_unsorted", "morton", short=True).arranged
    assert not plan("coo_unsorted", "coo", rank=3, short=True).arranged


def test_an_order_that_arrays_keep_saves_a_sort():
    sorted_ = {"offsets": np.array([-2, 0, 1])}
    found = plan(with_kept_order(resolve("dia", 2), sorted_), "csr")
    assert (found.strategy, found.sorts) == ("count", ())
    loose = {"offsets": np.array([0, -2, 1])}
    assert with_kept_order(resolve("dia", 2), loose) is resolve("dia", 2)
    rows, columns = np.array([0, 0, 2]), np.array([1, 3, 0])
    listed = {"crd0": rows, "crd1": columns}
    for name in ("coo_unsorted", "coo_repeated"):
        source = with_kept_order(resolve(name, 2), listed)
        assert plan(source, "csr").sorts == ()
        assert not source.repeats
    twice = {"crd0": rows, "crd1": np.array([1, 1, 0])}
    assert with_kept_order(resolve("coo_repeated", 2), twice).repeats


def test_trees_sort_only_what_is_out_of_order():
    assert plan("coo", "csf", rank=3).sorts == ()
    assert plan(resolve("coo", 3, (2, 0, 1)), "csf", rank=3).sorts == (J, I)
    assert plan(resolve("csf", 3, (1, 0, 2)), "csf", rank=3).sorts == (I,)
