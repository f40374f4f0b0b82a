"""Finds of the interval that holds a coordinate: each algorithm, and what must be proved."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.errors import InvalidTensorError
from sparsedsl.find import algorithms as al
from sparsedsl.find import site as si
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import ExecutionError, interpret
from sparsedsl.loops.nodes import INT, ArrayParam, For, If, IntParam, Kernel, Var
from sparsedsl.loops.verify import verify

EXTENT = 4
NAMES = ("linear", "merge", "gallop", "binary", "count")


def kernel(algorithm, changes):
    """``found[q]`` becomes the interval in ``[low, high)`` that holds ``q``, or -1."""
    q, position = Var("q", INT), Var("p", INT)
    site = si.Site(
        position=position,
        low=Var("low", INT),
        high=Var("high", INT),
        keys=lambda at: (lb.load("start", at),),
        sought=(q,),
        extent=None,
        verify=False,
        state="p",
        stop=lambda at: lb.load("stop", at),
    )
    emission = algorithm.emit(replace(site, **changes))
    hit = If(
        emission.hit,
        (lb.store("found", (q,), position),),
        (lb.store("found", (q,), lb.i(-1)),),
    )
    loop = For(q, lb.i(0), lb.length("found"), (*emission.query, hit))
    params = (
        *(ArrayParam(name, "int32", 1) for name in ("start", "stop")),
        ArrayParam("found", "int64", 1),
        IntParam("low"),
        IntParam("high"),
    )
    return verify(Kernel("kernel", params, (*emission.setup, loop), ("found",)))


def models():
    """All disjoint intervals of [0, EXTENT), empty ones too, and every range of them."""
    for count in range(4):
        for edges in itertools.combinations_with_replacement(range(EXTENT + 1), 2 * count):
            starts, stops = np.array(edges, np.int32).reshape(-1, 2).T.copy()
            for low in range(count + 1):
                for high in range(low, count + 1):
                    yield starts, stops, low, high


def agrees(algorithm, **changes):
    """Whether an algorithm finds what brute force does in every model."""
    made = kernel(algorithm, changes)
    for starts, stops, low, high in models():
        arrays = {"start": starts, "stop": stops, "found": np.full(EXTENT, -7)}
        try:
            (found,) = interpret(made, {**arrays, "low": low, "high": high})
        except ExecutionError:
            return False
        holding = [
            [p for p in range(low, high) if starts[p] <= q < stops[p]] for q in range(EXTENT)
        ]
        if list(found) != [p[0] if p else -1 for p in holding]:
            return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_the_interval_is_found(name):
    assert agrees(al.algorithm(name))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_ends_are_caught(name):
    for wrong in (
        lambda at: lb.add(lb.load("stop", at), 1),
        lambda at: lb.sub(lb.load("stop", at), 1),
        lambda at: lb.add(lb.load("start", at), 1),
    ):
        assert not agrees(al.algorithm(name), stop=wrong)
    assert not agrees(al.algorithm(name), keys=lambda at: (lb.add(lb.load("start", at), 1),))


@sd.kernel
def elementwise(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


def matrices():
    rng = np.random.default_rng(3)
    dense = np.where(rng.random((9, 12)) < 0.6, rng.integers(1, 3, (9, 12)), 0).astype(float)
    return dense, np.where(rng.random((9, 12)) < 0.4, 2.0, 0.0)


@pytest.mark.parametrize("find", NAMES)
@pytest.mark.parametrize("name", ["vbl", "rle"])
def test_entries_of_runs_are_found(name, find):
    dense, other = matrices()
    forced = sd.kernel(find={"B": find})(elementwise.function)
    result = forced(sd.convert(other, "csr"), sd.convert(dense, name))
    assert (result.to_numpy() == dense * other).all()


def test_without_the_promise_runs_are_compared_one_by_one():
    dense, other = matrices()
    stored = sd.convert(dense, "rle")
    loose = sd.Layout(
        "loose",
        stored.layout.text,
        value="data(r)",
        properties=["indptr(0) = 0", "nondecreasing indptr"],
    )
    tensor = sd.from_arrays(loose, stored.shape, stored.arrays)
    matrix = sd.convert(other, "csr")
    (unit,) = elementwise.lower(matrix, tensor).units
    assert "B_r" not in {choice[0] for choice in unit.choices}
    assert (elementwise(matrix, tensor).to_numpy() == dense * other).all()


def test_runs_of_other_ranks():
    layout = sd.Layout(
        "runs",
        "[N, NR] -> { [r, i] -> [i] : 0 <= r < NR and start(r) <= i < stop(r) and 0 <= i < N }",
        value="data(r)",
        properties=["disjoint (start, stop)"],
    )
    x = np.array([0, 2, 2, 2, 0, 1, 3, 3, 0.0])
    stored = sd.convert(x, layout)
    assert stored.arrays["start"].tolist() == [1, 5, 6]
    y = np.arange(1.0, 10.0)
    assert sd.einsum("i,i->", stored, y) == x @ y
    with pytest.raises(InvalidTensorError, match=r"disjoint \(start, stop\)"):
        sd.from_arrays(layout, (9,), {**stored.arrays, "stop": [6, 6, 8]})


@pytest.mark.parametrize("stop", [[3, 4], [1, 4]])
def test_runs_that_overlap_or_end_before_they_start_are_refused(stop):
    arrays = {"indptr": [0, 2], "start": [0, 2], "stop": stop, "data": [1.0, 2.0]}
    if stop[0] <= 2:
        arrays["start"] = [2, 3]
    with pytest.raises(InvalidTensorError, match=r"disjoint \(start, stop\) within"):
        sd.from_arrays("rle", (1, 5), arrays)


def test_a_cursor_in_intervals_starts_again_for_each_turn_of_a_loop_between():
    @sd.kernel(order="i k j")
    def product(A, x):
        i, j, k = sd.indices("i j k")
        y = sd.output()
        y[i, k] = sd.max(A[i, j] + x[k, j], over=j)
        return y

    dense, _ = matrices()
    other = np.arange(36.0).reshape(3, 12) % 7
    A = sd.convert(dense, "rle")
    (unit,) = product.lower(A, other).units
    assert dict(choice[:2] for choice in unit.choices)["A_r"] not in ("merge", "gallop")
    assert (product(A, other) == (dense[:, None] + other).max(axis=-1)).all()
