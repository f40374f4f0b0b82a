"""Kernels that go through the same loops, joined statement by statement: each is done once for all.

    while p < P and q < Q:                   while p < P and q < Q:
        j = min(a, b); C[n] = f(j); n += 1       j = min(a, b)
        a, p = ...                      =>       C[n] = f(j); n += 1
    while p < P and q < Q:                       D[m] = g(j); m += 1
        j = min(a, b); D[m] = g(j); m += 1       a, p = ...
        a, p = ...

Takes: the bodies of two kernels.  Gives: one body, or None where they do not agree.  Invariant:
what both do reads nothing, and changes nothing, that one of them changes by itself; so each does
what it did before, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from sparsedsl.loops.effects import changed, changes, fresh, reads, straight_names, touched, uses
from sparsedsl.loops.fusion import exposed
from sparsedsl.loops.nodes import Break, For, Pack, Stmt, While
from sparsedsl.loops.rows import renamed
from sparsedsl.loops.walk import bodies, operands, statements, with_bodies

Body = tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class _Both:
    """A statement of both kernels, with what is inside of it."""

    statement: Stmt
    inside: tuple[tuple[_Piece, ...], ...]


@dataclass(frozen=True, slots=True)
class _One:
    """Statements of one kernel, by its place."""

    place: int
    body: Body


_Piece = _Both | _One


def twins(first: Body, second: Body, given: Iterable[str]) -> Body | None:
    """Return one body that does what two do one after another, where they have loops in common.

    ``given`` are names that mean the same in both: the parameters.
    """
    parts = _aligned(first, second)
    if not any(_shares_inside(part) for part in parts):
        return None
    own = [changes(_alone(parts, place)) for place in (0, 1)]
    common = {name for part in _common(parts) for name in changed(part)}
    clash = (own[0] & own[1]) - common
    if clash & set(given):
        return None
    if clash:
        taken = {*given, *changes(first), *changes(second)}
        names = {name: fresh(name, taken) for name in sorted(clash)}
        parts = tuple(_renamed(parts, names))
        own[1] = changes(_alone(parts, 1))
    local = _in_blocks(first) & _in_blocks(second)
    return _body(parts) if _agree(parts, own, common, local) else None


def _in_blocks(body: Body) -> set[str]:
    """Return the variables whose values are read in the block that they are assigned in alone."""
    return straight_names(body) - {array for s in statements(body) for array in touched(s)}


def _aligned(first: Body, second: Body) -> tuple[_Piece, ...]:
    """Match the statements of two bodies, in order, and those inside of them."""
    heads = [[_head(s) for s in body] for body in (first, second)]
    numbers: dict[Stmt, int] = {}
    keys = [[numbers.setdefault(head, len(numbers)) for head in own] for own in heads]
    found: list[_Piece] = []
    for what, a, b, c, d in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if what != "equal":
            found += [_One(k, body) for k, body in enumerate((first[a:b], second[c:d])) if body]
            continue
        for one, other in zip(first[a:b], second[c:d], strict=True):
            inner = zip(bodies(one), bodies(other), strict=True)
            found.append(_Both(one, tuple(_aligned(x, y) for x, y in inner)))
    return tuple(found)


def _head(statement: Stmt) -> Stmt:
    """Return a statement without what is inside of it."""
    return with_bodies(statement, lambda _: ())


def _shares_inside(part: _Piece) -> bool:
    """Whether both have a loop around a loop of both, or one that neither has loops inside of."""
    if not isinstance(part, _Both):
        return False
    inside = [p for inner in part.inside for p in inner]
    if isinstance(part.statement, For | While):
        loops = any(_is_loop(s) for s in _common(inside))
        return loops or not any(_is_loop(s) for k in (0, 1) for s in statements(_alone(inside, k)))
    return any(map(_shares_inside, inside))


def _is_loop(statement: Stmt) -> bool:
    return isinstance(statement, For | While)


def _alone(parts: Sequence[_Piece], place: int) -> Body:
    """Return all statements that one kernel does by itself."""
    found: list[Stmt] = []
    for part in parts:
        if isinstance(part, _One):
            found += part.body if part.place == place else ()
        else:
            for inner in part.inside:
                found += _alone(inner, place)
    return tuple(found)


def _common(parts: Sequence[_Piece]) -> Iterator[Stmt]:
    """Yield the statements of both kernels, outer ones first."""
    for part in parts:
        if isinstance(part, _Both):
            yield part.statement
            for inner in part.inside:
                yield from _common(inner)


def _renamed(parts: Sequence[_Piece], names: dict[str, str]) -> Iterator[_Piece]:
    """Give what the second kernel does by itself other names."""
    for part in parts:
        if isinstance(part, _Both):
            yield _Both(part.statement, tuple(tuple(_renamed(p, names)) for p in part.inside))
        elif part.place:
            yield _One(part.place, renamed(part.body, names))
        else:
            yield part


def _agree(
    parts: Sequence[_Piece], own: Sequence[set[str]], common: set[str], local: set[str]
) -> bool:
    """Whether nothing that one does by itself is seen by both, or by the other.

    ``local`` are variables whose values are read in the block that they are assigned in alone.
    """
    alone = [_alone(parts, place) for place in (0, 1)]
    if any(_leaves(body) for body in alone):
        return False
    seen = {name for s in _common(parts) for name in _read(s)}
    for place in (0, 1):
        spread = own[place] & (common | seen | {*uses(alone[1 - place])} | own[1 - place])
        if not all(name in local and _kept_apart(parts, place, name) for name in spread):
            return False
    return True


def _read(statement: Stmt) -> set[str]:
    found = {name for operand in operands(statement) for name in reads(operand)}
    return found | ({statement.through} if isinstance(statement, Pack) else set())


def _kept_apart(parts: Sequence[_Piece], place: int, name: str) -> bool:
    """Whether a block in which a kernel assigns a name by itself has nothing else that uses it.

    Nor may what stands around such a block read the name before it assigns it.
    """
    mine = [p for p in parts if isinstance(p, _One) and p.place == place]
    if any(name in changes(p.body) for p in mine):
        others = _body([p for p in parts if p not in mine])
        return name not in changes(others) and name not in set(uses(others))
    around = [p for p in parts if name in changes(_alone((p,), place))]
    if around and any(name in exposed(_body((p,))) for p in parts if p not in around):
        return False
    return all(
        name not in _read(p.statement) and all(_kept_apart(x, place, name) for x in p.inside)
        for p in around
        if isinstance(p, _Both)
    )


def _leaves(body: Body) -> bool:
    """Whether statements may leave a loop around them."""
    return any(
        isinstance(s, Break)
        or (not isinstance(s, For | While) and any(_leaves(inner) for inner in bodies(s)))
        for s in body
    )


def _body(parts: Sequence[_Piece]) -> Body:
    found: list[Stmt] = []
    for part in parts:
        if isinstance(part, _One):
            found += part.body
        else:
            inside = iter(part.inside)
            found.append(with_bodies(part.statement, lambda _, inside=inside: _body(next(inside))))
    return tuple(found)
