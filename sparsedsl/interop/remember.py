"""What was bound for scipy objects and plain arrays, for as long as they stay what they were.

Takes: objects as users hold them.  Gives: the tensor bound earlier, or None.  Invariant: an
object is known while it lives and holds the same arrays, and index arrays that are unchanged
(``runtime.unchanged``).  With the option ``safe`` nothing is recalled, so that every array is
checked at every call.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsedsl.options import current
from sparsedsl.runtime.tensor import Form, Tensor
from sparsedsl.runtime.unchanged import Sample

PARTS = ("_shape", "data", "indptr", "indices", "offsets", "coords", "row", "col")
"""Attributes of scipy's sparse objects that say what they store."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A bound object: the attributes it had, samples of its index arrays, and its tensor."""

    reference: weakref.ref[Any]
    shape: tuple[int, ...]
    parts: tuple[tuple[str, Any], ...]
    samples: tuple[tuple[np.ndarray, Sample], ...]
    tensor: Tensor


_known: dict[int, _Known] = {}
_forms: dict[tuple[np.dtype, tuple[int, ...]], Form] = {}


def recall(x: Any) -> Tensor | None:
    """The tensor that was bound for ``x``, if ``x`` still holds what was checked then."""
    known = _known.get(id(x))
    if known is None or known.reference() is not x or known.shape != x.shape:
        return None
    if current().safe:
        return None
    held = x.__dict__
    for name, part in known.parts:
        if held.get(name) is not part:
            return None
    for array, sample in known.samples:
        if not sample.matches(array):
            return None
    return known.tensor


def remember(x: Any, tensor: Tensor) -> None:
    """Keep what was bound for ``x`` until ``x`` is gone; its arrays are shared, and checked."""
    key = id(x)
    held = x.__dict__
    parts = tuple((name, held[name]) for name in PARTS if name in held)
    indices = [tensor.arrays[name] for name in tensor.layout.functions]
    samples = tuple((array, Sample.of(array)) for array in indices)
    reference = weakref.ref(x, lambda _: _known.pop(key, None))
    _known[key] = _Known(reference, x.shape, parts, samples, tensor)


def recall_plain(x: np.ndarray) -> Tensor | None:
    """A tensor over a plain array, if one of its dtype and shape was bound before."""
    flags = x.flags
    if not (flags.c_contiguous and flags.aligned):
        return None
    form = _forms.get((x.dtype, x.shape))
    return None if form is None else Tensor.of(form, {"data": x})


def remember_plain(x: np.ndarray, tensor: Tensor) -> None:
    """Keep the form of a tensor that has ``x`` itself as its values."""
    if len(_forms) >= 256:
        _forms.clear()
    _forms[x.dtype, x.shape] = tensor.form
