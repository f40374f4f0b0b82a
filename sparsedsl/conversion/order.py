"""In which order a layout's scan meets entries, and which orders follow from which.

Takes: layouts, and tuples of terms over logical coordinates.  Gives: the tuple a scan follows,
and proofs that entries in one lexicographic order are in another.  Invariant: a proof covers
every pair of coordinates of every shape; where isl does not decide, nothing is claimed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Affine, Position, levels
from sparsedsl.layouts.properties import Disjoint, Increasing, Lexicographic
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Constraint, Term

Columns: TypeAlias = "tuple[Term, ...]"


def coordinate(mode: int) -> str:
    """The name that the coordinate of ``mode`` has in every term of this package."""
    return f"c{mode}"


def code(place: int) -> str:
    """The name of a number whose bits are those of several terms in turn."""
    return f"code{place}"


def extent(mode: int) -> str:
    """The name of the extent of ``mode``."""
    return f"n{mode}"


def renamed(layout: Layout, term: Term) -> Term:
    """``term`` over this package's names of coordinates and extents."""
    names = {name: t.var(coordinate(mode)) for mode, name in enumerate(layout.relation.outputs)}
    names |= {name: t.var(extent(mode)) for mode, name in enumerate(layout.extents)}
    return t.substitute(term, names)


@lru_cache(maxsize=512)
def scanned(layout: Layout) -> Columns:
    """The terms whose tuple increases along a scan, as far as properties tell.

    >>> from sparsedsl.layouts.catalogue import resolve
    >>> [t.text(term) for term in scanned(resolve("csc", 2))]
    ['c1', 'c0']
    """
    if len(layout.structures) != 1:
        return ()
    try:
        found = {level.name: level for level in levels(layout)}
    except LayoutError:
        return ()
    columns: list[Term] = []
    walked: set[str] = set()
    for name in layout.structures[0].dims:
        match found[name]:
            case Affine(_, value):
                columns.append(renamed(layout, value))
            case Position() as level:
                # keys are in order within a group: all that tells groups apart is settled before
                keys = _sorted_keys(layout, level) if set(level.group) <= walked else None
                if keys is None:
                    break
                columns += [renamed(layout, key) for key in keys]
        walked.add(name)
    return tuple(columns)


def _sorted_keys(layout: Layout, level: Position) -> Columns | None:
    """The keys that increase along a position dim, most significant first."""
    by_name = {call.function: value for call, value in level.keys}
    for item in layout.properties:
        match item:
            case Increasing(function, within):
                functions = (function,)
            case Lexicographic(functions, within):
                pass
            case Disjoint(start, stop, within) if level.edges == frozenset((start, stop)):
                functions = ()  # what lies in an interval comes before what lies in the next
            case _:
                continue
        whole = within is None or (
            within.variable == level.name and within.low == level.low and within.high in level.highs
        )
        if whole and set(functions) <= set(by_name):
            return tuple(by_name[name] for name in functions)
    return None


def _other(term: Term) -> Term:
    """``term`` at a second entry."""
    names = {name: t.var(f"{name}_") for name in t.variables(term) if name.startswith("c")}
    return t.substitute(term, names)


def _box(rank: int) -> list[Constraint]:
    """Both entries lie inside the shape."""
    found: list[Constraint] = []
    for mode in range(rank):
        for name in (coordinate(mode), f"{coordinate(mode)}_"):
            found.append(Constraint(t.var(name), False))
            top = t.subtract(t.subtract(t.var(extent(mode)), t.var(name)), t.ONE)
            found.append(Constraint(top, False))
    return found


def _less(left: Term, right: Term) -> Constraint:
    return Constraint(t.subtract(t.subtract(right, left), t.ONE), False)


def _same(left: Term, right: Term) -> Constraint:
    return Constraint(t.subtract(left, right), True)


@lru_cache(maxsize=4096)
def implies(rank: int, given: Columns, wanted: Columns) -> bool:
    """Whether entries sorted by ``given`` (ties in any order) are sorted by ``wanted``.

    >>> i, j = t.var("c0"), t.var("c1")
    >>> implies(2, (i, j), (t.floordiv(i, 4),)), implies(2, (i, j), (j,))
    (True, False)
    """
    if wanted == given[: len(wanted)]:
        return True
    box = _box(rank)
    for length in range(len(given) + 1):
        before = [_same(term, _other(term)) for term in given[:length]]
        if length < len(given):
            before.append(_less(given[length], _other(given[length])))
        for place, term in enumerate(wanted):
            equal = [_same(x, _other(x)) for x in wanted[:place]]
            if not isl.is_empty([*box, *before, *equal, _less(_other(term), term)]):
                return False
    return True


@lru_cache(maxsize=1024)
def determines(rank: int, columns: Columns) -> bool:
    """Whether no two entries of different coordinates agree in all ``columns``."""
    agree = [*_box(rank), *(_same(term, _other(term)) for term in columns)]
    names = (t.var(coordinate(mode)) for mode in range(rank))
    return all(isl.is_empty([*agree, _less(name, _other(name))]) for name in names)
