"""Index arrays of one alternative of a layout, filled from what is known of them.

Takes: a layout, the dims of every entry.  Gives: arrays.  Invariant: each array is filled once,
by a bound of a dim, a mark of a filter, or an equality; places that no entry tells hold padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Affine, Position, levels
from sparsedsl.layouts.patterns import first_value, interval_bound, leap, recurrence
from sparsedsl.layouts.properties import Equality, Injective, Range
from sparsedsl.layouts.scan import Scan, closure
from sparsedsl.layouts.structure import Structure
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Term
from sparsedsl.spf.terms import Index


@dataclass(slots=True)
class Arrays:
    """The dims of every entry in ``env``, index arrays in ``arrays`` as they become known.

    Those named in ``starts`` tell where groups begin; where the last one ends, more may tell.
    """

    layout: Layout
    values: dict[str, int]
    env: dict[str, Index] = field(default_factory=dict[str, Index])
    arrays: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    data: np.ndarray = field(default_factory=lambda: np.empty(0))
    alternative: int = 0
    stored: bool = False
    starts: set[str] = field(default_factory=set[str])

    @property
    def part(self) -> Structure:
        """The alternative that is filled."""
        return self.layout.structures[self.alternative]

    def _column(self, term: Term, count: int) -> np.ndarray:
        value = t.evaluate(term, self.env, self.arrays)
        return np.broadcast_to(np.asarray(value, np.int64), (count,))

    def walk(self, dims: tuple[str, ...]) -> Scan:
        """Every value of ``dims``, in storage order."""
        walked = closure(self.part, dims)
        scan = Scan(self.part, self.values, self.arrays, dims=walked or self.part.dims)
        return scan.run(len(walked))

    def _tops(self, level: Position, env: Mapping[str, Index], counts: np.ndarray) -> None:
        """Fill arrays that ``f(d + 1) - f(d) >= e`` defines, ``e`` over the groups.

        A group of ``n`` entries has one at every ``d < n``.
        """
        for constraint in self.part.scan:
            found = None if constraint.equality else leap(constraint.term)
            if found is None or found.call.function in self.arrays:
                continue
            after = t.add(t.var(level.name), t.ONE)
            shape = self._shape(found.call.function)
            if found.call.arguments != (after,) or shape is None:
                continue
            steps = np.zeros(shape, np.int64)
            np.maximum.at(steps, counts, np.asarray(t.evaluate(found.step, env, self.arrays)))
            steps[0] = 0
            steps[1:] = np.maximum.accumulate(steps[:0:-1])[::-1]
            self.arrays[found.call.function] = np.cumsum(steps)

    def _fill(
        self,
        call: UF,
        env: Mapping[str, Index],
        values: np.ndarray,
        *,
        largest: bool = False,
    ) -> None:
        """``call = values`` at every place of ``env``; elsewhere what was there, or padding.

        ``largest`` keeps the largest of several values for one place.
        """
        where = tuple(np.asarray(t.evaluate(x, env, self.arrays)) for x in call.arguments)
        shape = self._room(call.function, where)
        array = self.arrays.get(call.function)
        if array is None or array.shape != shape:
            array = self._longer(call.function, shape, array)
        if not where:
            array[()] = values.flat[0] if values.size else array
        elif largest and not _ascending(where, shape):
            np.maximum.at(array, where, values)
        else:
            array[where] = values

    def _longer(
        self, function: str, shape: tuple[int, ...], known: np.ndarray | None
    ) -> np.ndarray:
        """Make an array of that shape, or of that of what is ``known`` of it where that is more."""
        if known is not None:
            shape = tuple(map(max, shape, known.shape))
        array = self.blank(function, shape)
        if known is not None:
            array[tuple(map(slice, known.shape))] = known
        self.arrays[function] = array
        return array

    def _intervals(self) -> None:
        """Fill arrays that bound an affine dim by the smallest or largest value it takes."""
        found = levels(self.layout, self.alternative)
        affine = {x.name for x in found if isinstance(x, Affine)}
        for name in affine & set(self.part.dims):
            for constraint in self.part.scan:
                bound = interval_bound(constraint, name)
                if bound is not None and bound[0].function not in self.arrays:
                    self._interval(name, *bound)

    def _leaps(self) -> None:
        """Fill arrays that ``f(x) + e < f(x + 1)`` defines: the least that leave room."""
        for constraint in self.part.scan:
            found = None if constraint.equality else leap(constraint.term)
            if found is None or found.call.function in self.arrays:
                continue
            names = t.variables(t.atom(found.call)) | t.variables(found.step)
            shape = self._shape(found.call.function)
            if shape is None or len(shape) != 1 or not names <= set(self.env):
                continue
            array = np.zeros(shape, np.int64)
            where = np.asarray(t.evaluate(found.call.arguments[0], self.env, self.arrays))
            np.maximum.at(array, where, np.asarray(t.evaluate(found.step, self.env, self.arrays)))
            self.arrays[found.call.function] = np.cumsum(array)

    def empty_interval(self, name: str, call: UF, side: int, slack: int) -> np.ndarray | None:
        """``call`` where ``name`` takes no value: the interval begins after its end.

        None where the other end is not known.
        """
        array = self._empty_interval(name, call, side, slack)
        return None if array is None or not array[1] else array[0]

    def _empty_interval(
        self, name: str, call: UF, side: int, slack: int
    ) -> tuple[np.ndarray, bool] | None:
        """The array, and whether the other end is known."""
        names = t.variables(t.atom(call))
        dims = tuple(dim for dim in self.part.dims if dim in names)
        shape = self._shape(call.function)
        if shape is None:
            return None
        walk = self.walk(dims)
        bounds = Bounds(self.part.scan, self.part.parameters)
        ends = (bounds.upper if side > 0 else bounds.lower)(name, tuple(walk.env))
        ready = [
            np.broadcast_to(np.asarray(t.evaluate(end, walk.env, self.arrays)), walk.count)
            for end in ends
            if all(inner.function in self.arrays for inner in t.ufs(end))
        ]
        empty = np.zeros(walk.count, np.int64)
        if ready:
            edge = np.min(ready, axis=0) if side > 0 else np.max(ready, axis=0)
            empty = edge + side + slack
        at = tuple(np.asarray(t.evaluate(x, walk.env, self.arrays)) for x in call.arguments)
        array = np.zeros(shape, np.int64)
        array[at] = empty
        return array, bool(ready)

    def _interval(self, name: str, call: UF, side: int, slack: int) -> None:
        """``call`` is ``name + slack`` at its least (side 1) or greatest (side -1)."""
        known = t.variables(t.atom(call)) <= set(self.env)
        blank = self._empty_interval(name, call, side, slack) if known else None
        if blank is None:
            return
        array, _ = blank
        here = tuple(np.asarray(t.evaluate(x, self.env, self.arrays)) for x in call.arguments)
        value = np.asarray(self.env[name]) + slack
        array[here] = value
        (np.minimum if side > 0 else np.maximum).at(array, here, value)
        self.arrays[call.function] = array

    def _marks(self, count: int) -> None:
        """Fill arrays that a filter compares with a constant: ``mask(i, j) = 1``."""
        for constraint in self.part.filters:
            calls = t.ufs(constraint.term)
            if len(calls) != 1 or calls[0].function in self.arrays:
                continue
            factor = {node: c for c, node in constraint.term.parts}.get(calls[0], 0)
            if abs(factor) == 1:
                rest = t.subtract(constraint.term, t.atom(calls[0], factor))
                self._hold(calls[0], self._column(t.scale(-factor, rest), count))

    def _hold(self, call: UF, values: np.ndarray) -> None:
        """Let an array hold the value of each entry at its place."""
        self._fill(call, self.env, values)

    def blank(self, function: str, shape: tuple[int, ...]) -> np.ndarray:
        """An array of padding."""
        array = np.full(shape, self.padding(function), dtype=np.int64)
        filtered = any(
            call.function == function for c in self.part.filters for call in t.ufs(c.term)
        )
        for item in self.layout.properties:
            if isinstance(item, Injective) and function in item.functions and filtered and shape:
                # free slots hold different values, so that none of them looks like another
                array -= np.sign(-array) * np.arange(shape[-1])
        return array

    def padding(self, function: str) -> int:
        """A value that fails the filters on an array, or lies in its range."""
        padding = 0
        for item in self.layout.properties:
            if isinstance(item, Range) and item.function == function:
                padding = int(t.evaluate(item.low, self.values, self.arrays))
        for constraint in self.part.filters:
            for factor, node in constraint.term.parts:
                if not isinstance(node, UF) or len(t.ufs(constraint.term)) != 1:
                    continue
                if node.function == function and abs(factor) == 1:
                    rest = t.subtract(constraint.term, t.atom(node, factor))
                    edge = int(t.evaluate(rest, self.values, self.arrays))
                    padding = -edge - 1 if factor > 0 else edge + 1
        return padding

    def _shape(self, function: str) -> tuple[int, ...] | None:
        """The lengths of an array, where they are known by now."""
        found = [self._length(x) for x in self.layout.lengths.get(function, (None,))]
        known = tuple(x for x in found if x is not None)
        return known if len(known) == len(found) else None

    def _room(self, function: str, where: tuple[np.ndarray, ...]) -> tuple[int, ...]:
        """The lengths of an array, along each axis at least up to the last place where not known.

        ``where`` are places along each axis.
        """
        lengths = self.layout.lengths.get(function, (None,) * len(where))
        return tuple(
            known if (known := self._length(length)) is not None else _past(places)
            for length, places in zip(lengths, where, strict=True)
        )

    def _length(self, length: Term | None) -> int | None:
        """A length, where it is known by now."""
        if length is None or not t.variables(length) <= set(self.values):
            return None
        if not all(call.function in self.arrays for call in t.ufs(length)):
            return None
        return max(int(t.evaluate(length, self.values, self.arrays)), 0)

    def defined(self) -> None:
        """Fill arrays that equalities define: ``f(0) = a`` and ``f(i + 1) = f(i) + ...``."""
        for _ in self.layout.properties:
            for item in self.layout.properties:
                if isinstance(item, Equality):
                    self._define(item)

    def _define(self, item: Equality) -> None:
        found = recurrence(item)
        if found is None or found.call.function in {*self.arrays} - self.starts:
            return
        function, step = found.call.function, found.step
        if not all(call.function in self.arrays for call in t.ufs(step)):
            return
        names = t.variables(t.atom(found.call))
        dims = tuple(name for name in self.part.dims if name in names)
        shape = self._shape(function)
        if shape is None or len(shape) != 1 or not names <= {*self.values, *dims}:
            return
        scan = self.walk(dims)
        array = np.zeros(shape, np.int64)
        for other in self.layout.properties:
            first = first_value(other, function)
            if first is not None and shape[0]:
                array[0] = int(t.evaluate(first, self.values, self.arrays))
        places = np.asarray(t.evaluate(found.call.arguments[0], scan.env, self.arrays))
        array[places] = np.broadcast_to(t.evaluate(step, scan.env, self.arrays), scan.count)
        total, known = np.cumsum(array), self.arrays.get(function)
        if known is None or (known.shape == shape and (known[:-1] == total[:-1]).all()):
            self.arrays[function] = total


def _past(places: np.ndarray) -> int:
    """The number after the last place."""
    return int(places.max()) + 1 if places.size else 0


def _ascending(where: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> bool:
    """Whether places come in storage order, so that none comes twice."""
    places = np.zeros(1, np.int64)
    for row, length in zip(where, shape, strict=True):
        places = places * length + row
    return bool((places[1:] > places[:-1]).all())
