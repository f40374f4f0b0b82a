"""Guards that compare with a loop's own variable become bounds of the loop.

    loop: i in 0 .. n_i                      loop: i in max(0, -offsets(d)) .. n_i
      determined: j = i + offsets(d)    =>     determined: j = i + offsets(d)
      guard: 0 <= j                              ...

The turns left out are those that the guard would have ended, so that a loop of which nothing
but its innermost point delivers means the same.  Its body then has no branch, and can be
vectorised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sparsedsl.iteration.classify import end_of
from sparsedsl.iteration.nodes import Exclude, Find, Guard, Let, Merge, Probe, Scan, Step
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


def clipped(steps: Sequence[Step], whole: int = 0) -> tuple[Step, ...]:
    """Return the steps with each guard that can be a bound of a scan before it made one.

    The first steps, as many as ``whole``, stay as they are.
    """
    kept: list[Step] = []
    for step in steps:
        bounded = None
        if isinstance(step, Guard) and not step.constraint.equality:
            bounded = _bounded(kept, step.constraint.term)
        if bounded is None or bounded[0] < whole:
            kept.append(step)
        else:
            place, scan = bounded
            kept[place] = scan
    return tuple(kept)


def _bounded(before: list[Step], term: Term) -> tuple[int, Scan] | None:
    """Return which scan ``term >= 0`` bounds, and that scan with the bound; None if none."""
    guarded = False
    for place in reversed(range(len(before))):
        step = before[place]
        match step:
            case Let(variable, value):
                term = terms.substitute(term, {variable: value})
            case Guard():
                guarded = True
            case Find(variable) | Merge(variable):
                if variable in terms.variables(term):
                    return None
            case Probe():
                return None
            case Exclude():
                pass
            case Scan(variable):
                if variable not in terms.variables(term):
                    continue
                # what a guard in between keeps in range must not be read before it
                safe = not (guarded and terms.ufs(term))
                end = end_of(term, variable) if safe else None
                return None if end is None else (place, _with_end(step, end))
    return None


def _with_end(scan: Scan, end: tuple[Term, bool]) -> Scan:
    value, low = end
    if low:
        return replace(scan, lows=tuple(dict.fromkeys((*scan.lows, value))))
    return replace(scan, highs=tuple(dict.fromkeys((*scan.highs, value))))
