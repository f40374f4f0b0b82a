"""Elements that an index array tells of, fetched before the loop comes to them.

                                        if apart:
    for i in 0 .. n:                        for i in 0 .. n:
        for p in a[i] .. a[i + 1]:              for p in a[i] .. a[i + 1]:
            j = indices[p]        =>                soon = indices[min(p + 64, last)]
            s += A[p] * x[j]                        prefetch x[soon]
                                                    j = indices[p]
                                                    s += A[p] * x[j]
                                        else: as before

In an array larger than the second cache each such element is waited for, and where rows are short
a processor does not foresee enough entries to wait for many at once.  Entries of rows that follow
each other are one stream: those of the next rows are fetched, too.  Where entries near each other
read elements near each other, as those of grids do, they are there already: the kernel looks at
some first.

What is read ahead is one of ``indices``, the last at most.  A prefetch changes no value.  Takes and
gives a kernel that ``loops.verify`` accepts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, straight_names
from sparsedsl.loops.lifting import put, substituted
from sparsedsl.loops.nodes import (
    INT,
    ArrayParam,
    Assign,
    Comment,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Prefetch,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.told import later
from sparsedsl.loops.vectors import lanes
from sparsedsl.loops.walk import expressions, operands, statements, with_bodies

AHEAD = 64
"""Entries after which an element that is fetched is read."""

SAMPLES = 32
"""Entries that are looked at."""

SHORTLY = 64
"""Entries before one of which one may lie near it."""

NEAR = 8
"""Elements that lie near each other: in a cache line, or in the next one."""


def scattered(kernel: Kernel, arrays: Collection[str]) -> Kernel:
    """Return ``kernel`` with elements fetched that entries tell of.

    Parameters
    ----------
    kernel:
        A verified kernel.
    arrays:
        Those of one axis that are larger than the second cache.
    """
    if not arrays:
        return kernel
    given = {p.name for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1}
    fetching = _Scattered(frozenset(arrays), given - changes(kernel.body), names(kernel))
    body = fetching.outermost(kernel.body)
    looks = [part for array, seen in fetching.seen.items() for part in _look(array, seen)]
    return replace(kernel, body=(*looks, *body))


@dataclass(slots=True)
class _Scattered:
    """One pass: large arrays, those that may tell where, and names already taken.

    ``seen`` counts for each index array that is looked at the samples that lie near one before.
    """

    arrays: frozenset[str]
    given: set[str]
    taken: set[str]
    seen: dict[str, Var] = field(default_factory=dict[str, Var])

    def outermost(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """Return statements; a loop inside of which elements are fetched also as it was."""
        return tuple(self.versions(statement) for statement in body)

    def versions(self, statement: Stmt) -> Stmt:
        if not isinstance(statement, For):
            return with_bodies(statement, self.outermost)
        told: set[str] = set()
        fetching = self.loop(statement, frozenset(), told)
        if not told:
            return statement
        for array in sorted(told - {*self.seen}):
            self.seen[array] = Var(fresh(f"{array}_near", self.taken), INT)
        apart = (build.lt(self.seen[array], SAMPLES // 2) for array in sorted(told))
        return If(build.disj(*apart), (fetching,), (statement,))

    def loop(self, loop: For, turns: frozenset[Var], told: set[str]) -> For:
        """Return a loop in one over ``turns`` that fetches; what tells where is ``told``."""
        turning = turns | {loop.variable} if loop.step == 1 else turns

        def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
            return tuple(
                self.loop(s, turning, told) if isinstance(s, For) else with_bodies(s, block)
                for s in body
            )

        if any(isinstance(s, For | While) for s in statements(loop.body)):
            return replace(loop, body=block(loop.body))
        found = dict.fromkeys(self.elements(loop)) if _follows(loop, turns) else {}
        if not found:
            return loop
        entries = {e.told: e.tells for e in found}
        soon = {a: Var(fresh(f"{a}_soon", self.taken), INT) for a in entries}
        told |= {*soon}
        ahead = [
            Assign(soon[a], later(entry, loop.variable, AHEAD)) for a, entry in entries.items()
        ]
        fetched = [
            Prefetch(e.array, (put(e.place, e.tells, soon[e.told]),), to_store=e.to_store)
            for e in found
        ]
        return replace(loop, body=(*ahead, *fetched, *loop.body))

    def elements(self, loop: For) -> Iterator[_Element]:
        """Yield the elements of large arrays that a turn of a loop reads or adds to for sure."""
        known: list[Assign] = []
        straight = straight_names(loop.body)
        for statement in loop.body:
            places = [
                (node.array, node.subscripts, False)
                for operand in operands(statement)
                for node in expressions(operand)
                if isinstance(node, Load) and lanes(node.type) == 1
            ]
            if isinstance(statement, Store):
                places.append((statement.array, statement.subscripts, True))
            for array, subscripts, to_store in places:
                if array in self.arrays and len(subscripts) == 1:
                    place = substituted(subscripts[0], known)
                    yield from self.element(array, place, loop, to_store=to_store)
            if isinstance(statement, Assign) and statement.variable.name in straight:
                known.append(statement)

    def element(self, array: str, place: Expr, loop: For, *, to_store: bool) -> Iterator[_Element]:
        """Yield an element, if what an entry holds tells where it is and nothing else does."""
        tells = [
            node
            for node in expressions(place)
            if isinstance(node, Load) and node.subscripts == (loop.variable,) and node.proved
        ]
        if len(tells) == 1 and tells[0].array in self.given:
            fixed = put(place, tells[0], build.i(0))
            if not reads(fixed) & (changes(loop.body) | {loop.variable.name}):
                yield _Element(array, place, tells[0], to_store)


@dataclass(frozen=True, slots=True)
class _Element:
    """An element at a ``place`` that what an index array ``tells`` in a turn is in."""

    array: str
    place: Expr
    tells: Load
    to_store: bool

    @property
    def told(self) -> str:
        """The index array."""
        return self.tells.array


def _follows(loop: For, turns: frozenset[Var]) -> bool:
    """Whether the entries of a loop go on where those of the turn before end."""
    if loop.step != 1:
        return False
    match loop.start:
        case Load(_, (place,)):
            return place in turns
        case _:
            return not turns


def _look(array: str, seen: Var) -> Iterator[Stmt]:
    """Yield what counts the samples of an index array that lie near one shortly before."""
    sample, place, before, near = (
        build.ivar(f"{array}_{name}") for name in ("entry", "at", "earlier", "met")
    )
    length = build.length(array)
    own, other = build.load(array, place), build.load(array, before)
    is_near = build.conj(
        build.le(other, build.add(own, NEAR)), build.le(own, build.add(other, NEAR))
    )
    window = build.max_(build.sub(place, SHORTLY), 0)
    body = (
        Assign(place, build.mul(sample, build.floordiv(length, SAMPLES))),
        Assign(near, build.i(0)),
        For(before, window, place, (Assign(near, build.bit_or(near, build.cast(is_near, INT))),)),
        Assign(seen, build.add(seen, near)),
    )
    yield Comment(f"whether entries shortly after each other have {array} near each other")
    yield Assign(seen, build.i(0))
    yield For(sample, build.i(0), build.min_(length, SAMPLES), body)
