"""Kernels that loop over the same rows, joined: of what one gives the next, a row is held.

    for i: E[i, :] = f(i)               for i:
    for r: O[r, :] = g(E[r, :])    =>       row = f(i)
                                            O[i, :] = g(row)

Takes: the bodies of kernels, and how each intermediate is stored.  Gives: one body.  Invariant:
each turn computes what it computed before, in the same order, and reads of an intermediate
only what the same turn wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.loops import build as lb
from sparsedsl.loops.effects import changes, fresh, uses
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Assign,
    Comment,
    Const,
    Expr,
    For,
    Length,
    Load,
    Pack,
    Part,
    Prefetch,
    Resize,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.walk import with_bodies, with_children, with_operands

Body = tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """How one row of an intermediate is held.

    ``values`` is the array of its values, of ``dtype``.  A sparse row lies in the first places of
    ``arrays``; ``pointer`` is the array that told where each row lies, ``count`` the number of
    entries (for a dense row ""), ``room`` that of the longest row.  A dense row starts at
    ``initial``, unless each element is stored once (None); it is an array as long as ``extent``,
    or a scalar where that is None.
    """

    name: str
    values: str
    dtype: str
    arrays: tuple[str, ...] = ()
    pointer: str = ""
    count: str = ""
    room: str = ""
    extent: Expr | None = None
    initial: Const | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """A kernel's body, the loop variable that steps its rows, and the row it holds, if any.

    ``counting`` is the variable of a loop over the same rows that comes before, if there is one.
    """

    body: Body
    variable: str
    held: Held | None
    counting: str = ""


def join(parts: Sequence[Rows], parameters: Iterable[str]) -> Body | None:
    """Return one body whose turns run the turns of every part, the last one's loop around them.

    ``parameters`` are names that mean the same in every part.  Returns None where a part is no
    loop over rows, or reads an intermediate at another row.
    """
    last = parts[-1]
    taken = {*parameters, last.variable}.union(*(changes(p.body) for p in parts))
    interface = {n for p in parts if p.held for n in (p.held.values, p.held.count) if n}
    begins: list[Stmt] = []
    turns: list[Stmt] = []
    ends: Body = ()
    loop: For | None = None
    used: set[str] = set()
    for part in parts:
        clash = (changes(part.body) & (used | {last.variable})) - interface - {part.variable}
        names = {name: fresh(name, taken) for name in sorted(clash)}
        found = _cut(replace(part, body=renamed(part.body, names)), last.variable)
        if found is None:
            return None
        before, loops, ends = found
        if part.held is not None and ends:
            return None
        used |= changes(part.body)
        begins += before
        turns.append(Comment(_title(part.held)))
        turns += _begun(part.held)
        turns += [s for each in loops for s in each.body]
        loop = loops[0]
    assert loop is not None
    holder = _Holder(last.variable, [p.held for p in parts if p.held])
    counting = {p.counting for p in parts if p.counting}
    begins = [
        replace(s, start=loop.start, stop=loop.stop)
        if isinstance(s, For) and s.variable.name in counting
        else s
        for s in begins
    ]
    beginner = _Holder("", holder.held, counting)
    begun = beginner.block(tuple(begins))
    early = {a for h in holder.held for a in h.arrays} & set(uses(begun))
    joined = (*begun, *holder.block((replace(loop, body=tuple(turns)), *ends)))
    return joined if holder.good and beginner.good and not early else None


def _title(held: Held | None) -> str:
    return "the row" if held is None else f"the row of {held.name}, which is not stored"


def renamed(body: Body, names: Mapping[str, str]) -> Body:
    """Return a body with other names for some variables and arrays."""
    return _Renamer(names).block(body) if names else body


def _cut(part: Rows, variable: str) -> tuple[Body, tuple[For, ...], Body] | None:
    """Cut a body into what comes before its loops over rows, those, and what comes after."""
    body = renamed(part.body, {part.variable: variable} if part.variable != variable else {})
    loops = {n: s for n, s in enumerate(body) if isinstance(s, For) and s.variable.name == variable}
    if not loops:
        return None
    first, last = min(loops), max(loops)
    between = [s for n, s in enumerate(body[first:last], first) if n not in loops]
    if not all(isinstance(s, Comment) for s in between):
        return None
    return body[:first], tuple(loops.values()), body[last + 1 :]


def _begun(held: Held | None) -> list[Stmt]:
    """Begin a row: no entries yet, or every element at its initial value."""
    if held is None:
        return []
    if held.count:
        return [Assign(Var(held.count, INT), lb.i(0))]
    if held.initial is None:
        return []
    if held.extent is None:
        return [Assign(_scalar(held), held.initial)]
    place = Var(f"{held.values}_place", INT)
    store = lb.store(held.values, (place,), held.initial)
    return [For(place, lb.i(0), held.extent, (store,))]


def _scalar(held: Held) -> Var:
    return Var(f"{held.name}_element", held.dtype)


class _Renamer:
    """Gives variables and arrays other names."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def block(self, body: Body) -> Body:
        return tuple(self.statement(s) for s in body)

    def statement(self, node: Stmt) -> Stmt:
        node = with_bodies(with_operands(node, self.expression), self.block)
        match node:
            case Assign(variable) | For(variable):
                return replace(node, variable=self.variable(variable))
            case Store(array) | Allocate(array) | Resize(array) | Prefetch(array):
                return replace(node, array=self.names.get(array, array))
            case Pack(array, through=through):
                array, through = (self.names.get(name, name) for name in (array, through))
                return replace(node, array=array, through=through)
            case _:
                return node

    def variable(self, variable: Var) -> Var:
        return replace(variable, name=self.names.get(variable.name, variable.name))

    def expression(self, node: Expr) -> Expr:
        node = with_children(node, self.expression)
        match node:
            case Var():
                return self.variable(node)
            case Load(array) | Length(array):
                return replace(node, array=self.names.get(array, array))
            case Part(array, through=through):
                array, through = (self.names.get(name, name) for name in (array, through))
                return replace(node, array=array, through=through)
            case _:
                return node


class _Holder:
    """Puts the row that is held in place of the row of a stored intermediate.

    Before there are rows, in a loop over a variable ``counting``, it is the longest one.
    """

    def __init__(self, variable: str, held: Sequence[Held], counting: Iterable[str] = ()) -> None:
        self.held = held
        self.rows = [Var(name, INT) for name in (*counting, variable) if name]
        self.before = not variable
        self.pointers = {h.pointer: h for h in held if h.pointer}
        self.dense = {h.values: h for h in held if not h.count}
        self.good = True

    def block(self, body: Body) -> Body:
        return tuple(kept for s in body for kept in self.statement(s))

    def statement(self, node: Stmt) -> tuple[Stmt, ...]:
        node = with_bodies(with_operands(node, self.expression), self.block)
        if not isinstance(node, Store):
            return (node,)
        if node.array in self.pointers:
            self.good &= node.subscripts in self.after()
            return ()
        held = self.dense.get(node.array)
        if held is None or self._begins(node, held):
            return (node,)
        self.good &= node.subscripts[0] in self.rows
        if held.extent is not None:
            return (replace(node, subscripts=node.subscripts[1:]),)
        scalar, value = _scalar(held), node.value
        if node.combine is not None:
            value = lb.apply(MONOIDS[node.combine].operator, scalar, value, type=held.dtype)
        return (Assign(scalar, value),)

    def after(self) -> list[tuple[Expr, ...]]:
        """The places that follow those of a row."""
        return [(lb.add(row, 1),) for row in self.rows]

    def _begins(self, node: Store, held: Held) -> bool:
        """Whether a store is that of the row's initial value, which knows no row."""
        return held.extent is not None and len(node.subscripts) == 1

    def expression(self, node: Expr) -> Expr:
        node = with_children(node, self.expression)
        if isinstance(node, Length):
            self.good &= node.array not in self.pointers and node.array not in self.dense
            return node
        if not isinstance(node, Load):
            return node
        if node.array in self.pointers:
            if node.subscripts[0] in self.rows:
                return lb.i(0)
            self.good &= node.subscripts in self.after()
            held = self.pointers[node.array]
            return Var(held.room if self.before else held.count, INT)
        held = self.dense.get(node.array)
        if held is None:
            return node
        self.good &= node.subscripts[0] in self.rows
        if held.extent is None:
            return _scalar(held)
        return replace(node, subscripts=node.subscripts[1:])
