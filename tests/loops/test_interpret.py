import numpy as np
import pytest
import scipy.sparse as sp

from sparsedsl.loops.build import add, cttz, i, ivar, load, shift_left, store
from sparsedsl.loops.interpret import ExecutionError, interpret
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Const,
    For,
    IntParam,
    Kernel,
    Load,
    Resize,
    ScalarParam,
    Store,
    Var,
)
from sparsedsl.loops.verify import verify

A, N = ivar("a"), ivar("n")
INT_N = (IntParam("n"),)


def run(body, results, params=INT_N, **arguments):
    return interpret(verify(Kernel("k", params, tuple(body), results)), arguments)


def test_a_matrix_times_a_vector():
    row, p = ivar("i"), ivar("p")
    product = Apply("mul", (load("v", p, type="float64"), load("x", load("c", p), type="float64")),
                    "float64")  # fmt: skip
    inner = For(p, load("r", row), load("r", add(row, 1)), (Store("y", (row,), product, "add"),))
    params = (
        ArrayParam("r", "int32", 1),
        ArrayParam("c", "int32", 1),
        ArrayParam("v", "float64", 1),
        ArrayParam("x", "float64", 1),
        IntParam("n"),
    )
    body = (Allocate("y", "float64", (N,), Const(0.0, "float64")), For(row, i(0), N, (inner,)))
    matrix = sp.random(7, 5, 0.4, format="csr", random_state=1)
    x = np.arange(5.0)
    (y,) = run(body, ("y",), params, r=matrix.indptr, c=matrix.indices, v=matrix.data, x=x, n=7)
    np.testing.assert_allclose(y, matrix @ x)


X = ArrayParam("x", "int64", 1)


@pytest.mark.parametrize("place", [-1, 3, 2**62])
def test_a_subscript_out_of_range_is_an_error_although_proved(place):
    with pytest.raises(ExecutionError, match=r"outside array x of shape \(3,\) in: x\[n\]"):
        run((Assign(A, load("x", N)),), ("a",), (X, IntParam("n")), x=np.arange(3), n=place)
    with pytest.raises(ExecutionError, match=r"outside array x of shape \(3,\) in: x\[n\] = 1"):
        run((store("x", [N], 1),), ("x",), (X, IntParam("n")), x=np.arange(3), n=place)


def test_reading_what_was_never_written_is_an_error():
    body = [Allocate("w", "int64", (i(2),)), store("w", [1], 5), Assign(A, load("w", N))]
    assert run(body, ("a",), n=1) == (5,)
    with pytest.raises(ExecutionError, match="uninitialised element"):
        run(body, ("a",), n=0)
    with pytest.raises(ExecutionError, match="uninitialised element"):
        run([Allocate("w", "int64", (N,)), store("w", [0], 5, "add")], ("w",), n=1)


def test_resizing_keeps_the_prefix():
    zero = Const(0, "int64")
    body = [Allocate("w", "int64", (i(2),), zero), store("w", [1], 5), Resize("w", N)]
    (shorter,) = run(body, ("w",), n=1)
    np.testing.assert_array_equal(shorter, [0])
    (longer,) = run([*body, store("w", [2], 7)], ("w",), n=3)
    np.testing.assert_array_equal(longer, [0, 5, 7])
    with pytest.raises(ExecutionError, match="uninitialised element"):
        run([*body, Assign(A, load("w", 2))], ("a",), n=3)


def test_ints_wrap_at_64_bits():
    top = Const(2**63 - 1, INT)
    assert run([Assign(A, Binary("+", top, N, INT))], ("a",), n=1) == (-(2**63),)
    assert run([Assign(A, shift_left(i(1), N))], ("a",), n=63) == (-(2**63),)
    assert run([Assign(A, cttz(shift_left(i(1), N)))], ("a",), n=63) == (63,)


def test_undefined_operations_are_errors():
    with pytest.raises(ExecutionError, match="division by zero"):
        run([Assign(A, Binary("%", i(1), N, INT))], ("a",), n=0)
    with pytest.raises(ExecutionError, match="shift count 64"):
        run([Assign(A, shift_left(i(1), N))], ("a",), n=64)
    with pytest.raises(ExecutionError, match="cttz of zero"):
        run([Assign(A, cttz(N))], ("a",), n=0)
    with pytest.raises(ExecutionError, match="negative shape"):
        run([Allocate("w", "int64", (N,))], ("w",), n=-1)


def test_values_keep_their_dtype():
    u = Var("u", "float32")
    tenth = Const(0.1, "float32")
    body = [Assign(Var("t", "float32"), Apply("mul", (u, tenth), "float32"))]
    (t,) = run(body, ("t",), (ScalarParam("u", "float32"),), u=3)
    assert isinstance(t, np.float32)
    assert t == np.float32(3) * np.float32(0.1)


def test_wrong_arguments_are_named():
    with pytest.raises(ExecutionError, match="argument x of kernel k is missing"):
        run((), (), (X,))
    with pytest.raises(ExecutionError, match="expected int64 of 1 axes, found float64 of 1"):
        run((), (), (X,), x=np.zeros(3))


def test_loads_give_the_arrays_dtype():
    params = (ArrayParam("v", "complex64", 1),)
    body = [Assign(Var("t", "complex64"), Load("v", (i(0),), "complex64"))]
    (t,) = run(body, ("t",), params, v=np.array([1 + 2j], np.complex64))
    assert t == 1 + 2j


def test_an_element_that_is_said_not_to_be_negative_is_looked_at():
    value = Load("x", (N,), INT, natural=True)
    x = np.array([4, -1])
    assert run((Assign(A, value),), ("a",), (X, IntParam("n")), x=x, n=0) == (4,)
    with pytest.raises(ExecutionError, match=r"-1 is negative in: x\[n\]"):
        run((Assign(A, value),), ("a",), (X, IntParam("n")), x=x, n=1)
