"""Archives of NumPy's: scipy's, those of pydata/sparse, and our own.

Takes: a path.  Gives: a ``Tensor``, or a file.  Invariant: nothing that is read is executed, and
what is no array is refused before it is used.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from sparsedsl.errors import LayoutError
from sparsedsl.interop.arrays import bind
from sparsedsl.interop.convert import asarray
from sparsedsl.interop.coordinates import from_coordinates, whole
from sparsedsl.layouts.catalogue import Family, layouts, resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import property_text
from sparsedsl.runtime.memory import memory_bytes
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.spf import terms

HEADER = "sparsedsl"
"""The array of a file that holds the layout's specification as JSON."""


def read_npz(path: Path) -> Tensor:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > memory_bytes():
        raise MemoryError
    with np.load(path, allow_pickle=False) as data:
        arrays = _Arrays(data)
        if HEADER in data:
            header = json.loads(str(arrays[HEADER]))
            layout = _layout(header)
            own = {name: arrays[f"array_{name}"] for name in layout.arrays}
            return bind(layout, header["shape"], own, arrays["fill_value"].item())
        if "coords" in data or "compressed_axes" in data:
            return _of_pydata(arrays)
        if "format" not in data:
            raise ValueError(f"arrays {', '.join(data.files)}")
    from scipy.sparse import load_npz

    return asarray(load_npz(path))


@dataclass(frozen=True, slots=True)
class _Arrays:
    """The members of an archive, each read when it is asked for."""

    members: Any

    def __getitem__(self, name: str) -> np.ndarray:
        found = self.members[name]
        if not isinstance(found, np.ndarray):  # of what is no .npy file NumPy gives the bytes
            raise ValueError(f"'{name}' is no array")
        return found

    def __contains__(self, name: str) -> bool:
        return name in self.members


def _of_pydata(arrays: _Arrays) -> Tensor:
    """A tensor of pydata/sparse: ``COO``, or ``GCXS``, whose modes are those of a matrix in CSR."""
    shape = tuple(int(extent) for extent in arrays["shape"].tolist())
    fill = arrays["fill_value"].item() if "fill_value" in arrays else 0
    if "coords" in arrays:
        coords = arrays["coords"]
    else:
        axes = [int(axis) for axis in arrays["compressed_axes"].tolist()]
        axes += [axis for axis in range(len(shape)) if axis not in axes]
        coords = _of_gcxs(arrays, [shape[axis] for axis in axes])[np.argsort(axes)]
    return from_coordinates(coords, arrays["data"], shape, fill)


def _of_gcxs(arrays: _Arrays, extents: list[int]) -> np.ndarray:
    """Coordinates of the modes in the order in which they are stored, the compressed ones first."""
    starts, places = whole(arrays["indptr"]), whole(arrays["indices"])
    within = len(arrays["compressed_axes"])
    if len(starts) != prod(extents[:within]) + 1 or starts[-1] != len(places):
        raise ValueError("starts of rows that do not fit the shape")
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    parts = ((rows, extents[:within]), (places, extents[within:]))
    found = [np.unravel_index(flat, tuple(n)) for flat, n in parts if n]
    return np.array([column for part in found for column in part], "int64").reshape(
        len(extents), len(places)
    )


def write_npz(path: Path, x: Tensor) -> None:
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
    arrays |= {HEADER: np.array(json.dumps(header)), "fill_value": np.asarray(x.fill_value)}
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
