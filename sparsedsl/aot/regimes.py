"""Plans of one kernel for operands whose ranges are of other lengths than those it was planned for.

Takes: the one loop nest of a kernel ahead of time.  Gives: ``Regime``s, between which a module
picks at each call.  Invariant: each is planned and proved like any kernel; they differ in speed.

A module does not know its operands.  Where two of them are searched in one another, what is best
depends on how much longer the ranges of one are, so that it is planned for some such ratios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sparsedsl.errors import PlanError
from sparsedsl.iteration.output import ranges
from sparsedsl.pipeline.groups import Settings
from sparsedsl.pipeline.source import Source
from sparsedsl.pipeline.stages import Unit, compile_group

RATIOS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0)
"""How many times as long as planned the ranges of one operand are beside those of another."""

BETWEEN = 2.0
"""From where on the next of them is nearer."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """What tells how long the ranges of an operand are: how many entries there are, and ranges."""

    tensor: str
    pointer: str
    coordinate: str


@dataclass(frozen=True, slots=True)
class Regime:
    """A plan, and below which ratio of lengths it is taken; None: up to any."""

    unit: Unit
    below: float | None


def compared(unit: Unit) -> tuple[Ranges, Ranges] | None:
    """Return the two operands whose lengths of ranges say which plan is best, if there are two."""
    found: list[Ranges] = []
    for tensor in unit.group.program.inputs:
        source = unit.group.sources.get(tensor.name)
        told = {} if source is None else ranges(source.layout)
        if len(told) > 1:
            return None
        found += [Ranges(tensor.name, pointer, stored) for pointer, stored, _ in told.values()]
    return (found[0], found[1]) if len(found) == 2 and unit.choices else None


def planned_length(unit: Unit, of: Ranges) -> float:
    """Return how long the ranges of an operand were taken to be."""
    source = unit.group.sources[of.tensor]
    (dim,) = ranges(source.layout)
    counts = [1.0, *source.entries.values()]
    place = list(source.entries).index(dim)
    return max(counts[place + 1], 1.0) / max(counts[place], 1.0)


def regimes(unit: Unit, settings: Settings) -> tuple[Regime, ...]:
    """Return the plans for some ratios of lengths, in rising order; equal ones are one."""
    two = compared(unit)
    if two is None:
        return (Regime(unit, None),)
    found: list[Regime] = []
    for ratio in RATIOS:
        planned = unit if ratio == 1.0 else _planned(unit, settings, two, ratio)
        if planned is None:
            continue
        if found and found[-1].unit.source == planned.source:
            found.pop()
        found.append(Regime(planned, None if ratio == RATIOS[-1] else ratio * BETWEEN))
    found[-1] = replace(found[-1], below=None)
    return tuple(found)


def _planned(
    unit: Unit, settings: Settings, two: tuple[Ranges, Ranges], ratio: float
) -> Unit | None:
    """Return the plan for a ratio of lengths; None where it would need what a module lacks."""
    longer, times = (two[1], ratio) if ratio > 1.0 else (two[0], 1.0 / ratio)
    sources = _longer(unit.group.sources, longer.tensor, times)
    group = replace(unit.group, sources=sources)
    try:
        planned = compile_group(group, settings, unit.proofs)
    except PlanError:
        return None
    alone = not planned.recipe.copies and planned.recipe.kind == unit.recipe.kind
    return planned if alone else None


def _longer(sources: Mapping[str, Source], name: str, times: float) -> dict[str, Source]:
    """Return sources of which one has so many times the entries."""
    source = sources[name]
    (dim,) = ranges(source.layout)
    after = list(source.entries).index(dim)
    entries = {
        d: count * (times if place >= after else 1.0)
        for place, (d, count) in enumerate(source.entries.items())
    }
    return {**sources, name: replace(source, entries=entries, uneven={})}
