"""Plans as text: what is scanned, how the rest is found, what was proved, what it costs."""

from __future__ import annotations

from typing import assert_never

from sparsedsl.contraction.text import statement_text
from sparsedsl.find import formula as fo
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
from sparsedsl.pipeline import Unit
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
    """Return the loop nest of one output, one line a step, indented by depth."""
    chosen = {variable: algorithm for variable, algorithm, _ in unit.choices}
    nest = unit.nest
    lines = _steps(nest.prefix, chosen, 0)
    depth = sum(isinstance(s, Scan) for s in nest.prefix)
    for chain in nest.chains:
        lines += _steps(chain.steps, chosen, depth)
        inner = depth + sum(isinstance(s, Scan | Find | Guard | Merge) for s in chain.steps)
        lines.append("  " * inner + _leaf(nest, chain))
    return "\n".join(lines)


_ORDERINGS = {
    "bitmap": "by a bitmap",
    "list": "by sorting short lists, long ones by a bitmap",
    "word": "by the bits of one word",
    "range": "by the range that was searched",
}


def _leaf(nest: Nest, chain: Chain) -> str:
    ordering = nest.assembly.ordering
    ways = {
        "dense": "store at its place",
        "append": "append (order proved)",
        "workspace": f"add to a dense accumulator, put in order {_ORDERINGS[ordering]}",
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
                wanted = " and ".join(
                    f"{terms.text(Term(((1, k.function),)))} = {terms.text(k.value)}" for k in keys
                )
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


def explanation(program: str, units: tuple[Unit, ...]) -> str:
    """Return the whole story of a kernel as text."""
    lines = ["expression", *_indented(program)]
    for unit in units:
        lines += ["", *_unit(unit)]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _unit(unit: Unit) -> list[str]:
    nest, group = unit.nest, unit.group
    lines = [f"output {nest.output.name}: {nest.output.dtype} in {group.layout.label}"]
    if len(group.statements) > 1 or group.program.statements != group.statements:
        lines += [f"  {statement_text(s)}" for s in group.statements]
    if group.assembled != group.layout:
        lines.append(f"  filled as {group.assembled.label}, then converted")
    lines.append("operands")
    seen = dict.fromkeys(o.tensor.name for chain in nest.chains for o in chain.operands)
    for name in seen:
        operand = next(o for c in nest.chains for o in c.operands if o.tensor.name == name)
        lines.append(f"  {name}: {operand.tensor.dtype} in {operand.layout.label}")
    for conversion in nest.conversions:
        lines.append(
            f"  {conversion.tensor.name}: copy of {conversion.source} in mode order "
            f"{conversion.order}, made at each call"
        )
    lines += ["iteration space", *_indented(iteration_space(nest))]
    lines += [f"plan (estimated {nest.cost / 1e6:.3g} ms)", *_indented(plan_text(unit))]
    for variable, algorithm, rejected in unit.choices:
        lines.append(f"find {variable}: {algorithm} ({rejected})")
    if unit.recipe.shared is not None:
        lines.append(f"threads may share the loop over {unit.recipe.shared}")
    if not group.annihilating:
        lines.append(
            "implicit zeros are visited: a value that meets them may not be finite "
            '(semantics="annihilator" skips them)'
        )
    elif group.finite:
        lines.append(f"checked at each call to be finite: {', '.join(group.finite)}")
    for side, what in (("above", "no -inf or NaN"), ("below", "no inf or NaN")):
        names = [name for demand, name in group.bounded if demand == side]
        if names:
            lines.append(f"checked at each call to store {what}: {', '.join(names)}")
    if group.nonzero:
        lines.append(f"checked at each call to store no zero: {', '.join(group.nonzero)}")
    seconds = sum(p.seconds for p in unit.proofs)
    lines.append(f"proofs ({len(unit.proofs)} in {1e3 * seconds:.0f} ms)")
    for proof in unit.proofs:
        verdict = f"allows: {proof.allows}" if proof.proved else "not proved, not used"
        lines.append(f"  [{1e3 * proof.seconds:5.1f} ms] {proof.name}: {verdict}")
    return lines
