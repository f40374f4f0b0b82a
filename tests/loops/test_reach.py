"""How far kernels store: told of loops as they are written, and seen in what they write."""

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.api import statement_engine
from sparsedsl.calls.choices import Choices
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, ArrayParam, Assign, For, If, IntParam, Kernel, Pack, Var
from sparsedsl.loops.reach import reach

N, K = Var("n", INT), Var("k", INT)
STORE = lb.store("C", (N,), K)
COUNT = Assign(N, lb.add(N, 1))


def kernel(*body):
    params = (ArrayParam("C", "int64", 1), ArrayParam("D", "int64", 1), IntParam("m"))
    loop = For(K, lb.i(0), lb.ivar("m"), body)
    return Kernel("test", params, (Assign(N, lb.i(0)), loop), ("n",))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ((STORE, COUNT), "entry"),
        ((If(lb.lt(K, 3), (STORE, COUNT)),), "entry"),
        ((STORE, lb.store("D", (N,), K), COUNT), "entry"),
        ((lb.store("D", (lb.add(K, 1),), K),), "entry"),
        ((Pack("C", N, K, K), Assign(N, lb.add(N, lb.ctpop(K)))), "entry"),
        ((Pack("C", N, K, K), Assign(N, lb.add(N, lb.ctpop(N)))), "turn"),
        ((STORE,), "turn"),
        ((STORE, Assign(N, lb.add(N, lb.cast(lb.lt(K, 3), INT)))), "next"),
        ((STORE, If(lb.lt(K, 3), (STORE, COUNT)), COUNT), "turn"),
        ((STORE, If(lb.lt(K, 3), (COUNT,))), "turn"),
        ((If(lb.lt(K, 3), (STORE,)), COUNT), "turn"),
        ((STORE, Assign(N, lb.add(N, K))), "turn"),
        ((lb.store("C", (lb.add(N, 1),), K), COUNT), "turn"),
        ((lb.store("C", (lb.add(N, lb.sub(K, Var("first", INT))),), K),), "piece"),
    ],
)
def test_loops(body, wanted):
    assert reach(kernel(*body), {"C"}) == wanted


STATEMENTS = {
    "C[i,j] = A[i,j] + B[i,j]": "next",
    "C[i,j] = A[i,j] * x[j]": "piece",
    "C[i,j] = A[i,j] * P[i,k] * Q[j,k]": "entry",
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_kernels(statement):
    rng = np.random.default_rng(0)
    filled = rng.random((40, 40)) < 0.3
    stored = {n: sd.asarray(np.where(filled, rng.random((40, 40)), 0), "csr") for n in "AB"}
    plain = {"x": rng.random(40), "P": rng.random((40, 64)), "Q": rng.random((40, 64))}
    given = {n: x for n, x in (stored | plain).items() if f"{n}[" in statement}
    units = statement_engine(statement, tuple(given), Choices()).lower(tuple(given.values())).units
    assert [unit.recipe.shared.reach for unit in units] == [STATEMENTS[statement]]
