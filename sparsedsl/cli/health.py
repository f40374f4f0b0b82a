"""What ``doctor`` checks: each part is used once, in the smallest way that shows it works."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from typing import Any


def checks() -> list[dict[str, Any]]:
    """Every check: its name, whether it is good, and what was found."""
    records = [
        _checked("python", lambda: f"{platform.python_version()} on {platform.machine()}"),
        *(_checked(name, lambda name=name: _version(name)) for name in _PACKAGES),
        _checked("threads", _threads),
        _checked("cache", _cache),
        _checked("writes", _writes),
        _checked("solver", _solver),
        _checked("kernel", _kernel),
    ]
    for name in ("pyamg", "matplotlib", "h5py"):
        records.append({"name": name, "good": True, "found": _optional(name)})
    return records


_PACKAGES = ("sparsedsl", "numpy", "scipy", "numba", "llvmlite", "islpy", "z3-solver")


def _checked(name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"name": name, "good": True, "found": check()}
    except Exception as error:  # a broken installation can fail in any way
        return {"name": name, "good": False, "found": f"{type(error).__name__}: {error}"}


def _version(name: str) -> str:
    return importlib.metadata.version(name)


def _optional(name: str) -> str:
    try:
        return _version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed (optional)"


def _threads() -> str:
    from sparsedsl.options import current

    return str(current().thread_count)


def _cache() -> str:
    from sparsedsl.runtime import cache

    found = cache.info()
    return f"{found.directory or 'in memory'}, {found.kernels} kernels"


def _writes() -> str:
    from sparsedsl.options import current
    from sparsedsl.runtime import pages

    if not current().track_writes:
        return "the system is not asked who writes to arrays (track_writes)"
    if pages.system() is None:
        return "the system does not tell who writes to arrays: long ones are sampled"
    return "the system tells who writes to arrays"


def _solver() -> str:
    from sparsedsl.cli.arguments import engine, tensors

    statement = "C[i,j] = A[i,j] * B[i,j]"
    given = tensors(statement, layouts="A=csr,B=csr", shapes="i=8,j=8")
    proofs = engine(statement, tuple(given)).lower(list(given.values())).proofs
    proved = sum(p.proved for p in proofs)
    if not proved:
        raise RuntimeError(f"none of {len(proofs)} goals was proved")
    return f"{proved} of {len(proofs)} goals proved in {sum(p.seconds for p in proofs):.2f} s"


def _kernel() -> str:
    import numpy as np

    from sparsedsl.api import einsum

    found = einsum("ij,j->i", np.eye(3), np.arange(3.0))
    if not np.array_equal(found, np.arange(3.0)):
        raise RuntimeError(f"a product came out wrong: {found}")
    return "a kernel compiles and gives the right result"
