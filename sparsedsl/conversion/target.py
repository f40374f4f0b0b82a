"""What it takes to fill a layout by counting.

Takes: nothing.  Gives: ``Target``: dims as terms over the coordinates, and numbered dims with the
arrays that hold their keys and ranges.  Invariant: frozen records, made by
``target_from_layout``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sparsedsl.conversion.order import Columns
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Position
from sparsedsl.layouts.properties import Injective
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Constraint, Term


@dataclass(frozen=True, slots=True)
class Level:
    """A dim that numbers keys.

    ``kind``: ``"list"`` numbers them from 0 on, ``"pointer"`` goes on from group to group with
    an array of starts, ``"slots"`` begins at 0 in each group.  ``columns`` are the terms that
    tell groups apart and then the keys, ``grouped`` of them for the group; ``parent`` is the
    numbered dim that a group belongs to.  ``pointer`` is the call that holds a group's start.
    ``located`` are the terms of the group over dims, where ``columns`` has coordinates.
    A number without keys covers an interval of ``along``, of one value where ``by_value`` is.
    Each number of ``parent`` has as many groups as ``shares`` says.
    """

    name: str
    kind: Literal["list", "pointer", "slots"]
    columns: Columns
    grouped: int
    parent: str | None
    keys: tuple[tuple[UF, Term], ...]
    pointer: UF | None
    position: Position
    located: Columns
    along: Term | None = None
    shares: int = 1

    @property
    def by_value(self) -> bool:
        """Whether the entries of one number have one value."""
        return self.position.by_value


@dataclass(frozen=True, slots=True)
class Edge:
    """An array that bounds a dim: ``call`` is the least (side 1) or greatest value plus ``slack``.

    ``key`` is the dim, ``name``, as a term over the coordinates.
    """

    call: UF
    name: str
    key: Term
    side: int
    slack: int


@dataclass(frozen=True, slots=True)
class Step:
    """An array over the numbers of a level: ``first``, then ``step`` more from each to the next.

    ``step`` is over the number and arrays at it.
    """

    function: str
    first: Term
    step: Term


@dataclass(frozen=True, slots=True)
class Permuted:
    """A dim that numbers all coordinates of a mode, in an order that follows from the counts.

    ``call`` is the coordinate at a number, ``key`` the coordinate.
    """

    name: str
    call: UF
    key: Term
    position: Position


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A layout that can be filled by counting.

    ``affine`` gives dims as terms over the coordinates; ``checks`` are the constraints an entry
    must satisfy to have a place; ``order`` is the order of entries that numbers follow.
    ``codes`` gives each variable that stands for interleaved bits the terms it is made of, the
    most significant first; ``marks`` are calls and what they hold wherever an entry is;
    ``permuted`` is the dim of a permutation, and ``derived`` are dims as terms over other dims.
    ``edges`` are arrays that bound dims of ``affine``, and ``steps`` arrays that follow from them.
    """

    layout: Layout
    affine: Mapping[str, Term]
    levels: tuple[Level, ...]
    checks: tuple[Constraint, ...]
    codes: Mapping[str, Columns]
    marks: tuple[tuple[UF, Term], ...]
    permuted: Permuted | None
    derived: Mapping[str, Term]
    edges: tuple[Edge, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def runs(self) -> Level | None:
        """The level whose numbers cover intervals, if there is one."""
        return next((level for level in self.levels if level.along is not None), None)

    @property
    def order(self) -> Columns:
        """The terms by which entries are sorted, most significant first."""
        return tuple(term for level in self.levels for term in level.columns)

    @property
    def told(self) -> Columns:
        """``order``, what interleaved bits tell put after them."""
        found: list[Term] = []
        for term in self.order:
            found += (term, *self.parts(term))
        return tuple(found)

    def parts(self, term: Term) -> Columns:
        """The terms whose bits are interleaved in ``term``; empty for any other."""
        return next((keys for name, keys in self.codes.items() if term == t.var(name)), ())

    @property
    def appended(self) -> bool:
        """Whether arrays are about as long as there are entries, where these are numbered."""
        shared = any(level.shares > 1 for level in self.levels)
        return len(self.layout.value.arguments) == 1 and not shared

    @property
    def apart(self) -> frozenset[str]:
        """Arrays whose free slots differ from each other, as a property wants."""
        if not self.layout.structures[0].filters:
            return frozenset()
        properties = (x for x in self.layout.properties if isinstance(x, Injective))
        return frozenset(name for item in properties for name in item.functions)

    @property
    def plain(self) -> bool:
        """Whether a value's place is a tuple of dims, which no two entries share."""
        arguments = [t.substitute(x, self.derived) for x in self.layout.value.arguments]
        return bool(arguments) and all(_alone(x, self.layout) for x in arguments)

    def measures(self, array: str) -> bool:
        """Whether the lengths of an array follow from what is counted and the layout's sizes."""
        if any(x.parent and x.pointer and x.pointer.function == array for x in self.levels):
            return True
        calls = [call for level in self.levels for call, _ in level.keys]
        calls += [self.layout.value, *(call for call, _ in self.marks)]
        lengths = self.layout.lengths[array]
        counted = [t.var(level.name) for level in self.levels if level.kind != "slots"]
        places = next((x.arguments for x in calls if x.function == array), (None,) * len(lengths))
        both = zip(places, lengths, strict=True)
        return all(length is not None or place in counted for place, length in both)

    @property
    def sizes(self) -> tuple[str, ...]:
        """Sizes that are read to tell a place, known once entries are counted."""
        terms = [*self.layout.value.arguments, *self.derived.values()]
        terms += [x for level in self.levels for call, _ in level.keys for x in call.arguments]
        read = {name for term in terms for name in t.variables(term)}
        others = self.layout.relation.parameters[self.layout.rank :]
        return tuple(name for name in others if name in read)

    @property
    def sized(self) -> frozenset[str]:
        """Index arrays whose contents are counts, ranges or what follows from them."""
        keys = {call.function for level in self.levels for call, _ in level.keys}
        return frozenset(self.layout.functions) - keys


def _alone(term: Term, layout: Layout) -> bool:
    """Whether a term tells the one dim in it: it is a dim, moved by sizes."""
    dims = t.variables(term) - {*layout.relation.parameters}
    return not t.ufs(term) and len(dims) == 1 and t.coefficient(term, *dims) == 1
