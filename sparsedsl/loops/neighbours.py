"""Sums and extremes of neighbouring elements in the rows of a loop, a register at a time.

    for i in 0 .. n:                      for i in 0 .. n:
        for p in a[i] .. a[i + 1]:            whole = a[i + 1] - (a[i + 1] - a[i]) % 8
            s += A[p]                  =>     lanes = A[whole ..+8, at most a[i + 1] - whole]
                                              for p in a[i] .. whole by 8:
                                                  lanes += A[p ..+8]
                                              s += total(lanes)

No row ends in turns for single elements: how many would be left over is what is guessed wrongly row
by row.  What else a loop does stays a loop.  Lanes that are not used add zero, or are the identity
of an extreme; whether zeros or NaN are found, so that the first is to be told, is seen as in
``loops.extremes``.  Sums are taken in another order than one by one, the same for every number of
threads.  Takes and gives a kernel that ``loops.verify`` accepts; no pass comes after this one but
``ahead``, since others know no vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, straight_names, uses
from sparsedsl.loops.extremes import FOLD_OF, nans, told
from sparsedsl.loops.lifting import neighbours, put, substituted
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    ArrayParam,
    Assign,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    Kernel,
    Load,
    Part,
    Stmt,
    Var,
)
from sparsedsl.loops.vectors import lanes, vector
from sparsedsl.loops.walk import expressions, with_bodies, with_children

_MONOID_OF = {MONOIDS[name].operator: name for name in ("add", "max", "min")}


def rows_in_vectors(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with sums and extremes of floats along rows taken in vectors."""
    one = {p.name for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1}
    straight = straight_names(kernel.body) - set(kernel.results)
    taken = names(kernel)

    def inside(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """Change loops in the body of a loop."""
        found: list[Stmt] = []
        for statement in body:
            row = _row(statement, one, straight) if isinstance(statement, For) else None
            found += [with_bodies(statement, inside)] if row is None else _in_vectors(row, taken)
        return tuple(found)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(with_bodies(s, inside if isinstance(s, For) else block) for s in body)

    return replace(kernel, body=block(kernel.body))


@dataclass(frozen=True, slots=True)
class _Found:
    """What a loop finds by which operator, what each turn gives as a vector's part, and how."""

    variable: Var
    operator: str
    value: Expr
    steps: tuple[Stmt, ...]

    @property
    def unused(self) -> Const:
        """What lanes that are not used hold."""
        identity = MONOIDS[_MONOID_OF[self.operator]].identity(self.variable.type)
        return Const(float(identity.real), self.variable.type)


@dataclass(frozen=True, slots=True)
class _Row:
    """A loop, what it finds in vectors, and what else it does."""

    loop: For
    found: tuple[_Found, ...]
    rest: tuple[Stmt, ...]


def _row(loop: For, one: set[str], straight: set[str]) -> _Row | None:
    """Return what a loop finds, or None where that is nothing."""
    if loop.step != 1 or (isinstance(loop.start, Const) and isinstance(loop.stop, Const)):
        return None
    steps: list[Assign] = []
    found: list[_Found] = []
    for place, statement in enumerate(loop.body):
        match statement:
            case Comment():
                continue
            case Assign(variable, Apply(operator, (first, value))) if (
                operator in _MONOID_OF and first == variable
            ):
                others = (*loop.body[:place], *loop.body[place + 1 :])
                if variable.name in {*uses(others), *changes(others), *reads(value)}:
                    return None
                part = _vector(value, variable, loop, one, steps)
                if part is not None:
                    found.append(_Found(variable, operator, part, _needed(steps, [statement])))
            case Assign(variable) if variable.name in straight:
                steps.append(statement)
            case _:
                return None
    own = {each.steps[-1] for each in found}
    rest = [s for s in loop.body if isinstance(s, Assign) and s not in own and s not in steps]
    return _Row(loop, tuple(found), _needed(steps, rest) if rest else ()) if found else None


def _needed(steps: Sequence[Assign], last: Sequence[Assign]) -> tuple[Stmt, ...]:
    """Return the last statements after those steps that they need."""
    found: tuple[Stmt, ...] = tuple(last)
    for step in reversed(steps):
        if step.variable.name in set(uses(found)):
            found = (step, *found)
    return found


def _vector(
    value: Expr, total: Var, loop: For, one: set[str], steps: Sequence[Assign]
) -> Expr | None:
    """Return a value as a vector of neighbours, None where it has none that differ."""
    if total.type not in ("float64", "float32"):
        return None
    fixed = {loop.variable.name, *changes(loop.body)}
    part = neighbours(substituted(value, steps), loop.variable, one, vector(total.type), fixed)
    return None if isinstance(part, Cast) else part


def _in_vectors(row: _Row, taken: set[str]) -> list[Stmt]:
    """Return the last register, a loop over the others, what they come to, and the rest."""
    loop, turn = row.loop, row.loop.variable
    made: list[Stmt] = []
    for width in dict.fromkeys(lanes(each.value.type) for each in row.found):
        same = [each for each in row.found if lanes(each.value.type) == width]
        whole, left = (Var(fresh(f"{turn.name}_{name}", taken), INT) for name in ("whole", "left"))
        turns = build.max_(build.sub(loop.stop, loop.start), 0)
        made += [
            Assign(left, build.bit_and(turns, width - 1)),
            Assign(whole, build.sub(loop.stop, left)),
        ]
        parts = [_lanes_of(each, turn, whole, left, taken) for each in same]
        made += [s for part in parts for s in part.begin]
        every = tuple(s for part in parts for s in part.more)
        made.append(replace(loop, stop=whole, body=every, step=width))
        for each, part in zip(same, parts, strict=True):
            made += _ended(each, part, loop, taken)
    return [*made, replace(loop, body=row.rest)] if row.rest else made


@dataclass(frozen=True, slots=True)
class _Lanes:
    """What begins with the last register, what is done for each other one, and what holds both.

    ``odd`` holds which elements are NaN, where that is not seen of what is found.
    """

    begin: tuple[Stmt, ...]
    more: tuple[Stmt, ...]
    many: Var
    odd: Var | None


def _lanes_of(each: _Found, turn: Var, whole: Var, left: Var, taken: set[str]) -> _Lanes:
    many = Var(fresh(f"{each.variable.name}_lanes", taken), each.value.type)
    last = put(_parted(each.value, left), turn, whole)
    spread = any(isinstance(part, Cast) for part in expressions(last))
    if spread or each.unused.value:
        last = Apply("first", (last, left, each.unused), many.type)
    begin = Assign(many, last)
    more = Assign(many, Apply(each.operator, (many, each.value), many.type))
    if each.operator == "add":
        return _Lanes((begin,), (more,), many, None)
    odd = Var(fresh(f"{each.variable.name}_odd", taken), INT)
    differs = Assign(odd, build.bit_or(odd, nans(each.value)))
    return _Lanes((begin, Assign(odd, nans(many))), (more, differs), many, odd)


def _ended(each: _Found, part: _Lanes, loop: For, taken: set[str]) -> Iterable[Stmt]:
    """Return what puts lanes together."""
    found, many = each.variable, part.many
    if part.odd is None:
        total = Apply("total", (many,), found.type)
        return [Assign(found, Apply("add", (found, total), found.type))]
    fold = FOLD_OF[each.operator]
    most = Var(fresh(f"{found.name}_{fold}", taken), found.type)
    farther = Assign(found, Apply(each.operator, (found, most), found.type))
    again = replace(loop, body=each.steps)
    return [Assign(most, Apply(fold, (many,), found.type)), *told(most, part.odd, again, farther)]


def _parted(node: Expr, count: Var) -> Expr:
    """Return a vector of which no more than ``count`` elements are loaded."""
    match node:
        case Load(array, (place,), type) if lanes(type) > 1:
            return Part(array, place, count, type)
        case _:
            return with_children(node, lambda child: _parted(child, count))
