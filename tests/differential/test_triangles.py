"""Products of triangular operands: no loop visits a triangle where neither stores anything."""

import numpy as np
import pytest
from levels import check, compiling, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.iteration.nodes import Guard

STATEMENTS = {
    "T T'": lambda y, T, S, i, j, k: (y, T[i, j] * T[k, j]),
    "T T": lambda y, T, S, i, j, k: (y, T[i, j] * T[j, k]),
    "T' T": lambda y, T, S, i, j, k: (y, T[j, i] * T[j, k]),
    "T S": lambda y, T, S, i, j, k: (y, T[i, j] * S[j, k]),
    "S T": lambda y, T, S, i, j, k: (y, S[i, j] * T[j, k]),
    "masked": lambda y, T, S, i, j, k: (y, S[i, k] * T[i, j] * T[j, k]),
}


def kernel(case, out):
    @sd.kernel
    def product(T, S):
        i, j, k = sd.indices("i j k")
        y = sd.output(out)
        _, value = STATEMENTS[case](y, T, S, i, j, k)
        y[i, k] = value
        return y

    return product


def operands(n, seed):
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.integers(-3, 4, (n, n)).astype(float))
    mask = rng.random((n, n)) < 0.4
    other = np.where(mask, rng.integers(-3, 4, (n, n)), 0).astype(float)
    given = {
        "T": store(lower, np.tril(np.ones((n, n), bool)), "triangular"),
        "S": store(other, mask, "csr"),
    }
    return given, {"T": lower, "S": other}


@pytest.mark.parametrize("out", ["csr", "csc", "dense", "dcsr", "coo"])
@pytest.mark.parametrize("case", STATEMENTS)
def test_products(case, out):
    with interpreting(), remembering_proofs():
        for n in (0, 1, 6):
            given, truth = operands(n, n)
            special = kernel(case, out).engine.specialise(list(given.values()))
            check(special, given, truth)
            if n == 6 and out == "csr":
                with compiling():
                    check(special, given, truth)


@pytest.mark.parametrize("case", ["T T'", "T T"])
@pytest.mark.parametrize("out", [None, "dense"])
def test_sums_begin_and_end_where_both_store(case, out):
    given, _ = operands(6, 1)
    with remembering_proofs():
        (unit,) = kernel(case, out).lower(*given.values()).units
    (chain,) = unit.nest.chains
    assert not any(isinstance(step, Guard) for step in chain.steps)
