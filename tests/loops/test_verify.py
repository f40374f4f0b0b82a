import pytest

from sparsedsl.loops.build import TRUE, add, i, ivar, load, lt
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
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
    Select,
    Store,
    Var,
    While,
)
from sparsedsl.loops.verify import VerificationError, verify

A, B, N = ivar("a"), ivar("b"), ivar("n")
X = Var("u", "float64")
HALF = Const(0.5, "float64")
PARAMS = (
    ArrayParam("x", "float64", 1),
    ArrayParam("p", "int32", 2),
    ArrayParam("z", "complex128", 1),
    IntParam("n"),
)


def kernel(*body, results=()):
    return Kernel("k", PARAMS, body, results)


GOOD = [
    kernel(Assign(A, i(1)), results=("a", "x", "n")),
    kernel(If(lt(N, i(1)), (Assign(A, i(1)),), (Assign(A, i(2)),)), results=("a",)),
    kernel(For(A, i(0), N, (If(lt(A, i(2)), (Break(),), (Assign(B, A),)), Assign(B, B)))),
    kernel(While(TRUE, (Break(), Assign(A, i(1))))),
    kernel(Store("p", (i(0), i(1)), N)),
    kernel(Allocate("w", "int8", (N, N), Const(0, "int8")), Store("w", (N, N), N, "add")),
    kernel(Assign(Var("c", "int64"), Cast(N, "int64")), Assign(A, Var("c", "int64"))),
    kernel(Allocate("w", "bool", (N,), Const(False, BOOL)), Store("w", (N,), TRUE, "any")),
]


@pytest.mark.parametrize("good", GOOD, ids=range(len(GOOD)))
def test_accepted(good):
    assert verify(good) is good


BAD = [
    (kernel(Assign(A, B)), "unknown variable b"),
    (kernel(If(lt(N, i(1)), (Assign(A, i(1)),)), Assign(B, A)), "a is not assigned on every path"),
    (kernel(For(A, i(0), N, ()), Assign(B, A)), "a is not assigned on every path"),
    (kernel(While(lt(N, i(1)), (Assign(A, i(1)),)), results=("a",)), "result a is not assigned"),
    (kernel(results=("y",)), "result y is not assigned"),
    (kernel(Assign(N, i(1))), "parameter n is reassigned"),
    (kernel(For(N, i(0), i(1), ())), "parameter n is reassigned"),
    (kernel(For(A, i(0), N, (Assign(A, i(1)),))), "loop variable a is reassigned"),
    (kernel(Allocate("x", "float64", (N,), None)), "parameter x is reassigned"),
    (kernel(Break()), "Break outside a loop"),
    (kernel(Assign(A, HALF)), "types differ"),
    (kernel(Assign(A, i(1)), Assign(Var("a", "bool"), TRUE)), "a is int and bool"),
    (kernel(Assign(Var("x", INT), i(1))), "parameter x is reassigned"),
    (kernel(Assign(A, load("p", N))), "1 subscripts of p, which has 2"),
    (kernel(Assign(A, load("q", N))), "unknown array q"),
    (kernel(Assign(A, load("x", N))), "float64 array x loaded as int"),
    (kernel(Assign(X, Load("x", (HALF,), "float64"))), "expected an int, found float64: 0.5"),
    (kernel(Store("x", (N,), N)), "int stored to float64 array x"),
    (kernel(Store("x", (N,), HALF, "plus")), "unknown monoid plus"),
    (kernel(Store("x", (N,), HALF, "any")), "any into a float64 array"),
    (kernel(Store("z", (N,), Const(1j, "complex128"), "min")), "min of complex"),
    (kernel(If(N, ())), "expected a bool, found int: n"),
    (kernel(While(i(1), ())), "expected a bool"),
    (kernel(For(A, i(0), HALF, ())), "expected an int"),
    (kernel(For(A, i(0), N, (), 0)), "step is zero"),
    (kernel(Assign(A, Binary("/", N, N, INT))), "int / int giving int"),
    (kernel(Assign(A, Binary("@", N, N, INT))), "unknown operator @"),
    (kernel(Assign(Var("c", BOOL), Binary("<", N, HALF, BOOL))), "int < float64"),
    (kernel(Assign(Var("c", BOOL), Not(N))), "expected a bool"),
    (kernel(Assign(A, Select(TRUE, N, HALF, INT))), "selected as int"),
    (kernel(Assign(A, Length("p", 2))), "p has no axis 2"),
    (kernel(Prefetch("p", (N,))), "1 subscripts of p, which has 2"),
    (kernel(Prefetch("p", (N, HALF))), "expected an int"),
    (kernel(Assign(X, Apply("frobnicate", (X,), "float64"))), "unknown variable u"),
    (kernel(Assign(X, Apply("frobnicate", (HALF,), "float64"))), "unknown operator frobnicate"),
    (kernel(Assign(X, Apply("add", (HALF,), "float64"))), "add takes 2 arguments"),
    (kernel(Assign(A, Apply("cttz", (HALF,), INT))), "cttz of"),
    (kernel(Assign(A, Const(2**63, INT))), "no constant of type int"),
    (kernel(Assign(A, Const(True, INT))), "no constant of type int"),
    (kernel(Assign(Var("c", "float16"), Const(1.0, "float16"))), "unknown type float16"),
    (kernel(Allocate("w", "float64", (N,), Const(1j, "complex128"))), "value's dtype"),
    (kernel(Allocate("w", "float64", (HALF,), None)), "expected an int"),
    (kernel(If(lt(N, i(1)), (Allocate("w", "int64", (N,)),)), Resize("w", N)), "not allocated on"),
    (kernel(Allocate("w", "int64", (N, N)), Resize("w", N)), "w is not 1-D"),
    (kernel(Resize("x", N)), "parameter x is reassigned"),
    (kernel(Assign(ivar("for"), i(1))), "'for' is not a usable name"),
    (kernel(Assign(ivar("a b"), i(1))), "'a b' is not a usable name"),
    (Kernel("k", (IntParam("n"), IntParam("n")), (), ()), "two parameters share a name"),
]


@pytest.mark.parametrize(("bad", "message"), BAD, ids=[m for _, m in BAD])
def test_refused(bad, message):
    with pytest.raises(VerificationError) as caught:
        verify(bad)
    assert message in str(caught.value)


def test_the_offending_statement_is_shown():
    bad = kernel(For(A, i(0), N, (Store("x", (add(A, 1),), N),)))
    with pytest.raises(VerificationError, match=r"in: x\[a \+ 1\] = n$"):
        verify(bad)
