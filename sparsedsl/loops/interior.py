"""Sweeps over a strip of an array, where all of them reach: each element is loaded and stored once.

    for start in 0 .. n by S:               for start in 0 .. n by S:
        for d in 0 .. D:                        a, b = where the ranges of all d begin and end
            for i in low(d) .. high(d):         for i in a .. b by 32:
                y[i] += A[d, i] * x[i]  =>          lanes = y[i ..+32]
                                                    for d in 0 .. D:
                                                        lanes += A[d, i ..+32] * x[i ..+32]
                                                    y[i ..+32] = lanes
                                                for d in 0 .. D:
                                                    as it was, for i below a and from b on

What each sweep reads is then one of several streams, which are fetched ahead: processors follow
them over no page's end.  Where there are many, one, or no element that all reach, sweeps stay as
they were.  Each element meets the same values in the same order: results are the same bit for bit.
Takes and gives a kernel that ``loops.verify`` accepts; no pass comes after this one but those of
vectors and ``fetch``, since others know no vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import fresh, names, reads, straight_names
from sparsedsl.loops.lifting import substituted
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Cast,
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
)
from sparsedsl.loops.strip import STRIP
from sparsedsl.loops.vectors import ARITHMETIC, element, lanes, vector
from sparsedsl.loops.walk import expressions, with_bodies

REGISTERS = 4
"""Registers of elements that are held, so that their sums do not wait for each other."""

MOST = 32
"""Sweeps that are taken at once: as many streams are fetched."""

AHEAD = 256
"""Elements between what is read of a stream and what is fetched."""


def interior(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with sweeps over the inside of strips taken at once."""
    straight = straight_names(kernel.body) - set(kernel.results)
    dtypes = {p.name: p.dtype for p in kernel.params if isinstance(p, ArrayParam)}
    taken = names(kernel)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            sweeps = _sweeps(statement, straight, dtypes) if isinstance(statement, For) else None
            if sweeps is not None:
                found.append(_at_once(sweeps, taken))
            else:
                found.append(
                    with_bodies(statement, block) if isinstance(statement, If) else statement
                )
        return tuple(found)

    return replace(kernel, body=block(kernel.body))


@dataclass(frozen=True, slots=True)
class _Sweeps:
    """A loop over strips, one over sweeps in it, what each does first, its loop and its value."""

    strips: For
    each: For
    begin: tuple[Stmt, ...]
    sweep: For
    store: Store
    value: Expr


def _sweeps(strips: For, straight: set[str], dtypes: Mapping[str, str]) -> _Sweeps | None:
    """Return the sweeps of a loop over strips, None for another loop."""
    match strips.body:
        case (
            For(
                step=1, body=(*begin, For(step=1, body=(*inside, Store() as store)) as sweep)
            ) as each,
        ):
            pass
        case _:
            return None
    if strips.step != STRIP or store.combine != "add" or store.subscripts != (sweep.variable,):
        return None
    steps = [s for s in (*begin, *inside) if isinstance(s, Assign)]
    local = {s.variable.name for s in steps}
    if len(steps) < len(begin) + len(inside) or not local <= straight:
        return None
    kind = store.value.type
    if kind not in ("float32", "float64") or dtypes.get(store.array) != kind:
        return None
    value = _lifted(substituted(store.value, inside), sweep.variable, vector(kind, REGISTERS))
    if value is None or isinstance(value, Cast):
        return None
    loads = [e for e in expressions(value) if isinstance(e, Load) and lanes(e.type) > 1]
    if any(dtypes.get(e.array) != kind for e in loads):
        return None
    return _Sweeps(strips, each, tuple(begin), sweep, store, value)


def _lifted(node: Expr, turn: Var, kind: str) -> Expr | None:
    """Return a value as a vector of the elements from ``turn`` on, None where it has none."""
    if turn.name not in reads(node):
        return Cast(node, kind) if node.type == element(kind) else None
    match node:
        case Load(_, (*outer, last), type, True) if type == element(kind):
            beside = any(turn.name in reads(place) for place in outer)
            return None if beside or not _neighbours(last, turn) else replace(node, type=kind)
        case Apply(function, arguments, type) if function in ARITHMETIC and type == element(kind):
            parts = [_lifted(a, turn, kind) for a in arguments]
            found = tuple(part for part in parts if part is not None)
            return Apply(function, found, kind) if len(found) == len(parts) else None
        case _:
            return None


def _neighbours(place: Expr, turn: Var) -> bool:
    """Whether a place goes on by one as ``turn`` does."""
    match place:
        case Binary("+", left, right) if right == turn:
            return turn.name not in reads(left)
        case Binary("+" | "-", left, right) if left == turn:
            return turn.name not in reads(right)
        case _:
            return place == turn


def _at_once(sweeps: _Sweeps, taken: set[str]) -> For:
    """Return the loop over strips with the inside of each by itself."""
    strips, each, sweep = sweeps.strips, sweeps.each, sweeps.sweep
    turn = sweep.variable
    first, past = (Var(fresh(f"{turn.name}_{name}", taken), INT) for name in ("first", "past"))
    many = Var(fresh(f"{sweeps.store.array}_lanes", taken), sweeps.value.type)
    width = lanes(many.type)
    reach = (
        *sweeps.begin,
        Assign(first, build.max_(first, sweep.start)),
        Assign(past, build.min_(past, sweep.stop)),
    )
    wide = build.bit_and(build.max_(build.sub(past, first), 0), -width)
    turns = build.sub(each.stop, each.start)
    several = build.conj(build.lt(1, turns), build.le(turns, MOST))
    few = build.select(several, wide, build.i(0))
    more = Assign(many, Apply("add", (many, sweeps.value), many.type))
    inside = (*sweeps.begin, *_fetched(sweeps.value, each.variable), more)
    held = (
        Assign(many, Load(sweeps.store.array, (turn,), many.type)),
        replace(each, body=inside),
        Store(sweeps.store.array, (turn,), many),
    )
    ends = (
        replace(sweep, stop=build.min_(sweep.stop, first)),
        replace(sweep, start=build.max_(sweep.start, past)),
    )
    body: tuple[Stmt, ...] = (
        Assign(first, strips.variable),
        Assign(past, build.min_(strips.stop, build.add(strips.variable, STRIP))),
        replace(each, body=reach),
        Assign(past, build.add(first, few)),
        Comment("where all reach, at once"),
        For(turn, first, past, held, width),
        replace(each, body=(*sweeps.begin, *ends)),
    )
    return replace(strips, body=body)


def _fetched(value: Expr, each: Var) -> Iterator[Stmt]:
    """Yield what fetches the elements that each sweep has of its own."""
    for node in dict.fromkeys(_own(value, each)):
        *outer, last = node.subscripts
        line = lanes(vector(element(node.type)))
        for at in range(0, lanes(node.type), line):
            yield Prefetch(node.array, (*outer, build.add(last, AHEAD + at)), to_store=False)


def _own(value: Expr, each: Var) -> Iterable[Load]:
    """Return the loads of what lies elsewhere in each sweep, along other axes than the last."""
    loads = (e for e in expressions(value) if isinstance(e, Load) and lanes(e.type) > 1)
    return [e for e in loads if any(each.name in reads(place) for place in e.subscripts[:-1])]
