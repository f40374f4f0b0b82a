"""What arrays must be before an element of them is looked at: their names, dtypes, axes.

Takes: a layout, a shape and arrays as they were given.  Gives: the shape as integers, or
``InvalidTensorError``.  Invariant: index arithmetic on what passes stays within 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from sparsedsl.contraction.nodes import VALUE_DTYPES
from sparsedsl.errors import InvalidTensorError, TensorTypeError
from sparsedsl.layouts.layout import Layout
from sparsedsl.spf import terms as t

INDEX_DTYPES = ("int32", "int64")
NATIVE_INDICES = frozenset(map(np.dtype, INDEX_DTYPES))
NATIVE_VALUES = frozenset(map(np.dtype, VALUE_DTYPES))
# Room for the factors and sums of a layout's terms within int64.
INDEX_LIMIT = 2**56
# Bytes that a process can address, and so more than any position in an array.
MEMORY = 2**48


def check_shape(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """``shape`` as non-negative ints, one per mode."""
    if type(shape) is tuple and len(shape) == layout.rank and _are_extents(shape):
        return shape
    try:
        extents = tuple(int(extent) for extent in shape)
        whole = all(a == b for a, b in zip(extents, shape, strict=True))
    except (TypeError, ValueError):
        extents, whole = (), False
    if not whole:
        raise InvalidTensorError(
            f"expected shape to be a tuple of integers, found {shape!r}",
            hint=f"give one extent for each of the {layout.rank} modes of '{layout.label}'",
        )
    if len(extents) != layout.rank:
        raise InvalidTensorError(
            f"expected {layout.rank} extents for the layout '{layout.label}', found {extents}",
            hint="give one extent per logical mode, or a layout of that rank",
        )
    if any(extent < 0 or extent > INDEX_LIMIT for extent in extents):
        raise InvalidTensorError(
            f"expected extents of at least 0 and at most 2**56, found {extents}",
            hint="index arithmetic on larger ones may leave 64 bits",
        )
    return extents


def _are_extents(shape: tuple[object, ...]) -> bool:
    """Whether a shape is made of plain ints that extents may be, as most are."""
    return all(type(n) is int and 0 <= n <= INDEX_LIMIT for n in shape)


def reach(extents: tuple[int, ...]) -> int:
    """How large index values may be, which ``find.widths`` relies on."""
    return max((MEMORY, *extents))


def check_arrays(
    layout: Layout,
    arrays: Mapping[str, np.ndarray],
    extents: tuple[int, ...],
    *,
    elements: bool = True,
) -> None:
    """Names, dtypes, axes and contiguity; with ``elements``, index values within ``reach``."""
    if not _as_expected(layout, arrays):
        _refuse(layout, arrays)
    if not elements:
        return
    limit = reach(extents)
    for name in layout.functions:
        array = arrays[name]
        if array.dtype.itemsize == 8 and array.size:
            low, high = int(array.min()), int(array.max())
            if low < -limit or high > limit:
                raise InvalidTensorError(
                    f"the values of {name} lie in [{low}, {high}], outside what index arithmetic "
                    f"holds without overflow",
                    hint=f"index values are at most {limit} in size",
                )


@lru_cache(maxsize=1024)
def _expected(layout: Layout) -> tuple[tuple[str, int, frozenset[np.dtype]], ...]:
    """The name of each array, how many axes it has and which dtypes it may have."""
    value = (layout.value.function, len(layout.value.arguments), NATIVE_VALUES)
    return (*((name, axes, NATIVE_INDICES) for name, axes in layout.functions.items()), value)


def _as_expected(layout: Layout, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether arrays have the names, dtypes, axes and order in memory that they must have."""
    expected = _expected(layout)
    if len(arrays) != len(expected):
        return False
    for name, axes, dtypes in expected:
        array = arrays.get(name)
        if type(array) is not np.ndarray or array.ndim != axes or array.dtype not in dtypes:
            return False
        if not array.flags.c_contiguous:
            return False
    return True


def _refuse(layout: Layout, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise for what is wrong; an array of a subclass is not."""
    missing = [name for name in layout.arrays if name not in arrays]
    unknown = [name for name in arrays if name not in layout.arrays]
    if missing or unknown:
        raise InvalidTensorError(
            f"the layout '{layout.label}' has the arrays {', '.join(layout.arrays)}; "
            + (f"missing {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"),
            hint="pass a dict from those names to arrays",
        )
    for name in layout.arrays:
        array = arrays[name]
        if not isinstance(array, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TensorTypeError(
                f"expected {name} to be an array, found {type(array).__name__}",
                hint="pass NumPy arrays, as numpy.asarray makes them",
            )
        is_value = name == layout.value.function
        expected = len(layout.value.arguments) if is_value else layout.functions[name]
        if array.ndim != expected:
            raise InvalidTensorError(
                f"expected {name} to have {expected} axes, found shape {array.shape}",
                hint=f"the layout is {layout.text}, its values are {t.text(t.atom(layout.value))}",
            )
        if array.dtype not in (NATIVE_VALUES if is_value else NATIVE_INDICES):
            allowed = VALUE_DTYPES if is_value else INDEX_DTYPES
            raise TensorTypeError(
                f"expected {name} to be one of {', '.join(allowed)} in native byte order, "
                f"found {array.dtype.str}",
                hint=f"convert it: {name}.astype({'float' if is_value else 'int'!r})",
            )
        if not array.flags.c_contiguous:
            raise InvalidTensorError(
                f"expected {name} to be C-contiguous, found strides {array.strides}",
                hint=f"use numpy.ascontiguousarray({name})",
            )
