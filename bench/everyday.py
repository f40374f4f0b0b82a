"""Everyday expressions beside what a user of scipy writes for them, at three sizes.

    python bench/everyday.py [small,middle,large] [part of an expression]

Results are compared with scipy's first. Each round runs both in an order drawn anew, on one
thread; a ratio is the median over rounds of scipy's time over that of sparsedsl: above 1,
sparsedsl is faster. Rows of products are sorted within the time.
"""

from __future__ import annotations

import re
import statistics
import sys
import warnings

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.bench.cases import plain
from sparsedsl.bench.measure import Spent, difference, geometric_mean, in_turn

SIZES = {"small": (200, 1_000), "middle": (10_000, 100_000), "large": (200_000, 5_000_000)}
"""Rows and columns, and entries."""

TOO_LARGE = "@ B", "@ A.T", "A.T @ A", "lil", "coo @ coo", "bsr @ bsr"
"""What is left out at the largest size."""


def matrix(rows, entries, seed):
    """A square CSR matrix with entries anywhere, some of them negative."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, rows, (2, entries)).astype(np.int32)
    made = sp.coo_array((rng.random(entries) - 0.3, (*places,)), shape=(rows, rows)).tocsr()
    made.sum_duplicates()
    return made


def operands(size):
    """Every operand by the name that expressions have for it."""
    rows, entries = SIZES[size]
    rng = np.random.default_rng(0)
    A, B = (matrix(rows, entries, seed) for seed in (1, 2))
    dia = sp.dia_array((rng.random((5, rows)), [-2, -1, 0, 1, 2]), shape=(rows, rows))
    ones = np.ones((4, 4))
    blocks, others = (
        sp.kron(matrix(rows // 4, entries // 16, seed), ones, format="bsr") for seed in (3, 4)
    )
    csc, coo = A.tocsc(), A.tocoo()
    csc.sort_indices()
    return {
        **{"A": A, "B": B, "csc": csc, "coo": coo, "dia": dia, "bsr": blocks, "lil": A.tolil()},
        "diagonals": sp.dia_array((rng.random((4, rows)), [-2, 0, 1, 3]), shape=(rows, rows)),
        "blocks": others,
        "same": sp.csr_array((rng.random(A.nnz), A.indices, A.indptr), shape=A.shape),
        "positive": sp.csr_array((rng.random(A.nnz) + 0.1, A.indices, A.indptr), shape=A.shape),
        **{"single": A.astype(np.float32), "whole": (100 * A).astype(np.int64)},
        **{"truth": A.astype(bool), "other": B.astype(bool)},
        "wide": sp.csr_array((A.data, *(x.astype(np.int64) for x in (A.indices, A.indptr)))),
        **{"x": rng.random(rows), "y": rng.random(rows), "X": rng.random((rows, 16))},
        **{"Y": rng.random((16, rows)), "X4": rng.random((rows, 4)), "W": rng.random((16, 16))},
        "x32": rng.random(rows).astype(np.float32),
    }


def in_order(made):
    """A product with its rows sorted, as those of sparsedsl are."""
    made = made.tocsr()
    made.sort_indices()
    return made


def diagonal(x):
    return sp.diags_array(x)


EXPRESSIONS = {
    "A @ x": "y[i] = A[i,j] * x[j]",
    "A.T @ x": "y[j] = A[i,j] * x[i]",
    "A @ X": "C[i,k] = A[i,j] * X[j,k]",
    "A @ X4": "C[i,k] = A[i,j] * X4[j,k]",
    "A.T @ X": "C[j,k] = A[i,j] * X[i,k]",
    "Y @ A": "C[k,j] = Y[k,i] * A[i,j]",
    "X.T @ A": "C[k,j] = X[i,k] * A[i,j]",
    "diagonal(x) @ A": "C[i,j] = x[i] * A[i,j]",
    "A.multiply(x[None, :])": "C[i,j] = A[i,j] * x[j]",
    "diagonal(x) @ A @ diagonal(y)": "C[i,j] = x[i] * A[i,j] * y[j]",
    "x @ (A @ y)": "s[()] = x[i] * A[i,j] * y[j]",
    "A.T @ (A @ x)": "y[k] = A[i,k] * A[i,j] * x[j]",
    "A @ (A @ x)": "y[i] = A[i,j] * A[j,k] * x[k]",
    "in_order(A @ B)": "C[i,j] = A[i,k] * B[k,j]",
    "in_order(A.T @ A)": "C[i,j] = A[k,i] * A[k,j]",
    "in_order(A @ A.T)": "C[i,j] = A[i,k] * A[j,k]",
    "A + B": "C[i,j] = A[i,j] + B[i,j]",
    "2 * A - 3 * B": "C[i,j] = 2 * A[i,j] - 3 * B[i,j]",
    "A + same": "C[i,j] = A[i,j] + same[i,j]",
    "A.multiply(same)": "C[i,j] = A[i,j] * same[i,j]",
    "A.multiply(B)": "C[i,j] = A[i,j] * B[i,j]",
    "A + A.T.tocsr()": "C[i,j] = A[i,j] + A[j,i]",
    "A.T.tocsr()": "C[j,i] = A[i,j]",
    "3 * A": "C[i,j] = 3 * A[i,j]",
    "-A": "C[i,j] = -A[i,j]",
    "abs(A)": "C[i,j] = abs(A[i,j])",
    "positive.sqrt()": "C[i,j] = sqrt(positive[i,j])",
    "positive.log1p()": "C[i,j] = log1p(positive[i,j])",
    "A.tanh()": "C[i,j] = tanh(A[i,j])",
    "A.sin()": "C[i,j] = sin(A[i,j])",
    "A.power(2)": "C[i,j] = A[i,j] ** 2",
    "A.maximum(0)": "C[i,j] = maximum(A[i,j], 0.0)",
    "A.maximum(B)": "C[i,j] = maximum(A[i,j], B[i,j])",
    "A.multiply(A > 0.2)": "C[i,j] = where(A[i,j] > 0.2, A[i,j], 0.0)",
    "A > 0.2": "C[i,j] = A[i,j] > 0.2",
    "A.multiply(B != 0)": "C[i,j] = A[i,j] * pattern(B)[i,j]",
    "truth.multiply(other)": "C[i,j] = truth[i,j] & other[i,j]",
    "truth + other": "C[i,j] = truth[i,j] | other[i,j]",
    "A.sum()": "s[()] = A[i,j]",
    "A.sum(axis=1)": "s[i] = A[i,j]",
    "A.sum(axis=0)": "s[j] = A[i,j]",
    "A.max(axis=1).toarray()": "s[i] = max(A[i,j], j)",
    "A.max()": "s[()] = max(A[i,j], (i, j))",
    "sp.linalg.norm(A)": "s[()] = sqrt(sum(A[i,j] * A[i,j], (i, j)))",
    "A.power(2).sum(axis=1)": "s[i] = A[i,j] * A[i,j]",
    "A.trace()": "s[()] = A[i,i]",
    "A.diagonal()": "s[i] = A[i,i]",
    "A.multiply(B.T.tocsr()).sum()": "s[()] = A[i,j] * B[j,i]",
    "diagonal(x) - A": "C[i,j] = x[i] * (i == j) - A[i,j]",
    "A + sp.eye_array(len(x))": "C[i,j] = A[i,j] + (i == j)",
    "sp.tril(A, format='csr')": "C[i,j] = A[i,j] * (i >= j)",
    "np.maximum(A @ X @ W, 0)": "H[i,k] = maximum(sum(A[i,j] * X[j,l] * W[l,k], (j, l)), 0.0)",
    "(y - A @ x) / x": "r[i] = (y[i] - A[i,j] * x[j]) / x[i]",
    "csc @ x": "y[i] = csc[i,j] * x[j]",
    "csc.T @ x": "y[j] = csc[i,j] * x[i]",
    "2 * csc": "C[i,j] = 2 * csc[i,j]",
    "in_order(csc @ B)": "C[i,j] = csc[i,k] * B[k,j]",
    "coo @ x": "y[i] = coo[i,j] * x[j]",
    "2 * coo": "C[i,j] = 2 * coo[i,j]",
    "coo.sum(axis=1)": "s[i] = coo[i,j]",
    "coo + B": "C[i,j] = coo[i,j] + B[i,j]",
    "in_order(coo @ B)": "C[i,j] = coo[i,k] * B[k,j]",
    "in_order(coo @ coo)": "C[i,j] = coo[i,k] * coo[k,j]",
    "dia @ x": "y[i] = dia[i,j] * x[j]",
    "dia @ X": "C[i,k] = dia[i,j] * X[j,k]",
    "2 * dia": "C[i,j] = 2 * dia[i,j]",
    "abs(dia)": "C[i,j] = abs(dia[i,j])",
    "dia.tanh()": "C[i,j] = tanh(dia[i,j])",
    "dia + diagonals": "C[i,j] = dia[i,j] + diagonals[i,j]",
    "dia + dia.T": "C[i,j] = dia[i,j] + dia[j,i]",
    "dia.tocsr() + B": "C[i,j] = dia[i,j] + B[i,j]",
    "in_order(dia.tocsr() @ B)": "C[i,j] = dia[i,k] * B[k,j]",
    "bsr @ x": "y[i] = bsr[i,j] * x[j]",
    "bsr @ X": "C[i,k] = bsr[i,j] * X[j,k]",
    "2 * bsr": "C[i,j] = 2 * bsr[i,j]",
    "abs(bsr)": "C[i,j] = abs(bsr[i,j])",
    "bsr + blocks": "C[i,j] = bsr[i,j] + blocks[i,j]",
    "bsr.multiply(blocks)": "C[i,j] = bsr[i,j] * blocks[i,j]",
    "bsr + bsr.T": "C[i,j] = bsr[i,j] + bsr[j,i]",
    "in_order(bsr @ bsr)": "C[i,j] = bsr[i,k] * bsr[k,j]",
    "lil @ x": "y[i] = lil[i,j] * x[j]",
    "single @ x32": "y[i] = single[i,j] * x32[j]",
    "2 * single": "C[i,j] = 2 * single[i,j]",
    "whole.sum(axis=1)": "s[i] = whole[i,j]",
    "whole + whole.T.tocsr()": "C[i,j] = whole[i,j] + whole[j,i]",
    "wide @ x": "y[i] = wide[i,j] * x[j]",
}
"""What users of scipy write, and the statement of it."""

TOLERANCE = {"single": 1e-4}


def compared(idiom, statement, given):
    """Return the ratio of times, and median milliseconds of both."""
    used = {name: x for name, x in given.items() if re.search(rf"\b{name}\b", statement[4:])}
    code, known = compile(idiom, "<idiom>", "eval"), {**globals(), **given}

    def ours():
        return sd.evaluate(statement, **used)

    def theirs():
        return eval(code, known)

    found, expected = plain(ours()), plain(theirs())
    gap = difference(
        found.reshape(np.shape(expected)) if not sp.issparse(found) else found, expected
    )
    tolerance = next((t for name, t in TOLERANCE.items() if name in idiom), 1e-9)
    assert gap <= tolerance, f"{statement} differs from {idiom} by {gap:.2g}"
    mine, other = in_turn([ours, theirs], Spent(0.2, 7, 41))
    ratio = statistics.median(b / a for a, b in zip(mine, other, strict=True))
    return ratio, *(1e3 * statistics.median(times) for times in (mine, other))


def main():
    sizes, part, *_ = *sys.argv[1:], *(",".join(SIZES), "")[len(sys.argv) - 1 :]
    warnings.simplefilter("ignore", sp.SparseEfficiencyWarning)
    for size in sizes.split(","):
        given, ratios = operands(size), {}
        print(f"{size}: {SIZES[size][1]:,} entries\n\n{'ratio':>6} {'ms':>10} {'scipy ms':>10}")
        for idiom, statement in EXPRESSIONS.items():
            skipped = size == "large" and any(text in idiom for text in TOO_LARGE)
            if part not in idiom or skipped:
                continue
            ratio, mine, other = compared(idiom, statement, given)
            ratios[idiom] = ratio
            print(f"{ratio:6.2f} {mine:10.4f} {other:10.4f}  {idiom}", flush=True)
        behind = sum(ratio < 0.95 for ratio in ratios.values())
        mean = geometric_mean(ratios.values())
        print(f"\ngeometric mean {mean:.2f}, {behind} of {len(ratios)} below 0.95\n")


if __name__ == "__main__":
    with sd.options(threads=1):
        main()
