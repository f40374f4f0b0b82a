"""The dense interpreter: what a program means, by NumPy broadcasting and nothing else.

Takes: a program and dense arrays.  Gives: its results.  Every stage is judged against this,
so it does no simplification: every value is computed at every point of the index grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np

from sparsedsl.contraction.expressions import dtype_of
from sparsedsl.contraction.extent import check_shapes, indices_of, output_shapes
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
)
from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.errors import NotationError

Array = np.ndarray[Any, Any]


def interpret(
    program: Program,
    arrays: Mapping[str, Any],
    patterns: Mapping[str, Any] | None = None,
    extents: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Evaluate the program densely; IEEE exact, so ``0 * nan`` is ``nan``.

    Parameters
    ----------
    arrays:
        One dense array per input, of the tensor's rank.
    patterns:
        Boolean arrays telling where a tensor is stored, for ``Stored``.  An intermediate not
        named here is taken as stored where it differs from its fill.
    extents:
        Extents of indices that no operand determines.

    Returns
    -------
    dict
        ``result name -> array`` of the result's dtype.

    Raises
    ------
    NotationError
        If shapes disagree (`contraction.extent.check_shapes`) or an input is missing.
    """
    values: dict[str, Array] = {}
    for tensor in program.inputs:
        if tensor.name not in arrays:
            raise NotationError(f"expected an array for the input '{tensor.name}', found none")
        values[tensor.name] = np.asarray(arrays[tensor.name]).astype(tensor.dtype, copy=False)
    shapes = {name: value.shape for name, value in values.items()}
    sizes = check_shapes(program, shapes, extents)
    outputs = output_shapes(program, sizes)
    stored = {name: np.asarray(p, bool) for name, p in (patterns or {}).items()}
    for assign in program.statements:
        grid = {index: sizes[index] for index in indices_of(assign)}
        _Grid(program, values, stored, grid, sizes).run(assign, outputs[assign.target])
    return {name: values[name] for name in program.results}


@dataclass(frozen=True, slots=True)
class _Grid:
    """One statement's evaluation; every index has an axis of its own, in ``extents`` order.

    ``sizes`` are the extents of all indices of the program.
    """

    program: Program
    values: dict[str, Array]
    stored: dict[str, Array]
    extents: dict[str, int]
    sizes: Mapping[str, int]

    def run(self, assign: Assign, shape: tuple[int, ...]) -> None:
        target = self.program.tensor(assign.target)
        with np.errstate(all="ignore"):
            value = self.evaluate(assign.expression).astype(target.dtype)
        bound = sorted({n for s in assign.subscripts for n in s.indices}, key=self._axis)
        where = tuple(self._subscript(s) for s in assign.subscripts)
        value = np.broadcast_to(value, self._shape(bound))
        if not where:
            value = value.reshape(())
        if assign.target not in self.values:
            start: Any = target.fill
            if assign.accumulate is not None:
                start = MONOIDS[assign.accumulate].identity(target.dtype)
            self.values[assign.target] = np.full(shape, start, target.dtype)
        array = self.values[assign.target]
        if assign.accumulate is None:
            array[where] = value
            return
        ufunc = OPERATORS[MONOIDS[assign.accumulate].operator].numpy
        with np.errstate(all="ignore"):
            array[where] = ufunc(array[where], value)

    def evaluate(self, expression: Expression) -> Array:
        """Return the value with one axis per index, of length 1 where it does not depend."""
        match expression:
            case Literal(value, dtype):
                return np.full((1,) * len(self.extents), value, dtype)
            case Access(name, subscripts):
                fill = self.program.tensor(name).fill
                return self._looked_up(self.values[name], subscripts, fill)
            case Stored(name, subscripts):
                return self._looked_up(self._pattern(name), subscripts, False)
            case IndexValue(index):
                return np.asarray(self._subscript(index), np.int64)
            case Extent(name):
                return np.full((1,) * len(self.extents), self.sizes[name], np.int64)
            case Call(operator, arguments):
                return np.asarray(
                    OPERATORS[operator].evaluate(*(self.evaluate(a) for a in arguments))
                )
            case Reduce(monoid, indices, body):
                return self._reduce(expression, monoid, indices, body)
            case _:
                assert_never(expression)

    def _reduce(
        self, reduce: Reduce, name: str, indices: tuple[str, ...], body: Expression
    ) -> Array:
        value = self.evaluate(body)
        axes = tuple(self._axis(index) for index in indices)
        full = list(value.shape)
        for axis, index in zip(axes, indices, strict=True):
            full[axis] = self.extents[index]
        dtype = dtype_of(reduce, self.program)
        value = np.broadcast_to(value, full).astype(dtype)
        monoid = MONOIDS[name]
        return monoid.ufunc.reduce(
            value, axis=axes, keepdims=True, initial=monoid.identity(dtype), dtype=dtype
        )

    def _pattern(self, name: str) -> Array:
        if name in self.stored:
            return self.stored[name]
        tensor = self.program.tensor(name)
        value = self.values[name]
        if tensor.total:
            return np.ones(value.shape, bool)
        if tensor.fill != tensor.fill:
            return ~np.isnan(value)
        return value != np.asarray(tensor.fill, tensor.dtype)

    def _looked_up(self, array: Array, subscripts: tuple[Affine, ...], fill: Any) -> Array:
        """Return the elements of an array, ``fill`` where a padded subscript leaves it."""
        places = self._read(subscripts)
        if not any(s.padded for s in subscripts):
            return np.asarray(array[places])
        # one more element at each side stands for all that lies beyond
        wide = np.pad(array, 1, constant_values=np.asarray(fill, array.dtype))
        near = (np.clip(p + 1, 0, n - 1) for p, n in zip(places, wide.shape, strict=True))
        return np.asarray(wide[tuple(near)])

    def _read(self, subscripts: tuple[Affine, ...]) -> tuple[Array, ...]:
        """Return subscript arrays; a scalar tensor still gets one axis per index."""
        if not subscripts:
            return (np.newaxis,) * len(self.extents)  # type: ignore[return-value]
        return tuple(self._subscript(s) for s in subscripts)

    def _subscript(self, index: Affine) -> Array:
        result = np.full((1,) * len(self.extents), index.constant, np.int64)
        for name, coefficient in index.terms:
            shape = self._shape((name,))
            result = result + coefficient * np.arange(self.extents[name]).reshape(shape)
        return result

    def _axis(self, index: str) -> int:
        return list(self.extents).index(index)

    def _shape(self, indices: Any) -> tuple[int, ...]:
        return tuple(size if name in indices else 1 for name, size in self.extents.items())
