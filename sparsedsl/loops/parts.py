"""Sums that go on from one loop to the next are added up loop by loop.

    for i in 0 .. n:                        for i in 0 .. n:
        for p in a[i] .. a[i + 1]:              s_part = 0
            s += f(p)                   =>      for p in a[i] .. a[i + 1]:
                                                    s_part += f(p)
                                                s += s_part

Else each addition waits for the one before, of the loop before too, and a loop of vectors, which
begins with the sum so far in one lane, ends by adding up its lanes.  Apart, all that waits is one
addition a loop.  Takes and gives a kernel that ``loops.verify`` accepts; sums are taken in another
order, the same for every number of threads.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, uses
from sparsedsl.loops.nodes import Apply, Assign, For, Kernel, Stmt, Var
from sparsedsl.loops.walk import with_bodies


def sums_by_loops(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with the sums of loops in loops taken by themselves."""
    taken = names(kernel)

    def inside(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """Change loops in the body of a loop."""
        found: list[Stmt] = []
        for statement in body:
            made: list[Stmt] = []
            if isinstance(statement, For):
                made = _apart(statement, _carried(statement, found), taken)
            found += made or [with_bodies(statement, inside)]
        return tuple(found)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(with_bodies(s, inside if isinstance(s, For) else block) for s in body)

    return replace(kernel, body=block(kernel.body))


def _carried(loop: For, before: list[Stmt]) -> Var | None:
    """Return the sum that a loop goes on with, adding to it in each turn and doing no more.

    It does not begin ``before`` the loop in the same turn of the one around it.
    """
    match loop:
        case For(body=(*_, Assign(total, Apply("add", (first, value))))) if (
            first == total and total.type in ("float64", "float32")
        ):
            pass
        case _:
            return None
    *rest, _ = loop.body
    used = {*uses(rest), *reads(value), *changes(rest), *changes(before)}
    return None if total.name in used else total


def _apart(loop: For, total: Var | None, taken: set[str]) -> list[Stmt]:
    """Return the loop with its sum by itself; nothing where there is none that it goes on with."""
    if total is None:
        return []
    part = Var(fresh(f"{total.name}_part", taken), total.type)
    *rest, last = loop.body
    assert isinstance(last, Assign)
    assert isinstance(last.value, Apply)
    more = Apply("add", (part, last.value.arguments[1]), total.type)
    return [
        Assign(part, build.const(0.0, total.type)),
        replace(loop, body=(*rest, Assign(part, more))),
        Assign(total, Apply("add", (total, part), total.type)),
    ]
