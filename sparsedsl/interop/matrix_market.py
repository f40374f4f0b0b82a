"""Reading Matrix Market text.

Takes: an open text file.  Gives: a dense array, or coordinates, values and a shape.
Invariant: sizes that the header states are compared with memory before any is taken, and
whatever the text holds ends in a result or a ValueError (scipy's reader writes past its arrays
where a text has more lines than it states).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from sparsedsl.runtime.memory import memory_bytes

_FIELDS: dict[str, tuple[str, ...]] = {
    "real": ("float64",),
    "double": ("float64",),
    "integer": ("int64",),
    "unsigned-integer": ("uint64",),
    "complex": ("float64", "float64"),
    "pattern": (),
}
"""The numbers an entry has after its coordinates."""

_SYMMETRIES = ("general", "symmetric", "skew-symmetric", "hermitian")


@dataclass(frozen=True, slots=True)
class Header:
    """The banner and the line of sizes; ``entries`` are lines of text that should follow."""

    form: str
    field: str
    symmetry: str
    shape: tuple[int, int]
    entries: int


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Entries of a matrix: coordinates from 0 of shape ``(2, n)`` and ``n`` values."""

    places: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]


def read_matrix_market(file: IO[str]) -> np.ndarray | Coordinates:
    """Read a matrix; symmetric ones are given in full.

    The text is decoded as Latin-1: NumPy's parser looks characters above 255 up outside its
    tables.

    Raises
    ------
    ValueError
        When the text is not Matrix Market, or holds other entries than its header states.
    MemoryError
        For a dense matrix, or entries, that the machine has no memory for.
    """
    header = _header(file)
    return _coordinates(file, header) if header.form == "coordinate" else _dense(file, header)


def read_lines(file: IO[str], columns: Sequence[tuple[str, str]], comments: str) -> np.ndarray:
    """Read lines of numbers into a structured array with these names and dtypes.

    Raises ValueError for anything else than such lines, blanks and comments.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there may be no line
        # NumPy before 2.3 cuts what is no integer, and says so
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.loadtxt(file, dtype=list(columns), comments=comments, ndmin=1)
        except (DeprecationWarning, ValueError) as error:
            raise ValueError(_ROW.sub(_entry, str(error))) from None


_ROW = re.compile(r"at row (\d+), column")
"""Where NumPy met something else than a number: it counts rows from 0 and columns from 1."""


def _entry(found: re.Match[str]) -> str:
    return f"in entry {int(found[1]) + 1}, column"


def _header(file: IO[str]) -> Header:
    banner = file.readline().lower().split()
    if len(banner) != 5 or banner[:2] != ["%%matrixmarket", "matrix"]:
        raise ValueError("no line '%%MatrixMarket matrix FORM FIELD SYMMETRY' at its start")
    form, field, symmetry = banner[2:]
    if form not in ("coordinate", "array") or field not in _FIELDS or symmetry not in _SYMMETRIES:
        raise ValueError(f"a matrix that is '{form} {field} {symmetry}'")
    sizes = _sizes(file, 3 if form == "coordinate" else 2)
    rows, columns = sizes[:2]
    if symmetry != "general" and rows != columns:
        raise ValueError(f"a {symmetry} matrix of {rows} rows and {columns} columns")
    if form == "array" and field == "pattern":
        raise ValueError("a pattern without coordinates")
    return Header(form, field, symmetry, (rows, columns), _lines(form, symmetry, sizes))


def _sizes(file: IO[str], count: int) -> list[int]:
    for line in file:
        fields = line.split()
        if fields and not fields[0].startswith("%"):
            if len(fields) == count and all(f.isascii() and f.isdigit() for f in fields):
                return [int(f) for f in fields]
            raise ValueError(f"{line.strip()!r} where {count} sizes should be")
    raise ValueError("no line of sizes")


def _lines(form: str, symmetry: str, sizes: Sequence[int]) -> int:
    if form == "coordinate":
        return sizes[2]
    rows, columns = sizes
    match symmetry:
        case "general":
            return rows * columns
        case "skew-symmetric":
            return rows * (rows - 1) // 2
        case _:
            return rows * (rows + 1) // 2


def _numbers(file: IO[str], header: Header, places: int) -> np.ndarray:
    """Read the body: ``places`` coordinates a line, then the numbers of the field."""
    numbers = _FIELDS[header.field]
    columns = [(f"place{k}", "int64") for k in range(places)]
    columns += [(f"number{k}", dtype) for k, dtype in enumerate(numbers)]
    if header.entries * 8 * len(columns) > memory_bytes():
        raise MemoryError
    found = read_lines(file, columns, "%")
    if found.size != header.entries:
        raise ValueError(f"{found.size} entries where its header states {header.entries}")
    return found


def _values(found: np.ndarray, field: str) -> np.ndarray:
    match len(_FIELDS[field]):
        case 0:
            return np.ones(found.size)
        case 1:
            return np.ascontiguousarray(found["number0"])
        case _:
            return found["number0"] + 1j * found["number1"]


def _mirrored(values: np.ndarray, symmetry: str) -> np.ndarray:
    if symmetry == "skew-symmetric":
        return -values
    return values.conj() if symmetry == "hermitian" else values


def _coordinates(file: IO[str], header: Header) -> Coordinates:
    found = _numbers(file, header, 2)
    values = _values(found, header.field)
    places = np.stack([found["place0"], found["place1"]]) - 1
    for places_of_mode, extent in zip(places, header.shape, strict=True):
        if places_of_mode.size and not 0 <= places_of_mode.min() <= places_of_mode.max() < extent:
            raise ValueError(f"a coordinate outside 1 to {extent}")
    if header.symmetry != "general":
        off = places[0] != places[1]
        values = np.concatenate([values, _mirrored(values[off], header.symmetry)])
        places = np.concatenate([places, places[::-1, off]], axis=1)
    return Coordinates(places, values, header.shape)


def _dense(file: IO[str], header: Header) -> np.ndarray:
    rows, columns = header.shape
    if rows * columns * 8 > memory_bytes():
        raise MemoryError
    values = _values(_numbers(file, header, 0), header.field)
    if header.symmetry == "general":
        return values.reshape(columns, rows).T
    dense: np.ndarray[Any, Any] = np.zeros((rows, columns), values.dtype)
    offset = 1 if header.symmetry == "skew-symmetric" else 0
    column, row = np.triu_indices(rows, offset)  # the lower triangle, column by column
    dense[column, row] = _mirrored(values, header.symmetry)
    dense[row, column] = values
    return dense
