"""Plans as text: the joint iteration space, what is scanned and how the rest is found."""

from __future__ import annotations

from typing import assert_never

from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find.choose import Choice
from sparsedsl.find.site import WHOLE
from sparsedsl.iteration.nodes import (
    Chain,
    Exclude,
    Find,
    Guard,
    Let,
    Merge,
    Nest,
    Probe,
    Scan,
    Step,
)
from sparsedsl.pipeline.stages import Unit
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Constraint, Term
from sparsedsl.spf.text import space_text


def iteration_space(nest: Nest) -> str:
    """Return the joint space of each chain: logical indices and physical dimensions."""
    lines: list[str] = []
    for chain in nest.chains:
        constraints: dict[Constraint, None] = {}
        parameters: dict[str, None] = {}
        for operand in chain.operands:
            constraints |= dict.fromkeys(operand.constraints)
            parameters |= {name: None for _, name in operand.parameters}
        names = _bound(nest.prefix + chain.steps)
        lines.append(space_text(names, tuple(constraints), tuple(parameters)))
    return "\n".join(lines)


def _bound(steps: tuple[Step, ...]) -> list[str]:
    names: list[str] = []
    for step in steps:
        if isinstance(step, Scan | Let | Find):
            names.append(step.variable)
        elif isinstance(step, Probe):
            names += _bound(step.steps)
        elif isinstance(step, Merge):
            names += [*(p.variable for p in step.parts), step.variable]
    return names


def plan_text(unit: Unit) -> str:
    """Return the loop nest of each output, one line a step, indented by depth."""
    if unit.parts:
        head = f"the outermost loops of {' and '.join(unit.group.made)} are one:"
        return "\n".join([head, *(plan_text(part) for part in unit.parts)])
    chains = (chain for _, _, proved in unit.planned for chain in proved.choices)
    chosen = {choice.variable: _way(choice) for chain in chains for choice in chain}
    lines: list[str] = []
    for within in unit.within:
        lines.append(f"in each turn of the outermost loop, a row of {within.output.name}:")
        lines += [f"  {line}" for line in _nest(within, chosen)]
    return "\n".join([*lines, *_nest(unit.nest, chosen)])


def _way(choice: Choice) -> str:
    """Return how a find is done, in a word or a few."""
    return f"{choice.algorithm} of all rows at once" if WHOLE in choice.facts else choice.algorithm


def _nest(nest: Nest, chosen: dict[str, str]) -> list[str]:
    lines = _steps(nest.prefix, chosen, 0)
    depth = sum(isinstance(s, Scan) for s in nest.prefix)
    for chain in nest.chains:
        lines += _steps(chain.steps, chosen, depth)
        inner = depth + sum(isinstance(s, Scan | Find | Guard | Merge) for s in chain.steps)
        lines.append("  " * inner + _leaf(nest, chain))
    return lines


_ORDERINGS = {
    "bitmap": "by a bitmap",
    "list": "by sorting short lists, long ones by a bitmap",
    "blocks": "by touched blocks where rows are full, else as lists are",
    "run": "by insertion in the output while it is short, else by a bitmap",
    "word": "by the bits of one word",
    "whole": "as rows laid out whole are",
    "hash": "by sorting what it lists",
    "range": "by the range that was searched",
}


def _leaf(nest: Nest, chain: Chain) -> str:
    ordering = nest.assembly.ordering
    accumulator = "hash table" if ordering == "hash" else "dense accumulator"
    ways = {
        "dense": "store at its place",
        "append": "append (order proved)",
        "workspace": f"add to a {accumulator}, put in order {_ORDERINGS[ordering]}",
        "stream": "append unordered, sort at the end",
    }
    operator = f" by {chain.monoid}" if chain.monoid else ""
    return f"deliver to {nest.output.name}{operator}: {ways[nest.assembly.kind]}"


def _steps(steps: tuple[Step, ...], chosen: dict[str, str], depth: int) -> list[str]:
    lines: list[str] = []
    for step in steps:
        pad = "  " * depth
        match step:
            case Scan(variable, lows, highs, operand):
                what = f"scan {operand}" if operand else "loop"
                ends = f"{_ends(lows, 'max')} .. {_ends(highs, 'min')}"
                lines.append(f"{pad}{what}: {variable} in {ends}")
                depth += 1
            case Let(variable, value, kind, _):
                lines.append(f"{pad}{kind}: {variable} = {terms.text(value)}")
            case Guard(constraint, operand):
                lines.append(f"{pad}guard of {operand}: {fo.text(fo.holds(constraint))}")
                depth += 1
            case Find(variable, _, _, keys, operand):
                wanted = " and ".join(fo.text(fa.matched(k)) for k in keys)
                how = chosen.get(variable, "?")
                lines.append(f"{pad}find in {operand} by {how}: {variable} with {wanted}")
                depth += 1
            case Probe(operand, inner):
                lines.append(f"{pad}probe {operand}, its fill on a miss:")
                lines += _steps(inner, chosen, depth + 1)
            case Merge(variable, parts):
                lines.append(f"{pad}merge into {variable}, in order, each once:")
                for part in parts:
                    ends = f"{_ends(part.lows, 'max')} .. {_ends(part.highs, 'min')}"
                    key = terms.text(part.key)
                    lines.append(f"{pad}  {part.operand}: {part.variable} in {ends}, at {key}")
                depth += 1
            case Exclude(operands):
                lines.append(f"{pad}skip where {' and '.join(operands)} were hit")
                depth += 1
            case _:
                assert_never(step)
    return lines


def _ends(ends: tuple[Term, ...], combine: str) -> str:
    shown = [terms.text(e) for e in ends]
    return shown[0] if len(shown) == 1 else f"{combine}({', '.join(shown)})"
