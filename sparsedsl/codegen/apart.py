"""Vectors of elements that lie apart, such as one row of a matrix whose columns are stored.

Beside ``codegen.intrinsics``: outside compiled code these are plain Python functions, too.

>>> import numpy as np
>>> part_apart(np.arange(9.0), 1, 2, 4, 3)
array([1., 4., 0., 0.])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import lower_builtin, type_callable
from numba.np.arrayobj import make_array

from sparsedsl.codegen.intrinsics import Vector, int64_of
from sparsedsl.codegen.llvm_vectors import loaded_apart


def part_apart(array: Any, place: int, count: int, lanes: int, apart: int) -> Any:
    """Return a vector: ``count`` elements so many places ``apart``, then zeros."""
    found = np.zeros(lanes, array.dtype)
    count = min(max(int(count), 0), lanes)
    found[:count] = array[int(place) :: apart][:count]
    return found


@type_callable(part_apart)
def _type_part_apart(context: Any) -> Any:  # noqa: ARG001
    def typer(array: Any, place: Any, count: Any, lanes: Any, apart: Any) -> Any:  # noqa: ARG001
        literal = all(isinstance(number, types.IntegerLiteral) for number in (lanes, apart))
        return Vector(array.dtype, lanes.literal_value) if literal else None

    return typer


@lower_builtin(part_apart, types.Array, types.Integer, types.Integer, types.Any, types.Any)
def _generate_part_apart(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    (kind, array), place, count, _, (apart, _) = zip(signature.args, arguments, strict=True)
    number, many = int64_of(context, builder, place), int64_of(context, builder, count)
    first = builder.gep(make_array(kind)(context, builder, array).data, [number])
    return loaded_apart(builder, first, many, signature.return_type.count, apart.literal_value)
