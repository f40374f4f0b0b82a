"""Rows that are alike and follow one another, added to sums in one go: these are stored once.

    for p in a .. b:                          next = a
        k = j[p]                              for p in a .. b:
        for q in ptr[k] .. ptr[k + 1]:            k = j[p]
            s[c[q]] += A[p] * B[q]        =>      if p == next:
                                                      rows = how many from k on are alike, and
                                                             named by the entries from p on
                                                      for q in ptr[k] .. ptr[k + 1]:
                                                          s[c[q]] = s[c[q]] + A[p] * B[q]
                                                                  + A[p + 1] * B[q + length] ...
                                                      next = p + rows

Whether a row has the indices of the next one is found out once, when that is first asked, and kept
for the whole loop.  Each sum has its terms in the same order, so that it has the same bits.  Takes
and gives a kernel that ``loops.verify`` accepts; of the sums, which are vectors, later passes know
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads
from sparsedsl.loops.lifting import put, substituted
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Break,
    Comment,
    Const,
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
from sparsedsl.loops.vectors import lanes
from sparsedsl.loops.walk import with_bodies

MOST = 3
"""Rows that are added at once: as many as a point in space has unknowns."""

SAME, OTHER = 1, 2
"""What is kept of a row: that the next one has its indices, or that it has not."""


def abreast(kernel: Kernel, alike: Iterable[frozenset[str]]) -> Kernel:
    """Return ``kernel`` with rows that are alike added to sums in vectors at once.

    ``alike`` are the arrays of each operand whose rows often have the indices of the one before.
    """
    single = {p.name for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1}
    given = (single & frozenset[str]().union(*alike)) - changes(kernel.body)
    adding = _Adding(single - changes(kernel.body), given, names(kernel))
    return replace(kernel, body=adding.outside(kernel.body))


@dataclass(frozen=True, slots=True)
class _Rows:
    """A loop over ``entries`` that name rows: what comes ``before``, and the ``terms`` of a row.

    ``named`` is the row, of the array ``names``; ``pointer`` tells where rows begin, and
    ``indices`` where their terms go.  A ``total`` is what there is and a ``term``, in which values
    of the entry are variables, ``held``, and those of the row are loaded.
    """

    entries: For
    before: tuple[Stmt, ...]
    terms: For
    named: Var
    names: str
    pointer: str
    indices: tuple[str, ...]
    total: Store
    term: Expr
    held: Mapping[Var, Expr]


def _rows(loop: For, given: Collection[str], alike: Collection[str]) -> _Rows | None:
    """Return a loop that adds rows, which are given and often alike, to sums; None for another."""
    match loop:
        case For(
            entry,
            body=(*before, For(_, Load(pointer, (Var() as named,)) as start, stop) as terms),
            step=1,
        ):
            past = replace(start, subscripts=(build.add(named, 1),))
            whole = stop == past and terms.step == 1
        case _:
            return None
    if not whole or pointer not in alike:
        return None
    if not all(isinstance(s, Assign | Prefetch | Comment) for s in before):
        return None
    values = {s.variable: s.value for s in before if isinstance(s, Assign)}
    match values.pop(named, None):
        case Load(names, (place,), "int", True) if place == entry and names in given:
            pass
        case _:
            return None
    found = _terms(terms, given, alike)
    if found is None:
        return None
    total, term, indices = found
    held = {variable: value for variable, value in values.items() if variable.name in reads(term)}
    moving = {v.name for v in values} | changes(terms.body)
    apart = not any(reads(value) & moving for value in held.values())
    others = {variable.name for variable in values} | {named.name, entry.name}
    straight = len(values) + 1 == sum(isinstance(s, Assign) for s in before)
    if not apart or not straight or others & _decides(terms, total):
        return None
    if {named.name, entry.name} & reads(term) or others & reads(loop.stop):
        return None
    return _Rows(loop, tuple(before), terms, named, names, pointer, indices, total, term, held)


def _terms(
    terms: For, given: Collection[str], alike: Collection[str]
) -> tuple[Store, Expr, tuple[str, ...]] | None:
    """Return what adds a term to a sum in vectors, the term, and what tells where it goes."""
    assigned = [s for s in terms.body if isinstance(s, Assign)]
    stored = [s for s in terms.body if isinstance(s, Store)]
    loads = {s.variable: s.value for s in assigned}
    if len(assigned) + len(stored) < len(terms.body) or len(loads) < len(assigned):
        return None
    if not all(_at_turn(value, terms.variable, given) for value in loads.values()):
        return None
    totals = [s for s in stored if lanes(s.value.type) > 1]
    match totals:
        case [Store(array, place, Apply("add", (Load(read, there), term)), None) as total] if (
            array == read and place == there and array not in reads(term)
        ):
            pass
        case _:
            return None
    indices = {v: x.array for v, x in loads.items() if isinstance(x, Load) and x.type == INT}
    values = [s for s in assigned if s.variable not in indices]
    decides = _decides(terms, total)
    marked = all(isinstance(s.value, Const) and s.combine is None for s in stored if s != total)
    own = {s.variable.name for s in values} | {terms.variable.name}
    if not marked or own & decides or not {*indices.values()} <= {*alike} or not indices:
        return None
    return total, substituted(term, values), tuple(dict.fromkeys(indices.values()))


def _at_turn(value: Expr, turn: Var, given: Collection[str]) -> bool:
    """Whether a value is an element that is given, at a turn of a loop."""
    match value:
        case Load(array, (place,), _, True):
            return place == turn and array in given
        case _:
            return False


def _decides(terms: For, total: Store) -> set[str]:
    """Return what tells where the terms of a row go, and what is stored beside them."""
    places = [place for s in terms.body if isinstance(s, Store) for place in s.subscripts]
    others = [s.value for s in terms.body if isinstance(s, Store) and s != total]
    return {name for expression in (*places, *others) for name in reads(expression)}


class _Adding:
    """One pass: arrays that are given, those of rows that are alike, and names already taken.

    ``kept`` are the arrays of what is known of rows, by the array of their pointers.
    """

    def __init__(self, given: set[str], alike: set[str], taken: set[str]) -> None:
        self.given = given
        self.alike = alike
        self.taken = taken
        self.kept: dict[str, str] = {}

    def outside(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """Change loops that no loop is around; what is known of rows is kept for each of them."""
        found: list[Stmt] = []
        for statement in body:
            if not isinstance(statement, For | While):
                found.append(with_bodies(statement, self.outside))
                continue
            self.kept = {}
            changed = with_bodies(statement, self.block)
            nothing = build.const(0, "uint8")
            for pointer, array in self.kept.items():
                found.append(Allocate(array, "uint8", (build.length(pointer),), nothing))
            found.append(changed)
        return tuple(found)

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            known = (self.given, self.alike)
            rows = _rows(statement, *known) if isinstance(statement, For) else None
            found += [with_bodies(statement, self.block)] if rows is None else self.added(rows)
        return tuple(found)

    def added(self, rows: _Rows) -> list[Stmt]:
        """Return a loop over entries that adds several rows at some of them."""
        entry, row = rows.entries.variable, rows.named
        next, count, length = (
            self.var(f"{name}_{what}")
            for name, what in ((entry.name, "next"), (row.name, "rows"), (row.name, "length"))
        )
        begin, past = rows.terms.start, rows.terms.stop
        versions = [self.terms(rows, n, length) for n in range(1, MOST + 1)]
        chosen = versions[-1]
        for n, version in reversed([*enumerate(versions[:-1], 1)]):
            chosen = (If(build.eq(count, n), version, chosen),)
        body = (
            Assign(count, build.i(1)),
            self.counted(rows, count),
            Assign(next, build.add(entry, count)),
            Assign(length, build.sub(past, begin)),
            *chosen,
        )
        loop = replace(rows.entries, body=(*rows.before, If(build.eq(entry, next), body)))
        return [Assign(next, rows.entries.start), loop]

    def var(self, name: str, type: str = INT) -> Var:
        """Return a new variable."""
        return Var(fresh(name, self.taken), type)

    def counted(self, rows: _Rows, count: Var) -> While:
        """Return what counts the rows from one on that are alike, and named one after another."""
        entry, row = rows.entries.variable, rows.named
        if rows.pointer not in self.kept:
            self.kept[rows.pointer] = fresh(f"{rows.pointer}_alike", self.taken)
        kept = self.kept[rows.pointer]
        at = self.var(f"{row.name}_last")
        known = build.load(kept, at)
        named = build.load(rows.names, build.add(entry, count))
        more = build.conj(
            build.lt(count, MOST),
            build.lt(build.add(entry, count), rows.entries.stop),
            build.eq(named, build.add(row, count)),
        )
        body = (
            Assign(at, build.sub(build.add(row, count), 1)),
            If(build.eq(known, 0), tuple(self.compared(rows, at, kept))),
            If(build.ne(known, SAME), (Break(),)),
            Assign(count, build.add(count, 1)),
        )
        return While(more, body)

    def compared(self, rows: _Rows, at: Var, kept: str) -> Iterator[Stmt]:
        """Yield what finds out whether a row has the indices of the next one."""
        turn, row = rows.terms.variable, rows.named
        length, differ = self.var(f"{row.name}_step"), self.var(f"{row.name}_differ")
        begin, past, after = (build.load(rows.pointer, build.add(at, n)) for n in range(3))
        found: Expr = differ
        for array in rows.indices:
            there = build.load(array, build.add(turn, length))
            found = build.bit_or(found, build.bit_xor(build.load(array, turn), there))
        same = build.select(build.eq(differ, 0), build.i(SAME), build.i(OTHER))
        yield Assign(length, build.sub(past, begin))
        yield Assign(differ, build.sub(build.sub(after, past), length))
        yield If(build.eq(differ, 0), (For(turn, begin, past, (Assign(differ, found),)),))
        yield build.store(kept, (at,), build.cast(same, "uint8"))

    def terms(self, rows: _Rows, count: int, length: Var) -> tuple[Stmt, ...]:
        """Return a loop that adds the terms of so many rows."""
        entry, turn = rows.entries.variable, rows.terms.variable
        held: list[Stmt] = []
        total = rows.total.value
        for n in range(1, count):
            term, later, named = rows.term, build.add(entry, n), build.add(rows.named, n)
            for variable, value in rows.held.items():
                own = self.var(variable.name, variable.type)
                held.append(Assign(own, put(put(value, entry, later), rows.named, named)))
                term = put(term, variable, own)
            place = build.add(turn, build.mul(length, n))
            term = put(term, turn, place)
            total = Apply("add", (total, term), total.type)
        body = tuple(replace(s, value=total) if s == rows.total else s for s in rows.terms.body)
        return (*held, replace(rows.terms, body=body))
