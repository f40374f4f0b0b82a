"""One kernel for several outputs, of the kernels that compute each.

Takes: lowered kernels of dense outputs, in the order they would be called.  Gives: a kernel.
Invariant: it computes what they do (``loops.fusion``); sums in loops that stay their own are taken
in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sparsedsl.codegen.python import freedoms
from sparsedsl.errors import PlanError
from sparsedsl.loops.fusion import Pass, fused
from sparsedsl.loops.nodes import Apply, IntParam, Kernel, Param, Store
from sparsedsl.loops.verify import kind
from sparsedsl.loops.walk import expressions, operands, statements
from sparsedsl.lowering.nest import Lowered

EXACT = frozenset({"maximum", "minimum", "largest", "smallest", "abs", "neg", "where"})
"""Operators that round nothing."""


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
    ranges = {(s.parameter, s.place) for s in shared if s is not None}
    if not ranges:
        return Joined(whole=False, always=True)
    if None not in shared and len(ranges) == 1 and ranges.pop()[1] == 0:
        return Joined(whole=False, always=True)
    alone = [(c, one) for c, one in zip(costs, lowered, strict=True) if one.shared is not None]
    most, one = max(alone, key=lambda pair: pair[0])
    if most >= shared_from:
        raise PlanError(f"threads share a loop of {one.sink.name} by itself")
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
    for name, kernel in kernels:
        if every[name] != most and _roundings(kernel) > 1:
            free = " and ".join(other for other, own in every.items() if own == most)
            raise PlanError(f"{name} is rounded as NumPy does, the sums of {free} need not be")


def _roundings(kernel: Kernel) -> int:
    """Return how many operations on floats a kernel has that round what they give."""
    nodes = (e for s in statements(kernel.body) for o in operands(s) for e in expressions(o))
    rounded = sum(
        isinstance(e, Apply) and e.function not in EXACT and kind(e.type) in "fc" for e in nodes
    )
    return rounded + sum(
        isinstance(s, Store) and s.combine in ("add", "mul") for s in statements(kernel.body)
    )


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
    passes = [Pass(name, kernel.body) for name, kernel in kernels]
    body = fused(passes, params, mixed=mixed, inner=inner)
    if isinstance(body, str):
        raise PlanError(body)
    # arrays first, as in a kernel of one output
    given = sorted(params.values(), key=lambda p: isinstance(p, IntParam))
    told = [kernel.notes for _, kernel in kernels]
    statements = "; ".join(notes[0] for notes in told)
    others = dict.fromkeys(note for notes in told for note in notes[1:])
    notes = (statements, *others)
    return Kernel("kernel", tuple(given), body, (), notes)
