"""Other ways to compute a case: scipy, hand-written kernels, and libraries where installed.

Takes: a ``Case``.  Gives: for each peer, calls that compute it, each with its name; or the
reason why there is none.  Operands are put into a peer's own form before the call is timed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.bench import merging
from sparsedsl.bench.cases import Case
from sparsedsl.bench.inputs import Fibers
from sparsedsl.bench.jobs import Job, Operands, Prepare


def _times_vector(o: Operands) -> Job:
    return Job(lambda: o["A"] @ o["x"])


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


SCIPY: dict[str, Prepare] = {
    **dict.fromkeys(("SpMV CSR", "SpMV CSC", "SpMV BCSR", "SpMV DIA"), _times_vector),
    **{f"SpMSpV {f} {p} %": _times_sparse_vector for f in ("CSR", "CSC") for p in (1, 10)},
    "SpMM 64": lambda o: Job(lambda: o["A"] @ o["B"]),
    "SDDMM 64": _sddmm,
    **dict.fromkeys(("A + B", "A + B, one pattern"), lambda o: Job(lambda: o["A"] + o["B"])),
    "A + B + C": lambda o: Job(lambda: o["A"] + o["B"] + o["C"]),
    **dict.fromkeys(
        ("A .* B", "A .* B, one pattern", "A .* B, 200 against 2"),
        lambda o: Job(lambda: o["A"].multiply(o["B"])),
    ),
    "SpGEMM": _product,
    "masked SpGEMM": lambda o: Job(lambda: (o["A"] @ o["B"]).multiply(o["M"])),
    "triangles": lambda o: Job(lambda: (o["L"] @ o["L"]).multiply(o["L"]).sum()),
    "sampled inner products": _sampled,
    "TTV": lambda o: _by_fiber(o, "v"),
    "TTM dense 16": lambda o: _by_fiber(o, "B"),
    "TTM sparse 16": lambda o: _by_fiber(o, "B"),
    "MTTKRP 32": _mttkrp,
    "inner product, order 3": _inner,
}
"""How scipy (NumPy, for SDDMM) computes each kernel; rows of sparse products sorted."""


def _graphblas() -> dict[str, Prepare]:
    gb: Any = importlib.import_module("graphblas")
    gb.ss.config["nthreads"] = 1
    times = gb.semiring.plus_times

    def matrices(o: Operands) -> dict[str, Any]:
        return {n: gb.io.from_scipy_sparse(x) for n, x in o.items() if sp.issparse(x)}

    def job(call: Callable[[dict[str, Any]], Any]) -> Prepare:
        def prepare(o: Operands) -> Job:
            held = matrices({n: x for n, x in o.items() if x.ndim == 2})
            for name, x in o.items():
                if x.ndim == 1:
                    held[name] = (
                        gb.Vector.from_dense(x)
                        if isinstance(x, np.ndarray)
                        else gb.Vector.from_coo(x.coords[0], x.data, size=x.shape[0])
                    )
            return Job(lambda: settled(call(held)), finish)

        return prepare

    def settled(result: Any) -> Any:
        """Do what the library leaves for later, such as the sorting of rows."""
        if isinstance(result, gb.Matrix):
            result.wait("materialize")
        return result

    def finish(result: Any) -> Any:
        if isinstance(result, gb.Vector):
            return result.to_dense(fill_value=0.0)
        return gb.io.to_scipy_sparse(result, "csr") if isinstance(result, gb.Matrix) else result

    def masked(left: Any, right: Any, mask: Any) -> Any:
        inside = times(left @ right).new(mask=mask.S)
        return inside.ewise_mult(mask, gb.binary.times).new()

    def vector(h: Any) -> Any:
        return times(h["A"] @ h["x"]).new()

    return {
        **{n: job(vector) for n in SCIPY if n.startswith(("SpMV CS", "SpMSpV"))},
        **{
            n: job(lambda h: h["A"].ewise_add(h["B"], gb.binary.plus).new())
            for n in ("A + B", "A + B, one pattern")
        },
        **{
            n: job(lambda h: h["A"].ewise_mult(h["B"], gb.binary.times).new())
            for n in SCIPY
            if n.startswith("A .* B")
        },
        "SpGEMM": job(lambda h: times(h["A"] @ h["B"]).new()),
        "masked SpGEMM": job(lambda h: masked(h["A"], h["B"], h["M"])),
        "sampled inner products": job(lambda h: masked(h["A"], h["B"].T, h["M"])),
        "triangles": job(
            lambda h: masked(h["L"], h["L"], h["L"]).reduce_scalar(gb.monoid.plus).get(0.0)
        ),
    }


def _pydata() -> dict[str, Prepare]:
    sparse: Any = importlib.import_module("sparse")

    def job(call: Callable[[dict[str, Any]], Any]) -> Prepare:
        def prepare(o: Operands) -> Job:
            held = {
                n: sparse.GCXS.from_scipy_sparse(x) if sp.issparse(x) else x for n, x in o.items()
            }
            return Job(lambda: call(held), finish)

        return prepare

    def finish(y: Any) -> Any:
        return y.tocoo().to_scipy_sparse() if isinstance(y, sparse.GCXS) else y

    return {
        "SpMV CSR": job(lambda h: h["A"] @ h["x"]),
        "SpMM 64": job(lambda h: h["A"] @ h["B"]),
        "SpGEMM": job(lambda h: h["A"] @ h["B"]),
        "A + B": job(lambda h: h["A"] + h["B"]),
        "A .* B": job(lambda h: h["A"] * h["B"]),
    }


def _mkl() -> dict[str, Prepare]:
    mkl: Any = importlib.import_module("sparse_dot_mkl")
    mkl.mkl_set_num_threads(1)

    def times(o: Operands) -> Job:
        a, x = (sp.csr_matrix(o["A"]), o["x" if "x" in o else "B"])
        return Job(lambda: mkl.dot_product_mkl(a, x))

    def product(o: Operands) -> Job:
        a, b = sp.csr_matrix(o["A"]), sp.csr_matrix(o["B"])
        return Job(lambda: mkl.dot_product_mkl(a, b, reorder_output=True))

    return {"SpMV CSR": times, "SpMM 64": times, "SpGEMM": product}


def _torch() -> dict[str, Prepare]:
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)

    def held(m: Any) -> Any:
        arrays = (torch.from_numpy(a) for a in (m.indptr, m.indices, m.data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, that sparse tensors are in beta, unchecked
            return torch.sparse_csr_tensor(*arrays, size=m.shape)

    def times(o: Operands) -> Job:
        a, x = held(o["A"]), torch.from_numpy(o["x" if "x" in o else "B"])
        return Job(lambda: a @ x, lambda y: y.numpy())

    return {"SpMV CSR": times, "SpMM 64": times}


@dataclass(frozen=True, slots=True)
class Library:
    """A library that may be installed: its module, its package, its kernels."""

    name: str
    module: str
    package: str
    kernels: Callable[[], dict[str, Prepare]] | None = None


LIBRARIES = (
    Library("GraphBLAS", "graphblas", "python-graphblas", _graphblas),
    Library("pydata/sparse", "sparse", "sparse", _pydata),
    Library("MKL", "sparse_dot_mkl", "sparse-dot-mkl", _mkl),
    Library("torch", "torch", "torch", _torch),
    Library("finch", "finch", "finch-tensor"),
    Library("tensora", "tensora", "tensora"),
)


@dataclass(frozen=True, slots=True)
class Peers:
    """Kernels of each peer that can run, and the reason for each that cannot."""

    kernels: dict[str, dict[str, list[tuple[str, Prepare]]]]
    versions: dict[str, str]
    absent: dict[str, str]

    def jobs(self, case: Case) -> list[tuple[str, str, Job]]:
        """Return (peer, variant, job) for a case; scipy's is the first."""
        return [
            (peer, variant, prepare(case.operands))
            for peer, kernels in self.kernels.items()
            for variant, prepare in kernels.get(case.kernel.name, [])
        ]


HAND = Path(__file__).parents[2] / "bench" / "hand"
"""The hand-written kernels: in the project's sources, not in the installed package."""


def _hand() -> dict[str, list[tuple[str, Prepare]]]:
    spec = importlib.util.spec_from_file_location(
        "sparsedsl_bench_hand", HAND / "__init__.py", submodule_search_locations=[str(HAND)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Numba's cache finds functions by the name of their module
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)

    def prepared(variant: Any) -> Prepare:
        return lambda operands: Job(*variant(operands))

    return {
        kernel: [(name, prepared(variant)) for name, variant in variants.items()]
        for kernel, variants in module.KERNELS.items()
    }


@lru_cache(maxsize=1)
def find() -> Peers:
    """Look for every peer; those that are missing are listed with the reason."""
    version = importlib.metadata.version
    kernels = {"scipy": {k: [("", prepare)] for k, prepare in SCIPY.items()}}
    versions = {"scipy": version("scipy")}
    absent: dict[str, str] = {}
    if HAND.exists():
        kernels["hand"] = _hand()
        versions["hand"] = f"numba {version('numba')}"
    else:
        absent["hand"] = "hand-written kernels are in bench/hand of the project's sources"
    try:
        kernels["merging C"] = merging.kernels(merging.compiled())
        versions["merging C"] = f"cc {' '.join(merging.FLAGS)}"
    except merging.MissingPeer as reason:
        absent["merging C"] = str(reason)
    for library in LIBRARIES:
        if importlib.util.find_spec(library.module) is None:
            absent[library.name] = f"not installed (pip install {library.package})"
        elif library.kernels is None:
            absent[library.name] = "installed, but this suite states no kernels for it"
        else:
            try:
                found = library.kernels()
            except Exception as error:  # whatever a broken installation raises
                absent[library.name] = f"installed, but does not load: {str(error).splitlines()[0]}"
                continue
            kernels[library.name] = {k: [("", prepare)] for k, prepare in found.items()}
            versions[library.name] = version(library.package)
    program = shutil.which("taco")
    absent["TACO"] = (
        f"{program} is there, but this suite states no kernels for it"
        if program
        else "no program taco on PATH"
    )
    return Peers(kernels, versions, absent)
