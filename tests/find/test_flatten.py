"""Loops joined into one: only where ranges follow each other, and with the same sums."""

import numpy as np
import pytest
from levels import check, compiling, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.find import flatten
from sparsedsl.iteration.nodes import Scan

LOOSE = sd.Layout(
    "loose",
    "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i+1) "
    "and j = indices(p) and 0 <= j < M }",
    value="data(p)",
    properties=["increasing indices within indptr(i) <= p < indptr(i+1)"],
)
"""Rows that may lie anywhere among the entries, overlap, or end before they begin."""


def total(A):
    i, j = sd.indices("i j")
    s = sd.output()
    s[()] = A[i, j]
    return s


def rows(A):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i] = A[i, j, k]
    return y


def weighted(A):
    i, j = sd.indices("i j")
    s = sd.output()
    s[()] = A[i, j] * (i + 1)
    return s


def loops(special):
    (chain,) = special.ready[-1].unit.nest.chains
    return [s.variable for s in chain.steps if isinstance(s, Scan)]


def run(body, layout, shape, level):
    rng = np.random.default_rng(5)
    special = None
    for density in (0.0, 0.3, 0.9):
        dense = rng.integers(1, 5, shape) * (rng.random(shape) < density)
        tensors = {"A": store(dense.astype(float), dense != 0, layout)}
        special = special or sd.kernel(body).engine.specialise(list(tensors.values()))
        with level(), remembering_proofs():
            check(special, tensors, {"A": dense.astype(float)})
    return special


@pytest.mark.parametrize(
    ("body", "layout", "shape", "left"),
    [
        (total, "csr", (4, 6), ["A_p"]),
        (total, "dcsc", (4, 6), ["A_p"]),
        (rows, "csf", (3, 4, 5), ["A_p0", "A_p2"]),
        (weighted, "csr", (4, 6), ["i", "A_p"]),
        (weighted, "coo", (4, 6), ["A_p"]),
    ],
)
def test_loops_that_only_name_ranges_are_joined(body, layout, shape, left):
    special = run(body, layout, shape, interpreting)
    assert loops(special) == left
    run(body, layout, shape, compiling)


def loose():
    arrays = {"indptr": [0, 3, 1, 3], "indices": [0, 2, 3], "data": [1.0, 2.0, 4.0]}
    A = sd.from_arrays(LOOSE, (3, 5), {n: np.array(a) for n, a in arrays.items()})
    return {"A": A}, {"A": np.array([[1.0, 0, 2, 4, 0], [0] * 5, [0, 0, 2, 4, 0]])}


def test_ranges_that_do_not_follow_each_other_are_not_joined():
    tensors, truth = loose()
    special = sd.kernel(total).engine.specialise(list(tensors.values()))
    with interpreting():
        check(special, tensors, truth)
    assert len(loops(special)) == 2


SPANS = sd.Layout(
    "spans",
    "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and first(i) <= p < first(i) + count(i) "
    "and j = indices(p) and 0 <= j < M }",
    value="data(p)",
    properties=["nondecreasing first", "range count in [0, M + 1)"],
)
"""Rows that may end before the next one starts, or reach into it."""


def test_ranges_with_ends_of_their_own_are_not_joined():
    arrays = {"first": [0, 1, 3], "count": [2, 2, 0], "indices": [0, 2, 4], "data": [1.0, 2.0, 4.0]}
    A = sd.from_arrays(SPANS, (3, 5), {n: np.array(a) for n, a in arrays.items()})
    tensors = {"A": A}
    special = sd.kernel(total).engine.specialise([A])
    with interpreting():
        check(special, tensors, {"A": np.array([[1.0, 0, 2, 0, 0], [0, 0, 2, 0, 4], [0] * 5])})
    assert len(loops(special)) == 2


def test_joining_without_the_proof_is_caught(monkeypatch):
    monkeypatch.setattr(flatten, "_follow_each_other", lambda *_: True)
    tensors, truth = loose()
    special = sd.kernel(total).engine.specialise(list(tensors.values()))
    with pytest.raises(AssertionError), interpreting():
        check(special, tensors, truth)
