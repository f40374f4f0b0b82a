"""scipy.sparse <-> bound tensors, sharing memory where both have the layout.

Takes: scipy sparse arrays and matrices.  Gives: ``Tensor``, and the reverse.
Invariant: the user's object is never changed, not even put in canonical form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from typing import Any, Literal, TypeAlias

import numpy as np

from sparsedsl.errors import InvalidTensorError, LayoutError, TensorTypeError
from sparsedsl.interop.arrays import bind, usable_indices, usable_values
from sparsedsl.layouts.catalogue import HUGE, layouts, resolve
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import stored, summed
from sparsedsl.layouts.enumerate import differs
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact
from sparsedsl.layouts.order import first_unordered
from sparsedsl.layouts.properties import (
    Equality,
    Nondecreasing,
    Property,
    Range,
    Repeated,
)
from sparsedsl.runtime import conversions, operations
from sparsedsl.runtime.checked import checked, found_right
from sparsedsl.runtime.tensor import LONG, Tensor, bound, trusted

BEGIN = 64
"""Coordinates that are looked at before all of them are checked."""


def from_scipy(
    x: Any, *, check: bool, places: bool, target: Layout | None = None
) -> tuple[Tensor, np.ndarray | None]:
    """Bind a scipy sparse array or matrix; formats without a layout go through coordinates.

    Unsorted indices and duplicates are put right (summed) on a copy, in the layout ``target``
    where passes that put them right give that.  Where values were only put in another order, and
    ``places`` are wanted, those are returned too that the values have now.
    """
    reader: Callable[[Any], tuple[Layout, dict[str, np.ndarray]]]
    match x.format:
        case "csr" | "csc" if x.ndim == 2:
            reader = _compressed
        case "bsr":
            reader = _blocked
        case "dia":
            reader = _diagonals
        case "coo":
            reader = _coordinates
        case "lil":
            x, reader = x.tocsr(), _compressed
        case _:
            x, reader = x.tocoo(), _coordinates
    try:
        layout, given = reader(x)
    except (TypeError, AttributeError, IndexError) as error:
        raise TensorTypeError(
            f"expected the parts of a {type(x).__name__} to be arrays, found otherwise: {error}",
            hint="make the matrix anew with scipy's constructor",
        ) from None
    value = layout.value.function
    arrays = {
        name: usable_values(array, f"x.{name}") if name == value else usable_indices(array, name)
        for name, array in given.items()
    }
    if not check:
        return bind(layout, x.shape, arrays, check=False), None
    found = found_right(layout, x.shape, arrays)
    if found is not None and found[0]:
        return trusted(layout, x.shape, arrays, found[1]), None
    if found is None and not (reader is _coordinates and _begins_unordered(layout, arrays)):
        try:
            return bind(layout, x.shape, arrays), None
        except InvalidTensorError:
            pass
    return _put_right(layout, x.shape, arrays, places and reader is _compressed, target)


def _begins_unordered(layout: Layout, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the first of a list of coordinates are in no order, so that they are to be put right.

    A check would find that too, and more, and say what is wrong: a tenth of a millisecond.
    """
    columns = [arrays[name][:BEGIN] for name in layout.functions]
    if len({column.shape for column in columns}) != 1:
        return False
    return first_unordered(columns, np.zeros(1, np.int64), strict=True) is not None


def _put_right(
    layout: Layout,
    shape: tuple[int, ...],
    arrays: dict[str, np.ndarray],
    places: bool,
    target: Layout | None,
) -> tuple[Tensor, np.ndarray | None]:
    """Sort entries on a copy, and sum those that repeat; bad data raises.

    ``places`` are found for compressed entries.
    """
    sizes = checked(_without_order(layout), shape, arrays, distinct=False)
    if target is not None and exact(target) and max(shape, default=0) <= LONG:
        given = (_repeating(layout), target, shape, arrays)
        made = conversions.by_passes(*given, sizes=sizes)
        if made is not None:
            return bound(target, shape, made, 0), None
    order = _sorted(layout, shape, arrays, sizes) if places else None
    if order is None:
        return _summed(layout, shape, arrays, sizes), None
    value = layout.value.function
    arrays = {**arrays, "indices": arrays["indices"][order], value: arrays[value][order]}
    return bind(layout, shape, arrays, check=False), order


def _sorted(
    layout: Layout,
    shape: tuple[int, ...],
    arrays: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
) -> np.ndarray | None:
    """The places of compressed entries sorted within their rows; None where some repeat."""
    indptr, indices = arrays["indptr"], arrays["indices"]
    value, places = layout.value.function, np.arange(indices.size)
    # as if none repeated, so that each keeps its place
    given = (_without_order(layout), layout, shape, {**arrays, value: places})
    made = conversions.by_passes(*given, sizes=sizes, most="again")
    if made is None:
        few = _maker("csr", (len(indptr) - 1, int(indices.max(initial=0)) + 1))(
            {"data": places, "indices": indices.copy(), "indptr": indptr}
        )
        few.has_sorted_indices = False
        few.sort_indices()
        made = {"indices": few.indices, value: few.data}
    begins = np.zeros(indices.size + 1, bool)
    begins[indptr] = True
    rising = made["indices"][1:] > made["indices"][:-1]
    return made[value] if (begins[1:-1] | rising).all() else None


def _compressed(x: Any) -> tuple[Layout, dict[str, np.ndarray]]:
    indptr, indices, data = x.indptr, x.indices, x.data
    count = int(indptr[-1]) if len(indptr) else 0
    if 0 <= count < len(indices):
        indices = indices[:count]
    if 0 <= count < len(data):
        data = data[:count]
    return _compressed_layout(x.format), {"indptr": indptr, "indices": indices, "data": data}


@cache
def _compressed_layout(name: str) -> Layout:
    return resolve(name, 2)


def _blocked(x: Any) -> tuple[Layout, dict[str, np.ndarray]]:
    layout = resolve(layouts["bcsr"](*x.blocksize), 2)
    count = int(x.indptr[-1]) if len(x.indptr) else 0
    indices, data = x.indices, x.data
    if 0 <= count < len(indices):
        indices, data = indices[:count], data[:count]
    return layout, {"indptr": x.indptr, "indices": indices, "data": data}


def _diagonals(x: Any) -> tuple[Layout, dict[str, np.ndarray]]:
    width, columns = x.data.shape[1], x.shape[1]
    data = x.data[:, :columns]
    if width < columns:
        data = np.zeros((x.data.shape[0], columns), x.data.dtype)
        data[:, :width] = x.data
    return resolve("dia", 2), {"offsets": x.offsets, "data": data}


def _coordinates(x: Any) -> tuple[Layout, dict[str, np.ndarray]]:
    columns = x.coords if hasattr(x, "coords") else (x.row, x.col)
    layout = resolve("coo", x.ndim)
    named = {f"crd{mode}": column for mode, column in enumerate(columns)}
    return layout, {**named, "data": x.data}


def canonical(layout: Layout, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> Tensor:
    """The tensor that unsorted or repeated entries stand for; bad data still raises.

    Entries are read by the layout without its promises of order, then summed and stored anew.
    """
    sizes = checked(_without_order(layout), shape, arrays, distinct=False)
    return _summed(layout, shape, arrays, sizes)


def _summed(
    layout: Layout,
    shape: tuple[int, ...],
    arrays: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
) -> Tensor:
    given = (_repeating(layout), layout, shape, arrays)
    made = conversions.by_passes(*given, sizes=sizes, most="again")
    if made is None:
        coords, values = stored(_without_order(layout), shape, arrays, sizes)
        coords, values = summed(coords, values)
        wide = any(arrays[name].dtype.itemsize == 8 for name in layout.functions)
        made = construct(layout, shape, coords, values, index_dtype="int64" if wide else None)
    return bound(layout, shape, made, 0)


@lru_cache(maxsize=256)
def _repeating(layout: Layout) -> Layout:
    """The layout for entries in any order, of which some may repeat."""
    loose = _without_order(layout)
    pointers = {x.function for x in loose.properties if isinstance(x, Nondecreasing)}
    keys = tuple(name for name in layout.functions if name not in pointers)
    return loose.with_properties((*loose.properties, Repeated(keys)))


@lru_cache(maxsize=256)
def _without_order(layout: Layout) -> Layout:
    kept = tuple(item for item in layout.properties if not _orders_keys(item))
    return layout.with_properties(kept)


def _orders_keys(item: Property) -> bool:
    """Whether a property is about the order of entries, not about where ranges lie."""
    return not isinstance(item, Equality | Range) and not (
        isinstance(item, Nondecreasing) and item.within is None
    )


def to_scipy(x: Tensor) -> Any:
    """A scipy sparse array of the same entries.

    Shares memory for CSR, CSC, BSR, DIA and COO; any other 2-D layout becomes CSR, or COO where
    one pointer a row would be too much (more than ``HUGE`` rows), and other ranks COO.

    Raises
    ------
    LayoutError
        For a fill value other than 0, which scipy cannot hold.
    """
    if x.fill_value != 0:
        raise LayoutError(
            f"scipy.sparse holds tensors whose fill value is 0, found {x.fill_value.item()}",
            hint="use .to_numpy(), or .coordinates()",
        )
    if x.ndim != 2:
        return _coo(x)
    name = _format(x.layout, x.shape)
    if name is not None:
        return _maker(name, x.shape)(x.held)
    return _coo(x) if x.shape[0] > HUGE else to_scipy(x.convert("csr"))


_Format: TypeAlias = Literal["csr", "csc", "dia", "coo", "bsr"]


def _format(layout: Layout, shape: tuple[int, ...]) -> _Format | None:
    """The scipy format that stores a matrix of ``shape`` as ``layout`` does, if any."""
    name = _usual_format(layout)
    if name == "bsr" and any(n % b for n, b in zip(shape, layout.block_sizes, strict=True)):
        return None
    return name


@lru_cache(maxsize=1024)
def _usual_format(layout: Layout) -> _Format | None:
    """The scipy format that stores matrices as ``layout`` does, blocks being whole."""
    for name in ("csr", "csc", "dia", "coo"):
        if layout.signature == resolve(name, 2).signature:
            return name
    blocks = layout.block_sizes
    if len(blocks) == 2 and layout.signature == resolve(layouts["bcsr"](*blocks), 2).signature:
        return "bsr"
    return None


@cache
def _template(name: _Format) -> tuple[type, dict[str, Any]]:
    """A class of scipy's and the attributes of an empty one."""
    import scipy.sparse as sp

    kind: type[Any] = getattr(sp, f"{name}_array")
    empty = kind((1, 1)) if name == "bsr" else kind((0, 0))
    if name in ("csr", "csc"):
        # asked once here, so that scipy need not look at the arrays of those made from it
        assert empty.has_canonical_format
        assert empty.has_sorted_indices
    # layouts of coordinates may repeat them
    return kind, dict(vars(empty)) | ({"has_canonical_format": False} if name == "coo" else {})


def scipy_maker(layout: Layout, shape: tuple[int, ...]) -> Make | None:
    """What makes scipy matrices of the arrays of a layout, at the least cost a call.

    None where scipy has no such format.
    """
    name = _format(layout, shape) if len(shape) == 2 else None
    return None if name is None else _maker(name, shape)


def scipy_maker_of_any_shape(
    layout: Layout,
) -> Callable[[tuple[int, ...], Mapping[str, np.ndarray]], Any] | None:
    """What makes scipy matrices of a shape and the arrays of a layout of two modes.

    None where scipy has no such format for matrices of every shape.
    """
    name = _usual_format(layout)
    return None if name is None or name == "bsr" else _making(name)


Make: TypeAlias = "Callable[[Mapping[str, np.ndarray]], Any]"


def _maker(name: _Format, shape: tuple[int, ...]) -> Make:
    return partial(_making(name), shape)


@cache
def _making(name: _Format) -> Callable[[tuple[int, ...], Mapping[str, np.ndarray]], Any]:
    """What makes matrices of scipy's over arrays that are known to be right.

    scipy's own constructors would look at every index again, and copy or narrow int64 ones.
    """
    kind, attributes = _template(name)
    if not {"_shape", *_PARTS[name]} <= attributes.keys():
        return lambda shape, arrays: _constructed(name, arrays, shape)

    def make(shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> Any:
        made = object.__new__(kind)
        parts = _columns(arrays) if name == "coo" else arrays
        made.__dict__ = {**attributes, "_shape": shape, **parts}
        return made

    return make


_PARTS = {
    **dict.fromkeys(("csr", "csc", "bsr"), ("data", "indices", "indptr")),
    "dia": ("data", "offsets"),
    "coo": ("data", "coords"),
}
"""What each format of scipy's calls its arrays."""


def _columns(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arrays of coordinates by the names that scipy has for them."""
    return {"data": arrays["data"], "coords": (arrays["crd0"], arrays["crd1"])}


def _constructed(name: _Format, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Any:
    """What scipy's own constructor makes of arrays."""
    import scipy.sparse as sp

    data = arrays["data"]
    match name:
        case "dia":
            return sp.dia_array((data, arrays["offsets"]), shape=shape)
        case "coo":
            return sp.coo_array((data, (arrays["crd0"], arrays["crd1"])), shape=shape)
        case "csr" | "csc" | "bsr":
            kind = getattr(sp, f"{name}_array")
            return kind((data, arrays["indices"], arrays["indptr"]), shape=shape)


def _coo(x: Tensor) -> Any:
    import scipy.sparse as sp

    if x.layout.signature == resolve("coo", x.ndim).signature and x.ndim:
        columns = tuple(x.held[f"crd{mode}"] for mode in range(x.ndim))
        return sp.coo_array((x.values, columns), shape=x.shape)
    coords, values = x.coordinates()
    if not exact(x.layout):
        keep = differs(values, 0)
        coords, values = coords[:, keep], values[keep]
    return sp.coo_array((values, tuple(coords)), shape=x.shape)


operations.register("to_scipy", to_scipy)
