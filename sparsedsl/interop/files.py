"""Tensors in files: Matrix Market, FROSTT's .tns, NumPy's .npz and .npy.

Takes: a path.  Gives: a ``Tensor``, or a file.  Invariant: nothing that is read is executed;
a file is complete or absent.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparsedsl.errors import InvalidTensorError, LayoutError, SparseDSLError
from sparsedsl.interop.arrays import bind
from sparsedsl.interop.convert import asarray
from sparsedsl.interop.scipy_sparse import summed
from sparsedsl.layouts.catalogue import Family, layouts, resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import property_text
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.spf import terms

_HEADER = "sparsedsl"
"""The array of a .npz file that holds the layout's specification as JSON."""


def read(path: str | os.PathLike[str]) -> Tensor:
    """Read a tensor from a file, by the ending of its name.

    ``.mtx`` and ``.mtx.gz`` (Matrix Market), ``.tns`` and ``.tns.gz`` (one line an entry,
    coordinates from 1), ``.npz`` (of scipy, pydata/sparse or `write`), ``.npy``.  A file of
    scipy's is stored in its own format, coordinates become CSR (COO for other orders).

    Raises
    ------
    InvalidTensorError
        For an ending that is not known, or a file that does not hold what its ending says.
    FileNotFoundError
        When there is no such file.
    """
    place = Path(path)
    reader = _by_ending(place, _READERS)
    if not place.exists():
        raise FileNotFoundError(2, "no such file", str(place))
    try:
        return reader(place)
    except SparseDSLError:
        raise
    except (ValueError, KeyError, IndexError, EOFError, gzip.BadGzipFile) as error:
        raise InvalidTensorError(
            f"{place}: expected a tensor as {_ending(place)}, found something else: {error}"
        ) from None


def write(path: str | os.PathLike[str], x: Any) -> None:
    """Write a tensor to a file, by the ending of its name; see `read` for the endings.

    ``.npz`` keeps the layout: as scipy writes it where scipy has the layout, else the arrays
    with the layout's specification.  ``.mtx`` takes matrices, ``.npy`` stores every coordinate.

    Raises
    ------
    InvalidTensorError
        For an ending that is not known, or a tensor that the format cannot hold.
    """
    place = Path(path)
    writer = _by_ending(place, _WRITERS)
    tensor = asarray(x)
    handle, name = tempfile.mkstemp(dir=place.parent, suffix=f".part{_ending(place)}")
    os.close(handle)
    try:
        writer(Path(name), tensor)
        Path(name).replace(place)
    finally:
        Path(name).unlink(missing_ok=True)


def _ending(path: Path) -> str:
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def _by_ending(path: Path, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    found = table.get(_ending(path))
    if found is None:
        raise InvalidTensorError(
            f"{path}: expected a file name ending in {', '.join(table)}, found '{_ending(path)}'"
        )
    return found


def _read_mtx(path: Path) -> Tensor:
    from scipy.io import mmread

    found: Any = mmread(path)
    return asarray(found if isinstance(found, np.ndarray) else found.tocsr())


def _write_mtx(path: Path, x: Tensor) -> None:
    from scipy.io import mmwrite

    if x.ndim != 2:
        raise InvalidTensorError(
            f"expected a matrix for Matrix Market, found {x.ndim} modes", hint="write .tns or .npz"
        )
    matrix = x.to_numpy() if x.layout == resolve("dense", 2) else x.to_scipy().tocoo()
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        mmwrite(file, matrix)


def _read_tns(path: Path) -> Tensor:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    stated = next((line.split()[2:] for line in lines if line.startswith("# shape ")), None)
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    if not rows and stated is None:
        raise ValueError("no entries")
    rank = len(rows[0]) - 1 if rows else len(stated or ())
    coords = np.array([[int(c) for c in row[:rank]] for row in rows], "int64").reshape(-1, rank)
    values = np.array([float(row[rank]) for row in rows])
    if coords.size and coords.min() < 1:
        raise ValueError("a coordinate below 1")
    shape = [int(n) for n in stated] if stated else [int(n) for n in coords.max(axis=0)]
    return _from_coordinates(coords.T - 1, values, shape)


def _from_coordinates(coords: np.ndarray, values: np.ndarray, shape: Any, fill: Any = 0) -> Tensor:
    """CSR for matrices, COO for others; repeated coordinates are added."""
    rank = len(shape)
    coords, values = summed(np.asarray(coords, "int64"), values)
    columns = {f"crd{mode}": coords[mode] for mode in range(rank)}
    made = bind(resolve("coo", rank), shape, {**columns, "data": values}, fill)
    return made.convert("csr") if rank == 2 else made


def _write_tns(path: Path, x: Tensor) -> None:
    coords, values = x.coordinates()
    if values.dtype.kind == "c":
        raise InvalidTensorError("expected real values for .tns, found complex", hint="write .npz")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write(f"# shape {' '.join(map(str, x.shape))}\n")
        for place, value in zip(coords.T.tolist(), values.tolist(), strict=True):
            file.write(f"{' '.join(str(c + 1) for c in place)} {float(value)!r}\n")


def _read_npz(path: Path) -> Tensor:
    with np.load(path, allow_pickle=False) as data:
        if _HEADER in data.files:
            header = json.loads(str(data[_HEADER]))
            layout = _layout(header)
            arrays = {name: data[f"array_{name}"] for name in layout.arrays}
            return bind(layout, header["shape"], arrays, data["fill_value"].item())
        if "coords" in data.files:
            fill = data["fill_value"].item() if "fill_value" in data.files else 0
            return _from_coordinates(data["coords"], data["data"], data["shape"].tolist(), fill)
        if "format" not in data.files:
            raise ValueError(f"arrays {', '.join(data.files)}")
    from scipy.sparse import load_npz

    return asarray(load_npz(path))


def _write_npz(path: Path, x: Tensor) -> None:
    if x.ndim == 2 and x.fill_value == 0 and x.layout != resolve("dense", 2):
        matrix = x.to_scipy()
        if asarray(matrix).layout == x.layout:
            from scipy.sparse import save_npz

            save_npz(path, matrix)
            return
    layout = x.layout
    header = {
        "name": layout.name,
        "relation": layout.text,
        "value": terms.text(terms.atom(layout.value)),
        "properties": [property_text(item) for item in layout.properties],
        "block_sizes": layout.block_sizes,
        "order": layout.order,
        "shape": x.shape,
    }
    arrays: dict[str, Any] = {f"array_{name}": array for name, array in x.arrays.items()}
    arrays |= {_HEADER: np.array(json.dumps(header)), "fill_value": np.asarray(x.fill_value)}
    np.savez_compressed(path, **arrays)


def _layout(header: Mapping[str, Any]) -> Layout:
    """The catalogue's layout if it is the one specified, else one made of the specification."""
    stated = Layout(
        header["name"], header["relation"], value=header["value"], properties=header["properties"]
    )
    entry, order = layouts.get(header["name"]), header["order"]
    if entry is None:
        return stated
    try:
        sized = entry(*header["block_sizes"]) if header["block_sizes"] else entry
        if isinstance(sized, Family):
            sized = sized.of(stated.rank, order)
        elif order is not None:
            sized = sized(order=order)
    except LayoutError:
        return stated
    return sized if sized.key == stated.key else stated


def _read_npy(path: Path) -> Tensor:
    return asarray(np.load(path, allow_pickle=False))


def _write_npy(path: Path, x: Tensor) -> None:
    np.save(path, x.to_numpy(), allow_pickle=False)


_READERS: dict[str, Callable[[Path], Tensor]] = {
    ".mtx": _read_mtx,
    ".mtx.gz": _read_mtx,
    ".tns": _read_tns,
    ".tns.gz": _read_tns,
    ".npz": _read_npz,
    ".npy": _read_npy,
}

_WRITERS: dict[str, Callable[[Path, Tensor], None]] = {
    ".mtx": _write_mtx,
    ".mtx.gz": _write_mtx,
    ".tns": _write_tns,
    ".tns.gz": _write_tns,
    ".npz": _write_npz,
    ".npy": _write_npy,
}
