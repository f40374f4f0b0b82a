"""What was bound for scipy objects, for as long as they stay what they were; plain arrays too.

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

from sparsedsl.layouts.catalogue import plain
from sparsedsl.layouts.given import NATIVE_VALUES
from sparsedsl.options import current
from sparsedsl.runtime.form import Form, form_of
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.unchanged import Copied, Watch

PARTS = ("_shape", "data", "indptr", "indices", "offsets", "coords", "row", "col")
"""Attributes of scipy's sparse objects that say what they store."""


@dataclass(slots=True, weakref_slot=True)
class Known:
    """A bound object: attributes it had, by name, the watch of its index arrays, and its tensor.

    Where the tensor is a copy, ``copied`` is what the object's values were, and ``order``, if
    there is one, the place among them of each value of the tensor.  ``shape`` is None where it
    is among the attributes.  Nothing of it is ever changed; it is not frozen, since one is made
    for every new matrix, and frozen ones take longer to make.
    """

    reference: weakref.ref[Any]
    shape: tuple[int, ...] | None
    names: tuple[str, ...]
    parts: tuple[Any, ...]
    watch: Watch
    tensor: Tensor
    copied: Copied | None
    order: np.ndarray | None

    def keeps(self, x: Any) -> bool:
        """Whether ``x`` is the object, and its tensor is still what it stands for."""
        return self.keeps_pattern(x) and (self.copied is None or self.copied.holds(x.data))

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

FORMS = 256
"""Forms of plain arrays that are kept."""


def known(x: Any) -> Known | None:
    """What was bound for ``x``, whether or not it is still so."""
    return _known.get(id(x))


def recall(x: Any) -> Tensor | None:
    """The tensor that was bound for ``x``, if ``x`` still holds what was checked then."""
    found = known(x)
    if found is None or current().safe or not found.keeps_pattern(x):
        return None
    if found.copied is None or found.copied.holds(x.data):
        return found.tensor
    return _with_new_values(x, found)


def _with_new_values(x: Any, known: Known) -> Tensor | None:
    """The tensor for the same entries with the values that they have now."""
    if known.order is None:
        return None
    old, copied = known.tensor, Copied.of(x.data)
    values = copied.values.take(known.order)
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
    if not isinstance(values, np.ndarray) or values.dtype.hasobject:
        return
    names = tuple([name for name in PARTS if name in held])
    parts = tuple([held[name] for name in names])
    watched: list[np.ndarray] = []
    for name in names:
        part = held[name]
        if type(part) is np.ndarray and name != "data":
            watched.append(part)
        elif name == "coords":
            watched += part
    copied = None if shared else Copied.of(values)
    if order is not None and values.dtype != tensor.dtype:
        order = None
    reference = weakref.ref(x, lambda _: _known.pop(key, None))
    shape = None if "_shape" in held else x.shape
    watch = Watch.of(watched, values)
    _known[key] = Known(reference, shape, names, parts, watch, tensor, copied, order)


def as_plain(x: np.ndarray) -> Tensor | None:
    """A tensor over a plain array that is used as it lies; None for others."""
    flags = x.flags
    if not (flags.c_contiguous and flags.aligned):
        return None
    dtype, shape = x.dtype, x.shape
    form = _forms.get((dtype, shape))
    if form is None:
        if dtype not in NATIVE_VALUES:
            return None
        layout = plain(x.ndim)
        form = form_of(layout, shape, dtype, dict(zip(layout.extents, shape, strict=True)))
        if len(_forms) >= FORMS:
            _forms.clear()
        _forms[dtype, shape] = form
    return Tensor.of(form, {form.layout.value.function: x})
