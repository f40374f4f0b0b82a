"""Indices of short rows compared in registers, as single machine instructions.

Beside ``codegen.intrinsics``, whose vectors these functions take: outside compiled code they are
plain Python functions, too.

>>> import numpy as np
>>> alike(np.array([3, 5, 7]), 2, np.array([7, 5]), 2) == 1 << 9
True
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import lower_builtin, type_callable

from sparsedsl.codegen import llvm_packs
from sparsedsl.codegen.intrinsics import Vector, int64_of


def alike(value: Any, count: int, other: Any, others: int) -> int:
    """Return bit ``8 * i + k`` where the ``i``-th of ``count`` is the ``k``-th of ``others``."""
    count, others = max(int(count), 0), max(int(others), 0)
    equal = np.asarray(value)[:count, None] == np.asarray(other)[None, :others]
    found = sum(1 << int(8 * i + k) for i, k in np.argwhere(equal))
    return found - 2**64 if found >= 2**63 else found


def added(value: Any, keys: Any, key: int, term: Any) -> Any:
    """Return a vector with the elements of ``term`` added where ``keys`` are ``key``."""
    return np.where(np.asarray(keys) == int(key), value + term, value)


@type_callable(alike)
def _type_alike(context: Any) -> Any:  # noqa: ARG001
    def typer(value: Any, count: Any, other: Any, others: Any) -> Any:  # noqa: ARG001
        return types.int64 if isinstance(value, Vector) and value == other else None

    return typer


@lower_builtin(alike, Vector, types.Integer, Vector, types.Integer)
def _generate_alike(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    (_, value), count, (_, other), others = zip(signature.args, arguments, strict=True)
    numbers = int64_of(context, builder, count), int64_of(context, builder, others)
    return llvm_packs.alike(builder, value, numbers[0], other, numbers[1])


@type_callable(added)
def _type_added(context: Any) -> Any:  # noqa: ARG001
    def typer(value: Any, keys: Any, key: Any, term: Any) -> Any:  # noqa: ARG001
        vectors = isinstance(value, Vector) and isinstance(keys, Vector)
        return value if vectors and value == term else None

    return typer


@lower_builtin(added, Vector, Vector, types.Integer, Vector)
def _generate_added(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    (_, value), (_, keys), key, (_, term) = zip(signature.args, arguments, strict=True)
    total = builder.fadd(value, term)
    return llvm_packs.where_equal(builder, keys, int64_of(context, builder, key), total, value)
