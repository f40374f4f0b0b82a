"""What is kept with a tensor until it is gone, or its index arrays are checked anew.

Takes: tensors.  Gives: values.  Invariant: tensors are told apart by identity, since ``==``
compares their elements; what was kept before index arrays were written to is not given after.
"""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.unchanged import Watch

V = TypeVar("V")


class Attached(Generic[V]):
    """One value a tensor.

    >>> import numpy as np
    >>> from sparsedsl import asarray
    >>> names, x = Attached(), asarray(np.ones(3))
    >>> names.put(x, "ones")
    >>> names.get(x), names.get(x.copy())
    ('ones', None)
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[weakref.ref[Tensor], Watch | None, V]] = {}

    def get(self, x: Tensor) -> V | None:
        """What is kept with ``x``; None if nothing is."""
        found = self._held.get(id(x))
        if found is None or found[0]() is not x or found[1] is not x.watch:
            return None
        return found[2]

    def put(self, x: Tensor, value: V) -> None:
        """Keep ``value`` with ``x``."""
        key = id(x)
        self._held[key] = (weakref.ref(x, lambda _: self._held.pop(key, None)), x.watch, value)
