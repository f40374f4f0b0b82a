"""The kernels that ``warmup`` compiles."""

from __future__ import annotations

import time
from collections.abc import Iterator

USUAL = (
    ("y[i] = A[i,j] * x[j]", {"A": "csr"}),
    ("y[i] = A[i,j] * x[j]", {"A": "csc"}),
    ("y[i,r] = A[i,j] * x[j,r]", {"A": "csr"}),
    ("C[i,j] = A[i,k] * B[k,j]", {"A": "csr", "B": "csr"}),
    ("C[i,j] = A[i,j] * B[i,j]", {"A": "csr", "B": "csr"}),
    ("C[i,j] = A[i,j] + B[i,j]", {"A": "csr", "B": "csr"}),
    ("C[i,j] = S[i,j] * A[i,k] * B[k,j]", {"S": "csr"}),
    ("M[i,r] = T[i,j,k] * B[j,r] * C[k,r]", {"T": "csf"}),
)
"""Statements, and the layouts of their tensors that are not dense."""


def usual_kernels() -> Iterator[tuple[str, float]]:
    """Compile each, for float64 and a few hundred thousand entries; yield its name and time."""
    from sparsedsl.cli.arguments import engine, tensors

    for statement, chosen in USUAL:
        layouts = ",".join(f"{name}={layout}" for name, layout in chosen.items())
        given = tensors(statement, layouts=layouts)
        start = time.perf_counter()
        engine(statement, tuple(given)).run(list(given.values()))
        yield f"{statement}  {layouts}", time.perf_counter() - start
