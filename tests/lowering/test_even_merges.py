"""Merges without branches, in rows whose patterns are and are not alike, against NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_called import unsorted
from levels import compiling, dense_of, interpreting, store

import sparsedsl as sd
from sparsedsl.loops.build import i, ivar, lt
from sparsedsl.loops.interpret import ExecutionError, interpret
from sparsedsl.loops.nodes import ArrayParam, Assign, Const, IntParam, Kernel, Load, Select, Var
from sparsedsl.runtime.arguments import Gather

COLUMNS = 40
KINDS = ("unrelated", "same", "shifted", "nested", "empty", "one", "full")


def _pair(f):
    def body(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = f(A[i, j], B[i, j])
        return C

    return sd.kernel(body)


PAIRS = {
    "sum": (_pair(lambda a, b: a + b), np.add),
    "difference": (_pair(lambda a, b: a - 2 * b), lambda a, b: a - 2 * b),
    "smaller": (_pair(lambda a, b: sd.minimum(a, b)), np.minimum),
    "larger": (_pair(lambda a, b: sd.maximum(a, b)), np.maximum),
    "distance": (_pair(lambda a, b: sd.abs(a - b)), lambda a, b: abs(a - b)),
}


@sd.kernel
def three(A, B, C):
    i, j = sd.indices("i j")
    D = sd.output()
    D[i, j] = A[i, j] + B[i, j] - C[i, j]
    return D


@sd.kernel
def four(A, B, C, D):
    i, j = sd.indices("i j")
    E = sd.output()
    E[i, j] = A[i, j] + B[i, j] + C[i, j] + D[i, j]
    return E


def _row(kind, rng, before):
    """Where a row stores entries, given those of the first operand's row."""
    match kind:
        case "same":
            return before.copy()
        case "shifted":
            return np.roll(before, 1)
        case "nested":
            return before & (np.arange(COLUMNS) % 5 != 0)
        case "empty":
            return np.zeros(COLUMNS, bool)
        case "one":
            return np.arange(COLUMNS) == rng.integers(COLUMNS)
        case "full":
            return np.ones(COLUMNS, bool)
        case _:
            return rng.random(COLUMNS) < 0.35


def _operands(count, kinds, seed, dtype="float64", fills=(0, 0, 0, 0), index="int32"):
    """Matrices whose rows come in groups, each of one kind; and the same as dense arrays."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 6 * len(kinds), COLUMNS), bool)
    for row in range(masks.shape[1]):
        masks[0, row] = rng.random(COLUMNS) < 0.4
        for k in range(1, count):
            masks[k, row] = _row(kinds[row // 6], rng, masks[0, row])
    values = rng.integers(-3, 4, masks.shape)
    values = values % 3 if dtype[0] == "u" else values
    dense = [np.where(m, v, f).astype(dtype) for m, v, f in zip(masks, values, fills, strict=False)]
    tensors = [
        store(d, m, "csr", fill=f, index_dtype=np.dtype(index))
        for d, m, f in zip(dense, masks, fills, strict=False)
    ]
    return tensors, dense


def _dense(found):
    """The result as a plain array, which it may be."""
    return found if isinstance(found, np.ndarray) else dense_of(found)


def _checked(kernel, tensors, expected):
    with sd.options(threads=1):
        with interpreting():
            np.testing.assert_array_equal(_dense(kernel(*tensors)), expected)
        with compiling():
            np.testing.assert_array_equal(_dense(kernel(*tensors)), expected)
        np.testing.assert_array_equal(_dense(kernel(*tensors)), expected)


kinds_of_rows = st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)


@settings(max_examples=8, deadline=None)
@given(kinds=kinds_of_rows, seed=st.integers(0, 99), name=st.sampled_from(sorted(PAIRS)))
def test_two_operands(kinds, seed, name):
    kernel, meaning = PAIRS[name]
    tensors, dense = _operands(2, kinds, seed)
    _checked(kernel, tensors, meaning(*dense))


@settings(max_examples=6, deadline=None)
@given(kinds=kinds_of_rows, seed=st.integers(0, 99))
def test_three_operands(kinds, seed):
    tensors, (a, b, c) = _operands(3, kinds, seed)
    _checked(three, tensors, a + b - c)


@pytest.mark.parametrize("guesses", [1, 3, 1 << 62])
def test_ranges_that_are_guessed_first(monkeypatch, guesses):
    gather, told = Gather.__call__, []

    def gathered(self, tensors, extents):
        found = gather(self, tensors, extents)
        for place in self.guessed:
            found[place] = guesses
            told.append(place)
        return found

    monkeypatch.setattr(Gather, "__call__", gathered)
    tensors, (a, b, c) = _operands(3, KINDS, 4)
    _checked(PAIRS["sum"][0], tensors[:2], a + b)
    _checked(three, tensors, a + b - c)
    assert told


@pytest.mark.parametrize("dtype", ["float32", "int64", "int8", "uint16", "complex128", "bool"])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_values_of_every_kind(dtype, index):
    tensors, dense = _operands(2, KINDS, 5, dtype, index=index)
    _checked(PAIRS["sum"][0], tensors, dense[0] + dense[1])


@pytest.mark.parametrize("fills", [(1.0, 0.0), (-2.0, 3.0), (np.inf, 1.0)])
def test_fill_values(fills):
    tensors, dense = _operands(2, KINDS, 6, fills=fills)
    for name in ("sum", "smaller", "larger"):
        kernel, meaning = PAIRS[name]
        _checked(kernel, tensors, meaning(*dense))


def test_extreme_coordinates():
    huge = 2**56
    columns = [np.array([0, 5, huge - 2]), np.array([5, huge - 3, huge - 2])]
    ends = {"indptr": np.array([0, 3, 3, 6, 6])}
    A, B = (
        sd.from_arrays(
            "csr", (4, huge), {**ends, "indices": np.tile(c, 2), "data": np.arange(1.0, 7)}
        )
        for c in columns
    )
    found = PAIRS["sum"][0](A, B)
    expected = [0, 5, huge - 3, huge - 2]
    np.testing.assert_array_equal(found.arrays["indices"], 2 * expected)
    values = [1.0, 3.0, 2.0, 6.0, 4.0, 9.0, 5.0, 12.0]
    np.testing.assert_array_equal(found.arrays["data"], values)


def test_operands_out_of_order():
    _, (a, b) = _operands(2, KINDS, 7)
    A, B = unsorted(sp.csr_array(a)), unsorted(sp.csr_array(b))
    np.testing.assert_array_equal(PAIRS["sum"][0](A, B).toarray(), a + b)


def _source(kernel, tensors):
    return "".join(unit.source for unit in kernel.lower(*tensors).units)


def test_ranges_without_much_to_guess_are_merged_by_branches():
    kernel = PAIRS["sum"][0]
    assert "chosen(" in _source(kernel, _operands(2, KINDS, 8)[0])
    assert "chosen(" in _source(three, _operands(3, KINDS, 8)[0])
    assert "chosen(" not in _source(four, _operands(4, KINDS, 8)[0])
    one = [sp.csr_array(np.eye(9)), sp.csr_array(np.eye(9)[::-1])]
    assert "chosen(" not in _source(kernel, one)


def test_both_sides_of_an_even_choice_are_evaluated():
    beyond = Load("a", (ivar("n"),), "float64")
    choice = Select(lt(i(0), ivar("n")), Const(1.0, "float64"), beyond, "float64")
    params = (ArrayParam("a", "float64", 1), IntParam("n"))
    given = {"a": np.zeros(2), "n": 2}
    kernel = Kernel("chosen", params, (Assign(Var("x", "float64"), choice),), ("x",))
    assert interpret(kernel, given) == (1.0,)
    kernel = replace(kernel, body=(Assign(Var("x", "float64"), replace(choice, even=True)),))
    with pytest.raises(ExecutionError, match="outside array a"):
        interpret(kernel, given)
