"""One kernel for several outputs, of the kernels that compute each.

Takes: lowered kernels, in the order they would be called.  Gives: a kernel.  Invariant: it computes
what they do (``loops.fusion``); sums in loops that stay their own are taken in the same order.
Where a sparse output has too little room, it does nothing but say how much each needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sparsedsl.codegen.python import freedoms
from sparsedsl.errors import PlanError
from sparsedsl.loops import build as lb
from sparsedsl.loops.effects import changed, changes, fresh, reads, touched, uses
from sparsedsl.loops.fusion import Pass, exposed, fused
from sparsedsl.loops.nodes import (
    Apply,
    Assign,
    Expr,
    For,
    If,
    IntParam,
    Kernel,
    Pack,
    Param,
    Stmt,
    Store,
)
from sparsedsl.loops.rows import renamed
from sparsedsl.loops.twins import twins
from sparsedsl.loops.verify import kind
from sparsedsl.loops.walk import expressions, operands, statements
from sparsedsl.lowering.nest import Lowered

FREE = frozenset({"add", "sub", "mul"})
"""Operators that may be taken in another order, or two of them with one rounding."""


class Joined(NamedTuple):
    """How loops are joined: ``whole``, since threads may share some but not all of them.

    ``always``: whatever threads there are, so that sums may be taken in another order.
    """

    whole: bool
    always: bool


def joined(
    lowered: Sequence[Lowered], costs: Sequence[float], shared_from: float, whole_below: float
) -> Joined:
    """Return how the loops of kernels are to be joined.

    Raises
    ------
    PlanError
        If one that threads may share alone is estimated to take so many nanoseconds that they
        would.
    """
    shared = [each.shared for each in lowered]
    sparse = any(each.sink.assembly.kind != "dense" for each in lowered)
    outermost = {s.parameter if s is not None and not s.place else None for s in shared}
    if {*shared} == {None}:
        return Joined(whole=False, always=True)
    # all outermost loops, or one loop inside, or entries of the same ranges
    one = len({*shared}) == 1 or (len(outermost) == 1 and None not in outermost)
    if one and (not sparse or all(s is None or s.apart for s in shared)):
        return Joined(whole=False, always=True)
    alone = [(c, one) for c, one in zip(costs, lowered, strict=True) if one.shared is not None]
    most, apart = max(alone, key=lambda pair: pair[0])
    if most >= shared_from:
        raise PlanError(f"threads share a loop of {apart.sink.name} by itself")
    sums = [each.sink.name for each in lowered if each.shared is not None and not each.shared.apart]
    if sums and most >= whole_below:
        # its pieces follow from sizes alone: it has some on one thread, too
        raise PlanError(f"{sums[0]} is summed in pieces")
    return Joined(whole=True, always=most < whole_below)


def with_pointer(main: Lowered, every: Sequence[Lowered]) -> Lowered:
    """Return ``main`` with the array that bounds the work of a turn, where any knows one."""
    if main.shared is None or main.shared.pointer:
        return main
    known = [each.shared.pointer for each in every if each.shared is not None]
    pointer = next((name for name in known if name), "")
    return replace(main, shared=replace(main.shared, pointer=pointer))


def _check_rounding(kernels: Sequence[tuple[str, Kernel]]) -> None:
    """Refuse to round values otherwise than they would be alone.

    Sums may be taken in another order, and with products, in the whole of a kernel that has some.
    A single operation has no freedom.
    """
    every = {name: freedoms(kernel) for name, kernel in kernels}
    most = max(every.values(), key=len)
    before = set[str]()
    for name, kernel in kernels:
        if every[name] != most and _chained(kernel, before):
            free = " and ".join(other for other, own in every.items() if own == most)
            raise PlanError(f"{name} is rounded as NumPy does, the sums of {free} need not be")
        before |= changes(kernel.body)


def _chained(kernel: Kernel, given: set[str]) -> bool:
    """Whether what such an operation of a kernel gives meets another one.

    What is ``given`` by kernels before may come from one.
    """
    known = {name for name in given if name not in changes(kernel.body)}
    while True:
        before = len(known)
        for statement in statements(kernel.body):
            if isinstance(statement, Store) and statement.combine in FREE:
                return True
            for operand in operands(statement):
                found = [node for node in expressions(operand) if _is_free(node)]
                if any(_is_free(e) or reads(e) & known for n in found for e in _inside(n)):
                    return True
                if found or reads(operand) & known:
                    known |= changed(statement)
        if len(known) == before:
            return False


def _is_free(node: Expr) -> bool:
    return isinstance(node, Apply) and node.function in FREE and kind(node.type) in "fc"


def _inside(node: Expr) -> Iterator[Expr]:
    inner = expressions(node)
    next(inner)
    return inner


def fused_kernel(kernels: Sequence[tuple[str, Kernel]], *, mixed: bool, inner: bool) -> Kernel:
    """Return one kernel that does what several do, each with the name of its output.

    ``mixed``: loops that have others inside are joined with those that have none, which are
    vectors by themselves.  ``inner``: loops inside of these are joined as well.

    Raises
    ------
    PlanError
        If their loops cannot be one.
    """
    _check_rounding(kernels)
    params: dict[str, Param] = {p.name: p for _, kernel in kernels for p in kernel.params}
    parts = _apart([_counted(name, k) for name, k in kernels], set(params))
    passes = _twins(parts, params, inner=inner)
    body = passes[0].body
    if len(passes) > 1:
        body = fused(passes, params, mixed=mixed, inner=inner)
    if isinstance(body, str):
        raise PlanError(body)
    body = _stored_alike(body)
    counting = [part for part in parts if part.enough is not None]
    for part in reversed(counting):
        if part.enough is not None:
            body = (replace(part.enough, then=body),)
    body = (*(s for part in counting for s in part.count), *body)
    results = tuple(name for part in counting for name in part.results)
    # arrays first, as in a kernel of one output
    given = sorted(params.values(), key=lambda p: isinstance(p, IntParam))
    told = [kernel.notes for _, kernel in kernels]
    statements = "; ".join(notes[0] for notes in told)
    others = dict.fromkeys(note for notes in told for note in notes[1:])
    notes = (statements, *others)
    return Kernel("kernel", tuple(given), body, results, notes)


def _twins(parts: Sequence[_Part], params: Iterable[str], *, inner: bool) -> list[Pass]:
    """Return the bodies of parts, one for sparse outputs whose loops are the same.

    Raises
    ------
    PlanError
        If those of sparse outputs are not: to join their outermost loops alone saves nothing.
    """
    found: list[Pass] = []
    at: int | None = None
    for part in parts:
        if part.enough is None or at is None:
            at = len(found) if part.enough is not None else at
            found.append(Pass(part.name, part.body))
            continue
        body = twins(found[at].body, part.body, params) if inner and at == len(found) - 1 else None
        if body is None:
            raise PlanError(f"the loops of {part.name} are not those of {found[at].name}")
        found[at] = Pass(f"{found[at].name} and {part.name}", body)
    return found


def _stored_alike(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Have large results stored past the caches where all of them are to be."""
    told = dict.fromkeys(s.passing for s in statements(body) if isinstance(s, Store) and s.passing)
    if len(told) < 2:
        return body
    first, *others = told
    last = max(n for n, s in enumerate(body) if isinstance(s, Assign) and s.variable in told)
    every = Assign(first, lb.conj(first, *others))
    names = {other.name: first.name for other in others}
    return (*body[: last + 1], every, *renamed(body[last + 1 :], names))


@dataclass(frozen=True, slots=True)
class _Part:
    """A kernel in three: what counts its entries, the test for room, and what is done if there is.

    A dense output has no ``enough``.
    """

    name: str
    count: tuple[Stmt, ...]
    enough: If | None
    body: tuple[Stmt, ...]
    results: tuple[str, ...]

    def renamed(self, names: dict[str, str]) -> _Part:
        """Return the part with other names."""
        count, body = renamed(self.count, names), renamed(self.body, names)
        enough = self.enough
        if enough is not None:
            (again,) = renamed((replace(enough, then=()),), names)
            assert isinstance(again, If)
            enough = again
        results = tuple(names.get(name, name) for name in self.results)
        return _Part(self.name, count, enough, body, results)


def _counted(name: str, kernel: Kernel) -> _Part:
    """Cut a kernel where it is known whether there is room for all entries, if it appends some.

    Raises
    ------
    PlanError
        If some are appended before it is known that there is too little: the caller begins anew.
    """
    if not kernel.results:
        return _Part(name, (), None, kernel.body, ())
    *before, last = _all_counted_first(kernel.body)
    stores = any(isinstance(s, Store | Pack) for s in statements(tuple(before)))
    if not isinstance(last, If) or last.otherwise or stores:
        raise PlanError(f"the entries of {name} are not counted before they are appended")
    count, later = _sliced(before, {*kernel.results, *reads(last.condition)})
    body = (*later, *last.then)
    return _Part(name, count, replace(last, then=()), body, kernel.results)


def _sliced(before: Sequence[Stmt], needed: set[str]) -> tuple[tuple[Stmt, ...], tuple[Stmt, ...]]:
    """Return the statements that some names are computed by, and those that may come later."""
    first: list[Stmt] = []
    later: list[Stmt] = []
    for statement in reversed(before):
        if changes((statement,)) & needed or changes(first) & {*uses((statement,))}:
            needed = needed | set(uses((statement,)))
            first.insert(0, statement)
        else:
            later.insert(0, statement)
    return tuple(first), tuple(later)


def _all_counted_first(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Return the body of a kernel that counts entries of all turns, then appends those of all.

    for i: room += n(i); if room <= given: f(i)
    =>  for i: room += n(i)
        if room <= given: for i: f(i)
    """
    match body[-1]:
        case For(body=(*count, If(_, then, ()) as enough)) as loop if count:
            counted = changes(count)
            alone = all(isinstance(s, Assign) for s in count) and not counted & {*uses(then)}
            if alone and not changes(then) & {*uses(count), *counted}:
                inside = replace(enough, then=(replace(loop, body=then),))
                return (*body[:-1], replace(loop, body=tuple(count)), inside)
        case _:
            pass
    return body


def _apart(parts: Sequence[_Part], given: set[str]) -> list[_Part]:
    """Give what parts assign before the loops names of their own: all of it comes first.

    Raises
    ------
    PlanError
        If the count of one is of what another changes.
    """
    taken = given.union(*(changes((*p.count, *p.body)) for p in parts))
    found: list[_Part] = []
    used: set[str] = set()
    given_before: set[str] = set()
    for part in parts:
        if given_before & (exposed(part.count) | _arrays(part.count)):
            raise PlanError(f"the entries of {part.name} are counted by what others give")
        given_before |= changes(part.body)
        names = {name: fresh(name, taken) for name in sorted(changes(part.count) & used)}
        kept = {*part.results, *exposed(part.body)}
        part = part.renamed({old: new for old, new in names.items() if old in kept})
        found.append(replace(part, count=renamed(part.count, names)))
        used |= changes((*found[-1].count, *found[-1].body))
    return found


def _arrays(body: tuple[Stmt, ...]) -> set[str]:
    return {array for statement in statements(body) for array in touched(statement)}
