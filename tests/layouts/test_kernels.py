"""Layouts in kernels, beside plain arrays: parts of a union, padding, ranges that tell a place."""

import numpy as np
import pytest
from levels import interpreting, remembering_proofs

import sparsedsl as sd

NAMES = ("hash", "jad", "hyb", "symmetric", "packed", "nm")


@pytest.fixture(autouse=True)
def _interpreted():
    with interpreting(), remembering_proofs():
        yield


@sd.kernel
def vector(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def elementwise(A, B):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[i, j] = A[i, j] * B[i, j]
    return C


@sd.kernel
def joined(A, B):
    i, j = sd.indices("i j")
    C = sd.output("dense")
    C[i, j] = A[i, j] + B[i, j]
    return C


def plain(x):
    return x.to_numpy() if isinstance(x, sd.Tensor) else np.asarray(x)


def held(cases, name):
    """Layouts of one name with matrices they hold: full, spread, empty."""
    found = [m for m in cases.members(2) if m.name == name]
    shapes = ((6, 6), (7, 7))
    return [
        (layout, dense)
        for layout in found
        for shape in shapes
        for dense in cases.matrices(shape, seed=len(shape))
        if cases.holdable(layout, dense)
    ]


@pytest.mark.parametrize("name", [*NAMES, "padded", "columns-outside", "spans", "row-major"])
def test_every_use_gives_what_plain_arrays_give(name, cases):
    rng = np.random.default_rng(0)
    for layout, dense in held(cases, name)[:4]:
        n, m = dense.shape
        x = rng.integers(1, 5, m).astype(float)
        other = np.where(rng.random((n, m)) < 0.5, rng.integers(1, 9, (n, m)), 0).astype(float)
        A, B = sd.convert(dense, layout), sd.convert(other, "csr")
        assert (plain(vector(A, x)) == dense @ x).all()
        assert (plain(elementwise(A, B)) == dense * other).all()
        assert (plain(elementwise(B, A)) == dense * other).all()
        assert (plain(joined(A, B)) == dense + other).all()


@pytest.mark.parametrize("name", ["hyb", "symmetric", "packed"])
def test_parts_of_a_union_are_scanned_where_they_lie(name, cases):
    layout, dense = held(cases, name)[-1]
    A, B = sd.convert(dense, layout), sd.convert(np.eye(len(dense)), "csr")
    lowered = vector.lower(A, np.ones(len(dense)))
    for kernel in (lowered, elementwise.lower(A, B)):
        assert not any(unit.nest.conversions for unit in kernel.units)
    assert "where A (part 2 of 2) is stored" in lowered.source


@sd.kernel
def multiplied(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, j] = A[i, k] * B[j, k]
    return C


@pytest.mark.parametrize("second", [("bcsr", 4, 2), ("bcsr", 1, 5), ("bcsc", 3, 2)], ids=str)
def test_blocks_of_different_sizes_meet(second):
    """A matrix in blocks has two modes, whatever the sizes, also where they do not divide it."""
    rng = np.random.default_rng(1)
    name, *sizes = second
    left, right = (np.where(rng.random((7, 9)) < 0.4, rng.integers(1, 9, (7, 9)), 0) for _ in "AB")
    A = sd.convert(left * 1.0, sd.layouts["bcsr"](2, 3))
    B = sd.convert(right * 1.0, sd.layouts[name](*sizes))
    assert A.ndim == B.ndim == 2
    assert (plain(elementwise(A, B)) == left * right).all()
    assert (plain(joined(A, B)) == left + right).all()
    assert (plain(multiplied(A, B)) == left @ right.T).all()


def test_padding_is_passed_over_before_its_coordinate_is_used(cases):
    """The guard on a loaded value comes before everything that the value would subscript."""
    A = sd.convert(np.array([[1.0, 0, 2], [0, 0, 0], [0, 3, 0]]), cases.own["padded"])
    lines = vector.lower(A, np.ones(3)).source.splitlines()
    guard = next(k for k, line in enumerate(lines) if "A_cols[" in line and ">= 0" in line)
    assert guard < next(k for k, line in enumerate(lines) if "x_data[" in line)
