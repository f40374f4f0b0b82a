"""What is kept with a tensor until it is gone.

Takes: tensors.  Gives: values.  Invariant: tensors are told apart by identity, since ``==``
compares their elements.
"""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

from sparsedsl.runtime.tensor import Tensor

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
        self._held: dict[int, tuple[weakref.ref[Tensor], V]] = {}

    def get(self, x: Tensor) -> V | None:
        """What is kept with ``x``; None if nothing is."""
        found = self._held.get(id(x))
        return found[1] if found is not None and found[0]() is x else None

    def put(self, x: Tensor, value: V) -> None:
        """Keep ``value`` with ``x``."""
        key = id(x)
        self._held[key] = (weakref.ref(x, lambda _: self._held.pop(key, None)), value)
