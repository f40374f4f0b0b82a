"""Libraries that are imported where they are installed.

Takes: operands as scipy and NumPy hold them, put into a library's own form before the call is
timed.  Gives: jobs by the kernel's name.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.bench.jobs import Job, Known, Missing, Operands, Prepare, single
from sparsedsl.bench.peers.scipy_kernels import PRODUCTS, SAMPLED, SCIPY, SUMS, placed


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

    def by_fiber(o: Operands) -> Job:
        x = o["X"]
        product = job(vector)({"A": x.by_fiber, "x": o["v"]})
        return Job(product.call, lambda y: placed(x, product.finish(y)))

    return {
        **{n: job(vector) for n in SCIPY if n.startswith(("SpMV CS", "SpMSpV"))},
        **{n: job(lambda h: h["A"].ewise_add(h["B"], gb.binary.plus).new()) for n in SUMS},
        **{n: job(lambda h: h["A"].ewise_mult(h["B"], gb.binary.times).new()) for n in PRODUCTS},
        "SpGEMM": job(lambda h: times(h["A"] @ h["B"]).new()),
        "masked SpGEMM": job(lambda h: masked(h["A"], h["B"], h["M"])),
        **{n: job(lambda h: masked(h["A"], h["B"].T, h["M"])) for n in SAMPLED},
        **{f"TTV sparse {part} %": by_fiber for part in (1, 10)},
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


def _finch() -> dict[str, Prepare]:
    finch: Any = importlib.import_module("finch")
    finch.set_default_scheduler(ctx=finch.COMPILE_NUMBA)

    def held(x: Any) -> Any:
        if sp.issparse(x):
            x = sp.csr_array(
                (x.data, x.indices.astype(np.int64), x.indptr.astype(np.int64)), x.shape
            )
        return finch.asarray(x)

    def job(program: str) -> Prepare:
        def prepare(o: Operands) -> Job:
            own = {name: held(x) for name, x in o.items()}
            return Job(lambda: finch.einop(program, **own), finch.to_numpy)

        return prepare

    # sparse results are not asked for: it makes dense ones of them
    return {"SpMV CSR": job("y[i] += A[i,j] * x[j]"), "SpMM 64": job("C[i,k] += A[i,j] * B[j,k]")}


@dataclass(frozen=True, slots=True)
class Library:
    """A library that may be installed: its module, its package, its kernels."""

    module: str
    package: str
    kernels: Callable[[], dict[str, Prepare]]

    def find(self) -> Known:
        """Import it, and return its kernels.

        Raises
        ------
        Missing
            Where it is not installed, or does not load.
        """
        if importlib.util.find_spec(self.module) is None:
            raise Missing(f"not installed (pip install {self.package})")
        try:
            return single(importlib.metadata.version(self.package), self.kernels())
        except Exception as error:  # whatever a broken installation raises
            said = str(error).splitlines()[0]
            raise Missing(f"installed, but does not load: {said}") from error


LIBRARIES = {
    "GraphBLAS": Library("graphblas", "python-graphblas", _graphblas),
    "pydata/sparse": Library("sparse", "sparse", _pydata),
    "MKL": Library("sparse_dot_mkl", "sparse-dot-mkl", _mkl),
    "torch": Library("torch", "torch", _torch),
    "finch": Library("finch", "finch-tensor", _finch),
}
"""Libraries by the peer's name."""
