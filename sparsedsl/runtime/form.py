"""The form of a tensor: all of it but its arrays.

Takes: a layout, a shape, a fill value and sizes.  Gives: ``Form``.  Invariant: the fill value is
a scalar of the dtype of the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from sparsedsl.errors import TensorTypeError
from sparsedsl.layouts.layout import Layout


@dataclass(slots=True)
class Form:
    """All of a tensor but its arrays; tensors bound one after the other share it.

    ``signature`` is what specialisation reads of such tensors, once it has.
    """

    layout: Layout
    shape: tuple[int, ...]
    fill_value: np.generic
    sizes: Mapping[str, int]
    signature: Any = None


def form_of(
    layout: Layout, shape: tuple[int, ...], dtype: np.dtype, sizes: Mapping[str, int]
) -> Form:
    """The form of a tensor of fill 0; ``sizes`` gives every parameter of the layout."""
    return Form(layout, shape, _zero(dtype), MappingProxyType(sizes))


@lru_cache(maxsize=256)
def _zero(dtype: np.dtype) -> np.generic:
    return dtype.type(0)


def fill_scalar(value: object, dtype: np.dtype) -> np.generic:
    """``value`` as a scalar of ``dtype``; TensorTypeError when that would change it."""
    if type(value) is dtype.type:
        return value  # pyright: ignore[reportReturnType]
    if type(value) is int and value == 0:
        return _zero(dtype)
    given = np.asarray(value)
    if given.ndim or given.dtype.kind not in "biufc":
        raise TensorTypeError(f"expected fill_value to be a number, found {value!r}")
    with np.errstate(all="ignore"):
        real = given.dtype.kind == "c" and dtype.kind != "c"
        cast = np.asarray(np.real(given) if real else given).astype(dtype)
    same = cast == given or (given != given and cast != cast)
    inexact = dtype.kind in "fc" and given.dtype.kind in "iuf" and np.isfinite(cast)
    if not same and not inexact:
        raise TensorTypeError(
            f"fill_value {value!r} is not a value of {dtype}",
            hint="choose a fill value the dtype holds, or convert the values",
        )
    return dtype.type(cast)
