"""Pieces of the loop that threads share, whose ends the caller gives.

Takes: the loop that was proved to be shareable.  Gives: its ends as parameters of the kernel.
Invariant: the pieces of a partition of ``0 .. parameter`` are a partition of the loop.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.find.parallel import Shared
from sparsedsl.iteration.nodes import Scan
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, Expr
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
    if shared.split:
        return _split(shared, scan, emitter)
    whole = terms.var(shared.parameter)
    cut = whole if whole in scan.highs else scan.highs[0]
    first, past = (
        terms.substitute(cut, {shared.parameter: terms.var(name)})
        for name in (begin(shared), end(shared))
    )
    lows = tuple(first if low == terms.const(0) else low for low in scan.lows)
    highs = tuple(past if high == cut else high for high in scan.highs)
    return emitter.extreme(lows, lb.max_), emitter.extreme(highs, lb.min_)


def first_of(shared: Shared) -> str:
    """Return the array of places where the caller's parts of ranges begin."""
    return f"{shared.pointer}_low"


def past_of(shared: Shared) -> str:
    """Return the array of places where the caller's parts of ranges end."""
    return f"{shared.pointer}_high"


def ended(shared: Shared) -> str:
    """Return the parameter that says where that array has the end of a part.

    0: at the place after that of the range, where the array of the layout has the end of all of it;
    1: at the place of the range.
    """
    return f"{shared.name}_split"


def _split(shared: Shared, scan: Scan, emitter: Emitter) -> tuple[Expr, Expr]:
    """Return the ends of the caller's part of a range."""
    (low,), (high,) = (terms.ufs(end[0]) for end in (scan.lows, scan.highs))
    emitter.index_dtypes = {
        **emitter.index_dtypes,
        **dict.fromkeys((first_of(shared), past_of(shared)), emitter.index_dtypes[shared.pointer]),
    }
    begun = emitter.load(first_of(shared), low.arguments, INT)
    done = emitter.load(past_of(shared), high.arguments, INT)
    (after,) = done.subscripts
    return begun, replace(done, subscripts=(lb.sub(after, emitter.variable(ended(shared))),))
