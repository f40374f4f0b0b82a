"""Kernels whose outermost loops have one range, joined: what both read comes from memory once.

    for i in 0 .. n: y[i] = f(i)               for i in 0 .. n:
    for i in 0 .. n: z[g(i)] += h(y[i])   =>       y[i] = f(i)
                                                   z[g(i)] += h(y[i])

Takes: the bodies of kernels that run one after another.  Gives: one body, or what is in the way.
Invariant: each turn does what it did before, in the same order, and an element that one part
writes and another touches is met in the same turn of both: it is subscripted by the turn itself.
What comes before a loop is moved over the loops before it, and what comes after one over those
behind it, where they share nothing that changes.  Results are the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from sparsedsl.loops.effects import changes, fresh, reads, touched, uses
from sparsedsl.loops.nodes import (
    Allocate,
    Break,
    Comment,
    Expr,
    For,
    If,
    Load,
    Pack,
    Part,
    Resize,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.rows import renamed
from sparsedsl.loops.vectors import lanes
from sparsedsl.loops.walk import bodies, expressions, operands, statements

Body = tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """The body of a kernel, and what its output is called, for who reads the joined one."""

    name: str
    body: Body


def fused(
    passes: Sequence[Pass],
    parameters: Iterable[str],
    *,
    mixed: bool = True,
    inner: bool = False,
) -> Body | str:
    """Return one body that does what the passes do one after another, or why there is none.

    ``parameters`` are names that mean the same in every pass.  Unless ``mixed``, all have loops
    inside of those that are joined, or none has.  ``inner``: those are joined, too, if they can be.
    """
    given = set(parameters)
    turn = _turn(passes)
    if isinstance(turn, str):
        return turn
    cuts: list[_Cut] = []
    taken = given | {turn.variable.name}.union(*(changes(p.body) for p in passes))
    used = given | {turn.variable.name}
    for each in passes:
        found = _cut(each, turn)
        if found is None:
            return f"{each.name} takes several steps"
        clash = (changes(found.whole) & used) - {turn.variable.name} - _outside(given, found)
        names = {name: fresh(name, taken) for name in sorted(clash)}
        found = found.renamed(names)
        used |= changes(found.whole)
        cuts.append(found)
    plain = [cut.name for cut in cuts if not any(map(_has_loops, cut.loops))]
    if not mixed and 0 < len(plain) < len(cuts):
        return f"the loop of {' and '.join(plain)} is one of vectors by itself"
    why = _in_the_way(cuts, turn)
    if why:
        return why
    parts = [Pass(cut.name, tuple(s for loop in cut.loops for s in loop.body)) for cut in cuts]
    once = fused(parts, given | {turn.variable.name}) if inner else ""
    if isinstance(once, str):
        once = tuple(s for part in parts for s in (Comment(part.name), *part.body))
    before = [s for cut in cuts for s in cut.before]
    after = [s for cut in cuts for s in cut.after]
    return (*before, replace(turn, body=once), *after)


def _has_loops(loop: For) -> bool:
    return any(isinstance(s, For | While) for s in statements(loop.body))


def _turn(passes: Sequence[Pass]) -> For | str:
    """Return a loop of the first pass whose range some loop of each has, or who has none."""
    lacking = f"{passes[0].name} has no outermost loop"
    for statement in passes[0].body:
        if not isinstance(statement, For) or statement.step != 1:
            continue
        without = [p.name for p in passes if not _places_of(p.body, statement)]
        if not without:
            return statement
        lacking = f"the outermost loop of {without[0]} has another range"
    return lacking


def _places_of(body: Body, turn: For) -> list[int]:
    """Return where the loops of a body over the range of ``turn`` stand."""
    ends = turn.start, turn.stop, turn.step
    return [
        n for n, s in enumerate(body) if isinstance(s, For) and (s.start, s.stop, s.step) == ends
    ]


def _outside(given: set[str], cut: _Cut) -> set[str]:
    """Return the arguments that a part stores to."""
    return given & {s.array for s in statements(cut.whole) if isinstance(s, Store | Pack)}


@dataclass(frozen=True, slots=True)
class _Cut:
    """A body in three: what comes before its loops, those, and what comes after them."""

    name: str
    before: Body
    loops: tuple[For, ...]
    after: Body

    @property
    def whole(self) -> Body:
        return (*self.before, *self.loops, *self.after)

    def renamed(self, names: dict[str, str]) -> _Cut:
        loops = tuple(s for s in renamed(self.loops, names) if isinstance(s, For))
        before, after = renamed(self.before, names), renamed(self.after, names)
        return _Cut(self.name, before, loops, after)


def _cut(each: Pass, turn: For) -> _Cut | None:
    """Cut a body at its loops over the range of ``turn``, which get its variable."""
    body = each.body
    places = _places_of(body, turn)
    between = _spread(body, places)
    if between is None:
        return None
    first = places[0]
    while first and isinstance(body[first - 1], Comment):
        first -= 1  # it is about the loop alone
    loops: list[For] = []
    for place in places:
        loop = body[place]
        assert isinstance(loop, For)
        (loop,) = renamed((loop,), {loop.variable.name: turn.variable.name})
        assert isinstance(loop, For)
        loops.append(loop)
    before, after = (*body[:first], *between[0]), (*between[1], *body[places[-1] + 1 :])
    return _Cut(each.name, before, tuple(loops), after)


def _spread(body: Body, places: Sequence[int]) -> tuple[Body, Body] | None:
    """Return what stands between loops and may come before them all, and what after them all."""
    before: list[Stmt] = []
    after: list[Stmt] = []
    over: list[Stmt] = []
    for place in range(places[0], places[-1]):
        statement = body[place]
        if place in places:
            over.append(statement)
        elif isinstance(statement, Comment):
            continue
        elif not _shared((statement,), (*over, *after)):
            before.append(statement)
        else:
            after.append(statement)
    later = [(n, s) for n, s in enumerate(body) if n in places]
    for statement in after:
        at = next(n for n, s in enumerate(body) if s is statement)
        if _shared((statement,), [s for n, s in later if n > at]):
            return None
    return tuple(before), tuple(after)


def _in_the_way(cuts: Sequence[_Cut], turn: For) -> str:
    """Return why the loops must not be joined, "" where nothing is in the way."""
    every = [(cut.name, loop) for cut in cuts for loop in cut.loops]
    ends = reads(turn.start) | reads(turn.stop)
    if ends & changes([s for cut in cuts for s in cut.whole]):
        return "the ends of the loop change"
    for name, loop in every:
        if _leaves(loop.body):
            return f"the loop of {name} may end early"
    for (first, one), (second, two) in combinations(every, 2):
        shared = _carried(one, two, turn.variable)
        if shared:
            return f"{second} touches {shared} where other turns of {first} do"
    for (place, first), (_, second) in combinations(enumerate(cuts), 2):
        over = [*first.loops, *first.after]
        past = [s for cut in cuts[place + 1 :] for s in (*cut.before, *cut.loops)]
        shared = _shared(second.before, over) | _shared(first.after, past)
        if shared:
            return f"{second.name} needs {min(shared)} of {first.name} as a whole"
    for cut in cuts:
        bodies_of = [changes(loop.body) for loop in cut.loops]
        again = {n for a, b in combinations(bodies_of, 2) for n in a & b} & exposed(cut.after)
        if again:
            return f"{cut.name} ends with {min(again)} of several loops"
    return ""


def _shared(moved: Sequence[Stmt], over: Sequence[Stmt]) -> set[str]:
    """Return what statements and those that they are moved over both touch, and one changes."""
    moves, stays = changes(moved), changes(over)
    return (moves & (stays | set(uses(over)))) | (stays & set(uses(moved)))


def _leaves(body: Body) -> bool:
    """Whether a loop's body may leave the loop."""
    return any(
        isinstance(s, Break)
        or (not isinstance(s, For | While) and any(_leaves(inner) for inner in bodies(s)))
        for s in body
    )


def _carried(first: For, second: For, turn: Var) -> str:
    """Name something that a turn of one loop changes for another turn of the other.

    "" where there is nothing of the kind.
    """
    one, two = changes(first.body), changes(second.body)
    both = {*one, *uses(first.body)} & {*two, *uses(second.body)}
    shared = sorted(both & (one | two))
    arrays = {
        s for loop in (first, second) for part in statements(loop.body) for s in touched(part)
    }
    for name in shared:
        if name not in arrays:
            # what a turn assigns before it reads it goes nowhere else
            if name in exposed(first.body) or name in exposed(second.body):
                return name
        elif not _in_turn(name, (first, second), turn):
            return name
    return ""


def _in_turn(array: str, loops: Iterable[For], turn: Var) -> bool:
    """Whether one axis of an array is subscripted by the turn wherever loops touch elements."""
    axes: set[int] | None = None
    for places in _places(array, loops):
        if places is None:
            return False
        own = {axis for axis, place in enumerate(places) if place == turn}
        axes = own if axes is None else axes & own
    return bool(axes)


def _places(array: str, loops: Iterable[For]) -> Iterator[tuple[Expr, ...] | None]:
    """Yield the subscripts of every use of an array; None for a use of more than an element."""
    for statement in statements(tuple(loops)):
        match statement:
            case Store(name, subscripts, value) if name == array:
                yield _first(subscripts, value.type)
            case Allocate(name) | Resize(name) if name == array:
                yield None
            case Pack(name, through=through) if array in (name, through):
                yield None
            case _:
                pass
        for operand in operands(statement):
            for node in expressions(operand):
                match node:
                    case Load(name, subscripts, type) if name == array:
                        yield _first(subscripts, type)
                    case Part(name, through=through) if array in (name, through):
                        yield None
                    case _:
                        pass


def _first(subscripts: tuple[Expr, ...], type: str) -> tuple[Expr, ...]:
    """Return subscripts, without the last one where that begins a vector."""
    return subscripts[:-1] if lanes(type) > 1 else subscripts


def exposed(body: Body) -> set[str]:
    """Return the variables that a turn may read before it assigns them."""
    found: set[str] = set()

    def walk(block: Body, known: frozenset[str]) -> frozenset[str]:
        for statement in block:
            for operand in operands(statement):
                found.update({e.name for e in expressions(operand) if isinstance(e, Var)} - known)
            inner = bodies(statement)
            if isinstance(statement, For):
                walk(statement.body, known | {statement.variable.name})
            elif isinstance(statement, If):
                ends = [walk(part, known) for part in inner]
                known = frozenset.intersection(*ends)
            else:
                for part in inner:
                    walk(part, known)
            if not inner:
                known |= changes((statement,))
        return known

    walk(body, frozenset())
    return found
