"""Pieces of the outermost loop, whose ends the caller gives.

Takes: the loop that was proved to be shareable.  Gives: its ends as parameters of the kernel.
Invariant: the pieces of a partition of ``0 .. parameter`` are a partition of the loop.
"""

from __future__ import annotations

from sparsedsl.find.parallel import Shared
from sparsedsl.iteration.nodes import Scan
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
    """Return the ends of the caller's piece of a loop over ``0 .. scan.highs[0]``."""
    low, high = (
        emitter.term(terms.substitute(scan.highs[0], {shared.parameter: terms.var(name)}))
        for name in (begin(shared), end(shared))
    )
    return low, high
