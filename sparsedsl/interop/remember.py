"""What was bound for scipy objects and plain arrays, for as long as they stay what they were.

Takes: objects as users hold them.  Gives: the tensor bound earlier, or None.  Invariant: an
object is known while it lives and holds the same arrays, and index arrays that are unchanged
(``runtime.unchanged``).  Where the tensor is a copy, such as of unsorted entries, every value is
compared with what was copied.  With the option ``safe`` nothing is recalled, so that every array
is checked at every call.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from operator import is_
from typing import Any

import numpy as np

from sparsedsl.options import current
from sparsedsl.runtime.tensor import Form, Tensor
from sparsedsl.runtime.unchanged import Watch, same_bits

PARTS = ("_shape", "data", "indptr", "indices", "offsets", "coords", "row", "col")
"""Attributes of scipy's sparse objects that say what they store."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Known:
    """A bound object: attributes it had, by name, the watch of its index arrays, and its tensor.

    Where the tensor is a copy, ``copied`` is what the object's values were, and ``order``, if
    there is one, the place among them of each value of the tensor.  ``shape`` is None where it
    is among the attributes.
    """

    reference: weakref.ref[Any]
    shape: tuple[int, ...] | None
    names: tuple[str, ...]
    parts: tuple[Any, ...]
    watch: Watch
    tensor: Tensor
    copied: np.ndarray | None
    order: np.ndarray | None

    def keeps(self, x: Any) -> bool:
        """Whether ``x`` is the object, and its tensor is still what it stands for."""
        return self.keeps_pattern(x) and (self.copied is None or same_bits(x.data, self.copied))

    def keeps_pattern(self, x: Any) -> bool:
        """Whether ``x`` is the object, and holds the arrays and indices it held."""
        return self.has_parts_of(x) and self.watch.holds()

    def has_parts_of(self, x: Any) -> bool:
        """Whether ``x`` is the object, and holds the arrays it held."""
        if self.reference() is not x or (self.shape is not None and self.shape != x.shape):
            return False
        return all(map(is_, map(x.__dict__.get, self.names), self.parts))


_known: dict[int, Known] = {}
_forms: dict[tuple[np.dtype, tuple[int, ...]], Form] = {}


def known(x: Any) -> Known | None:
    """What was bound for ``x``, whether or not it is still so."""
    return _known.get(id(x))


def recall(x: Any) -> Tensor | None:
    """The tensor that was bound for ``x``, if ``x`` still holds what was checked then."""
    found = known(x)
    if found is None or current().safe or not found.keeps_pattern(x):
        return None
    if found.copied is None or same_bits(x.data, found.copied):
        return found.tensor
    return _with_new_values(x, found)


def _with_new_values(x: Any, known: Known) -> Tensor | None:
    """The tensor for the same entries with the values that they have now."""
    if known.order is None:
        return None
    old, copied = known.tensor, x.data.copy()
    values = copied.take(known.order)
    tensor = Tensor.of(old.form, {**old.held, old.layout.value.function: values})
    _known[id(x)] = replace(known, tensor=tensor, copied=copied)
    return tensor


def remember(x: Any, tensor: Tensor, *, shared: bool, order: np.ndarray | None = None) -> None:
    """Keep what was bound for ``x`` until ``x`` is gone.

    ``shared`` says that the tensor looks into the arrays of ``x``; otherwise what they hold is
    kept too, and ``order`` may say where the values of the tensor lie among those of ``x``.
    Objects that hold no plain arrays are not remembered.
    """
    key, held = id(x), x.__dict__
    values = held.get("data")
    if not isinstance(values, np.ndarray) or values.dtype == object:
        return
    names = tuple(name for name in PARTS if name in held)
    parts = tuple(held[name] for name in names)
    watch = Watch.of(
        array
        for name, part in zip(names, parts, strict=True)
        if name not in ("_shape", "data")
        for array in (part if isinstance(part, tuple) else (part,))
    )
    copied = None if shared else values.copy()
    order = order if values.dtype == tensor.dtype else None
    reference = weakref.ref(x, lambda _: _known.pop(key, None))
    shape = None if "_shape" in held else x.shape
    _known[key] = Known(reference, shape, names, parts, watch, tensor, copied, order)


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
