"""Kernels compiled by LLVM from the loop IR, against the interpreter and Numba."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import binding, ir

from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_kernel import kernel_function
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.llvm_scalars import OPERATIONS
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load as load_module
from sparsedsl.codegen.python import source
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.loops.build import add, i, ivar, load, lt, mul, store, sub
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Break,
    Cast,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Length,
    Load,
    Not,
    Prefetch,
    Resize,
    ScalarParam,
    Select,
    Var,
    While,
)
from tests.codegen.sample_kernels import spmv

numbers = itertools.count()


def direct(kernel, arguments):
    """The function that LLVM makes of a kernel; None where Numba is needed."""
    code = direct_code(kernel, kinds(arguments), f"direct_{next(numbers)}", fastmath=False)
    return None if code is None else linked(code)


def by_numba(kernel, arguments):
    """The function that Numba makes of the printed kernel."""
    dispatcher = load_module(source(kernel, fastmath=True, cache=False))
    return linked(linkable_code(dispatcher, kinds(arguments), f"numba_{next(numbers)}"))


def copies(arguments):
    return [x.copy() if isinstance(x, np.ndarray) else x for x in arguments]


def same(kernel, arguments):
    """Run a kernel directly and in the interpreter; return what it gave, after comparing."""
    mine, theirs = copies(arguments), copies(arguments)
    found = direct(kernel, arguments)(*mine)
    names = [param.name for param in kernel.params]
    assert found == interpret(kernel, dict(zip(names, theirs, strict=True)))
    for own, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(own, other)
    return found


@pytest.mark.parametrize("index", ["int32", "int64", "uint32"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_a_product_of_a_matrix_and_a_vector(index, dtype):
    kernel = spmv(index, dtype)
    kernel = Kernel(kernel.name, kernel.params, kernel.body, ())
    rng = np.random.default_rng(3)
    indptr = np.array([0, 2, 2, 5], index)
    indices, data = np.array([1, 3, 0, 1, 2], index), rng.integers(-9, 9, 5).astype(dtype)
    x, y = rng.integers(-9, 9, 4).astype(dtype), np.zeros(3, dtype)
    same(kernel, [indptr, indices, data, x, y, 3])


def test_sums_of_floats_have_the_bits_that_numba_gives_them():
    kernel = spmv()
    kernel = Kernel(kernel.name, kernel.params, kernel.body, ())
    rng = np.random.default_rng(5)
    lengths = rng.integers(0, 70, 40)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    indices = rng.integers(0, 300, indptr[-1]).astype(np.int32)
    data, x = rng.standard_normal(indptr[-1]), rng.standard_normal(300)
    mine, theirs = ([indptr, indices, data, x, np.zeros(40), 40] for _ in range(2))
    code = direct_code(kernel, kinds(mine), "sums", fastmath=True)
    linked(code)(*mine)
    by_numba(kernel, theirs)(*theirs)
    np.testing.assert_array_equal(mine[4], theirs[4])


VALUES = {
    "bool": [False, True],
    "int32": [0, 1, -1, 7, -(2**31), 2**31 - 1],
    "int64": [0, 1, -1, 7, -(2**63), 2**63 - 1],
    "uint8": [0, 1, 7, 255],
    "uint64": [0, 1, 2**63, 2**64 - 1],
    "float32": [0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 3e38],
    "float64": [0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 1e308],
}


def elementwise(name, dtype):
    """A kernel that stores an operator of all pairs of elements, and its arguments; or None."""
    arity = OPERATORS[name].arity
    ufunc = OPERATORS[name].numpy
    values = np.array(VALUES[dtype], dtype)
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(ufunc(*[values] * arity)).dtype.name
    except TypeError:
        return None
    if result == "float16":
        return None
    p, q = ivar("p"), ivar("q")
    operands = tuple(load(n, k, type=dtype) for n, k in (("a", p), ("a", q), ("a", p))[:arity])
    body = For(q, i(0), Length("a"), (store("y", [p, q], Apply(name, operands, result)),))
    params = (ArrayParam("a", dtype, 1), ArrayParam("y", result, 2))
    kernel = Kernel("all_pairs", params, (For(p, i(0), Length("a"), (body,)),), ())
    return kernel, [values, np.zeros((len(values), len(values)), result)]


NEAR = (
    *("exp", "expm1", "log", "log1p", "log10", "sigmoid"),
    *("sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan"),
)
"""Functions of C's library, which rounds otherwise than NumPy's."""


@pytest.mark.parametrize("name", sorted({*OPERATIONS, "where"} & {*OPERATORS}))
def test_operators_give_what_numpy_gives(name):
    tried = 0
    for dtype in VALUES:
        made = elementwise(name, dtype)
        if made is None or direct(*made) is None:
            continue
        kernel, arguments = made
        if name == "where" and dtype != "bool":
            continue
        mine, theirs = copies(arguments), copies(arguments)
        direct(kernel, arguments)(*mine)
        interpret(kernel, {"a": theirs[0], "y": theirs[1]})
        if mine[1].dtype.kind == "f" and name in NEAR:
            np.testing.assert_allclose(
                mine[1], theirs[1], rtol=8 * np.finfo(mine[1].dtype).eps, err_msg=dtype
            )
        else:
            np.testing.assert_array_equal(mine[1], theirs[1], err_msg=dtype)
        if mine[1].dtype.kind == "f" and name not in ("minimum", "maximum", "relu"):
            # of two zeros either is the smaller; the sign of NaN has no meaning
            own, other = (np.signbit(x[1])[~np.isnan(x[1])] for x in (mine, theirs))
            np.testing.assert_array_equal(own, other, err_msg=dtype)
        tried += 1
    assert tried


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_functions_of_the_c_library_have_the_bits_of_numbas(dtype):
    p = ivar("p")
    value = load("a", p, type=dtype)
    stores = tuple(store("y", [i(k), p], Apply(f, (value,), dtype)) for k, f in enumerate(NEAR))
    params = (ArrayParam("a", dtype, 1), ArrayParam("y", dtype, 2))
    kernel = Kernel("functions", params, (For(p, i(0), Length("a"), stores),), ())
    values = np.concatenate([np.linspace(-30, 30, 999), VALUES[dtype]]).astype(dtype)
    mine = [values, np.zeros((len(NEAR), len(values)), dtype)]
    theirs = copies(mine)
    direct(kernel, mine)(*mine)
    by_numba(kernel, theirs)(*theirs)
    known = ~np.isnan(theirs[1])
    np.testing.assert_array_equal(np.isnan(mine[1]), ~known)
    assert mine[1][known].tobytes() == theirs[1][known].tobytes()


FAR = st.one_of(st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1))
SYMBOLS = ("+", "-", "*", "//", "%", "min", "max", "&", "|", "^", "<<", ">>")


@given(st.lists(st.tuples(FAR, FAR), min_size=4, max_size=4))
def test_index_arithmetic_wraps_and_floors(pairs):
    m, n = ivar("m"), ivar("n")
    kernel, function = _arithmetic()
    for left, right in pairs:
        arguments = [left, right or 1, right % 64]
        if (left, right) == (-(2**63), -1):
            continue  # no quotient in 64 bits
        found = function(*arguments)
        names = [param.name for param in kernel.params]
        assert found == interpret(kernel, dict(zip(names, arguments, strict=True))), (m, n)


@functools.cache
def _arithmetic():
    """A kernel of all int operators, compiled once."""
    m, n, few = ivar("m"), ivar("n"), ivar("few")
    body = []
    for k, symbol in enumerate(SYMBOLS):
        right = few if symbol in ("<<", ">>") else n
        body.append(Assign(ivar(f"r{k}"), Binary(symbol, m, right, "int")))
    for k, symbol in enumerate(("<", "<=", ">", ">=", "==", "!=", "below"), len(SYMBOLS)):
        chosen = Select(Binary(symbol, m, n, "bool"), i(1), i(0), "int")
        body.append(Assign(ivar(f"r{k}"), chosen))
    body.append(Assign(ivar("by_seven"), Binary("//", m, i(7), "int")))
    body.append(Assign(ivar("rest"), Binary("%", m, i(7), "int")))
    results = (*(f"r{k}" for k in range(len(SYMBOLS) + 7)), "by_seven", "rest")
    params = (IntParam("m"), IntParam("n"), IntParam("few"))
    kernel = Kernel("ints", params, tuple(body), results)
    return kernel, direct(kernel, [1, 1, 1])


def test_a_prefetch_outside_of_an_array_changes_nothing():
    k = ivar("k")
    fetched = (Prefetch("y", (add(k, 1000),)), store("y", [k], Const(1.0, "float64"), "add"))
    body = (For(k, i(0), Length("y"), fetched),)
    same(Kernel("ahead", (ArrayParam("y", "float64", 1),), body, ()), [np.arange(5.0)])


def test_conditions_are_evaluated_no_further_than_python_does():
    k, n = ivar("k"), ivar("n")
    inside = Binary("and", lt(k, n), Binary(">", load("x", k), i(2), "bool"), "bool")
    outside = Binary("or", Not(lt(k, n)), Binary(">", load("x", k), i(2), "bool"), "bool")
    body = (
        Assign(k, i(0)),
        While(Not(outside), (Assign(k, add(k, 1)),)),
        Assign(ivar("found"), Select(inside, load("x", k), sub(0, k), "int")),
    )
    kernel = Kernel("seek", (ArrayParam("x", "int32", 1), IntParam("n")), body, ("k", "found"))
    assert same(kernel, [np.array([1, 2, 5], np.int32), 3]) == (2, 5)
    assert same(kernel, [np.array([1, 2], np.int32), 2]) == (2, -2)
    assert same(kernel, [np.zeros(0, np.int32), 0]) == (0, 0)


def test_loops_with_steps_breaks_and_a_variable_read_after_them():
    p, total = ivar("p"), ivar("total")
    body = (
        Assign(total, i(0)),
        Assign(p, i(-1)),
        For(p, i(1), ivar("n"), (
            If(Binary("==", load("x", p), i(0), "bool"), (Break(),)),
            Assign(total, add(mul(total, 10), load("x", p))),
        ), 3),
    )  # fmt: skip
    kernel = Kernel("steps", (ArrayParam("x", "int8", 1), IntParam("n")), body, ("total", "p"))
    x = np.array([9, 1, 9, 9, 2, 9, 9, 3, 9, 9, 0, 9], np.int8)
    assert same(kernel, [x, 12]) == (123, 10)
    assert same(kernel, [x, 8]) == (123, 7)
    assert same(kernel, [x, 1]) == (0, -1)


def test_workspaces_keep_what_is_stored_when_they_grow():
    k, w, one = ivar("k"), "w", Const(1.0, "float64")
    body = (
        Allocate(w, "float32", (i(2),), Const(float("inf"), "float32")),
        Allocate("flags", "bool", (i(3), ivar("n")), Const(True, "bool")),
        For(k, i(0), ivar("n"), (
            If(Binary("==", k, Length(w), "bool"), (Resize(w, mul(Length(w), 2)),)),
            store(w, [k], Cast(k, "float32")),
            store("flags", [1, k], Const(False, "bool")),
        )),
        For(k, i(0), ivar("n"), (store("y", [k], load(w, k, type="float32")),)),
        For(k, i(0), ivar("n"), (
            If(Not(load("flags", i(1), k, type="bool")), (store("y", [k], one, "add"),)),
        )),
        Assign(ivar("room"), Length(w)),
    )  # fmt: skip
    kernel = Kernel("grow", (ArrayParam("y", "float64", 1), IntParam("n")), body, ("room",))
    assert same(kernel, [np.zeros(11), 11]) == (16,)


def test_a_workspace_larger_than_memory_is_refused_and_others_are_freed():
    body = (
        Allocate("small", "int64", (i(1 << 20),), Const(1, "int64")),
        Allocate("large", "int64", (ivar("n"),)),
        store("large", [ivar("k")], load("small", ivar("k"))),
        Assign(ivar("m"), add(Length("large"), load("large", ivar("k")))),
    )
    function = direct(Kernel("large", (IntParam("n"), IntParam("k")), body, ("m",)), [1, 1])
    assert function(3, 2) == (4,)
    before = _resident()
    for n in [2**61, -1, 2**63 - 1, 2**58] * 50:
        with pytest.raises(MemoryError):
            function(n, 0)
    # what 200 workspaces of 8 MB take, were they kept, is 1.6 GB
    assert _resident() - before < 200 << 20


def _resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096


Y = load("y", i(0), type="float64")


@pytest.mark.parametrize(
    ("body", "params", "results"),
    [
        (
            (store("y", [0], Apply("pow", (Y, Y), "float64")),),
            (),
            (),
        ),
        ((Assign(Var("z", "complex128"), Const(1j, "complex128")),), (), ()),
        ((), (), ("y",)),
        ((), (ScalarParam("s", "float32"),), ()),
    ],
)
def test_what_needs_numba_is_not_made(body, params, results):
    kernel = Kernel("other", (ArrayParam("y", "float64", 1), *params), body, results)
    assert direct(kernel, [np.zeros(1), *[0 for _ in params]]) is None


def test_code_is_made_for_the_kernels_own_dtypes_alone():
    kernel = Kernel("one", (ArrayParam("y", "float64", 1),), (store("y", [0], 2.0),), ())
    assert direct(kernel, [np.zeros(1, np.float32)]) is None
    assert direct(kernel, [np.zeros((1, 1))]) is None


@pytest.mark.parametrize("count", [0, 7])
def test_workspaces_that_are_results_are_arrays_of_their_own(count):
    n, p = ivar("n"), ivar("p")
    body = (
        Allocate("squares", "int32", (n, i(2)), i(3)),
        For(p, i(0), n, (store("squares", [p, 0], mul(p, p)),)),
        Allocate("halves", "float64", (n,), Const(0.5, "float64")),
        Assign(ivar("twice"), mul(n, 2)),
    )
    kernel = Kernel("made", (IntParam("n"),), body, ("twice", "squares", "halves"))
    twice, squares, halves = direct(kernel, [count])(count)
    assert twice == 2 * count
    wanted = np.stack([np.arange(count) ** 2, np.full(count, 3)], axis=1)
    assert (squares.dtype, halves.dtype) == (np.int32, np.float64)
    np.testing.assert_array_equal(squares, wanted)
    np.testing.assert_array_equal(halves, np.full(count, 0.5))
    row = squares[1:2]
    del squares  # the memory is kept for those that look into it
    assert not count or row.tolist() == [[1, 3]]
    row[...] = 0  # and it may be written to


@pytest.mark.parametrize("natural", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_indices_that_are_never_negative_take_no_sign(dtype, natural):
    """Values and subscripts, up to the greatest; one that may be negative keeps its sign."""
    p, place = ivar("p"), ivar("place")
    body = (
        Assign(place, Load("at", (p,), "int", natural=natural)),
        store("found", [p], place),
        store("moved", [p], load("x", load("at", i(0)), type="float64")),
    )
    arrays = (
        ArrayParam("at", dtype, 1),
        ArrayParam("x", "float64", 1),
        ArrayParam("found", "int64", 1),
        ArrayParam("moved", "float64", 1),
    )
    kernel = Kernel("taking", arrays, (For(p, i(0), Length("at", 0), body),), ())
    least = 0 if natural or dtype == "uint32" else np.iinfo(dtype).min
    at = np.array([2, 0, np.iinfo(dtype).max, least], dtype)
    same(kernel, [at, np.array([1.0, 2.0, 3.0]), np.zeros(4, np.int64), np.zeros(4)])
    module = ir.Module("taking")
    kernel_function(module, kernel, ())
    binding.parse_assembly(str(module)).verify()
    # the subscript is loaded so in any case
    assert str(module).count("!range") == ((1 + natural) if dtype == "int32" else 0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8", "uint32", "bool"])
def test_even_choices(dtype):
    at = (ivar("k"),)
    sides = (Load(name, at, dtype) for name in "ab")
    choice = Select(lt(load("c", *at), 1), *sides, dtype, even=True)
    body = (For(ivar("k"), i(0), Length("y"), (store("y", at, choice),)),)
    arrays = [ArrayParam(name, "int64" if name == "c" else dtype, 1) for name in "abcy"]
    kernel = Kernel("choices", tuple(arrays), body, ())
    values = np.array([1, 0, 3, 4, 0]).astype(dtype)
    if values.dtype.kind == "f":
        values[:2] = np.nan, -0.0
    given = [values, values[::-1].copy(), np.array([0, 1, 0, 1, 1]), np.zeros(5, dtype)]
    same(kernel, given)
    for function in (direct(kernel, given), by_numba(kernel, given)):
        mine = copies(given)
        function(*mine)
        expected = np.where(given[2] < 1, given[0], given[1])
        assert mine[3].tobytes() == expected.tobytes()
