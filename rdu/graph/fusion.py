"""Which operators share a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rdu.errors import RDUError
from rdu.graph.nodes import AllReduce, Map, Operator, Rearrange, SparseMap, operands

Fusion: TypeAlias = str | Sequence[Sequence[str]]


def groups(operators: tuple[Operator, ...], fusion: Fusion) -> tuple[tuple[Operator, ...], ...]:
    """Split a graph's operators into kernels, in an order that can run.

    ``"none"``: every operator is a kernel. ``"pattern"``: an operator takes the elementwise
    and transposing operators that follow it. ``"spatial"`` (or ``"full"``): one kernel.
    Otherwise operator names joined by ``-``, several groups by ``,`` (upper or lower case),
    or a sequence of sequences of names; operators not named stay alone.

    Raises
    ------
    RDUError
        On an unknown name, an operator in two groups, or groups that wait for each other.
    """
    if isinstance(fusion, str):
        if fusion == "none":
            return tuple((operator,) for operator in operators)
        if fusion in ("spatial", "full"):
            return (operators,) if operators else ()
        if fusion == "pattern":
            return _ordered(_epilogues(operators))
        named = [part.split("-") for part in fusion.split(",")]
    else:
        named = [list(part) for part in fusion]
    return _ordered(_by_name(operators, named))


def _by_name(operators: Sequence[Operator], named: list[list[str]]) -> list[list[Operator]]:
    known = {operator.name.lower(): operator for operator in operators}
    taken: dict[str, int] = {}
    for index, names in enumerate(named):
        for name in names:
            if name.lower() not in known:
                raise RDUError(
                    f"fusion names the operator {name!r}, which the graph does not have",
                    hint="fusion is 'none', 'pattern', 'spatial' or names of "
                    + ", ".join(operator.name for operator in operators),
                )
            if name.lower() in taken:
                raise RDUError(f"fusion puts the operator {name!r} into two groups")
            taken[name.lower()] = index
    result: dict[int, list[Operator]] = {}
    for position, operator in enumerate(operators):
        key = taken.get(operator.name.lower(), len(named) + position)
        result.setdefault(key, []).append(operator)
    return list(result.values())


def _epilogues(operators: Sequence[Operator]) -> list[list[Operator]]:
    """Put an elementwise or transposing operator behind the latest operator it reads from.

    Groups are numbered in the order of their first operators, and an operator joins the highest of
    those it reads, so no two groups wait for each other.
    """
    group_of: dict[str, int] = {}
    result: list[list[Operator]] = []
    for operator in operators:
        home = len(result)
        if isinstance(operator, (Map, Rearrange, SparseMap, AllReduce)):
            sources = [group_of.get(operand.tensor, -1) for operand in operands(operator)]
            latest = max(sources, default=-1)
            if latest >= 0:
                home = latest
        if home == len(result):
            result.append([])
        result[home].append(operator)
        group_of[operator.output.tensor] = home
    return result


def _ordered(parts: list[list[Operator]]) -> tuple[tuple[Operator, ...], ...]:
    """Order the groups so that each runs after those it reads from."""
    maker = {op.output.tensor: n for n, part in enumerate(parts) for op in part}
    waits = [
        {maker[o.tensor] for op in part for o in operands(op) if o.tensor in maker} - {n}
        for n, part in enumerate(parts)
    ]
    done: list[int] = []
    while len(done) < len(parts):
        free = [n for n in range(len(parts)) if n not in done and waits[n] <= set(done)]
        if not free:
            stuck = [parts[n][0].name for n in range(len(parts)) if n not in done]
            raise RDUError(
                f"the fused groups of {', '.join(stuck)} each read what the other writes",
                hint="put them into one group, or leave one operator between them alone",
            )
        done.append(free[0])
    return tuple(tuple(parts[n]) for n in done)
