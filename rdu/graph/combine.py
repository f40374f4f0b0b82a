"""Operators that join values: products, elementwise calls and reductions of tensors and trees.

Where a tree meets an operator that needs all coordinates, it is written out (``Densify``). Products
skip implicit zeros, as the hardware's streams do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rdu.errors import RDUError
from rdu.graph.axes import merge_orders
from rdu.graph.builder import GraphBuilder, Read
from rdu.graph.functions import COPY, MULTIPLY, ONE
from rdu.graph.nodes import Constant, Function, Monoid, Position


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor read with index names; ``pattern`` if only its stored coordinates matter."""

    tensor: str
    indices: tuple[str, ...]
    pattern: bool = False

    @property
    def read(self) -> Read:
        """As the builder takes it."""
        return (self.tensor, self.indices)


Lowered: TypeAlias = Value | Constant | Position
Want: TypeAlias = "tuple[str, tuple[str, ...]] | None"


class Combiner:
    """Adds operators to a graph; ``extents`` gives every index its extent.

    A result goes to the tensor that is wanted, ``(name, indices)``, if the operator can write it
    so, else to a new one.
    """

    def __init__(self, builder: GraphBuilder, extents: Mapping[str, int]) -> None:
        self.builder = builder
        self.extents = extents
        self.counter = 0

    def product(
        self, values: Sequence[Value], others: Sequence[Lowered], sums: Sequence[str], want: Want
    ) -> Lowered:
        """Multiply tensors, and constants and positions (``others``), and sum over ``sums``."""
        if not values:
            product = self._chain(others, None) if len(others) > 1 else others[0]
            return product if not sums else self.reduce(Monoid.SUM, sums, product, want)
        last = want if not others else None
        missing = [n for n in sums if not any(n in v.indices for v in values)]
        if missing:
            return self.reduce(Monoid.SUM, sums, self._chain([*values, *others], None), want)
        if any(self.builder.is_sparse(v.tensor) for v in values):
            value = self._sparse_product(values, sums, last)
        else:
            value = self._dense_product(values, sums, last)
        return self._chain([value, *others], want) if others else value

    def _sparse_product(self, values: Sequence[Value], sums: Sequence[str], want: Want) -> Lowered:
        values = [self._covered(v, values) for v in values]
        trees = [v for v in values if self.builder.is_sparse(v.tensor)]
        if not trees:
            return self._dense_product(values, sums, want)
        try:
            merge_orders([self.builder.levels(v.read) for v in trees])
        except RDUError:
            # The last tree nests the other way round: read it by position instead.
            changed = [self.dense(v) if v is trees[-1] else v for v in values]
            return self._sparse_product(changed, sums, want)
        if len(values) == 1 and not sums and not values[0].pattern:
            return values[0]
        name, out = self._target(want, values, sums, "product")
        reads = [v.read for v in values]
        self.builder.sparse_product(name, out, reads, [v.pattern for v in values])
        return Value(name, out)

    def _covered(self, value: Value, values: Sequence[Value]) -> Value:
        """Write out a tree whose fill is not zero unless it stores all that the others do."""
        if not self.builder.is_sparse(value.tensor) or value.pattern:
            return value
        tree = self.builder.fibres(value.tensor)
        if tree.fill == 0:
            return value
        mine = self.builder.patterns[value.tensor]
        for other in values:
            if other is value or not self.builder.is_sparse(other.tensor):
                continue
            theirs = self.builder.patterns[other.tensor]
            same = self.builder.levels(other.read) == self.builder.levels(value.read)
            zero = self.builder.fibres(other.tensor).fill == 0
            if same and zero and np.array_equal(theirs, mine):
                return value
        return self.dense(value)

    def _dense_product(self, values: Sequence[Value], sums: Sequence[str], want: Want) -> Lowered:
        values = [self.dense(v) for v in values]
        left = list(sums)
        current = values[0]
        for position, factor in enumerate(values[1:], start=1):
            later = {n for v in values[position + 1 :] for n in v.indices}
            current, left = self._alone(current, {*factor.indices, *later}, left)
            factor, left = self._alone(factor, {*current.indices, *later}, left)
            now = [n for n in left if n not in later and n in factor.indices]
            final = want if position == len(values) - 1 else None
            if now:
                name, out = self._target(final, [current, factor], now, "gemm")
                self.builder.contract(name, out, current.read, factor.read)
                current, left = Value(name, out), [n for n in left if n not in now]
            else:
                result = self.call(MULTIPLY, [current, factor], None if left else final)
                assert isinstance(result, Value)
                current = result
        if left:
            return self.reduce(Monoid.SUM, left, current, want)
        return current

    def _alone(self, value: Value, others: set[str], sums: list[str]) -> tuple[Value, list[str]]:
        """Sum away the indices that only this factor has."""
        own = [n for n in sums if n in value.indices and n not in others]
        if not own:
            return value, sums
        result = self.reduce(Monoid.SUM, own, value, None)
        assert isinstance(result, Value)
        return result, [n for n in sums if n not in own]

    def _chain(self, values: Sequence[Lowered], want: Want) -> Lowered:
        result = values[0]
        for n, value in enumerate(values[1:], start=1):
            result = self.call(MULTIPLY, [result, value], want if n == len(values) - 1 else None)
        return result

    def call(self, function: Function, arguments: Sequence[Lowered], want: Want) -> Value:
        """Apply an elementwise function; to stored values alone where no other place changes."""
        values = [self._entries(a) for a in arguments]
        trees = [v for v in values if isinstance(v, Value) and self.builder.is_sparse(v.tensor)]
        if len(trees) == 1 and all(v is trees[0] or isinstance(v, Constant) for v in values):
            name, out = self._target(want, trees, (), function.name)
            if out == trees[0].indices:
                used = [
                    v.read if isinstance(v, Value) else v
                    for v in values
                    if not isinstance(v, Position)
                ]
                self.builder.sparse_map(name, function, *used)
                return Value(name, out)
        if len(trees) == len(values) == 2 and set(trees[0].indices) == set(trees[1].indices):
            orders = {tuple(self.builder.levels(t.read)) for t in trees}
            if len(orders) == 1:
                name, out = self._target(want, trees, (), function.name)
                self.builder.sparse_union(name, out, function, trees[0].read, trees[1].read)
                return Value(name, out)
        dense = [self.dense(v) if isinstance(v, Value) else v for v in values]
        reads = [v for v in dense if isinstance(v, Value)]
        positions = [n for v in dense if isinstance(v, Position) for n in v.axes]
        names = list(dict.fromkeys([*(n for v in reads for n in v.indices), *positions]))
        widest = max(reads, key=lambda v: len(v.indices), default=None)
        natural = tuple(widest.indices) if widest else ()
        natural = (*natural, *(n for n in names if n not in natural))
        name, out = want if want is not None else (self.temporary(function.name), natural)
        if sorted(out) != sorted(natural) or out != natural:
            name, out = self.temporary(function.name), natural
        extents = {n: self.extents[n] for n in names}
        used = [v.read if isinstance(v, Value) else v for v in dense]
        self.builder.map(name, out, function, *used, extents=extents)
        return Value(name, out)

    def reduce(self, monoid: Monoid, sums: Sequence[str], value: Lowered, want: Want) -> Lowered:
        """Combine a value along the indices ``sums``."""
        if not isinstance(value, Value):
            names = tuple(dict.fromkeys((*sums, *(getattr(value, "axes", ())))))
            extents = {n: self.extents[n] for n in names}
            name = self.temporary("full")
            self.builder.map(name, names, COPY, value, extents=extents)
            value = Value(name, names)
        absent = [n for n in sums if n not in value.indices]
        if absent:
            names = (*value.indices, *absent)
            name = self.temporary("full")
            extents = {n: self.extents[n] for n in names}
            self.builder.map(name, names, COPY, self.dense(value).read, extents=extents)
            value = Value(name, names)
        value = self.dense(self._ones(value))
        name, out = self._target(want, [value], sums, monoid.value)
        self.builder.reduce(name, out, monoid, value.read)
        return Value(name, out)

    def _entries(self, value: Lowered) -> Lowered:
        return self._ones(value) if isinstance(value, Value) else value

    def _ones(self, value: Value) -> Value:
        if not value.pattern:
            return value
        name = self.temporary("pattern")
        self.builder.sparse_map(name, ONE, value.read, fill=0.0)
        return Value(name, value.indices)

    def dense(self, value: Value) -> Value:
        """Write out every coordinate of a tree."""
        value = self._ones(value)
        if not self.builder.is_sparse(value.tensor):
            return value
        name = self.temporary(f"{value.tensor}_dense")
        self.builder.densify(name, value.read)
        return Value(name, value.indices)

    def _target(
        self, want: Want, values: Sequence[Value], sums: Sequence[str], stem: str
    ) -> tuple[str, tuple[str, ...]]:
        names = dict.fromkeys(n for v in values for n in v.indices if n not in sums)
        if want is not None and sorted(want[1]) == sorted(names):
            return want
        return self.temporary(stem), tuple(names)

    def temporary(self, stem: str) -> str:
        """Return a name that no tensor has yet."""
        self.counter += 1
        return f"{stem}_{self.counter}"
