"""Raw arrays -> bound tensors.

Takes: arrays as users hold them.  Gives: ``Tensor``.  Invariant: an array is copied only when
its dtype, byte order or memory order cannot be used as it is; the user's is never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsedsl.contraction.nodes import VALUE_DTYPES
from sparsedsl.errors import InvalidTensorError, TensorTypeError
from sparsedsl.layouts.catalogue import AnyLayout, resolve
from sparsedsl.layouts.given import NATIVE_INDICES, NATIVE_VALUES, check_arrays, check_shape
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.runtime.checked import checked
from sparsedsl.runtime.tensor import Tensor


def from_arrays(
    layout: AnyLayout | str,
    shape: Sequence[int],
    arrays: Mapping[str, Any],
    fill_value: object = 0,
) -> Tensor:
    """Bind raw arrays to a layout.

    Parameters
    ----------
    layout:
        A layout or its name; one of any rank takes that of ``shape``.
    shape:
        The logical extents.
    arrays:
        From each name of ``layout.arrays`` to an array.  Index arrays of any integer dtype
        (int32 and int64 are used in place), values of a supported dtype.
    fill_value:
        The value at coordinates that are not stored.

    Raises
    ------
    InvalidTensorError
        Naming the array, the place and the broken property; ``TensorTypeError`` for dtypes.

    Examples
    --------
    >>> from_arrays("csr", (2, 3), {"indptr": [0, 1, 2], "indices": [2, 0], "data": [1.0, 2.0]})
    <csr tensor shape=(2, 3) dtype=float64 nnz=2 fill=0.0>
    """
    chosen = resolve(layout, _rank(shape))
    return bind(chosen, shape, arrays, fill_value).watched()


def _rank(shape: Sequence[int]) -> int:
    try:
        return len(shape)
    except TypeError:
        raise InvalidTensorError(
            f"expected shape to be a tuple of integers, found {shape!r}"
        ) from None


def bind(
    layout: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, Any],
    fill_value: object = 0,
    *,
    check: bool = True,
) -> Tensor:
    """A tensor over usable versions of ``arrays``; contents are trusted unless ``check``."""
    if not isinstance(arrays, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidTensorError(
            f"expected arrays to be a dict from names to arrays, found {type(arrays).__name__}",
            hint=f"the names are {', '.join(layout.arrays)}",
        )
    extents = check_shape(shape, layout)
    usable: dict[str, np.ndarray] = {}
    for name, given in arrays.items():
        if name == layout.value.function:
            usable[name] = usable_values(given, name)
        else:  # one that the layout does not know is told by the check of names
            known = name in layout.functions
            usable[name] = usable_indices(given, name) if known else np.asarray(given)
    if check:
        values = checked(layout, extents, usable)
    else:
        check_arrays(layout, usable, extents)
        values = infer_sizes(layout, extents, usable)
    return Tensor(layout, extents, usable, fill_value, values)


def usable_values(given: Any, name: str) -> np.ndarray:
    """``given`` as a C-contiguous native array of a supported dtype, copied only if needed."""
    if _is_usable(given, NATIVE_VALUES):
        return given
    array = plain_array(given, name)
    if array.dtype.newbyteorder("=").name not in VALUE_DTYPES:
        raise TensorTypeError(
            f"expected one of the dtypes {', '.join(VALUE_DTYPES)} for {name}, found {array.dtype}",
            hint=_advice(array.dtype),
        )
    return contiguous(array)


def usable_indices(given: Any, name: str) -> np.ndarray:
    """``given`` as a C-contiguous int32 or int64 array, copied only if needed."""
    if _is_usable(given, NATIVE_INDICES):
        return given
    array = plain_array(given, name)
    if array.dtype.kind not in "iu" and not array.size:
        array = array.astype(np.int32)
    if array.dtype.kind not in "iu":
        raise TensorTypeError(
            f"expected {name} to hold integers, found {array.dtype}",
            hint=f"index arrays are int32 or int64: {name}.astype('int64')",
        )
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and (array >= 2**63).any():
        raise InvalidTensorError(f"{name} holds {int(array.max())}, too large for int64")
    if array.dtype.newbyteorder("=").name not in ("int32", "int64"):
        small = array.dtype.itemsize < 4
        array = array.astype(np.int32 if small else np.int64)
    return contiguous(array)


def _is_usable(given: Any, dtypes: frozenset[np.dtype]) -> bool:
    """Whether ``given`` is used as it is, as most arrays are."""
    if type(given) is not np.ndarray or given.dtype not in dtypes:
        return False
    flags = given.flags
    return flags.c_contiguous and flags.aligned


def plain_array(given: Any, name: str) -> np.ndarray:
    """``given`` as an ndarray proper; masked and ragged data are refused."""
    if isinstance(given, np.ma.MaskedArray):
        raise TensorTypeError(
            f"{name} is a masked array, and masks are not read",
            hint="use numpy.ma.filled, or store the unmasked entries alone",
        )
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise TensorTypeError(
            f"expected {name} to be an array, found {type(given).__name__}: {error}",
            hint="its parts must have one shape",
        ) from None
    return array


def contiguous(array: np.ndarray) -> np.ndarray:
    """``array`` aligned, in C order and native byte order; itself when it is so already."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    usable = native.flags.c_contiguous and native.flags.aligned
    return native if usable else native.copy(order="C")


def _advice(dtype: np.dtype) -> str:
    if dtype.kind == "f":
        return "convert it: x.astype('float32'), or 'float64'"
    if dtype.kind == "c":
        return "convert it: x.astype('complex128')"
    return "convert it to a numeric dtype: x.astype('float64')"
