"""How scipy computes each kernel, and NumPy where scipy has none: what others must give too.

Takes: operands as scipy and NumPy hold them.  Gives: jobs by the kernel's name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.bench.inputs import Fibers
from sparsedsl.bench.jobs import Job, Operands, Prepare

ROOM = 1 << 26
"""Products of two entries that are made before a mask is put on them."""


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


def _masked(a: Any, b: Any, mask: Any) -> Callable[[], Any]:
    """Multiply, and keep what the mask holds, by as many rows at once as there is room for."""
    products = np.concatenate([[0], np.cumsum(np.diff(b.indptr)[a.indices], dtype=np.int64)])
    parts = products[a.indptr] // ROOM
    ends = np.concatenate([[0], np.flatnonzero(np.diff(parts)) + 1, [a.shape[0]]])
    blocks = [slice(*pair) for pair in itertools.pairwise(np.unique(ends).tolist())]

    def by_rows() -> Any:
        done = [(a[part] @ b).multiply(mask[part]) for part in blocks]
        return sp.vstack(done, format="csr")

    return by_rows if len(blocks) > 1 else lambda: (a @ b).multiply(mask)


def _masked_product(o: Operands) -> Job:
    return Job(_masked(o["A"], o["B"], o["M"]), steady=True)


def _sampled(o: Operands) -> Job:
    return Job(_masked(o["A"], sp.csr_array(o["B"].T), o["M"]), steady=True)


def _triangles(o: Operands) -> Job:
    inside = _masked(o["L"], o["L"], o["L"])
    return Job(lambda: inside().sum(), steady=True)


def _by_fiber(o: Operands, other: str) -> Job:
    x: Fibers = o["X"]
    fibers = x.by_fiber
    return Job(lambda: fibers @ o[other], lambda y: placed(x, y))


def _by_fiber_sparse(o: Operands) -> Job:
    x: Fibers = o["X"]
    product = _times_sparse_vector({"A": x.by_fiber, "x": o["v"]})
    return Job(product.call, lambda y: placed(x, product.finish(y)))


def placed(x: Fibers, values: Any) -> Any:
    """Put one value, or one row, for each fiber in its place; the first two modes joined."""
    if values.ndim == 1:
        return sp.csr_array((values, (x.first, x.middles)), shape=x.shape[:2])
    rows = sp.coo_array(values)
    joined = x.first.astype(np.int64) * x.shape[1] + x.middles
    shape = (x.shape[0] * x.shape[1], values.shape[1])
    return sp.csr_array((rows.data, (joined[rows.coords[0]], rows.coords[1])), shape=shape)


def _mttkrp(o: Operands) -> Job:
    x: Fibers = o["X"]
    fibers, summing = x.by_fiber, _summing(x)
    return Job(lambda: summing @ ((fibers @ o["C"]) * o["B"][x.middles]))


def _sparse_mttkrp(o: Operands) -> Job:
    x: Fibers = o["X"]
    fibers, summing = x.by_fiber, _summing(x)
    return Job(lambda: summing @ (fibers @ o["C"]).multiply(o["B"][x.middles, :]))


def _summing(x: Fibers) -> Any:
    """Return the matrix that adds up the fibers of each first coordinate."""
    count = x.middles.size
    places = (x.first, np.arange(count, dtype=np.int32))
    return sp.csr_array((np.ones(count), places), shape=(x.shape[0], count))


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

SAMPLED = ("sampled inner products", "sampled inner products, 200 against 2")

SCIPY: dict[str, Prepare] = {
    **dict.fromkeys(("SpMV CSR", "SpMV CSC", "SpMV BCSR", "SpMV DIA"), _times_vector),
    **{f"SpMSpV {f} {p} %": _times_sparse_vector for f in ("CSR", "CSC") for p in (1, 10)},
    "SpMM 64": lambda o: Job(lambda: o["A"] @ o["B"]),
    "SDDMM 64": _sddmm,
    **dict.fromkeys(SUMS, lambda o: Job(lambda: o["A"] + o["B"])),
    "A + B + C": lambda o: Job(lambda: o["A"] + o["B"] + o["C"]),
    **dict.fromkeys(PRODUCTS, lambda o: Job(lambda: o["A"].multiply(o["B"]))),
    "SpGEMM": _product,
    "masked SpGEMM": _masked_product,
    "triangles": _triangles,
    **dict.fromkeys(SAMPLED, _sampled),
    "TTV": lambda o: _by_fiber(o, "v"),
    "TTV sparse 1 %": _by_fiber_sparse,
    "TTV sparse 10 %": _by_fiber_sparse,
    "TTM dense 16": lambda o: _by_fiber(o, "B"),
    "TTM sparse 16": lambda o: _by_fiber(o, "B"),
    "MTTKRP 32": _mttkrp,
    "MTTKRP sparse 32": _sparse_mttkrp,
    "inner product, order 3": _inner,
    "A x and A' w": _both_products,
    "sums and maxima of rows": _sums_and_maxima,
}
"""How scipy (NumPy, for SDDMM) computes each kernel; rows of sparse products sorted."""
