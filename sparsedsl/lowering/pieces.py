"""Pieces of the loop that threads share, whose ends the caller gives.

Takes: the loop that was proved to be shareable.  Gives: its ends as parameters of the kernel.
Invariant: the pieces of a partition of ``0 .. parameter`` are a partition of the loop.
"""

from __future__ import annotations

from sparsedsl.find.parallel import Shared
from sparsedsl.iteration.nodes import Scan
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Expr
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.spf import terms


def begin(shared: Shared) -> str:
    """Return the name of the parameter that a piece begins at."""
    return f"{shared.name}_begin"


def end(shared: Shared) -> str:
    """Return the name of the parameter that a piece ends before."""
    return f"{shared.name}_end"


def ends(shared: Shared, scan: Scan, emitter: Emitter) -> tuple[Expr, Expr]:
    """Return the ends of the caller's piece of a loop that begins at 0 or later.

    The ends of the piece take the place of 0, and of the parameter in one of its ends.
    """
    whole = terms.var(shared.parameter)
    cut = whole if whole in scan.highs else scan.highs[0]
    first, past = (
        terms.substitute(cut, {shared.parameter: terms.var(name)})
        for name in (begin(shared), end(shared))
    )
    lows = tuple(first if low == terms.const(0) else low for low in scan.lows)
    highs = tuple(past if high == cut else high for high in scan.highs)
    return emitter.extreme(lows, lb.max_), emitter.extreme(highs, lb.min_)
