"""How scipy computes each kernel, and NumPy where scipy has none: what others must give too.

Takes: operands as scipy and NumPy hold them.  Gives: jobs by the kernel's name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.bench.inputs import Fibers
from sparsedsl.bench.jobs import Job, Operands, Prepare


def _times_vector(o: Operands) -> Job:
    return Job(lambda: o["A"] @ o["x"])


def _both_products(o: Operands) -> Job:
    transposed = o["A"].T
    return Job(lambda: (o["A"] @ o["x"], transposed @ o["w"]))


def _sums_and_maxima(o: Operands) -> Job:
    return Job(lambda: (o["A"].sum(axis=1), o["A"].max(axis=1)), lambda y: (y[0], y[1].toarray()))


def _times_sparse_vector(o: Operands) -> Job:
    x = o["x"]
    column = sp.csc_array((x.data, (x.coords[0], np.zeros_like(x.coords[0]))), (x.shape[0], 1))
    column = column.asformat(o["A"].format)
    return Job(lambda: o["A"] @ column, lambda y: y.toarray()[:, 0])


def _sddmm(o: Operands) -> Job:
    """NumPy's idiom, in chunks that stay in cache."""
    s, p, q = o["S"], o["P"], o["Q"]
    rows = np.repeat(np.arange(s.shape[0], dtype=np.int32), np.diff(s.indptr))
    chunk = 1 << 12

    def call() -> Any:
        dots = np.empty(s.nnz)
        for at in range(0, s.nnz, chunk):
            part = slice(at, at + chunk)
            np.einsum("pk,pk->p", p[rows[part]], q[s.indices[part]], out=dots[part])
        return sp.csr_array((s.data * dots, s.indices, s.indptr), shape=s.shape)

    return Job(call)


def _product(o: Operands) -> Job:
    def call() -> Any:
        c = o["A"] @ o["B"]
        c.sort_indices()
        return c

    return Job(call)


def _sampled(o: Operands) -> Job:
    transposed = sp.csr_array(o["B"].T)
    return Job(lambda: (o["A"] @ transposed).multiply(o["M"]))


def _by_fiber(o: Operands, other: str) -> Job:
    x: Fibers = o["X"]
    fibers = x.by_fiber
    return Job(lambda: fibers @ o[other], lambda y: _placed(x, y))


def _placed(x: Fibers, values: Any) -> Any:
    """Put one value, or one row, for each fiber in its place; the first two modes joined."""
    if values.ndim == 1:
        return sp.csr_array((values, (x.first, x.middles)), shape=x.shape[:2])
    rows = sp.coo_array(values)
    joined = x.first.astype(np.int64) * x.shape[1] + x.middles
    shape = (x.shape[0] * x.shape[1], values.shape[1])
    return sp.csr_array((rows.data, (joined[rows.coords[0]], rows.coords[1])), shape=shape)


def _mttkrp(o: Operands) -> Job:
    x: Fibers = o["X"]
    fibers, first, count = x.by_fiber, x.first, x.middles.size
    summing = sp.csr_array(
        (np.ones(count), (first, np.arange(count, dtype=np.int32))), shape=(x.shape[0], count)
    )
    return Job(lambda: summing @ ((fibers @ o["C"]) * o["B"][x.middles]))


def _inner(o: Operands) -> Job:
    def unfolded(x: Fibers) -> Any:
        spread = np.repeat(np.arange(x.middles.size), np.diff(x.starts))
        columns = x.middles[spread].astype(np.int64) * x.shape[2] + x.last
        shape = (x.shape[0], x.shape[1] * x.shape[2])
        return sp.csr_array((x.values, (x.first[spread], columns)), shape=shape)

    left, right = unfolded(o["X"]), unfolded(o["Y"])
    return Job(lambda: left.multiply(right).sum())


SUMS = ("A + B", "A + B, one pattern", "A + B, 16 in turn")
PRODUCTS = ("A .* B", "A .* B, one pattern", "A .* B, 200 against 2", "A .* B, 16 in turn")
"""Kernels that are one sum or product of two matrices, element by element."""

SCIPY: dict[str, Prepare] = {
    **dict.fromkeys(("SpMV CSR", "SpMV CSC", "SpMV BCSR", "SpMV DIA"), _times_vector),
    **{f"SpMSpV {f} {p} %": _times_sparse_vector for f in ("CSR", "CSC") for p in (1, 10)},
    "SpMM 64": lambda o: Job(lambda: o["A"] @ o["B"]),
    "SDDMM 64": _sddmm,
    **dict.fromkeys(SUMS, lambda o: Job(lambda: o["A"] + o["B"])),
    "A + B + C": lambda o: Job(lambda: o["A"] + o["B"] + o["C"]),
    **dict.fromkeys(PRODUCTS, lambda o: Job(lambda: o["A"].multiply(o["B"]))),
    "SpGEMM": _product,
    "masked SpGEMM": lambda o: Job(lambda: (o["A"] @ o["B"]).multiply(o["M"])),
    "triangles": lambda o: Job(lambda: (o["L"] @ o["L"]).multiply(o["L"]).sum()),
    "sampled inner products": _sampled,
    "TTV": lambda o: _by_fiber(o, "v"),
    "TTM dense 16": lambda o: _by_fiber(o, "B"),
    "TTM sparse 16": lambda o: _by_fiber(o, "B"),
    "MTTKRP 32": _mttkrp,
    "inner product, order 3": _inner,
    "A x and A' w": _both_products,
    "sums and maxima of rows": _sums_and_maxima,
}
"""How scipy (NumPy, for SDDMM) computes each kernel; rows of sparse products sorted."""
