"""Entries appended unless they are the fill, several an instruction; set bits listed likewise.

    for q in a .. b:                        for q in a .. b by 8:
        v = sums[q]                             v_lanes = sums[q ..+8, at most b - q]
        crd[n] = q                              n_kept = differing(v_lanes, 0, b - q)
        data[n] = v                    =>       pack crd[n ..] = q ..+8 where n_kept
        n += v != 0                             pack data[n ..] = v_lanes where n_kept
                                                n += ctpop(n_kept)

    while left != 0:                        pack crd[n ..] = base ..+64 where left
        q = base + cttz(left)          =>   n += ctpop(left)
        left &= left - 1
        crd[n] = q
        n += 1

How many entries a row has, and which they are, is then not guessed one by one.  What is stored is
the same, but that a place of the result whose entry is dropped may keep what it held: the next
entry, or none, belongs there.  Takes and gives a kernel that ``loops.verify`` accepts; no pass
comes after this one but ``columns`` and ``fetch``, since others know no vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import array_dtypes, changes, fresh, names, reads, straight_names
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    Assign,
    Binary,
    Cast,
    Const,
    Expr,
    For,
    Kernel,
    Load,
    Pack,
    Part,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.vectors import lanes, vector
from sparsedsl.loops.walk import with_bodies

FARTHEST = 8
"""Places between elements up to which they are taken out of all that lie between them."""


def packs(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with loops that append what is kept of a range done in vectors."""
    packing = _Packing(
        array_dtypes(kernel), straight_names(kernel.body) - set(kernel.results), names(kernel)
    )
    return replace(kernel, body=packing.block(kernel.body))


@dataclass(frozen=True, slots=True)
class _Appended:
    """What a loop appends: where the next entry goes, values, and how much of it is kept."""

    next: Var
    value: Load
    fill: Const
    keys: tuple[Store, ...]
    values: Store
    cleared: Store | None
    apart: int


class _Packing:
    """One pass: dtypes of arrays, names that are read in one turn alone, names already taken."""

    def __init__(self, dtypes: dict[str, str], straight: set[str], taken: set[str]) -> None:
        self.dtypes = dtypes
        self.straight = straight
        self.taken = taken

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            match statement:
                case For():
                    appended = self.appended(statement)
                    made = None if appended is None else self.packed(statement, appended)
                case While():
                    made = self.listed(statement)
                case _:
                    made = None
            found += [with_bodies(statement, self.block)] if made is None else made
        return tuple(found)

    def appended(self, loop: For) -> _Appended | None:
        """Return what a loop appends, None for another loop."""
        match loop:
            case For(
                turn,
                body=(
                    Assign(value, Load(_, (place,), _, True) as load),
                    *stores,
                    Assign(
                        Var() as after,
                        Binary("+", before, Cast(Binary("!=", tested, Const() as fill, _), _)),
                    ),
                ),
                step=1,
            ) if after == before and tested == value and value.name in self.straight:
                pass
            case _:
                return None
        apart = _apart(place, turn, changes(loop.body) | {turn.name})
        if apart is None or self.dtypes.get(load.array) != value.type:
            return None
        if value.type not in ("float64", "float32"):
            return None
        cleared = [s for s in stores if isinstance(s, Store) and s.array == load.array]
        rest = [s for s in stores if s not in cleared]
        keys = [s for s in rest if isinstance(s, Store) and s.value != value]
        values = [s for s in rest if isinstance(s, Store) and s.value == value]
        if len(keys) + len(values) < len(rest) or len(values) != 1 or len(cleared) > 1:
            return None
        for store in (*keys, *values):
            if store.subscripts != (after,) or store.combine is not None or not store.proved:
                return None
        if any(_key(store.value, turn) is None for store in keys):
            return None
        if any(not isinstance(s.value, Const) or s.subscripts != (place,) for s in cleared):
            return None
        if cleared and apart > 1:
            return None
        written = [s.array for s in (*keys, *values, *cleared)]
        told = [_key(s.value, turn) for s in keys]
        if len(set(written)) < len(written) or set(written) & {*told, *reads(loop.stop)}:
            return None
        clear = next(iter(cleared), None)
        return _Appended(after, load, fill, tuple(keys), values[0], clear, apart)

    def packed(self, loop: For, found: _Appended) -> list[Stmt]:
        """Return the loop in vectors."""
        kind, turn, at = vector(found.value.type), loop.variable, found.next
        width = lanes(kind)
        past = Var(fresh(f"{turn.name}_past", self.taken), INT)
        left = Var(fresh(f"{turn.name}_left", self.taken), INT)
        held = Var(fresh(f"{found.values.array}_lanes", self.taken), kind)
        kept = Var(fresh(f"{at.name}_kept", self.taken), INT)
        place = found.value.subscripts[0]
        body: list[Stmt] = [
            Assign(left, build.sub(past, turn)),
            Assign(held, Part(found.value.array, place, left, kind, apart=found.apart)),
        ]
        if found.cleared is not None:
            # of so few entries that a word has a bit for each
            used = build.sub(build.shift_left(build.i(1), build.min_(left, width)), 1)
            zeros = Cast(found.cleared.value, kind)
            body.append(Pack(found.value.array, place, zeros, used, lanes=width))
        body.append(Assign(kept, Apply("differing", (held, found.fill, left), INT)))
        for store in found.keys:
            through = _key(store.value, turn) or ""
            body.append(Pack(store.array, at, turn, kept, through, width))
        body += [
            Pack(found.values.array, at, held, kept, lanes=width),
            Assign(at, build.add(at, build.ctpop(kept))),
        ]
        return [
            Assign(past, loop.stop),
            For(turn, loop.start, past, tuple(body), width),
        ]

    def listed(self, loop: While) -> list[Stmt] | None:
        """Return the set bits of a word listed at once, None for another loop."""
        match loop:
            case While(
                Binary("!=", Var() as left, Const(0)),
                (
                    Assign(found, Binary("+", base, Apply("cttz", (counted,)))),
                    Assign(less, fewer),
                    Store(array, (place,), key, None, True),
                    Assign(Var() as after, next),
                ),
            ) if left == counted == less and place == after:
                pass
            case _:
                return None
        steps = fewer == build.bit_and(left, build.sub(left, 1)) and next == build.add(after, 1)
        own = found.name in self.straight and self.dtypes.get(array) in ("int32", "int64")
        moving = changes(loop.body)
        if not steps or not own or _uncast(key) != found or reads(base) & moving:
            return None
        return [
            Pack(array, after, base, left),
            Assign(after, build.add(after, build.ctpop(left))),
            Assign(left, build.i(0)),
        ]


def _apart(place: Expr, turn: Var, moving: set[str]) -> int | None:
    """Return how many places it is from one turn's place to the next one's, None if not known."""
    match place:
        case Binary("+" | "-", first, offset) if not reads(offset) & moving:
            return _apart(first, turn, moving)
        case Binary("*", first, Const(apart)) if first == turn and 0 < apart.real <= FARTHEST:
            return int(apart.real)
        case _:
            return 1 if place == turn else None


def _uncast(node: Expr) -> Expr:
    return node.operand if isinstance(node, Cast) else node


def _key(node: Expr, turn: Var) -> str | None:
    """Return the index array that holds a coordinate at each turn, "" where it is the turn's."""
    match _uncast(node):
        case Load(array, (place,), "int", True) if place == turn:
            return array
        case key:
            return "" if key == turn else None
