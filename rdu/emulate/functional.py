"""What operators compute, tile by tile: float32 arithmetic, one rounding where a result is stored.

Or int32 arithmetic, exact modulo 2**32.

Sums run in one order, ascending along the summed axis, one accumulator an element, as in an
output-stationary array. The result therefore depends neither on tile sizes nor on fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rdu.graph.graph import Precision
from rdu.graph.nodes import (
    Constant,
    Contract,
    Function,
    Monoid,
    Operand,
    Position,
    Subscript,
)
from rdu.mapping.allocate import gemm_axes

Array: TypeAlias = npt.NDArray[Any]
_ROWS = 1 << 16

_REDUCE: dict[Monoid, np.ufunc] = {
    Monoid.SUM: np.add,
    Monoid.PRODUCT: np.multiply,
    Monoid.MINIMUM: np.minimum,
    Monoid.MAXIMUM: np.maximum,
    Monoid.ANY: np.maximum,
    Monoid.ALL: np.minimum,
}


def rounded(values: Any, precision: Precision) -> Array:
    """Round to the storage type, to nearest, ties to even; bf16 comes as float32.

    Integers are taken modulo 2**32.
    """
    array = np.asarray(values).astype(precision.dtype, copy=False)
    if precision is not Precision.BF16:
        return array
    from ml_dtypes import bfloat16

    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(bfloat16).astype(np.float32)


def rounded_randomly(values: Any, place: Sequence[slice], shape: Sequence[int], key: int) -> Array:
    """Round to bf16, up or down, so that the mean is the value itself.

    16 random bits are added to those that are cut off. They depend on ``key`` and on the
    element's place in the whole tensor of ``shape``, of which ``values`` are the tile at
    ``place``: neither tiles nor fusion change a bit.
    """
    array = np.ascontiguousarray(values, dtype=np.float32)
    index = np.zeros((1,) * len(shape), dtype=np.uint64)
    for axis, (part, extent) in enumerate(zip(place, shape, strict=True)):
        line = np.arange(part.start, part.stop, dtype=np.uint64)
        index = index * np.uint64(extent) + line.reshape(
            [-1 if a == axis else 1 for a in range(len(shape))]
        )
    random = mixed(mixed(index) ^ np.uint64(key)) >> np.uint64(48)
    raw = array.view(np.uint32)
    moved = (raw + random.astype(np.uint32)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(array), moved.view(np.float32), array)


def mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64 bits: the last step of the generator splitmix64."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def aligned(array: Array, axes: Sequence[str], wanted: Sequence[str]) -> Array:
    """Transpose ``array`` to the axes of ``wanted`` it has, with length-one axes for the rest."""
    order = [axes.index(axis) for axis in wanted if axis in axes]
    moved = array.transpose(order)
    shape = iter(moved.shape)
    return moved.reshape([next(shape) if axis in axes else 1 for axis in wanted])


def contract(operator: Contract, accumulator: Array | None, left: Array, right: Array) -> Array:
    """Add ``sum(left * right)`` of one tile to the accumulator ``[batch, m, n]``, k ascending."""
    g = gemm_axes(operator)
    a = _flat(left, operator.left.axes, (g.batch, g.m, g.k))
    b = _flat(right, operator.right.axes, (g.batch, g.k, g.n))
    return multiply_add(accumulator, a, b)


def multiply_add(accumulator: Array | None, a: Array, b: Array) -> Array:
    """``accumulator + a @ b`` over ``[batch, m, k]`` and ``[batch, k, n]``, one k at a time."""
    batch, m = max(a.shape[0], b.shape[0]), a.shape[1]
    n, depth = b.shape[2], max(a.shape[2], b.shape[1])
    if accumulator is None:
        accumulator = np.zeros((batch, m, n), dtype=a.dtype)
    a = np.broadcast_to(a, (batch, m, depth))
    b = np.ascontiguousarray(np.broadcast_to(b, (batch, depth, n)))
    rows = max(_ROWS // max(n, 1), 1)
    for item in range(batch):
        for start in range(0, m, rows):
            part = accumulator[item, start : start + rows]
            columns = np.ascontiguousarray(a[item, start : start + rows].T)
            product = np.empty_like(part)
            for k in range(depth):
                np.multiply(columns[k][:, None], b[item, k][None, :], out=product)
                np.add(part, product, out=part)
    return accumulator


def contracted(operator: Contract, accumulator: Array, size: Sequence[int]) -> Array:
    """Turn an accumulator ``[batch, m, n]`` into the output's axes; ``size`` of the output."""
    g = gemm_axes(operator)
    axes = (*g.batch, *g.m, *g.n)
    extent = dict(zip(operator.output.axes, size, strict=True))
    full = accumulator.reshape([extent[axis] for axis in axes])
    return full.transpose([axes.index(axis) for axis in operator.output.axes])


def mapped(
    function: Function, arguments: Sequence[Any], size: Sequence[int], dtype: np.dtype[Any]
) -> Array:
    """Apply an elementwise function to a tile; ``arguments`` as prepared by :func:`argument`."""
    return np.broadcast_to(applied(function, arguments, dtype), tuple(size))


def applied(function: Function, arguments: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    """Apply an elementwise function; an integer divided by 0 gives 0, as in NumPy."""
    if dtype.kind != "i":
        return np.asarray(function.apply(*arguments), dtype=dtype)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(function.apply(*arguments)).astype(dtype, copy=False)


def argument(
    value: Operand | Constant | Position,
    tile: Array | None,
    out: Sequence[str],
    spans: dict[str, slice],
    dtype: np.dtype[Any],
) -> Any:
    """Prepare one argument of a map over the output axes ``out``."""
    match value:
        case Operand(axes=axes):
            assert tile is not None
            return aligned(tile, axes, out)
        case Constant(value=constant):
            return dtype.type(constant)
        case Position(subscript=subscript):
            total: Any = dtype.type(subscript.constant)
            for axis, coefficient in subscript.terms:
                line = np.arange(spans[axis].start, spans[axis].stop, dtype=np.int64) * coefficient
                shape = [-1 if name == axis else 1 for name in out]
                total = total + line.reshape(shape)
            return np.asarray(total).astype(dtype)


def reduced(
    monoid: Monoid, accumulator: Array | None, tile: Array, axes: Sequence[str], out: Sequence[str]
) -> Array:
    """Reduce a tile into the accumulator over the axes ``out`` lacks, ascending."""
    gone = [axis for axis in axes if axis not in out]
    rows = _flat(tile, axes, (tuple(gone), tuple(out)))
    flat = rows.reshape(-1, *(tile.shape[axes.index(axis)] for axis in out))
    if monoid in (Monoid.ANY, Monoid.ALL):
        flat = (flat != 0).astype(tile.dtype)
    if accumulator is None:
        accumulator = np.full(flat.shape[1:], monoid.identity(tile.dtype), dtype=tile.dtype)
    apply = _REDUCE[monoid]
    for row in flat:
        accumulator = apply(accumulator, row)
    return np.asarray(accumulator)


def joined(monoid: Monoid, left: Array, right: Array) -> Array:
    """Join two partial results."""
    return np.asarray(_REDUCE[monoid](left, right))


def rearranged(
    whole: Array,
    subscripts: Sequence[Subscript],
    out: Sequence[str],
    spans: dict[str, slice],
) -> Array:
    """Read ``whole`` at affine subscripts over the output tile ``spans``."""
    index: list[Array] = []
    for subscript in subscripts:
        total = np.full((1,) * len(out), subscript.constant, dtype=np.int64)
        for axis, coefficient in subscript.terms:
            line = np.arange(spans[axis].start, spans[axis].stop, dtype=np.int64) * coefficient
            total = total + line.reshape([-1 if name == axis else 1 for name in out])
        index.append(total)
    size = tuple(spans[axis].stop - spans[axis].start for axis in out)
    return np.broadcast_to(whole[tuple(index)], size)


def softmax(tile: Array, axis: int) -> Array:
    """Softmax along one axis; the sum runs ascending."""
    moved = np.moveaxis(tile, axis, 0)
    e = np.exp(moved - moved.max(axis=0, keepdims=True), dtype=np.float32)
    return np.moveaxis(e / ascending_sum(e), 0, axis)


def rms_norm(tile: Array, weight: Array, axis: int, epsilon: float) -> Array:
    """RMS norm along one axis times a weight vector; the sum runs ascending."""
    moved = np.moveaxis(tile, axis, 0).astype(np.float32)
    mean = ascending_sum(moved * moved) / np.float32(len(moved))
    scaled = moved / np.sqrt(mean + np.float32(epsilon))
    return np.moveaxis(scaled * weight.reshape((-1,) + (1,) * (moved.ndim - 1)), 0, axis)


def ascending_sum(values: Array) -> Array:
    """Sum along the first axis in float32, one row after the other."""
    total = np.zeros(values.shape[1:], dtype=np.float32)
    for row in values:
        total = total + row
    return total


def _flat(array: Array, axes: Sequence[str], parts: Sequence[tuple[str, ...]]) -> Array:
    """Reorder to the concatenation of ``parts`` and flatten each part; absent axes have size 1."""
    names = [axis for part in parts for axis in part]
    moved = aligned(array, axes, names)
    shape: list[int] = []
    position = 0
    for part in parts:
        size = 1
        for _ in part:
            size *= moved.shape[position]
            position += 1
        shape.append(size)
    return np.ascontiguousarray(moved).reshape(shape)
