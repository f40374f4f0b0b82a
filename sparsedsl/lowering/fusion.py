"""One kernel for several outputs, of the kernels that compute each.

Takes: lowered kernels, in the order they would be called, of dense outputs but for one.  Gives: a
kernel.  Invariant: it computes what they do (``loops.fusion``); sums in loops that stay their own
are taken in the same order.  Where a sparse output has too little room, it does nothing but say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from sparsedsl.codegen.python import freedoms
from sparsedsl.errors import PlanError
from sparsedsl.loops.effects import changed, changes, reads
from sparsedsl.loops.fusion import Pass, fused
from sparsedsl.loops.nodes import Apply, Expr, If, IntParam, Kernel, Pack, Param, Store
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
    within = {name: _counted(name, kernel) for name, kernel in kernels if kernel.results}
    passes = [
        Pass(name, within[name].then if name in within else kernel.body) for name, kernel in kernels
    ]
    body = fused(passes, params, mixed=mixed, inner=inner)
    if isinstance(body, str):
        raise PlanError(body)
    results: tuple[str, ...] = ()
    for name, kernel in kernels:
        if name in within:
            results = kernel.results
            body = (*kernel.body[:-1], replace(within[name], then=body))
    # arrays first, as in a kernel of one output
    given = sorted(params.values(), key=lambda p: isinstance(p, IntParam))
    told = [kernel.notes for _, kernel in kernels]
    statements = "; ".join(notes[0] for notes in told)
    others = dict.fromkeys(note for notes in told for note in notes[1:])
    notes = (statements, *others)
    return Kernel("kernel", tuple(given), body, results, notes)


def _counted(name: str, kernel: Kernel) -> If:
    """Return the statement of a kernel that appends entries if there is room for all of them.

    Raises
    ------
    PlanError
        If some are appended before it is known that there is too little: the caller begins anew.
    """
    match kernel.body[-1:]:
        case (If(_, _, ()) as last,) if not any(
            isinstance(s, Store | Pack) for s in statements(kernel.body[:-1])
        ):
            return last
        case _:
            raise PlanError(f"the entries of {name} are not counted before they are appended")
