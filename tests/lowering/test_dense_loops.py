"""Loops inside blocks and along diagonals: constant ranges, no guards, shared among threads."""

import re
from itertools import pairwise

import numpy as np
import pytest
from levels import check, interpreting, store

import sparsedsl as sd
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.nodes import Guard
from sparsedsl.loops.interpret import interpret
from sparsedsl.spf import terms


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def operands(shape, layout, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.4
    dense = {"A": np.where(mask, rng.integers(1, 9, shape), 0.0), "x": rng.integers(1, 9, shape[1])}
    dense["x"] = dense["x"].astype(float)
    tensors = {"A": store(dense["A"], mask, layout), "x": store(dense["x"], dense["x"] != 0, "csf")}
    return dense, {**tensors, "x": sd.asarray(dense["x"])}


@pytest.mark.parametrize("shape", [(6, 9), (6, 8), (7, 9), (5, 4), (1, 1), (0, 3)], ids=str)
@pytest.mark.parametrize("size", [(3, 3), (2, 3), (4, 2)], ids=str)
def test_whole_and_cut_blocks(shape, size):
    dense, tensors = operands(shape, sd.layouts["bcsr"](*size))
    with interpreting():
        check(spmv.engine.specialise(list(tensors.values())), tensors, dense)


def test_blocks_are_gone_through_once():
    _, tensors = operands((63, 45), sd.layouts["bcsr"](3, 3))
    lowered = spmv.lower(*tensors.values())
    plan = lowered.plan
    assert plan.index("A_bi") < plan.index("A_p") < plan.index("A_r") < plan.index("A_c")
    assert "if n_i % 3 == 0 and n_j % 3 == 0:" in lowered.source
    assert any("whole block" in p.name and p.proved for p in lowered.proofs)


@pytest.mark.parametrize("rows", [63, 64, 65])
def test_pieces_of_a_loop_over_blocks_are_the_whole(rows):
    dense, tensors = operands((rows, 45), sd.layouts["bcsr"](3, 3))
    lowered = spmv.lower(*tensors.values())
    (unit,) = lowered.units
    assert unit.recipe.shared.extent.name == "i"
    given = {f"A_{name}": array for name, array in tensors["A"].arrays.items()}
    given |= {"x_data": dense["x"], "n_i": rows, "n_j": 45}
    y = np.zeros(rows)
    cuts = [0, 1, 4, 5, 37, rows]
    for begin, end in pairwise(cuts):
        piece = given | {"y_data": y, "i_begin": begin, "i_end": end}
        interpret(unit.kernel, {p.name: piece[p.name] for p in unit.kernel.params})
    np.testing.assert_array_equal(y, dense["A"] @ dense["x"])


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (1, 4), (0, 2)], ids=str)
def test_diagonals_have_no_guards(shape):
    dense, tensors = operands(shape, "dia")
    special = spmv.engine.specialise(list(tensors.values()))
    with interpreting():
        check(special, tensors, dense)
    (unit,) = spmv.lower(*tensors.values()).units
    assert not any(isinstance(s, Guard) for chain in unit.nest.chains for s in chain.steps)
    assert not re.search(r"^\s*if\b", unit.source.partition('"""\n')[2], re.MULTILINE)


@sd.kernel
def row_sums(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j]
    return y


@sd.kernel
def scaled(x):
    i = sd.index("i")
    y = sd.output()
    y[i] = 2 * x[i]
    return y


@sd.kernel
def row_minima(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.min(A[i, j], over=j)
    return y


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dcsr", "dense"])
@pytest.mark.parametrize("shape", [(4, 5), (3, 0), (0, 2)], ids=str)
def test_outputs_start_as_anything(layout, shape):
    rng = np.random.default_rng(1)
    dense = np.where(rng.random(shape) < 0.4, rng.integers(1, 9, shape), 0).astype(float)
    A = store(dense, dense != 0, layout) if layout != "dense" else sd.asarray(dense)
    out = np.full(shape[0], np.nan)
    with interpreting():
        np.testing.assert_array_equal(row_sums.compile(A).compute(A, out=out), dense.sum(1))
        if shape[1]:
            out.fill(np.nan)
            smallest = row_minima.compile(A).compute(A, out=out)
            np.testing.assert_array_equal(smallest, dense.min(1))
        doubled = scaled.compile(dense[:, 0]) if shape[1] else None
        if doubled is not None:
            out.fill(np.nan)
            doubled.compute(dense[:, 0], out=out)
            np.testing.assert_array_equal(out, 2 * dense[:, 0])


@pytest.mark.parametrize(("layout", "once"), [("csr", True), ("csc", False), ("dcsr", False)])
def test_what_is_stored_once_needs_no_initial_value(layout, once):
    _, tensors = operands((5, 6), layout)
    (unit,) = spmv.lower(*tensors.values()).units
    assert unit.recipe.overwritten == once


@sd.kernel
def spmm(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output("dense")
    C[i, j] = A[i, k] * B[k, j]
    return C


@sd.kernel
def nearest(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output("dense", fill_value=np.inf)
    C[i, j] = sd.min(A[i, k] + B[k, j], over=k)
    return C


@pytest.mark.parametrize(
    ("left", "right", "opened"),
    [
        ("csr", "dense", True),
        ("csr", "csr", True),
        ("dense", "dense", True),
        ("csc", "dense", False),
        ("dcsr", "dense", False),
        ("coo", "csr", False),
    ],
)
@pytest.mark.parametrize("columns", [3, 20, 70])
def test_rows_are_set_where_sums_start_if_each_is_met(left, right, opened, columns):
    rng = np.random.default_rng(2)
    A, B = (np.round(rng.random(s) * (rng.random(s) < 0.5), 2) for s in ((9, 8), (8, columns)))
    tensors = [store(x, x != 0, layout) for x, layout in ((A, left), (B, right))]
    (unit,) = spmm.lower(*tensors).units
    assert unit.recipe.overwritten == (opened and columns > 16)
    out = np.full((9, columns), np.nan)
    for threads in (1, 2):
        with sd.options(threads=threads, parallel_threshold=0):
            np.testing.assert_allclose(spmm.compile(*tensors).compute(*tensors, out=out), A @ B)
        out.fill(np.nan)
    with interpreting():
        np.testing.assert_allclose(spmm.compile(*tensors).compute(*tensors, out=out), A @ B)


def test_rows_that_stay_mostly_empty_are_left_alone():
    A = sd.convert(np.eye(9), "csr")
    B = sd.convert(np.eye(9, 4000), "csr")
    (unit,) = spmm.lower(A, B).units
    assert not unit.recipe.overwritten


def test_sums_that_start_elsewhere_are_set_there():
    A, B = np.ones((3, 4)), np.arange(80.0).reshape(4, 20)
    (unit,) = nearest.lower(A, B).units
    assert unit.recipe.overwritten
    np.testing.assert_array_equal(nearest(A, B), [np.arange(20) + 1.0] * 3)


def test_rows_of_a_block_share_its_key():
    """A search meets a block of three columns as often as there are blocks, not columns."""
    sizes = Sizes({"j": 300.0}, {})
    block = terms.floordiv(terms.var("j"), terms.const(3))
    assert sizes.room([terms.var("j")]) == 300.0
    assert sizes.room([block]) == 100.0
