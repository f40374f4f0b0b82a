"""Sums that go on from loop to loop are added up loop by loop, several terms of a turn together.

    for i in 0 .. n:                        for i in 0 .. n:
        for p in a[i] .. a[i + 1]:              s_part = 0
            s += f(p)                   =>      for p in a[i] .. a[i + 1]:
                                                    s_part += f(p)
                                                s += s_part

    for p in a .. b:                        for p in a .. b:
        s += f(p)                               s_turn = f(p)
        s += g(p)                   =>          s_turn += g(p)
        s += h(p)                               s_turn += h(p)
                                                s += s_turn

Else each addition waits for the one before, of the loop before too, and a loop of vectors, which
begins with the sum so far in one lane, ends by adding up its lanes.  Apart, all that waits is one
addition a loop, or a turn.  Takes and gives a kernel that ``loops.verify`` accepts; sums are taken
in another order, the same for every number of threads.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, uses
from sparsedsl.loops.nodes import Apply, Assign, Expr, For, Kernel, Stmt, Var
from sparsedsl.loops.walk import bodies, with_bodies

SEVERAL = 3
"""Terms of a turn from which on they are added up by themselves."""


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

    return replace(kernel, body=block(_by_turns(kernel.body, taken)))


def _by_turns(body: tuple[Stmt, ...], taken: set[str]) -> tuple[Stmt, ...]:
    """Return statements with the terms that a turn of a loop adds to one sum added up first."""
    found = tuple(with_bodies(s, lambda inner: _by_turns(inner, taken)) for s in body)
    return tuple(_turn(s, taken) if isinstance(s, For) else s for s in found)


def _turn(loop: For, taken: set[str]) -> For:
    if any(bodies(statement) for statement in loop.body):
        return loop
    terms = [term for s in loop.body if (term := _term(s)) is not None]
    for total in dict.fromkeys(total for total, _ in terms):
        own = [value for other, value in terms if other == total]
        rest = [s for s in loop.body if (term := _term(s)) is None or term[0] != total]
        used = {*uses(rest), *changes(rest)}.union(*map(reads, own))
        if len(own) >= SEVERAL and total.name not in used:
            loop = replace(loop, body=_added_up(loop.body, total, taken))
    return loop


def _term(statement: Stmt) -> tuple[Var, Expr] | None:
    """Return the sum of floats that a statement adds to, and what it adds."""
    match statement:
        case Assign(total, Apply("add", (first, value))) if first == total and total.type in (
            "float64",
            "float32",
        ):
            return total, value
        case _:
            return None


def _added_up(body: tuple[Stmt, ...], total: Var, taken: set[str]) -> tuple[Stmt, ...]:
    """Return the body of a loop that adds to ``total`` once, what its turn has come to."""
    part = Var(fresh(f"{total.name}_turn", taken), total.type)
    found: list[Stmt] = []
    begun = False
    for statement in body:
        term = _term(statement)
        if term is None or term[0] != total:
            found.append(statement)
            continue
        value = Apply("add", (part, term[1]), part.type) if begun else term[1]
        found.append(Assign(part, value))
        begun = True
    return (*found, Assign(total, Apply("add", (total, part), total.type)))


def _carried(loop: For, before: list[Stmt]) -> Var | None:
    """Return the sum that a loop goes on with, adding to it in each turn and doing no more.

    It does not begin ``before`` the loop in the same turn of the one around it.
    """
    term = _term(loop.body[-1]) if loop.body else None
    if term is None:
        return None
    (total, value), rest = term, loop.body[:-1]
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
