"""A chosen part of the matrix of kernels and layouts, compiled by Numba."""

import zlib

import numpy as np
import pytest
from expressions import EXPRESSIONS, draw
from levels import check, remembering_proofs

import sparsedsl as sd

CASES = [
    *(("spmv", (a,)) for a in ("csr", "csc", "coo", "dia", "ell", "bcsc")),
    *(("spmspv", (a, "csf")) for a in ("csr", "csc")),
    *(("product", pair) for pair in (("csr", "csr"), ("csr", "coo"), ("csr", "csc"))),
    *(("spgemm", pair) for pair in (("csr", "csr"), ("csc", "csc"), ("csr", "csc"))),
    *(("add", pair) for pair in (("csr", "csr"), ("csr", "csc"), ("coo", "dia"))),
    *((name, ("csr",)) for name in ("spmm", "sddmm", "masked", "inner", "add3", "times_sum")),
    *((name, ("csr",)) for name in ("add_product", "maximum", "greater", "where", "upper")),
    *((name, ("csr",)) for name in ("mask", "complement", "min_rows", "prod_rows", "exp")),
    *((name, ("csr",)) for name in ("diagonal", "column", "transpose", "chain_intermediate")),
    *((name, ("csr",)) for name in ("two_results", "accumulate", "gram", "min_plus", "outer_sum")),
    *((name, ("csf",)) for name in ("mttkrp", "ttv", "ttv_sparse", "ttm", "convolution_sparse")),
]
BLOCKED = [("product", "bcsr"), ("spgemm", "bcsr"), ("spmv", "bcsr"), ("spmv", "sell")]


def layout_named(name, rank):
    sizes = {"bcsr": (2, 3), "bcsc": (2, 3), "sell": (2,)}
    layout = sd.layouts[name if rank == 2 else "csf"]
    return layout(*sizes[name]) if rank == 2 and name in sizes else layout


def run(name, layouts, dtype="float64"):
    expr = EXPRESSIONS[name]
    padded = (*layouts, *(layouts[-1:] * 3))
    chosen = {
        operand: layout_named(layout, rank)
        for (operand, rank), layout in zip(expr.sparse(), padded, strict=False)
    }
    rng = np.random.default_rng(zlib.crc32(f"{name} {layouts}".encode()))
    with remembering_proofs():
        tensors, truth = draw(expr, chosen, rng, least=10, most=30, dtype=dtype)
        special = sd.kernel(expr.body).engine.specialise(list(tensors.values()))
        check(special, tensors, truth, expr.rtol)
        for least, most in ((0, 2), (1, 1), (20, 70)):
            given = draw(expr, chosen, rng, least=least, most=most, dtype=dtype)
            check(special, *given, expr.rtol)


@pytest.mark.parametrize(
    ("name", "layouts"), CASES, ids=lambda x: x if isinstance(x, str) else "-".join(x)
)
def test_compiled(name, layouts):
    run(name, layouts)


@pytest.mark.parametrize(("name", "layout"), BLOCKED)
def test_blocked(name, layout):
    run(name, (layout, "csr"))


@pytest.mark.parametrize("dtype", ["float32", "complex128", "int64", "bool"])
@pytest.mark.parametrize("name", ["spmv", "spgemm", "add"])
def test_dtypes(name, dtype):
    run(name, ("csr",), dtype)
