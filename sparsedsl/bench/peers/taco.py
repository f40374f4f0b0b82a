"""TACO, where its program is on PATH: it writes C, which the system's compiler compiles.

Two peers: ``TACO`` with the schedule that is fastest in a short trial, its name in the report,
and ``TACO default``, with that which it chooses itself.  Both run on one thread.  A call makes the
whole result, its pattern too, in memory of the C library, and frees the result before.
"""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
import tempfile
import weakref
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sparsedsl.bench.inputs import Fibers
from sparsedsl.bench.jobs import Job, Known, Missing, Operands, Prepare
from sparsedsl.bench.peers.c_code import FLAGS, compiler, library

CALLS = Path(__file__).parents[3] / "bench" / "taco_call.c"

MOST_STEPS = 2e9
"""Steps of two cursors over a sparse vector, from the start in each row, that are waited for
where another schedule takes fewer."""

_SIGNATURE = re.compile(r"^int evaluate\(([^)]*)\)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """An expression in TACO's notation, the formats of its tensors, and its schedules by name.

    ``names`` has the operand each tensor is, where its name differs: TACO wants one format for
    each name.
    """

    expression: str
    formats: dict[str, str]
    schedules: dict[str, str]
    names: dict[str, str]

    @property
    def result(self) -> str:
        """The name of the result."""
        return re.split(r"[(=]", self.expression)[0]


def _statement(expression: str, formats: str, names: str = "", **schedules: str) -> Statement:
    """Make a statement; formats and names are written ``A:ds B:ds:1,0`` and ``L=A``."""
    by_name = dict(part.split(":", 1) for part in formats.split())
    differing = dict(part.split("=") for part in names.split())
    return Statement(expression, by_name, {"default": "", **schedules}, differing)


_MATRICES = "A:ds B:ds C:ds"
_VECTOR = "y(i)=A(i,j)*x(j)"
_SPARSE_VECTOR = _statement(_VECTOR, "y:d A:ds x:s", gallop="mergeby(j,Gallop)")
_BY_COLUMNS = _statement(_VECTOR, "y:d A:ds:1,0 x:s")
_SUM = _statement("C(i,j)=A(i,j)+B(i,j)", _MATRICES)
_TIMES = _statement("C(i,j)=A(i,j)*B(i,j)", _MATRICES, gallop="mergeby(j,Gallop)")
_SAMPLED = _statement(
    "C(i,j)=M(i,j)*A(i,k)*B(j,k)", f"M:ds {_MATRICES}", gallop="mergeby(k,Gallop)"
)
_FIBERS_BY_VECTOR = _statement("M(i,j)=X(i,j,k)*v(k)", "M:ss X:sss v:s", gallop="mergeby(k,Gallop)")
_MTTKRP = "M(i,r)=X(i,j,k)*C(k,r)*B(j,r)"
_ROWS_OF_FIBERS = "reorder(i,j,k,r),precompute(X(i,j,k)*C(k,r),r,r)"
_ROWS_OF_PRODUCTS = "reorder(i,j,k,r),precompute(X(i,j,k)*B(k,r),r,r)"
_STATEMENTS = {
    "SpMV CSR": _statement(_VECTOR, "y:d A:ds x:d"),
    "SpMV CSC": _statement(_VECTOR, "y:d A:ds:1,0 x:d"),
    "SpMSpV CSR 1 %": _SPARSE_VECTOR,
    "SpMSpV CSR 10 %": _SPARSE_VECTOR,
    "SpMSpV CSC 1 %": _BY_COLUMNS,
    "SpMSpV CSC 10 %": _BY_COLUMNS,
    "SpMM 64": _statement("C(i,k)=A(i,j)*B(j,k)", "C:dd A:ds B:dd", inner="reorder(i,k,j)"),
    "SDDMM 64": _statement("C(i,j)=S(i,j)*P(i,k)*Q(j,k)", "C:ds S:ds P:dd Q:dd"),
    "A + B": _SUM,
    "A + B, one pattern": _SUM,
    "A + B + C": _statement("D(i,j)=A(i,j)+B(i,j)+C(i,j)", f"D:ds {_MATRICES}"),
    "A .* B": _TIMES,
    "A .* B, one pattern": _TIMES,
    "A .* B, 200 against 2": _TIMES,
    "SpGEMM": _statement(
        "C(i,j)=A(i,k)*B(k,j)",
        _MATRICES,
        workspace="reorder(i,k,j),precompute(A(i,k)*B(k,j),j,j)",
        counted="reorder(i,k,j),precompute(A(i,k)*B(k,j),j,j),assemble(C,Insert)",
    ),
    "masked SpGEMM": _statement(
        "C(i,j)=M(i,j)*A(i,k)*B(k,j)",
        "C:ds M:ds A:ds B:ds:1,0",
        gallop="mergeby(k,Gallop)",
    ),
    "triangles": _statement(
        "s=L(i,j)*A(i,k)*B(k,j)",
        "L:ds A:ds B:ds:1,0",
        "A=L B=L",
        gallop="mergeby(k,Gallop)",
    ),
    "sampled inner products": _SAMPLED,
    "TTV": _statement("M(i,j)=X(i,j,k)*v(k)", "M:ss X:sss v:d"),
    "sampled inner products, 200 against 2": _SAMPLED,
    "TTV sparse 1 %": _FIBERS_BY_VECTOR,
    "TTV sparse 10 %": _FIBERS_BY_VECTOR,
    "TTM dense 16": _statement(
        "M(i,j,r)=X(i,j,k)*B(k,r)", "M:ssd X:sss B:dd", workspace=_ROWS_OF_PRODUCTS
    ),
    "TTM sparse 16": _statement(
        "M(i,j,r)=X(i,j,k)*B(k,r)", "M:sss X:sss B:ds", workspace=_ROWS_OF_PRODUCTS
    ),
    "MTTKRP 32": _statement(_MTTKRP, "M:dd X:sss B:dd C:dd", workspace=_ROWS_OF_FIBERS),
    "MTTKRP sparse 32": _statement(
        _MTTKRP,
        "M:dd X:sss B:ds C:ds",
        gallop="mergeby(r,Gallop)",
        workspace=_ROWS_OF_FIBERS,
    ),
    "inner product, order 3": _statement(
        "s=X(i,j,k)*Y(i,j,k)", "X:sss Y:sss", gallop="mergeby(k,Gallop)"
    ),
}


def find() -> Known:
    """Return each kernel with all its schedules.

    Raises
    ------
    Missing
        Where the program, a C compiler, or the project's sources are not there.
    """
    program, version = _there()
    return Known(
        version,
        {
            name: [(s, _prepare(program, what, s, MOST_STEPS)) for s in what.schedules]
            for name, what in _STATEMENTS.items()
        },
    )


def find_default() -> Known:
    """Return each kernel with the schedule that TACO chooses.

    Raises
    ------
    Missing
        As ``find``.
    """
    program, version = _there()
    return Known(
        version, {n: [("", _prepare(program, w, "default"))] for n, w in _STATEMENTS.items()}
    )


def conversion(expression: str, formats: str, listed: Any) -> Job:
    """Return a conversion of coordinates: one array for each mode, the values and the shape.

    Raises
    ------
    Missing
        As ``find``, and where TACO does not write the conversion.
    """
    program, _ = _there()
    statement = _statement(expression, formats)
    columns, values, shape = listed
    return _prepare(program, statement, "default")({"B": Listed(columns, values, shape)})


@dataclass(frozen=True, slots=True)
class Listed:
    """Coordinates of entries, in order."""

    columns: tuple[np.ndarray, ...]
    values: np.ndarray
    shape: tuple[int, ...]


def _there() -> tuple[str, str]:
    program = shutil.which("taco")
    if program is None:
        raise Missing("no program taco on PATH")
    if not CALLS.exists():
        raise Missing("bench/taco_call.c is in the project's sources only")
    compiler()
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout
    return program, f"{said.splitlines()[0].partition(': ')[2]}, cc {' '.join(FLAGS)}"


def _prepare(
    program: str, statement: Statement, schedule: str, most_steps: float = math.inf
) -> Prepare:
    def prepare(operands: Operands) -> Job:
        _can_wait(statement, schedule, operands, most_steps)
        code, order = _compiled(program, statement.expression, _flags(statement, schedule))
        return _job(code, order, statement, operands)

    return prepare


def _can_wait(statement: Statement, schedule: str, operands: Operands, most: float) -> None:
    if statement is _SPARSE_VECTOR and schedule == "default":
        steps = operands["A"].shape[0] * operands["x"].nnz
        if steps > most:
            raise Missing(f"two cursors take {steps:.0e} steps, more than {most:.0e}")


def _flags(statement: Statement, schedule: str) -> tuple[str, ...]:
    formats = [f"-f={name}:{kind}" for name, kind in statement.formats.items()]
    commands = statement.schedules[schedule]
    return (*formats, *([f"-s={commands}"] if commands else []))


@lru_cache(maxsize=64)
def _compiled(program: str, expression: str, flags: tuple[str, ...]) -> tuple[Any, list[str]]:
    """Return the compiled kernel, and the names of its tensors in the order of its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "kernel.c"
        asked = [program, expression, *flags, "-print-nocolor", f"-write-source={written}"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        if said.returncode:
            raise Missing(f"taco does not compile this: {said.stderr.strip()}")
        text = written.read_text()
    found = _SIGNATURE.search(text)
    assert found is not None
    order = re.findall(r"\*\s*(\w+)", found[1])
    call = ", ".join(f"t + {n}" for n in range(len(order)))
    made = library(f"{text}\n#define CALL evaluate({call})\n{CALLS.read_text()}")
    for name in ("held_new", "held_part_of_result", "held_values_of_result"):
        getattr(made, name).restype = ctypes.c_void_p
    return made, order


def _job(code: Any, order: list[str], statement: Statement, operands: Operands) -> Job:
    held = ctypes.c_void_p(code.held_new())
    result, *names = order
    extents: dict[str, int] = {}
    kept = [
        _hand_over(code, held, n, statement, name, operands, extents)
        for n, name in enumerate(names, 1)
    ]
    shape = _shape(statement, extents)
    for mode, extent in enumerate(shape):
        code.held_size(held, 0, mode, extent)

    def call() -> None:
        code.held_run(held)

    weakref.finalize(call, _let_go, code, held, kept)
    kind = statement.formats.get(result, "")
    return Job(call, lambda _: _read(code, held, kind, shape), steady=True)


def _let_go(code: Any, held: ctypes.c_void_p, kept: list[Any]) -> None:
    code.held_free(held)
    kept.clear()


def _subscripts(statement: Statement, name: str) -> list[str]:
    """Return the indices of a tensor."""
    found = re.search(rf"\b{name}\(([^)]*)\)", statement.expression)
    return found[1].split(",") if found else []


def _shape(statement: Statement, extents: dict[str, int]) -> list[int]:
    return [extents[index] for index in _subscripts(statement, statement.result)]


def _hand_over(
    code: Any,
    held: ctypes.c_void_p,
    n: int,
    statement: Statement,
    name: str,
    operands: Operands,
    extents: dict[str, int],
) -> list[np.ndarray]:
    """Give an operand's arrays to a kernel; return them, to be kept."""
    x = operands[statement.names.get(name, name)]
    for mode, index in enumerate(_subscripts(statement, name)):
        extents[index] = x.shape[mode]
        code.held_size(held, n, mode, x.shape[mode])
    levels, values = _levels(x, statement.formats[name])
    for level, parts in enumerate(levels):
        for part, array in enumerate(parts):
            code.held_part(held, n, level, part, ctypes.c_void_p(array.ctypes.data))
    code.held_values(held, n, ctypes.c_void_p(values.ctypes.data))
    return [values, *(array for parts in levels for array in parts)]


def _levels(x: Any, kind: str) -> tuple[list[tuple[np.ndarray, ...]], np.ndarray]:
    """Return positions and coordinates of each level of storage (nothing for a dense one)."""
    if isinstance(x, np.ndarray):
        return [() for _ in x.shape], np.ascontiguousarray(x)
    if isinstance(x, Fibers):
        top = np.array([0, x.roots.size], np.int32)
        return [(top, x.roots), (x.root_of, x.middles), (x.starts, x.last)], x.values
    if isinstance(x, Listed):
        ends = np.array([0, x.values.size], np.int32)
        return [(ends, np.ascontiguousarray(c, np.int32)) for c in x.columns], x.values
    if kind == "s":
        return [(np.array([0, x.nnz], np.int32), x.coords[0].astype(np.int32))], x.data
    m = sp.csc_array(x) if kind.endswith("1,0") else sp.csr_array(x)
    m.sort_indices()
    return [(), (m.indptr.astype(np.int32), m.indices.astype(np.int32))], m.data


def _read(code: Any, held: ctypes.c_void_p, kind: str, shape: list[int]) -> Any:
    """Return a result as NumPy or scipy, leading modes joined."""
    count = 1
    coordinates: list[np.ndarray] = []
    for level, (extent, how) in enumerate(zip(shape, kind, strict=True)):
        if how == "d":
            inside = np.tile(np.arange(extent), count)
            coordinates = [np.repeat(c, extent) for c in coordinates]
            count *= extent
        else:
            starts = _array(code.held_part_of_result(held, level, 0), count + 1, np.int32)
            count = int(starts[-1])
            inside = _array(code.held_part_of_result(held, level, 1), count, np.int32)
            coordinates = [np.repeat(c, np.diff(starts)) for c in coordinates]
        coordinates.append(inside)
    values = _array(code.held_values_of_result(held), count, np.float64)
    if "s" not in kind:
        return values.reshape(shape)
    last = coordinates.pop()
    rows = np.zeros(count, np.int64)
    for extent, inside in zip(shape[:-1], coordinates, strict=True):
        rows = rows * extent + inside
    return sp.csr_array((values, (rows, last)), (int(np.prod(shape[:-1])), shape[-1]))


def _array(address: int, count: int, dtype: npt.DTypeLike) -> np.ndarray:
    size = np.dtype(dtype).itemsize * count
    return np.frombuffer(ctypes.string_at(address, size), dtype) if count else np.empty(0, dtype)
