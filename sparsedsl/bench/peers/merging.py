"""A peer in C: loops that merge coordinates, as compilers of level formats emit them.

Takes: ``bench/merging.c`` of the project's sources and a C compiler.  Gives: kernels as
``peers`` wants them.  They stand in for TACO, whose schedules have this form, where TACO
itself is not installed: the source says what is alike and what is not.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.bench.inputs import Fibers
from sparsedsl.bench.jobs import Job, Known, Missing, Operands, Prepare
from sparsedsl.bench.peers.c_code import FLAGS, library
from sparsedsl.bench.peers.scipy_kernels import placed

SOURCE = Path(__file__).parents[3] / "bench" / "merging.c"

VARIANTS = ("merge", "gallop")


def find() -> Known:
    """Compile the source, and return its kernels.

    Raises
    ------
    Missing
        Where the source, or a C compiler, is not there.
    """
    return Known(f"cc {' '.join(FLAGS)}", kernels(compiled()))


def compiled() -> ctypes.CDLL:
    """Compile the source and load it.

    Raises
    ------
    Missing
        Where the source, or a C compiler, is not there.
    """
    if not SOURCE.exists():
        raise Missing("bench/merging.c is in the project's sources only")
    return library(SOURCE.read_text())


def kernels(library: ctypes.CDLL) -> dict[str, list[tuple[str, Prepare]]]:
    """Return the variants of each kernel of the bench that merges coordinates."""
    library.product_rows.restype = ctypes.c_int32

    def both(make: Callable[[Any, Operands], Job], name: str) -> list[tuple[str, Prepare]]:
        return [(v, _bound(make, getattr(library, f"{name}_{v}"))) for v in VARIANTS]

    for variant in VARIANTS:
        for name in ("triangles", "inner"):
            getattr(library, f"{name}_{variant}").restype = ctypes.c_double
    # two cursors take minutes on large vectors
    by_rows = both(_sparse_vector, "spmspv")[1:]
    by_columns = [("", _bound(_columns, library.spmspv_columns))]
    sums = [("merge", _bound(_elementwise, library.add_merge))]
    products = both(_elementwise, "mul")
    return {
        "SpMSpV CSR 1 %": by_rows,
        "SpMSpV CSR 10 %": by_rows,
        "SpMSpV CSC 1 %": by_columns,
        "SpMSpV CSC 10 %": by_columns,
        "A + B": sums,
        "A + B, one pattern": sums,
        "A + B, 16 in turn": sums,
        "A .* B": products,
        "A .* B, one pattern": products,
        "A .* B, 16 in turn": products,
        "A .* B, 200 against 2": products,
        "SpGEMM": [("", _bound(_product, library))],
        "masked SpGEMM": both(_masked, "masked"),
        "triangles": both(_triangles, "triangles"),
        "sampled inner products": both(_sampled, "sampled"),
        "sampled inner products, 200 against 2": both(_sampled, "sampled"),
        "TTV sparse 1 %": both(_tensor_times_vector, "spmspv"),
        "TTV sparse 10 %": both(_tensor_times_vector, "spmspv"),
        "TTM sparse 16": [("", _bound(_tensor_times_matrix, library))],
        "MTTKRP sparse 32": [
            *both(_mttkrp, "mttkrp"),
            ("workspace", _bound(_mttkrp, library.mttkrp_workspace)),
        ],
        "inner product, order 3": both(_inner, "inner"),
    }


def _bound(make: Callable[[Any, Operands], Job], function: Any) -> Prepare:
    return lambda operands: replace(make(function, operands), steady=True)


def _address(a: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(a.ctypes.data)


def _matrix(m: Any) -> list[ctypes.c_void_p]:
    return [_address(m.indptr), _address(m.indices), _address(m.data)]


def _sparse_vector(function: Any, o: Operands) -> Job:
    a, x = o["A"], o["x"]
    places = x.coords[0]
    given = [a.shape[0], *_matrix(a), x.nnz, _address(places), _address(x.data)]

    def call() -> Any:
        y = np.empty(a.shape[0])
        function(*given, _address(y))
        return y

    return Job(call)


def _columns(function: Any, o: Operands) -> Job:
    a, x = o["A"], o["x"]
    places = x.coords[0]
    given = [*_matrix(a), x.nnz, _address(places), _address(x.data)]

    def call() -> Any:
        y = np.zeros(a.shape[0])
        function(*given, _address(y))
        return y

    return Job(call)


def _elementwise(function: Any, o: Operands) -> Job:
    a, b = o["A"], o["B"]
    given = [a.shape[0], *_matrix(a), *_matrix(b)]

    def call() -> Any:
        pos, crd, val = _rows(a.shape[0], a.nnz + b.nnz)
        function(*given, _address(pos), _address(crd), _address(val))
        return pos, crd[: pos[-1]], val[: pos[-1]]

    return Job(call, lambda r: sp.csr_array((r[2], r[1], r[0]), shape=a.shape))


def _rows(count: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(count + 1, np.int32), np.empty(most, np.int32), np.empty(most)


def _multiply(library: Any, left: list[np.ndarray], b: Any) -> Callable[[], Any]:
    """The rows that ``left`` (pos, crd, val) has, times a matrix: assembled, then computed."""
    count, columns = left[0].size - 1, b.shape[1]
    pos_a, crd_a, _ = given = [_address(a) for a in left]
    matrix = _matrix(b)

    def call() -> Any:
        pos = np.empty(count + 1, np.int32)
        most = library.product_rows(count, columns, pos_a, crd_a, *matrix[:2], _address(pos))
        crd, val = np.empty(most, np.int32), np.empty(most)
        ends = [_address(pos), _address(crd), _address(val)]
        library.product(count, columns, *given, *matrix, *ends)
        return pos, crd, val

    return call


def _product(library: Any, o: Operands) -> Job:
    a, b = o["A"], o["B"]
    shape = (a.shape[0], b.shape[1])
    call = _multiply(library, [a.indptr, a.indices, a.data], b)
    return Job(call, lambda r: sp.csr_array((r[2], r[1], r[0]), shape=shape))


def _tensor_times_matrix(library: Any, o: Operands) -> Job:
    x, b = o["X"], o["B"]
    joined = x.first.astype(np.int64) * x.shape[1] + x.middles
    shape = (x.shape[0] * x.shape[1], b.shape[1])

    def finish(result: Any) -> Any:
        pos, crd, val = result
        return sp.csr_array((val, (np.repeat(joined, np.diff(pos)), crd)), shape=shape)

    return Job(_multiply(library, [x.starts, x.last, x.values], b), finish)


def _tensor_times_vector(function: Any, o: Operands) -> Job:
    """Every fiber meets the whole of the vector."""
    x = o["X"]
    job = _sparse_vector(function, {"A": x.by_fiber, "x": o["v"]})
    return Job(job.call, lambda y: placed(x, y))


def _mttkrp(function: Any, o: Operands) -> Job:
    x, b, c = o["X"], o["B"], o["C"]
    shape = x.shape[0], b.shape[1]
    given = [shape[1], *_fibers(x), *_matrix(b), *_matrix(c)]

    def call() -> Any:
        m = np.zeros(shape)
        function(*given, _address(m))
        return m

    return Job(call)


def _masked(function: Any, o: Operands) -> Job:
    mask, a, b = o["M"], o["A"], o["B"]
    sizes = mask.shape[0], mask.shape[1]
    return _like(function, mask, [*sizes, *_matrix(mask), *_matrix(a), *_matrix(b)])


def _sampled(function: Any, o: Operands) -> Job:
    mask, a, b = o["M"], o["A"], o["B"]
    return _like(function, mask, [mask.shape[0], *_matrix(mask), *_matrix(a), *_matrix(b)])


def _like(function: Any, mask: Any, given: list[Any]) -> Job:
    def call() -> Any:
        out = np.empty(mask.nnz)
        function(*given, _address(out))
        return out

    return Job(call, lambda v: sp.csr_array((v, mask.indices, mask.indptr), shape=mask.shape))


def _triangles(function: Any, o: Operands) -> Job:
    low = o["L"]
    given = [low.shape[0], *_matrix(low)]
    return Job(lambda: function(*given))


def _inner(function: Any, o: Operands) -> Job:
    given = [*_fibers(o["X"]), *_fibers(o["Y"])]
    return Job(lambda: function(*given))


def _fibers(x: Fibers) -> list[Any]:
    arrays = (x.roots, x.root_of, x.middles, x.starts, x.last, x.values)
    return [x.roots.size, *(_address(a) for a in arrays)]
