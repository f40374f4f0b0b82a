"""Masked operations against the rules of the GraphBLAS C API, entry by entry.

``C<M, replace> += T``: where the mask is true, ``C`` gets ``T`` (or itself and ``T`` added up, with
an accumulator); elsewhere it keeps what it had, or loses it with ``replace``.  A mask is true where
it stores an entry (structural) or one that is not zero (valued), or where it is not (complemented).
The oracle knows entries alone: a matrix is a dict from places to values.
"""

import itertools
import operator

import numpy as np
import pytest
from levels import interpreting, remembering_proofs, store

import sparsedsl as sd

# sum, product, the fill of absent entries, dtype
SEMIRINGS = {
    "plus_times": ("sum", operator.add, operator.mul, 0, "int64"),
    "min_plus": ("min", min, operator.add, np.inf, "float64"),
    "max_plus": ("max", max, operator.add, -np.inf, "float64"),
    "or_and": ("any", operator.or_, operator.and_, False, "bool"),
}
N = 5


def mxm(add, multiply, a, b):
    """T(i, j): the sum over the k that both store."""
    found = {}
    for (i, k), (m, j) in itertools.product(a, b):
        if k == m:
            value = multiply(a[i, k], b[m, j])
            found[i, j] = add(found[i, j], value) if (i, j) in found else value
    return found


def ewise_add(add, _, a, b):
    """T: of both where both are stored, else of the one that is."""
    both = {p: add(a[p], b[p]) for p in a.keys() & b.keys()}
    return {**a, **b, **both}


def ewise_mult(_, multiply, a, b):
    return {p: multiply(a[p], b[p]) for p in a.keys() & b.keys()}


def select(*given):
    """T: the entries of A below the diagonal."""
    return {(i, j): v for (i, j), v in given[2].items() if i > j}


def transpose(*given):
    return {(j, i): v for (i, j), v in given[2].items()}


OPERATIONS = {f.__name__: f for f in (mxm, ewise_add, ewise_mult, select, transpose)}


def masked(c, t, mask, how, accumulate, *, replace):
    """The C API's last two steps: ``Z = C + T``, then ``C<M> = Z``."""
    structural, complemented = how
    z = dict(t)
    if accumulate:
        both = {p: accumulate(c[p], t[p]) for p in c.keys() & t.keys()}
        z = {**c, **t, **both}
    true = {p for p, v in mask.items() if structural or v}
    inside = {p for p in itertools.product(range(N), range(N)) if (p in true) != complemented}
    kept = {} if replace else {p: v for p, v in c.items() if p not in inside}
    return {**kept, **{p: v for p, v in z.items() if p in inside}}


def kernel(name, semiring, how, *, accumulated, replace):
    reduce, _, _, fill, _ = SEMIRINGS[semiring]
    structural, complemented = how
    combine = {"sum": operator.add, "min": sd.minimum, "max": sd.maximum, "any": operator.or_}
    multiply = SEMIRINGS[semiring][2]

    @sd.kernel
    def step(M, A, B, Old):
        i, j, k = sd.indices("i j k")
        T, C = sd.output("csr", fill_value=fill), sd.output("csr", fill_value=fill)
        add = combine[reduce]
        both = sd.pattern(A)[i, j] & sd.pattern(B)[i, j]
        match name:
            case "mxm":
                T[i, j] = getattr(sd, reduce)(multiply(A[i, k], B[k, j]), over=k)
            case "ewise_add":
                T[i, j] = add(A[i, j], B[i, j])
            case "ewise_mult":
                T[i, j] = sd.where(both, multiply(A[i, j], B[i, j]), fill)
            case "select":
                T[i, j] = sd.where(i > j, A[i, j], fill)
            case _:
                T[i, j] = A[j, i]
        here = sd.pattern(M)[i, j] if structural else M[i, j] != 0
        here = ~here if complemented else here
        new = add(Old[i, j], T[i, j]) if accumulated else T[i, j]
        C[i, j] = sd.where(here, new, fill if replace else Old[i, j])
        return C

    return step


def drawn(rng, semiring):
    """A matrix as a dict, zeros among its values; no value is what absent ones are filled with."""
    fill, dtype = SEMIRINGS[semiring][3:]
    values = rng.integers(-2, 3, (N, N))
    values = values > 0 if dtype == "bool" else values + (values == 0) * (fill == 0)
    there = rng.random((N, N)) < 0.4
    return {(i, j): values[i, j].item() for i, j in np.argwhere(there).tolist()}


def tensor(entries, layout, dtype, fill):
    there, values = np.zeros((N, N), bool), np.full((N, N), fill, dtype)
    for place, value in entries.items():
        there[place], values[place] = True, value
    return store(values, there, layout, fill)


CASES = [
    (name, semiring, how, accumulated, replace)
    for name, semiring in itertools.product(OPERATIONS, SEMIRINGS)
    for how in itertools.product((True, False), (True, False))
    for accumulated, replace in itertools.product((True, False), (True, False))
]


@pytest.mark.parametrize("semiring", SEMIRINGS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_masked_operations(name, semiring):
    """Every mask, with and without accumulator and replacement, over the layouts in turn."""
    _, add, multiply, fill, dtype = SEMIRINGS[semiring]
    cases = [c for c in CASES if c[:2] == (name, semiring)]
    rng = np.random.default_rng(CASES.index(cases[0]))
    layouts = itertools.cycle(("csr", "csc", "coo", "dcsr", "csr"))
    for case in rng.permutation(len(cases))[:6].tolist():
        how, accumulated, replace = cases[case][2:]
        a, b, old = (drawn(rng, semiring) for _ in range(3))
        mask = {p: int(rng.integers(0, 2)) for p in drawn(rng, semiring)}
        given = [tensor(mask, next(layouts), "int8", 0)]
        given += [tensor(x, next(layouts), dtype, fill) for x in (a, b, old)]
        step = kernel(name, semiring, how, accumulated=accumulated, replace=replace)
        with interpreting(), remembering_proofs():
            found = step(*given)
        t = OPERATIONS[name](add, multiply, a, b)
        expected = masked(old, t, mask, how, add if accumulated else None, replace=replace)
        dense = tensor(expected, "dense", dtype, fill).to_numpy()
        np.testing.assert_array_equal(found.to_numpy(), dense, err_msg=str(cases[case]))
