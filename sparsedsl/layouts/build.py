"""Filling the arrays of one alternative of a layout.

Takes: a layout, coordinates and values.  Gives: index arrays and the value array.
Invariant: each array is filled once, by a key of a position dim or by what else is known of it
(``layouts.fill``); every entry is then where a scan would find it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from sparsedsl.errors import InvalidTensorError, LayoutError
from sparsedsl.layouts.enumerate import different
from sparsedsl.layouts.fill import Arrays
from sparsedsl.layouts.levels import Affine, Position, levels, permutations
from sparsedsl.layouts.order import lexsort, locate, morton_sort, sorted_order
from sparsedsl.layouts.patterns import first_value, lone_call
from sparsedsl.layouts.properties import Nondecreasing, Nonincreasing, Permutation
from sparsedsl.layouts.scan import Scan
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Term
from sparsedsl.spf.terms import Index


@dataclass(slots=True)
class Builder(Arrays):
    """Numbers entries, fills the arrays that hold their keys and ranges, and stores values."""

    def room(self, coords: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Which entries lie below the bounds that are known before any array is filled."""
        positions = self._placed(coords)
        fits = np.ones(coords.shape[1], dtype=bool)
        for level in positions:
            if level.highs == (t.add(level.low, t.ONE),):
                continue
            _, _, starts, group, number = self._numbers(level, values, coords.shape[1])
            self.env[level.name] = number - starts[group]
            if level.pointer is not None:
                break
            for high in level.highs:
                if not t.ufs(high) and t.variables(high) <= set(self.env):
                    fits &= self._column(t.subtract(high, t.var(level.name)), len(fits)) > 0
        return fits

    def _placed(self, coords: np.ndarray) -> list[Position]:
        """Evaluate the affine dims; return the others."""
        self.env = {**self.values, **dict(zip(self.layout.relation.outputs, coords, strict=True))}
        count = coords.shape[1]
        positions: list[Position] = []
        for level in levels(self.layout, self.alternative):
            match level:
                case Affine(name, value):
                    self.env[name] = self._column(value, count)
                case Position():
                    positions.append(level)
        return positions

    def prepare(self, coords: np.ndarray, values: np.ndarray) -> None:
        """Fill the index arrays of the alternative."""
        count = coords.shape[1]
        positions = self._placed(coords)
        for level in positions:
            self._known(level)
            self._number(level, values, count)
        self._intervals()
        self._leaps()
        self.defined()
        for level in positions:
            self._keys(level, count)
        self._marks(count)
        self._permutations(count)
        self.defined()

    def _permutations(self, count: int) -> None:
        """Fill permutations of which no dim is a number, places without an entry in order."""
        for call, value in permutations(self.layout, self.alternative):
            shape = self._shape(call.function)
            if call.function in self.arrays or shape is None or len(shape) != 1:
                continue
            places, held = self._column(call.arguments[0], count), self._column(value, count)
            array, everything = np.empty(shape, np.int64), np.arange(shape[0])
            array[np.setdiff1d(everything, places)] = np.setdiff1d(everything, held)
            array[places] = held
            self.arrays[call.function] = array

    def _known(self, level: Position) -> None:
        """Fill the arrays that tell where a dim of one value lies, if they follow by now."""
        if level.highs != (t.add(level.low, t.ONE),):
            return
        calls = t.ufs(level.low)
        called = {call.function for call in calls}
        for call in calls:
            shape = self._shape(call.function)
            if Permutation(call.function) in self.layout.properties and shape is not None:
                # any will do
                self.arrays.setdefault(call.function, np.arange(math.prod(shape)))
        if called - set(self.arrays):
            self._intervals()
            self.defined()
        missing = sorted(called - set(self.arrays))
        if missing:
            raise LayoutError(
                f"'{self.layout.label}' cannot be built: '{level.name}' is {t.text(level.low)}, "
                f"and nothing tells by then what {', '.join(missing)} holds",
                hint="relate the array to a coordinate or a range, or give an equality for it",
            )

    def require_filled(self) -> None:
        """Raise unless what every array holds follows from the entries."""
        missing = [name for name in self.layout.functions if name not in self.arrays]
        if missing:
            raise LayoutError(
                f"'{self.layout.label}' cannot be built: nothing tells what "
                f"{', '.join(missing)} holds",
                hint="relate the array to a coordinate or a range, or give an equality for it",
            )

    def store(self, values: np.ndarray, fill: object) -> None:
        """Put the values of the prepared entries where the alternative has them."""
        self.require_filled()
        self._store(values, fill, len(values))

    def _numbers(
        self, level: Position, values: np.ndarray, count: int
    ) -> tuple[Scan, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Number the keys of every group, the groups one after another.

        Gives the groups, the count and the first number of each, and every entry's group and
        number.
        """
        walk = self.walk(level.group)
        rows = [np.asarray(self.env[name]) for name in level.group]
        table = [np.asarray(walk.env[name]) for name in level.group]
        group, found = locate(rows, table, count)
        if not found.all():
            self._no_place(found)
        keys = [self._column(value, count) for _, value in level.keys]
        columns = [group, *keys]
        if level.along is not None:
            columns.append(np.asarray(self.env[level.along]))
        order = morton_sort(keys) if level.morton and keys else sorted_order(columns)
        fresh = _fresh(level, [column[order] for column in columns], values[order])
        numbers = np.cumsum(fresh) - 1
        counts = np.bincount(group[order][fresh], minlength=walk.count).astype(np.int64)
        starts = np.cumsum(counts) - counts
        number = np.empty(count, np.int64)
        number[order] = numbers
        return walk, counts, starts, group, number

    def _number(self, level: Position, values: np.ndarray, count: int) -> None:
        """Give every entry its number along a position dim, and fill the arrays of bounds."""
        if level.highs == (t.add(level.low, t.ONE),):
            self.env[level.name] = self._column(level.low, count)
            return
        if self._permuted(level, count):
            return
        walk, counts, starts, group, number = self._numbers(level, values, count)
        env = dict(walk.env)
        first = np.int64(0)
        if level.pointer is not None:
            first = self._first(level.pointer.function)
            self._fill(level.pointer, env, starts + first)
            self.starts.add(level.pointer.function)
            if not walk.count:
                name = level.pointer.function
                if self._shape(name) is None:
                    self._longer(name, (1,) * self.arrays[name].ndim, self.arrays[name])
                self.arrays[name][:1] = first
            number += self._column(t.add(level.shift, t.const(int(first))), count)
        else:
            low = t.evaluate(level.low, env, self.arrays)
            number += (
                np.broadcast_to(np.asarray(low, np.int64), (walk.count,))[group] - starts[group]
            )
        self.env[level.name] = number
        self._ends(level, env, starts + first, counts, group)
        if (
            level.pointer is not None
            and Nondecreasing(level.pointer.function) in self.layout.properties
        ):
            # places of no group, such as rows after the last, begin where others end
            array = self.arrays[level.pointer.function]
            np.maximum.accumulate(array, out=array)

    def _first(self, function: str) -> np.int64:
        """What an array of starts begins with, as an equality says."""
        told = (first_value(item, function) for item in self.layout.properties)
        known = (x for x in told if x is not None and t.variables(x) <= set(self.values))
        return np.int64(next((t.evaluate(x, self.values, {}) for x in known), 0))

    def _permuted(self, level: Position, count: int) -> bool:
        """Number all values of a key that a permutation holds; False for other levels.

        They come in their own order, or by how many entries they have, the most first, where a
        nonincreasing array of counts says so; group after group where values have groups.
        """
        if len(level.keys) != 1 or level.start is not None:
            return False
        call, value = level.keys[0]
        known = [x for x in level.highs if not t.ufs(x) and t.variables(x) <= set(self.values)]
        if Permutation(call.function) not in self.layout.properties or not known:
            return False
        length = int(t.evaluate(known[0], self.values, {}))
        if self._windows(level, value, length) is None:
            return False
        keys = self._column(value, count)
        counts = np.bincount(keys, minlength=length)
        self.env[level.name] = self.permute(level, call, counts)[keys]
        return True

    def permute(self, level: Position, call: UF, counts: np.ndarray) -> np.ndarray:
        """Fill a permutation, given how many entries each of its values has.

        Gives the number of each value.
        """
        length = len(counts)
        order = np.arange(length)
        if any(isinstance(item, Nonincreasing) for item in self.layout.properties):
            windows = self._windows(level, level.keys[0][1], length) or []
            order = lexsort([*windows, counts.max(initial=0) - counts])
        self.arrays[call.function] = order
        number = np.empty(length, np.int64)
        number[order] = np.arange(length)
        return number

    def _windows(self, level: Position, value: Term, length: int) -> list[np.ndarray] | None:
        """The group dims of every value of a key that is a coordinate; None if they differ."""
        affine = {
            x.name: x.value for x in levels(self.layout, self.alternative) if isinstance(x, Affine)
        }
        found: list[np.ndarray] = []
        for name in level.group:
            term = affine.get(name)
            if term is None or not t.variables(term) <= {*self.values, *t.variables(value)}:
                return None
            everything = {**self.values, **dict.fromkeys(t.variables(value), np.arange(length))}
            found.append(np.asarray(t.evaluate(term, everything, {})))
        return found if value == t.var(next(iter(t.variables(value)), "")) else None

    def _ends(
        self,
        level: Position,
        env: Mapping[str, Index],
        starts: np.ndarray,
        counts: np.ndarray,
        group: np.ndarray,
    ) -> None:
        """Make every upper bound of the dim hold: a size, an array of ends or of counts."""
        for high in level.highs:
            span = t.subtract(high, level.low)
            unknown = [name for name in t.variables(high) if name not in env]
            call = lone_call(high if level.pointer is None else t.subtract(high, level.shift))
            length = lone_call(span)
            if length is not None and length.function not in self.arrays:
                self._fill(length, env, counts, largest=True)
            elif level.pointer is not None and call is not None:
                self._fill(call, env, starts + counts)
            elif len(unknown) == 1 and t.coefficient(span, unknown[0]) == 1:
                rest = t.subtract(span, t.var(unknown[0]))
                offset = t.evaluate(rest, env, self.arrays)
                needed = counts - np.asarray(offset)
                self.values[unknown[0]] = max(int(needed.max(initial=0)), 0)
                self.env[unknown[0]] = self.values[unknown[0]]
            elif unknown:
                raise LayoutError(
                    f"'{self.layout.label}' cannot be built: the end {t.text(high)} of "
                    f"'{level.name}' does not follow from the entries",
                    hint="let it be a parameter, an array of ends or counts, or a term over them",
                )
            elif all(inner.function in self.arrays for inner in t.ufs(span)):
                full = counts > np.asarray(t.evaluate(span, env, self.arrays))
                if full.any():
                    self._no_place(~full[group])

    def slots(self, level: Position, env: Mapping[str, Index], counts: np.ndarray) -> bool:
        """Make the bounds of a dim that begins at 0 hold for ``counts`` entries in each group.

        ``env`` holds the groups.  False when a bound that is known already is too low.
        """
        for high in level.highs:
            call = lone_call(high)
            if call is not None:
                self._fill(call, env, counts, largest=True)
            elif high.constant == 0 and high in map(t.var, self.layout.sizes):
                (name,) = t.variables(high)
                self.values[name] = self.env[name] = int(counts.max(initial=0))
            elif (
                t.ufs(high)
                or not t.variables(high) <= set(env)
                or (counts > np.asarray(t.evaluate(high, env, self.arrays))).any()
            ):
                return False
        self._tops(level, env, counts)
        self.defined()
        return True

    def _keys(self, level: Position, count: int) -> None:
        """Write the keys of a position dim into their arrays."""
        for call, value in level.keys:
            if all(f.function in self.arrays for f in t.all_ufs(call.arguments)):
                self._hold(call, self._column(value, count))

    def _store(self, values: np.ndarray, fill: object, count: int) -> None:
        where = tuple(self._column(x, count) for x in self.layout.value.arguments)
        self._require_placed(count)
        shape = self._room(self.layout.value.function, where)
        before = self.data
        if self.stored:
            shape = tuple(map(max, shape, before.shape))
        data = before
        if not self.stored or data.shape != shape:
            data = np.full(shape, fill, dtype=values.dtype)
        if self.stored and data is not before:
            data[tuple(map(slice, before.shape))] = before
        self.stored = True
        if where:
            data[where] = values
        elif count:
            data[()] = values[0]
        self.data = data
        clash = different(data[where] if where else np.repeat(data[None], count), values)
        if clash.any():
            place = int(np.argmax(clash))
            columns = [np.asarray(self.env[name]) for name in self.layout.relation.outputs]
            raise InvalidTensorError(
                f"the layout '{self.layout.label}' has one slot for several entries, whose "
                f"values differ at {tuple(int(column[place]) for column in columns)}",
                hint=f"its value position is {t.text(t.atom(self.layout.value))}",
            )

    def _require_placed(self, count: int) -> None:
        """Raise unless the layout, scanned, would find every entry where it was put."""
        part = self.part
        good = np.ones(count, dtype=bool)
        for name in self.layout.relation.outputs:
            good &= self._column(part.definition(name), count) == self.env[name]
        for constraint in (*part.scan, *part.filters, *part.invariants):
            value = self._column(constraint.term, count)
            good &= value == 0 if constraint.equality else value >= 0
        if not good.all():
            self._no_place(good)

    def _no_place(self, good: np.ndarray) -> NoReturn:
        place = int(np.argmin(good))
        columns = [np.asarray(self.env[name]) for name in self.layout.relation.outputs]
        entry = tuple(int(column[place]) for column in columns)
        raise InvalidTensorError(
            f"the layout '{self.layout.label}' has no place for the entry at {entry}",
            hint=f"its entries satisfy {self.layout.text}",
        )


def _fresh(level: Position, columns: list[np.ndarray], values: np.ndarray) -> np.ndarray:
    """Where a new number begins, given the sorted group, keys and interval dim."""
    count = len(values)
    fresh = np.ones(count, dtype=bool)
    if not level.keys and level.along is None:
        return fresh
    fresh[1:] = False
    if level.along is not None:
        steps = columns.pop()
        fresh[1:] |= steps[1:] != steps[:-1] + 1
        if level.by_value:
            fresh[1:] |= different(values[1:], values[:-1])
    for column in columns:
        fresh[1:] |= column[1:] != column[:-1]
    return fresh
