"""Loops that only name the ranges of the loop inside them become one loop over all of these.

Takes: a chain whose outermost loops are its own.  Gives: the chain with fewer loops.  Invariant:
the innermost loop visits the same positions in the same order; that the ranges follow each
other without a gap is their form, that none is negative is proved, so that by induction they
make up one range.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.find import formula as fo
from sparsedsl.find.context import Context, bound_names
from sparsedsl.find.queries import Prover
from sparsedsl.find.reads import read_by
from sparsedsl.iteration.nodes import Chain, Let, Scan, Step
from sparsedsl.iteration.steps import expand
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Term


def flattened(prover: Prover, chain: Chain) -> Chain:
    """Join pairs of loops, outermost first, until none is left that may be joined."""
    steps = _live(chain)
    joined = _joined(prover, replace(chain, steps=steps))
    return chain if joined is None else flattened(prover, joined)


def _needed(chain: Chain) -> frozenset[str]:
    """Return the variables that the leaf reads: coordinates, index values, positions of values."""
    names = {i for c in chain.coordinates for i in c.indices}
    for node in walk(chain.expression):
        if isinstance(node, ct.IndexValue):
            names |= set(node.index.indices)
    positions = (a for o in chain.operands for a in o.value.arguments)
    return frozenset(names).union(*(terms.variables(a) for a in positions))


def _live(chain: Chain) -> tuple[Step, ...]:
    """Return the steps without the definitions that nothing reads."""
    needed, kept = _needed(chain), list[Step]()
    for step in reversed(chain.steps):
        if isinstance(step, Let) and step.variable not in needed:
            continue
        needed |= read_by(step)
        kept.append(step)
    return tuple(reversed(kept))


def _joined(prover: Prover, chain: Chain) -> Chain | None:
    steps, needed = chain.steps, _needed(chain)
    for place, outer in enumerate(steps):
        last = _next_scan(steps, place)
        if last is None or not isinstance(outer, Scan):
            continue
        inner, between = steps[last], steps[place:last]
        array = _pointer(outer, inner, between) if isinstance(inner, Scan) else None
        later = needed.union(*(read_by(s) for s in steps[last + 1 :]))
        if array is None or later & bound_names(between):
            continue
        assert isinstance(inner, Scan)
        if _follow_each_other(prover, chain, place, last):
            lows, highs = (terms.uf(array, *outer.lows),), (terms.uf(array, *outer.highs),)
            one = replace(inner, lows=lows, highs=highs)
            return replace(chain, steps=(*steps[:place], one, *steps[last + 1 :]))
    return None


def _next_scan(steps: tuple[Step, ...], place: int) -> int | None:
    """Return the place of the next loop, if nothing but affine definitions comes before it."""
    for at in range(place + 1, len(steps)):
        step = steps[at]
        if not (isinstance(step, Let) and step.kind == "determined"):
            return at if isinstance(step, Scan) else None
    return None


def _follow_each_other(prover: Prover, chain: Chain, place: int, last: int) -> bool:
    """Whether no range of the inner loop, nor that of the outer, ends before it begins."""
    operands = {o.name: o for o in chain.operands}
    outer, inner = chain.steps[place], chain.steps[last]
    assert isinstance(outer, Scan)
    assert isinstance(inner, Scan)
    for loop, before, many in ((inner, last, "ranges"), (outer, place, "range")):
        context = Context(chain.steps[:before], operands)
        goal = fo.at_most(loop.lows[0], loop.highs[0])
        if not prover.follows(f"{many} of {loop.variable} in order", context, goal, "one loop"):
            return False
    return True


def _pointer(outer: Scan, inner: Scan, between: tuple[Step, ...]) -> str | None:
    """Name the array whose elements at the outer variable, and one on, bound the inner range."""
    if not (len(outer.lows) == len(outer.highs) == len(inner.lows) == len(inner.highs) == 1):
        return None
    at = terms.var(outer.variable)
    after = terms.add(at, terms.const(1))
    match expand(between, inner.lows[0]):
        case Term(((1, UF(array, (argument,))),), 0) if argument == at:
            end = expand(between, inner.highs[0])
            return array if end == terms.uf(array, after) else None
        case _:
            return None
