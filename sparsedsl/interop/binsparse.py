"""The binsparse protocol: descriptors and named arrays, in and out.

Takes: an object with ``__binsparse_descriptor__`` and ``__binsparse__`` (or the pair from the
latter alone).  Gives: ``Tensor``, and the reverse.  Invariant: arrays are shared, not copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsedsl.errors import InvalidTensorError, LayoutError
from sparsedsl.interop.arrays import bind
from sparsedsl.layouts.catalogue import known, resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.runtime import operations
from sparsedsl.runtime.tensor import Tensor

VERSION = "0.1"

# Format -> (layout, rank, mode order, array name here -> array name there).
_FORMATS: dict[str, tuple[str, int, tuple[int, ...] | None, dict[str, str]]] = {
    "DVEC": ("dense", 1, None, {"data": "values"}),
    "DMATR": ("dense", 2, None, {"data": "values"}),
    "DMATC": ("dense", 2, (1, 0), {"data": "values"}),
    "CVEC": ("coo", 1, None, {"crd0": "indices_0", "data": "values"}),
    "COOR": ("coo", 2, None, {"crd0": "indices_0", "crd1": "indices_1", "data": "values"}),
    "COOC": ("coo", 2, (1, 0), {"crd0": "indices_0", "crd1": "indices_1", "data": "values"}),
    "CSR": (
        *("csr", 2, None),
        {"indptr": "pointers_to_1", "indices": "indices_1", "data": "values"},
    ),
    "CSC": (
        *("csc", 2, None),
        {"indptr": "pointers_to_1", "indices": "indices_1", "data": "values"},
    ),
    "DCSR": (
        *("dcsr", 2, None),
        {
            **{"rows": "indices_0", "indptr": "pointers_to_1"},
            **{"indices": "indices_1", "data": "values"},
        },
    ),
    "DCSC": (
        *("dcsc", 2, None),
        {
            **{"cols": "indices_0", "indptr": "pointers_to_1"},
            **{"indices": "indices_1", "data": "values"},
        },
    ),
}
_SYNONYMS = {"DMAT": "DMATR", "COO": "COOR"}


def _layout(name: str) -> tuple[Layout, dict[str, str]]:
    layout, rank, order, names = _FORMATS[name]
    return resolve(layout, rank, order), names


def from_binsparse(x: Any, *, check: bool = True) -> Tensor:
    """Bind what ``x.__binsparse__()`` hands out.

    Raises
    ------
    LayoutError
        For a format that is not known.
    InvalidTensorError
        For a descriptor without format or shape, or arrays that do not fit it.
    """
    given = x.__binsparse__()
    if isinstance(given, tuple) and len(given) == 2:
        descriptor, arrays = given
    else:
        descriptor, arrays = x.__binsparse_descriptor__(), given
    inner = descriptor.get("binsparse", descriptor) if isinstance(descriptor, Mapping) else {}
    if "format" not in inner or "shape" not in inner or not isinstance(arrays, Mapping):
        raise InvalidTensorError(
            f"expected a binsparse descriptor with format and shape, found {descriptor!r}"
        )
    name = str(inner["format"]).upper()
    name = _SYNONYMS.get(name, name)
    if name not in _FORMATS:
        raise LayoutError(
            f"unknown binsparse format {inner['format']!r}; known are {', '.join(_FORMATS)}"
        )
    layout, names = _layout(name)
    missing = [there for there in names.values() if there not in arrays]
    if missing:
        raise InvalidTensorError(
            f"the binsparse format {name} has arrays {', '.join(names.values())}; "
            f"missing {', '.join(missing)}"
        )
    shape = tuple(inner["shape"])
    own = {here: np.asarray(arrays[there]) for here, there in names.items()}
    if name.startswith("DMAT"):
        axes = shape if layout.order is None else shape[::-1]
        own["data"] = own["data"].reshape(axes)
    return bind(layout, shape, own, inner.get("fill_value", 0), check=check)


def to_binsparse(x: Tensor) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The descriptor and the arrays of a tensor, shared.

    Raises
    ------
    LayoutError
        For layouts the format has no name for; convert to CSR or COO first.
    """
    own = known(x.layout).signature
    for name, (_, rank, *_rest) in _FORMATS.items():
        layout, names = _layout(name)
        if rank != x.ndim or layout.signature != own:
            continue
        arrays = {there: x.arrays[here] for here, there in names.items()}
        descriptor: dict[str, Any] = {
            "version": VERSION,
            "format": name,
            "shape": list(x.shape),
            "number_of_stored_values": int(x.values.size),
            "data_types": {there: str(array.dtype) for there, array in arrays.items()},
        }
        if x.fill_value != 0:
            descriptor["fill_value"] = x.fill_value.item()
        return {"binsparse": descriptor}, arrays
    raise LayoutError(
        f"binsparse has no format for the layout '{x.layout.label}'",
        hint=f"convert first, to one of {', '.join(sorted({f[0] for f in _FORMATS.values()}))}",
    )


operations.register("to_binsparse", to_binsparse)
