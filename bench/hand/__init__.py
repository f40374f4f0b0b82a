"""Kernels written by hand in Numba, as an expert on each would: the mark to reach.

Every kernel takes raw arrays and gives raw arrays.  ``KERNELS`` maps the name of a kernel of
``sparsedsl.bench.cases`` to its variants; a variant takes operands and returns a call and what
turns its result into NumPy or scipy.  Where several variants exist the faster one on a case
counts.

Points that recur: subscripts are unsigned, because Numba wraps negative ones and that blocks
vector code; tables hold positions or stamps and are never cleared between rows; rows of
products are put in order by walking a bitmap of touched columns.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from .dense import columns_fixed, khatri_rao_sparse
from .elementwise import (
    add3,
    add_branch_free,
    add_branches,
    mul_branch_free,
    mul_branches,
    mul_search,
    mul_table,
)
from .products import (
    masked_product,
    masked_product_scatter,
    sampled,
    sampled_scatter,
    spgemm_bitmap,
    spgemm_sort,
    triangles,
)
from .tensors import inner, ttm_fixed, ttv, ttv_bitmap, ttv_flat, ttv_table
from .vectors import (
    both_products,
    both_products_at_once,
    spmspv_bitmap,
    spmspv_columns,
    spmspv_table,
    spmv,
    spmv_blocks,
    spmv_columns,
    spmv_diagonals,
    sums_and_maxima,
)

Arrays = tuple[np.ndarray, ...]


def u(a: np.ndarray) -> np.ndarray:
    """View int32 subscripts as unsigned: no copy."""
    return a.view(np.uint32)


def csr(m: Any) -> Arrays:
    return u(m.indptr), u(m.indices), m.data


def same(result: Any) -> Any:
    return result


def arrays_of(x: Any) -> Arrays:
    return u(x.roots), u(x.root_of), u(x.middles), u(x.starts), u(x.last), x.values


def rows(shape: Any) -> Callable[[Any], Any]:
    def finish(result: Any) -> Any:
        pos, crd, val = result
        return sp.csr_array((val, crd.view(np.int32), pos), shape=shape)

    return finish


def like(m: Any) -> Callable[[Any], Any]:
    return lambda val: sp.csr_array((val, m.indices, m.indptr), shape=m.shape)


def vector(kernel: Any) -> Any:
    return lambda o: (lambda: kernel(*csr(o["A"]), o["x"]), same)


def vector_of_columns(o: Any) -> Any:
    a = o["A"]
    return lambda: spmv_columns(*csr(a), o["x"], a.shape[0]), same


def vector_of_diagonals(o: Any) -> Any:
    a = o["A"]
    offsets = a.offsets.astype(np.int64)
    return lambda: spmv_diagonals(offsets, a.data, o["x"], a.shape[0]), same


def two_products(kernel: Any) -> Any:
    def variant(o: Any) -> Any:
        a = o["A"]
        return lambda: kernel(*csr(a), o["x"], o["w"], a.shape[1]), same

    return variant


def of_rows(o: Any) -> Any:
    a = o["A"]
    pos, _, val = csr(a)
    return lambda: sums_and_maxima(pos, val, a.shape[1]), same


def sparse_vector(kernel: Any, extent: int) -> Any:
    def variant(o: Any) -> Any:
        a, x = o["A"], o["x"]
        at = u(x.coords[0])
        return lambda: kernel(*csr(a), at, x.data, a.shape[extent]), same

    return variant


def elementwise(kernel: Any, *more: str, extent: bool = False) -> Any:
    def variant(o: Any) -> Any:
        a = o["A"]
        given = [part for n in ("A", "B", *more) for part in csr(o[n])]
        given += [a.shape[1]] if extent else []
        return lambda: kernel(*given), rows(a.shape)

    return variant


def product(kernel: Any) -> Any:
    def variant(o: Any) -> Any:
        a, b = o["A"], o["B"]
        return lambda: kernel(*csr(a), *csr(b), b.shape[1]), rows((a.shape[0], b.shape[1]))

    return variant


def with_mask(kernel: Any) -> Any:
    def variant(o: Any) -> Any:
        m, a, b = o["M"], o["A"], o["B"]
        return lambda: kernel(*csr(m), *csr(a), *csr(b), b.shape[1]), like(m)

    return variant


def count(o: Any) -> Any:
    low = o["L"]
    return lambda: triangles(*csr(low), low.shape[1]), same


spmm_64, sddmm_64, _ = columns_fixed(64)
mttkrp_32 = columns_fixed(32)[2]
ttm_dense_16, ttm_sparse_16 = ttm_fixed(16)


def dense_factor(o: Any) -> Any:
    return lambda: spmm_64(*csr(o["A"]), o["B"]), same


def sampled_dense(o: Any) -> Any:
    s = o["S"]
    return lambda: sddmm_64(*csr(s), o["P"], o["Q"]), like(s)


def tensor_vector(o: Any) -> Any:
    x = o["X"]
    held = u(x.starts), u(x.last), x.values
    first = x.first
    return (
        lambda: ttv(*held, o["v"]),
        lambda val: sp.csr_array((val, (first, x.middles)), shape=x.shape[:2]),
    )


def tensor_sparse_vector(kernel: Any) -> Any:
    def variant(o: Any) -> Any:
        x, v = o["X"], o["v"]
        held = u(x.starts), u(x.last), x.values, u(v.coords[0]), v.data, v.shape[0]
        first = x.first
        return (
            lambda: kernel(*held),
            lambda val: sp.csr_array((val, (first, x.middles)), shape=x.shape[:2]),
        )

    return variant


def tensor_dense(o: Any) -> Any:
    x = o["X"]
    held = arrays_of(x)
    return (
        lambda: ttm_dense_16(*held, o["B"], x.shape[0], x.shape[1]),
        lambda out: out.reshape(-1, out.shape[2]),
    )


def tensor_sparse(o: Any) -> Any:
    x, b = o["X"], o["B"]
    held = u(x.starts), u(x.last), x.values
    joined = x.first.astype(np.int64) * x.shape[1] + x.middles

    def finish(result: Any) -> Any:
        pos, crd, val = result
        places = np.repeat(joined, np.diff(pos)), crd.view(np.int32)
        return sp.csr_array((val, places), shape=(x.shape[0] * x.shape[1], b.shape[1]))

    return lambda: ttm_sparse_16(*held, *csr(b)), finish


def khatri_rao(o: Any) -> Any:
    x = o["X"]
    held = arrays_of(x)
    return lambda: mttkrp_32(*held, o["B"], o["C"], x.shape[0]), same


def sparse_factors(kernel: Any) -> Any:
    def variant(o: Any) -> Any:
        x = o["X"]
        held = *arrays_of(x), *csr(o["B"]), *csr(o["C"])
        return lambda: kernel(*held, x.shape[0]), same

    return variant


def dense_factors(o: Any) -> Any:
    """Make both factors dense within the call."""
    x = o["X"]
    held, b, c = arrays_of(x), o["B"], o["C"]
    return lambda: mttkrp_32(*held, b.toarray(), c.toarray(), x.shape[0]), same


def inner_product(o: Any) -> Any:
    held = (*arrays_of(o["X"]), *arrays_of(o["Y"]))
    return lambda: inner(*held), same


BY_ROWS = {
    "table": sparse_vector(spmspv_table, 1),
    "bitmap": sparse_vector(spmspv_bitmap, 1),
}
BY_COLUMNS = {"": sparse_vector(spmspv_columns, 0)}
SUMS = {"branches": elementwise(add_branches), "branch-free": elementwise(add_branch_free)}
BY_FIBERS = {
    "table": tensor_sparse_vector(ttv_table),
    "bitmap": tensor_sparse_vector(ttv_bitmap),
    "flat": tensor_sparse_vector(ttv_flat),
}
SAMPLED = {"table": with_mask(sampled), "scatter": with_mask(sampled_scatter)}
PRODUCTS = {
    "branches": elementwise(mul_branches),
    "branch-free": elementwise(mul_branch_free),
    "table": elementwise(mul_table, extent=True),
    "search": elementwise(mul_search),
}

KERNELS: dict[str, dict[str, Any]] = {
    "SpMV CSR": {"": vector(spmv)},
    "SpMV CSC": {"": vector_of_columns},
    "SpMV BCSR": {"": vector(spmv_blocks)},
    "SpMV DIA": {"": vector_of_diagonals},
    "SpMSpV CSR 1 %": BY_ROWS,
    "SpMSpV CSR 10 %": BY_ROWS,
    "SpMSpV CSC 1 %": BY_COLUMNS,
    "SpMSpV CSC 10 %": BY_COLUMNS,
    "SpMM 64": {"": dense_factor},
    "SDDMM 64": {"": sampled_dense},
    "A + B": SUMS,
    "A + B, one pattern": SUMS,
    "A + B, 16 in turn": SUMS,
    "A + B + C": {"": elementwise(add3, "C")},
    "A .* B": PRODUCTS,
    "A .* B, one pattern": PRODUCTS,
    "A .* B, 16 in turn": PRODUCTS,
    "A .* B, 200 against 2": PRODUCTS,
    "SpGEMM": {"bitmap": product(spgemm_bitmap), "sort": product(spgemm_sort)},
    "masked SpGEMM": {
        "table": with_mask(masked_product),
        "scatter": with_mask(masked_product_scatter),
    },
    "triangles": {"": count},
    "sampled inner products": SAMPLED,
    "sampled inner products, 200 against 2": SAMPLED,
    "TTV": {"": tensor_vector},
    "TTV sparse 1 %": BY_FIBERS,
    "TTV sparse 10 %": BY_FIBERS,
    "TTM dense 16": {"": tensor_dense},
    "TTM sparse 16": {"": tensor_sparse},
    "MTTKRP 32": {"": khatri_rao},
    "MTTKRP sparse 32": {
        "dense": dense_factors,
        **{name: sparse_factors(kernel) for name, kernel in khatri_rao_sparse(32).items()},
    },
    "inner product, order 3": {"": inner_product},
    "A x and A' w": {
        "one after the other": two_products(both_products),
        "at once": two_products(both_products_at_once),
    },
    "sums and maxima of rows": {"": of_rows},
}
"""Variants of each kernel, by name."""
