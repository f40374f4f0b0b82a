"""Layouts whose arrays follow from those of a simpler one, which passes fill.

Takes: a layout.  Gives: another for the same entries in the same order, and what makes its arrays
those of the first.  Invariant: each step is linear in the arrays; a step is taken only where the
specification says all of it.

- Pointers that begin with another number than 0 are moved by that: arrays that count from 1.
- ``start(i + 1) = start(i) + len(i)``: lengths are differences of starts.
- ``s = place(i)``, ``place`` a permutation: with nothing said of the places, each is its own.
- ``i = pair(2*p)``, ``j = pair(2*p + 1)``: coordinates that take turns in one array.
- ``ind(u) <= p < ind(u + 1)`` and ``j = ind(p)``, ``ind(0) = N + 1``: pointers, then coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias

import numpy as np

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.patterns import first_value, lone_call, recurrence
from sparsedsl.layouts.properties import (
    Equality,
    Increasing,
    Nondecreasing,
    Permutation,
    Property,
    Range,
    calls,
    property_text,
)
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Term

Arrays: TypeAlias = "Mapping[str, np.ndarray]"

Restore: TypeAlias = "Callable[[Arrays, Sequence[int]], Arrays | None]"
"""Makes the arrays of a layout of those of the simpler one, for an extent of each mode."""


@dataclass(frozen=True, slots=True)
class Simpler:
    """A layout that tells the arrays of another; None of ``restore`` where they have no room."""

    layout: Layout
    restore: Restore


@lru_cache(maxsize=128)
def simpler(layout: Layout) -> Simpler | None:
    """Return a layout that is simpler by one step, None where there is no step to take."""
    if not layout.rank:
        return None
    for step in (_in_turns, _by_lengths, _in_place, _behind_each_other, _from_one):
        found = step(layout)
        if found is not None:
            return found
    return None


def _restated(
    layout: Layout, properties: Sequence[Property], change: Callable[[str], str], *more: str
) -> Layout | None:
    """Return a layout with these properties, its text changed; None where it is not one."""
    texts = [layout.text, t.text(t.atom(layout.value)), *map(property_text, properties)]
    relation, value, *rest = map(change, texts)
    name = f"{layout.label} restated"
    try:
        return Layout(name, relation, value=value, properties=[*rest, *more])
    except LayoutError:
        return None


def _calls(layout: Layout, function: str) -> list[UF]:
    found = [call for call in calls(layout.relation) if call.function == function]
    value = t.all_ufs(layout.value.arguments)
    return [] if any(call.function == function for call in value) else found


def _substituted(function: str, pattern: str) -> Callable[[str], str]:
    """What writes a pattern for each call of a function, in which group 1 is the argument."""
    call = re.compile(rf"\b{function}\(([^()]*)\)")
    return lambda text: call.sub(pattern, text)


def _simple(layout: Layout, function: str, properties: Sequence[Property]) -> bool:
    """Whether no argument of a function holds a call."""
    texts = [layout.text, t.text(t.atom(layout.value)), *map(property_text, properties)]
    begins, simple = re.compile(rf"\b{function}\("), re.compile(rf"\b{function}\([^()]*\)")
    return all(len(begins.findall(x)) == len(simple.findall(x)) for x in texts)


def _from_one(layout: Layout) -> Simpler | None:
    """Pointers that begin with another number than 0, and only rise."""
    firsts = {name: first for name in layout.functions if (first := _first(layout, name))}
    properties = [x for x in layout.properties if not any(first_value(x, f) for f in firsts)]
    plain = all(isinstance(x, Nondecreasing | Increasing | Equality) for x in properties)
    if not firsts or not plain or not all(_simple(layout, f, properties) for f in firsts):
        return None

    def change(text: str) -> str:
        for name, first in firsts.items():
            text = _substituted(name, rf"({name}(\1) + {first})")(text)
        return text

    made = _restated(layout, properties, change, *(f"{name}(0) = 0" for name in firsts))
    return None if made is None else Simpler(made, partial(_moved, firsts))


def _moved(firsts: Mapping[str, int], arrays: Arrays, extents: Sequence[int]) -> Arrays | None:
    """Add to each pointer what it has more than one from 0; None where it has no room for that."""
    del extents
    for name, first in firsts.items():
        array = arrays[name]
        if int(array.max(initial=0)) + first > np.iinfo(array.dtype).max:
            return None
    return {n: x + firsts[n] if n in firsts else x for n, x in arrays.items()}


def _first(layout: Layout, function: str) -> int:
    """The number that an array begins with, if an equality says it; else 0."""
    told = (first_value(item, function) for item in layout.properties)
    return next((x.constant for x in told if x is not None and not x.parts), 0)


def _named(function: str, properties: Sequence[Property]) -> bool:
    """Whether some property is about a function itself, not about what it holds at a place."""
    rest = map(_substituted(function, ""), map(property_text, properties))
    return any(re.search(rf"\b{function}\b", text) for text in rest)


def _by_lengths(layout: Layout) -> Simpler | None:
    """Starts with lengths."""
    for item in layout.properties:
        told = recurrence(item) if isinstance(item, Equality) else None
        length = None if told is None else lone_call(told.step)
        if told is None or length is None:
            continue
        start, name = told.call.function, length.function
        properties = [x for x in layout.properties if x != item]
        beside = told.call.arguments == tuple(t.add(x, t.ONE) for x in length.arguments)
        from_zero = any(first_value(x, start) == t.ZERO for x in properties)
        if not beside or not from_zero or _named(name, properties):
            continue
        if not _calls(layout, name) or not _simple(layout, name, properties):
            continue
        change = _substituted(name, rf"({start}(\1 + 1) - {start}(\1))")
        made = _restated(layout, properties, change, f"nondecreasing {start}")
        return None if made is None else Simpler(made, partial(_with_lengths, start, name))
    return None


def _with_lengths(start: str, name: str, arrays: Arrays, extents: Sequence[int]) -> Arrays:
    del extents
    return {**arrays, name: np.diff(arrays[start])}


def _in_place(layout: Layout) -> Simpler | None:
    """Places of the coordinates of a mode by a permutation of which nothing else is said."""
    for item in layout.properties:
        if not isinstance(item, Permutation):
            continue
        name, properties = item.function, [x for x in layout.properties if x != item]
        plain = all(
            isinstance(x, Nondecreasing | Increasing | Equality | Range) for x in properties
        )
        read = {call.arguments for call in _calls(layout, name)}
        modes = [k for k, mode in enumerate(layout.relation.outputs) if read == {(t.var(mode),)}]
        if not plain or not modes or _named(name, properties):
            continue
        (mode,) = modes
        if layout.lengths[name] != (t.var(layout.extents[mode]),):
            continue
        made = _restated(layout, properties, _substituted(name, r"(\1)"))
        if made is None or not made.functions:
            return None
        return Simpler(made, partial(_with_numbers, name, mode, next(iter(made.functions))))
    return None


def _with_numbers(
    name: str, mode: int, other: str, arrays: Arrays, extents: Sequence[int]
) -> Arrays:
    return {**arrays, name: np.arange(extents[mode], dtype=arrays[other].dtype)}


def _in_turns(layout: Layout) -> Simpler | None:
    """Coordinates that take turns in one array."""
    for name in layout.functions:
        found = _calls(layout, name)
        dims = {dim for call in found for dim in t.variables(call.arguments[0])}
        if len(found) < 2 or len(dims) != 1 or _named(name, layout.properties):
            continue
        (dim,) = dims
        own = [t.add(t.scale(len(found), t.var(dim)), t.const(k)) for k in range(len(found))]
        parts = {(term,): f"{name}_{k}" for k, term in enumerate(own)}
        free = not {*parts.values()} & {*layout.arrays, *layout.relation.inputs}
        if {call.arguments for call in found} != {*parts} or not free:
            continue
        texts = {f"{name}({t.text(term)})": f"{parts[term,]}({dim})" for term in own}

        def change(text: str, texts: Mapping[str, str] = texts) -> str:
            for call, part in texts.items():
                text = text.replace(call, part)
            return text

        made = _restated(layout, layout.properties, change)
        if made is None or name in made.functions:
            return None
        return Simpler(made, partial(_with_turns, name, tuple(parts.values())))
    return None


def _with_turns(
    name: str, parts: tuple[str, ...], arrays: Arrays, extents: Sequence[int]
) -> Arrays:
    del extents
    return {**arrays, name: np.stack([arrays[part] for part in parts], axis=-1).reshape(-1)}


def _behind_each_other(layout: Layout) -> Simpler | None:
    """Pointers to what lies behind them in the same array."""
    for name in layout.functions:
        told = [(x, first) for x in layout.properties if (first := first_value(x, name))]
        places = {call.arguments[0] for call in _calls(layout, name)}
        ends = {x for x in places if t.add(x, t.ONE) in places or t.subtract(x, t.ONE) in places}
        keys = places - ends
        if len(told) != 1 or len(ends) != 2 or len(keys) != 1:
            continue
        ((said, first),), (key,) = told, keys
        properties = [x for x in layout.properties if x != said]
        pointer, coordinate = f"{name}_0", f"{name}_1"
        free = not {pointer, coordinate} & {*layout.arrays, *layout.relation.inputs}
        if not free or _named(name, properties) or not _simple(layout, name, properties):
            continue
        behind = t.text(first)

        def change(text: str, name: str = name, key: Term = key, behind: str = behind) -> str:
            text = text.replace(f"{name}({t.text(key)})", f"{name}_1({t.text(key)} - ({behind}))")
            return _substituted(name, rf"({name}_0(\1) + {behind})")(text)

        more = f"{pointer}(0) = 0", f"nondecreasing {pointer}"
        made = _restated(layout, properties, change, *more)
        if made is None or made.lengths.get(pointer) != (first,):
            return None
        return Simpler(made, partial(_with_behind, name))
    return None


def _with_behind(name: str, arrays: Arrays, extents: Sequence[int]) -> Arrays | None:
    del extents
    pointer, behind = arrays[f"{name}_0"], arrays[f"{name}_1"]
    first = len(pointer)
    if int(pointer.max(initial=0)) + first > np.iinfo(pointer.dtype).max:
        return None
    return {**arrays, name: np.concatenate([pointer + first, behind])}
