"""Sweeps over a long array, strip by strip, so that a strip stays in cache between sweeps.

    for d in 0 .. D:                        for start in 0 .. n by S:
        for i in max(0, low(d))                 for d in 0 .. D:
              .. min(n, high(d)):     =>            for i in max(0, low(d), start)
            y[i] =add= f(d, i)                            .. min(n, high(d), start + S):
                                                        y[i] =add= f(d, i)

Strips lie between the ends that all sweeps share, or cover the whole array.  Each element meets
the same values in the same order.  Takes and gives a kernel that ``loops.verify`` accepts; results
are the same bit for bit.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, straight_names, touched
from sparsedsl.loops.nodes import INT, Assign, Binary, Expr, For, If, Kernel, Stmt, Store, Var
from sparsedsl.loops.walk import with_bodies

STRIP = 4096
"""Elements of a strip: with the operands beside it, it stays in the first or second cache."""


def strip(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with its outermost repeated sweeps taken strip by strip."""
    taken = names(kernel)
    straight = straight_names(kernel.body) - set(kernel.results)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(
            _stripped(s, straight, taken)
            if isinstance(s, For)
            else with_bodies(s, block)
            if isinstance(s, If)
            else s
            for s in body
        )

    return replace(kernel, body=block(kernel.body))


def _stripped(sweeps: For, straight: set[str], taken: set[str]) -> For:
    """Return the sweeps strip by strip, or as they were where that is not known to be right."""
    sweep = sweeps.body[-1] if sweeps.body else None
    if not isinstance(sweep, For) or not sweep.body or sweep.step != 1:
        return sweeps
    store = sweep.body[-1]
    if not isinstance(store, Store) or not _alone(store, sweeps, sweep):
        return sweeps
    others = (*sweeps.body[:-1], *sweep.body[:-1])
    local = all(isinstance(s, Assign) and s.variable.name in straight for s in others)
    axis = next((k for k, s in enumerate(store.subscripts) if s == sweep.variable), None)
    if axis is None or not local:
        return sweeps
    start = Var(fresh(f"{sweep.variable.name}_strip", taken), INT)
    end = build.add(start, STRIP)
    inner = replace(sweep, start=build.max_(sweep.start, start), stop=build.min_(sweep.stop, end))
    body = (replace(sweeps, body=(*sweeps.body[:-1], inner)),)
    moving = changes(sweeps.body) | {sweeps.variable.name}
    first = _fixed(sweep.start, "max", moving) or build.i(0)
    past = _fixed(sweep.stop, "min", moving) or build.length(store.array, axis)
    return For(start, first, past, body, STRIP)


def _fixed(end: Expr, operator: str, moving: set[str]) -> Expr | None:
    """Return what all sweeps share of an end that is the ``operator`` of several terms."""
    match end:
        case Binary(name, left, right) if name == operator:
            first, second = (_fixed(side, operator, moving) for side in (left, right))
            if first is None or second is None:
                return first or second
            return replace(end, left=first, right=second)
        case _:
            return None if reads(end) & moving else end


def _alone(store: Store, sweeps: For, sweep: For) -> bool:
    """Whether each turn of a sweep changes one element of its own, the same in all sweeps."""
    moving = changes(sweeps.body) | {sweeps.variable.name}
    others = [s for s in store.subscripts if s != sweep.variable]
    fixed = not any(reads(s) & moving for s in (*others, sweeps.start, sweeps.stop))
    whole = [name for s in (*sweeps.body, *sweep.body) for name in touched(s)]
    read = {name for end in (sweep.start, sweep.stop) for name in reads(end)}
    single = whole.count(store.array) == 1 and store.array not in read
    return store.combine is not None and store.proved and fixed and single
