"""Tensors in files: Matrix Market, FROSTT's .tns, NumPy's .npz and .npy.

Takes: a path.  Gives: a ``Tensor``, or a file.  Invariant: nothing that is read is executed;
a file is complete or absent.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import IO, Any

import numpy as np

from sparsedsl.errors import InvalidTensorError, SparseDSLError, TensorTypeError
from sparsedsl.interop.convert import asarray
from sparsedsl.interop.coordinates import from_coordinates
from sparsedsl.interop.hdf5 import read_hdf5, write_hdf5
from sparsedsl.interop.matrix_market import read_lines, read_matrix_market
from sparsedsl.interop.npz import read_npz, write_npz
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.runtime.tensor import Tensor

_MALFORMED = (
    *(ValueError, KeyError, IndexError, TypeError, OverflowError, EOFError),
    *(gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, RuntimeError),
)
"""What readers raise for a file that is not what its ending says."""

TEXT_BYTES = 1 << 28
"""Size from which compressed text is refused when it grows by more than ``GROWTH`` times."""

GROWTH = 200

KEEPS = "write .npz, which keeps any tensor"


def read(path: str | os.PathLike[str]) -> Tensor:
    """Read a tensor from a file, by the ending of its name.

    ``.mtx`` and ``.mtx.gz`` (Matrix Market), ``.tns`` and ``.tns.gz`` (one line an entry,
    coordinates from 1), ``.npz`` (of scipy, pydata/sparse or `write`), ``.npy``, ``.bsp.h5``
    (binsparse; needs h5py).  A file of scipy's is stored in its own format, coordinates become
    CSR (COO for other orders and for far more rows than entries).  Repeated coordinates are added.

    Raises
    ------
    InvalidTensorError
        For an ending that is not known, a file that does not hold what its ending says, or one
        that would not fit into memory.
    OSError
        When the file cannot be opened; FileNotFoundError when there is none.

    Examples
    --------
    >>> import tempfile, scipy.sparse as sp, sparsedsl as sd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sd.write(f"{folder}/eye.mtx", sp.eye_array(2))
    ...     sd.read(f"{folder}/eye.mtx").nnz
    2
    """
    place = _place(path, "sd.read(path)")
    reader = _by_ending(place, _READERS)
    if not place.exists():
        raise FileNotFoundError(2, "no such file", str(place))
    if place.is_dir():
        raise InvalidTensorError(f"{place}: expected a file, found a directory")
    try:
        return reader(place)
    except SparseDSLError:
        raise
    except _MALFORMED as error:
        raise InvalidTensorError(
            f"{place}: expected a tensor as {_ending(place)}, found something else: {error}"
        ) from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise InvalidTensorError(
            f"{place}: expected a tensor as {_ending(place)}, found one that refers to places "
            "outside the file"
        ) from None
    except MemoryError:
        raise InvalidTensorError(
            f"{place}: the tensor does not fit into memory",
            hint="the file may state sizes that it does not hold; coordinates take no memory for "
            "the extents",
        ) from None


def write(path: str | os.PathLike[str], x: Any) -> None:
    """Write a tensor to a file, by the ending of its name; see `read` for the endings.

    ``.npz`` keeps the layout: as scipy writes it where scipy has the layout, else the arrays
    with the layout's specification.  ``.mtx`` takes matrices, ``.npy`` stores every coordinate.

    Raises
    ------
    InvalidTensorError
        For an ending that is not known, or a tensor that the format cannot hold.
    OSError
        When the file cannot be written; FileNotFoundError when there is no such directory.
    """
    place = _place(path, "sd.write(path, x)")
    writer = _by_ending(place, _WRITERS)
    tensor = asarray(x)
    if not place.parent.is_dir():
        raise FileNotFoundError(2, "no such directory", str(place.parent))
    if place.is_dir():
        raise InvalidTensorError(f"{place}: expected a file, found a directory")
    # made by the writer, with the permissions of any new file, and not with those of a private one
    part = place.with_name(f"{token_hex(8)}.part{_ending(place)}")
    try:
        writer(part, tensor)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _place(path: Any, usage: str) -> Path:
    try:
        return Path(os.fsdecode(path))
    except TypeError:
        raise TensorTypeError(
            f"expected the path of a file, found {type(path).__name__}", hint=f"call {usage}"
        ) from None


def _ending(path: Path) -> str:
    last = path.suffix.lower()
    return "".join(path.suffixes[-2:]).lower() if last in (".gz", ".h5") else last


def _by_ending(path: Path, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    found = table.get(_ending(path))
    if found is None:
        raise InvalidTensorError(
            f"{path}: expected a file name ending in {', '.join(table)}, found '{_ending(path)}'"
        )
    return found


class _Bounded(io.RawIOBase):
    """A decompressed file that ends with an error where it grows out of all proportion."""

    def __init__(self, path: Path) -> None:
        self._file = gzip.GzipFile(path, "rb")
        self._most = max(TEXT_BYTES, GROWTH * path.stat().st_size)
        self._path = path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any, /) -> int:
        count = self._file.readinto(buffer)
        if self._file.tell() > self._most:
            raise InvalidTensorError(
                f"{self._path}: the compressed text grows to more than {self._most >> 20} MiB, "
                f"over {GROWTH} times its size",
                hint="decompress it yourself if you trust it",
            )
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _opened(path: Path) -> IO[bytes]:
    """Open a text file for reading, compressed or not."""
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(_Bounded(path), 1 << 16)
    return path.open("rb")


def _text(path: Path) -> IO[str]:
    """Open a text file; NumPy's parser looks characters above 255 up outside its tables."""
    return io.TextIOWrapper(_opened(path), encoding="latin-1")


def _read_mtx(path: Path) -> Tensor:
    with _text(path) as file:
        found = read_matrix_market(file)
    if isinstance(found, np.ndarray):
        return asarray(found)
    return from_coordinates(found.places, found.values, found.shape)


def _write_mtx(path: Path, x: Tensor) -> None:
    from scipy.io import mmwrite

    if x.ndim != 2:
        raise InvalidTensorError(
            f"expected a matrix for Matrix Market, found {x.ndim} mode{'s' * (x.ndim != 1)}",
            hint="write .tns or .npz",
        )
    matrix = x.to_numpy() if x.layout == resolve("dense", 2) else x.to_scipy().tocoo()
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        mmwrite(file, matrix)


def _read_tns(path: Path) -> Tensor:
    with _text(path) as file:
        stated, rank = _head_of_tns(file)
        file.seek(0)
        columns = [*((f"place{mode}", "int64") for mode in range(rank)), ("value", "float64")]
        rows = read_lines(file, columns, "#")
    coords = np.array([rows[f"place{mode}"] for mode in range(rank)], "int64")
    values = np.ascontiguousarray(rows["value"])
    if coords.size and coords.min() < 1:
        raise ValueError("a coordinate below 1")
    shape = stated or [int(n) for n in coords.max(axis=1)]
    if len(shape) != rank:
        raise ValueError(f"a shape of {len(shape)} extents and entries of {rank} coordinates")
    return from_coordinates(coords - 1, values, shape)


def _head_of_tns(file: IO[str]) -> tuple[list[int], int]:
    """Return the shape stated in a comment, if any, and the number of modes."""
    stated: list[int] = []
    for line in file:
        if line.startswith("# shape "):
            stated = [int(n) for n in line.split()[2:]]
        fields = line.partition("#")[0].split()
        if fields:
            return stated, len(fields) - 1
    if not stated:
        raise ValueError("no entries")
    return stated, len(stated)


def _write_tns(path: Path, x: Tensor) -> None:
    coords, values = x.coordinates()
    if not x.ndim:
        raise InvalidTensorError("expected at least one mode for .tns, found none", hint=KEEPS)
    if values.dtype.kind == "c":
        raise InvalidTensorError("expected real values for .tns, found complex", hint=KEEPS)
    if x.fill_value != 0:
        raise InvalidTensorError(
            f"expected a fill value of 0 for .tns, found {x.fill_value.item()}", hint=KEEPS
        )
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write(f"# shape {' '.join(map(str, x.shape))}\n")
        for place, value in zip(coords.T.tolist(), values.tolist(), strict=True):
            file.write(f"{' '.join(str(c + 1) for c in place)} {float(value)!r}\n")


def _read_npy(path: Path) -> Tensor:
    return asarray(np.load(path, allow_pickle=False))


def _write_npy(path: Path, x: Tensor) -> None:
    np.save(path, x.to_numpy(), allow_pickle=False)


_READERS: dict[str, Callable[[Path], Tensor]] = {
    ".mtx": _read_mtx,
    ".mtx.gz": _read_mtx,
    ".tns": _read_tns,
    ".tns.gz": _read_tns,
    ".npz": read_npz,
    ".npy": _read_npy,
    ".bsp.h5": read_hdf5,
}

_WRITERS: dict[str, Callable[[Path, Tensor], None]] = {
    ".mtx": _write_mtx,
    ".mtx.gz": _write_mtx,
    ".tns": _write_tns,
    ".tns.gz": _write_tns,
    ".npz": write_npz,
    ".npy": _write_npy,
    ".bsp.h5": write_hdf5,
}
