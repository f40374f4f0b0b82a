"""One conversion while it runs: arrays allocated, kernels called, arrays cut to what was written.

Takes: a target, its compiled kernels and the arrays of the source.  Gives: the arrays of the
target, or None where an entry has no place.  Invariant: counts come first, so that every array but
those that entries are appended to is allocated once, as long as it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sparsedsl.conversion.order import coordinate
from sparsedsl.conversion.programs import Loaded
from sparsedsl.conversion.request import NUMBERS
from sparsedsl.conversion.spans import span_at
from sparsedsl.conversion.target import Level, Target
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.build import Builder
from sparsedsl.layouts.layout import Layout
from sparsedsl.runtime import blocks
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Term, Var


@dataclass(slots=True)
class Run:
    """One conversion: arrays allocated, kernels called, arrays cut to what was written."""

    target: Target
    loaded: Loaded
    extents: tuple[int, ...]
    index: str
    values: np.ndarray
    fill: object
    given: dict[str, Any]
    builder: Builder = field(init=False)
    counts: dict[str, int] = field(init=False)
    made: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        layout = self.target.layout
        self.builder = Builder(layout, dict(zip(layout.extents, self.extents, strict=True)))
        self.counts = {level.name: self.values.size for level in self.target.levels}
        self.made = {own: self.given[f"s_{other}"] for own, other in self.loaded.shared}

    def prepare(self) -> bool:
        """Count entries and fill what follows from counts; False where an entry has no place."""
        loaded, builder, counts, made = self.loaded, self.builder, self.counts, self.made
        if loaded.count is not None:
            for level in self.target.levels:
                if level.pointer is not None and loaded.program.strategy != "sequence":
                    self._allocate(level.pointer.function, builder, counts, made)
            empty = self._bounding(builder)
            if empty is None:
                return False
            bad, *rest = loaded.count(*(self.given[name] for name in loaded.count_params))
            if bad:
                return False
            names = *loaded.scratch, *(f"t_{name}" for name in loaded.made)
            self.given |= dict(zip(names, rest, strict=True))
            made |= {name: self.given[f"t_{name}"] for name in loaded.made}
            builder.arrays |= {name: self.given[f"t_{name}"] for name in loaded.made}
            self._bounded(builder, empty)
            if not self._counted(builder, counts, made):
                return False
        if not self.target.levels:
            builder.defined()
            self._take(builder, made)
        return True

    def store(self, values: np.ndarray | None = None) -> dict[str, np.ndarray] | None:
        """Store the entries, their values in ``values`` where that is given.

        None where one has no place.
        """
        layout, loaded = self.target.layout, self.loaded
        builder, counts, made = self.builder, self.counts, self.made
        if values is not None:
            name = layout.value.function
            made[name] = self.given[f"t_{name}"] = values
        for name in layout.arrays:
            if name not in made:
                self._allocate(name, builder, counts, made)
        self.given |= {f"pad_{name}": builder.padding(name) for name in loaded.padded}
        bad, *numbers = loaded.fill(*(self.given[name] for name in loaded.fill_params))
        if bad:
            return None
        for name, number in zip(loaded.numbers, numbers, strict=True):
            counts[name.removeprefix("t_")] = int(number) + 1
        cut = {name: self._cut(name, made[name], counts) for name in layout.arrays}
        return cut if values is None else {**cut, layout.value.function: values}

    def _bounding(self, builder: Builder) -> list[np.ndarray] | None:
        """Allocate arrays that bound dims, as they are where no entry is; None where none tells.

        Gives what they hold there.
        """
        found: list[np.ndarray] = []
        for edge in self.target.edges if not self.target.levels else ():
            array = builder.empty_interval(edge.name, edge.call, edge.side, edge.slack)
            if array is None:
                return None
            found.append(array)
            self.given[f"t_{edge.call.function}"] = array.astype(self.index)
        return found

    def _bounded(self, builder: Builder, empty: list[np.ndarray]) -> None:
        """Take over arrays that bound dims; where no entry is, one may follow from another."""
        for edge, before in zip(self.target.edges, empty, strict=False):
            array = self.given[f"t_{edge.call.function}"]
            after = builder.empty_interval(edge.name, edge.call, edge.side, edge.slack)
            if after is not None and len(empty) > 1:
                array = np.where(array == before, after, array).astype(self.index)
            builder.arrays[edge.call.function] = array

    def _counted(
        self, builder: Builder, counts: dict[str, int], made: dict[str, np.ndarray]
    ) -> bool:
        """Take over what was counted; False when a limit of the layout is exceeded."""
        for level in self.target.levels:
            if level.kind == "slots":
                return self._ends(level, builder, made)
            own = self.given.get(f"count_t_{level.name}", self.given.get("n"))
            if own is not None:
                counts[level.name] = int(own)
        return True

    def _ends(self, level: Level, builder: Builder, made: dict[str, np.ndarray]) -> bool:
        """Fill arrays of counts and widths, and what equalities define by them."""
        counts = self.given["counts"]
        env: dict[str, t.Index]
        permuted = self.target.permuted
        if permuted is not None:
            self.given[NUMBERS] = builder.permute(permuted.position, permuted.call, counts)
        if _is_mode(self.target.layout, level):
            env = {**builder.values, level.position.group[0]: np.arange(len(counts))}
        else:
            walk = builder.walk(level.position.group)
            address = np.zeros(walk.count, np.int64)
            for place, term in zip(level.located, level.columns, strict=False):
                low, size = span_at(term, self.extents)
                here = t.evaluate(place, walk.env, builder.arrays)
                address = address * size + np.asarray(here) - low
            env, counts = walk.env, counts[address]
        if not builder.slots(level.position, env, counts):
            return False
        self._take(builder, made)
        return True

    def _take(self, builder: Builder, made: dict[str, np.ndarray]) -> None:
        """Take over the arrays that the builder filled."""
        for name, array in builder.arrays.items():
            made[name] = np.ascontiguousarray(array.astype(self.index, copy=False))
            self.given[f"t_{name}"] = made[name]

    def _allocate(
        self,
        name: str,
        builder: Builder,
        counts: Mapping[str, int],
        made: dict[str, np.ndarray],
    ) -> None:
        layout = self.target.layout
        shape = self._shape(name, builder, counts)
        if self._written(name):
            dtype = self.values.dtype if name == layout.value.function else np.dtype(self.index)
            array = blocks.empty(shape, dtype)
        elif name == layout.value.function:
            background = np.asarray(self.fill).astype(self.values.dtype)
            array = filled(shape, background, self.values.dtype)
        elif name in self.target.apart:
            array = builder.blank(name, shape).astype(self.index)
        else:
            padding = builder.padding(name)
            array = filled(shape, np.asarray(padding), np.dtype(self.index))
        made[name] = self.given[f"t_{name}"] = array

    def _written(self, name: str) -> bool:
        """Whether every element that is kept gets written."""
        own = self.loaded.program.distinct or self.loaded.program.arranged
        return name in self.loaded.padded or name in _numbered(self.target, own)

    def _shape(self, name: str, builder: Builder, counts: Mapping[str, int]) -> tuple[int, ...]:
        found: list[int] = []
        for axis in _axes(self.target, name):
            if isinstance(axis, _Counted):
                found.append(axis.times * counts[axis.level] + axis.more)
            else:
                value = t.evaluate(axis, builder.values, {**self._pointers(), **builder.arrays})
                found.append(max(int(value), 0))
        return tuple(found)

    def _pointers(self) -> dict[str, np.ndarray]:
        """The arrays of where groups start, as far as they are known."""
        found = [level.pointer for level in self.target.levels if level.pointer is not None]
        names = [call.function for call in found if f"t_{call.function}" in self.given]
        return {name: self.given[f"t_{name}"] for name in names}

    def _cut(self, name: str, array: np.ndarray, counts: Mapping[str, int]) -> np.ndarray:
        """The part of an array that was written."""
        if not self.loaded.numbers:
            return array
        for level in self.target.levels:
            if level.pointer is not None and level.pointer.function == name and level.parent:
                return _part(array, level.shares * counts[level.parent] + 1)
            own = {call.function for call, _ in level.keys}
            last = level is self.target.levels[-1] and array.ndim > 0
            if name in own or (last and name == self.target.layout.value.function):
                return _part(array, counts[level.name])
        return array


@lru_cache(maxsize=512)
def _is_mode(layout: Layout, level: Level) -> bool:
    """Whether a level's groups are the coordinates of one mode, all of them, one after another."""
    if len(level.position.group) != 1:
        return False
    (name,) = level.position.group
    if level.located != (t.var(name),):
        return False
    part = layout.structures[0]
    bounds = Bounds(part.scan, part.parameters)
    for mode, size in enumerate(layout.extents):
        top = t.subtract(t.var(size), t.ONE)
        whole = bounds.lower(name, part.parameters), bounds.upper(name, part.parameters)
        if level.columns[0] == t.var(coordinate(mode)):
            return whole == ([t.ZERO], [top])
    return False


def _part(array: np.ndarray, count: int) -> np.ndarray:
    if count == len(array):
        return array
    return array[:count].copy() if count < len(array) // 2 else array[:count]


def filled(shape: tuple[int, ...], value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array of one value; memory for zeros is not touched before it is written."""
    if not value and not (dtype.kind in "fc" and np.signbit(np.real(value))):
        return np.zeros(shape, dtype)
    return np.full(shape, value, dtype)


class _Counted(NamedTuple):
    """An axis as long as a level has numbers, so many ``times``, and ``more``."""

    level: str
    more: int
    times: int = 1


@lru_cache(maxsize=1024)
def _axes(target: Target, name: str) -> tuple[_Counted | Term, ...]:
    """What tells how long each axis of an array is."""
    for level in target.levels:
        if level.pointer is not None and level.pointer.function == name and level.parent:
            return (_Counted(level.parent, 1, level.shares),)
    layout = target.layout
    lengths = layout.lengths[name]
    arguments = layout.value.arguments
    if name != layout.value.function:
        keys = (key for level in target.levels for key in level.keys)
        calls = (call for call, _ in (*keys, *target.marks))
        unknown = (None,) * len(lengths)
        arguments = next((c.arguments for c in calls if c.function == name), unknown)
    counted = {level.name for level in target.levels if level.kind != "slots"}
    found: list[_Counted | Term] = []
    for argument, length in zip(arguments, lengths, strict=True):
        dim = argument.parts[0][1] if argument is not None and argument.parts else None
        if isinstance(dim, Var) and dim.name in counted:
            found.append(_Counted(dim.name, 0))
        else:
            assert length is not None
            found.append(length)
    return tuple(found)


@lru_cache(maxsize=1024)
def _numbered(target: Target, own: bool) -> frozenset[str]:
    """Arrays that have one element for each number of a level.

    ``own``: each entry has a place of its own in the value array.
    """
    calls = [call for level in target.levels for call, _ in level.keys]
    calls += [target.layout.value] * own
    numbers = {t.var(level.name) for level in target.levels if level.kind != "slots"}
    return frozenset(
        call.function for call in calls if len(call.arguments) == 1 and call.arguments[0] in numbers
    )
