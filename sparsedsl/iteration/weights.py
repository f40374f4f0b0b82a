"""How often loops turn and how long ranges are where they are met, not on average over all.

Takes: the steps before a scan or a search, and sizes.  Gives: estimates.  Invariant: where entries
lie evenly, or nothing is known, every range counts as the average one.

A loop over all rows meets each row once.  A row that a column of another matrix names is met as
often as that column is stored, and one that two operands are scanned in, once for each pair of
their entries: long rows are met more often than short ones, if rows that are long in one operand
are long in the other.  They are taken to be, as far as both are uneven.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from sparsedsl.iteration.cost import Sizes, Unevenness
from sparsedsl.iteration.nodes import Find, Let, Operand, Scan, Step
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


def turns(
    steps: tuple[Step, ...], place: int, operands: Mapping[str, Operand], sizes: Sizes
) -> float:
    """Return how often a scan among steps is expected to turn where it is met."""
    scan = steps[place]
    assert isinstance(scan, Scan)
    if scan.operand is None:
        return sizes.extent(scan.variable)
    return length(steps[:place], operands[scan.operand], scan, sizes)


def all_turns(
    steps: tuple[Step, ...],
    operands: Mapping[str, Operand],
    sizes: Sizes,
    start: int = 0,
) -> float:
    """Return how often the innermost loop turns for each time that step ``start`` is reached."""
    loops = (place for place in range(start, len(steps)) if isinstance(steps[place], Scan))
    return math.prod(turns(steps, place, operands, sizes) for place in loops)


def length(before: tuple[Step, ...], operand: Operand, ranged: Scan | Find, sizes: Sizes) -> float:
    """Return how long the range of a scan or a search is expected to be after some steps."""
    ends = (*ranged.lows, *ranged.highs)
    return sizes.fanout(operand.dims, ranged.variable) * _met(before, ends, ranged.variable, sizes)


def _met(before: tuple[Step, ...], ends: tuple[Term, ...], dim: str, sizes: Sizes) -> float:
    """Return how many times as long as on average a range is where it is met."""
    own = sizes.unevenness(dim)
    if own.skew <= 1.0:
        return 1.0
    origin = _origin(before, _variables(ends))
    scans = (s.variable for s in reversed(before) if isinstance(s, Scan))
    base = next((name for name in scans if name in origin), None)
    if base is None:
        return 1.0
    named = (sizes.unevenness(name) for name in _naming(before, base, origin))
    beside = (sizes.unevenness(name) for name in _beside(before, base))
    longer = [
        *(together(own.skew, u.crowd) for u in named if _alike(own, u, across=True)),
        *(together(own.skew, u.skew) for u in beside if _alike(own, u, across=False)),
    ]
    return min(max(longer, default=1.0), own.skew)


def _alike(one: Unevenness, other: Unevenness, *, across: bool) -> bool:
    """Whether ranges of one, and ranges or coordinates (``across``) of the other, are of one mode.

    Where they are of two, long ranges may still be those of coordinates that are stored often.
    """
    return (one.turned != other.turned) is across or (one.mutual and other.mutual)


def _naming(before: tuple[Step, ...], base: str, origin: frozenset[str]) -> list[str]:
    """Return the dimensions whose coordinates say which range is met."""
    loaded = any(isinstance(s, Let) and s.kind == "load" and s.variable in origin for s in before)
    finds = (s for s in before if isinstance(s, Find))
    sought = [s.variable for s in finds if base in _origin(before, _sought(s))]
    return [base, *sought] if loaded else sought


def _beside(before: tuple[Step, ...], base: str) -> list[str]:
    """Return the dimensions whose ranges have the number of the range that is met."""
    ranged = (s for s in before if isinstance(s, Scan | Find))
    return [s.variable for s in ranged if base in _origin(before, _variables((*s.lows, *s.highs)))]


def hits(before: tuple[Step, ...], operand: Operand, find: Find, sizes: Sizes) -> float:
    """Return which part of the keys sought after some steps is expected to be found."""
    room = sizes.room(key.value for key in find.keys)
    own = sizes.unevenness(find.variable)
    more = own.near
    if own.crowd > 1.0:
        origin = _origin(before, _sought(find))
        stored = [u for u in map(sizes.unevenness, origin) if _alike(own, u, across=False)]
        more = max([more, *(together(own.crowd, u.crowd) for u in stored)])
    return min(length(before, operand, find, sizes) / room * more, 1.0)


def _sought(find: Find) -> frozenset[str]:
    return _variables(key.value for key in find.keys)


def _variables(values: Iterable[Term]) -> frozenset[str]:
    return frozenset[str]().union(*map(terms.variables, values))


def _origin(steps: tuple[Step, ...], names: frozenset[str]) -> frozenset[str]:
    """Return what variables are computed from or sought by, ranges of scans left out."""
    for step in reversed(steps):
        if isinstance(step, Let) and step.variable in names:
            names |= terms.variables(step.value)
        elif isinstance(step, Find) and step.variable in names:
            names |= _sought(step)
    return names


def together(one: float, other: float) -> float:
    """Return how many times as often as by chance two uneven distributions meet, at most.

    >>> together(16.0, 16.0), together(16.0, 1.0), together(17.0, 5.0)
    (16.0, 1.0, 9.0)
    """
    return 1.0 + math.sqrt((one - 1.0) * (other - 1.0))
