"""Which loops bound the entries of an output, when they can be counted before.

Takes: a nest and one of its chains.  Gives: the steps to count over.  Invariant: at least as
many visits are counted as entries can be delivered.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedsl.iteration.nodes import (
    Chain,
    Find,
    Guard,
    Let,
    Merge,
    Nest,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.steps import depends_on, expand, fixed_turns
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Term

DEEPEST = 4
"""Loops that counting may nest; deeper counts cost more than growing the output."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Steps to count over, the last a loop, and how many visits each of its turns stands for."""

    steps: tuple[Step, ...]
    times: int


def counted_steps(nest: Nest, chain: Chain) -> Counted | None:
    """Return the scans and definitions that bound the entries ``chain`` delivers, or None.

    They lead to the point where the coordinates are known; finds and guards are left out, as if
    they always succeeded.  Entries that are a part of a find's range are bounded by the range,
    those of a narrow mode by its extent.  The innermost loops inside of blocks are not counted
    over: their turns are multiplied, as if no block were cut short.
    """
    steps, missing = nest.prefix + chain.steps, {c.name for c in chain.coordinates}
    match nest.assembly.ordering:
        case "range":
            guide = next(s for s in steps if isinstance(s, Find) and _is_guide(nest, s))
            within = Scan(guide.variable, guide.lows, guide.highs, guide.operand)
            steps, missing = (*nest.prefix, *leading_lets(chain), within), {guide.variable}
        case "word" | "whole":
            last = nest.coordinates[nest.assembly.modes[-1]]
            whole = Scan(last, (terms.const(0),), (terms.var(extent_name(last)),), None)
            steps = (*nest.prefix, whole)
        case _:
            pass
    kept: list[Step] = []
    unknown: set[str] = set()
    for step in steps:
        if not missing:
            break
        match step:
            case Find(variable):
                unknown.add(variable)
            case Probe():
                unknown |= {s.variable for s in step.steps if isinstance(s, Find | Let)}
            case Guard(constraint):
                # not taken here, so what it keeps in range must not be a subscript
                names = terms.variables(constraint.term)
                loops = {s.variable for s in kept if isinstance(s, Scan | Merge)}
                unknown |= names | (depends_on(tuple(kept), names) - loops)
            case Scan(variable) | Let(variable) | Merge(variable):
                if _reads(step) & unknown:
                    if isinstance(step, Let):
                        unknown.add(variable)
                        missing.discard(variable)
                        continue
                    return None
                kept.append(step)
                missing.discard(variable)
            case _:
                pass
    loops = [place for place, s in enumerate(kept) if isinstance(s, Scan | Merge)]
    times = 1
    while len(loops) > 1 and (turns := _turns_in_block(kept[loops[-1]])) is not None:
        times *= turns
        loops.pop()
    if not loops or len(loops) > DEEPEST:
        return None
    return Counted(tuple(kept[: loops[-1] + 1]), times)


def _turns_in_block(step: Step) -> int | None:
    return fixed_turns(step) if isinstance(step, Scan) else None


def loaded_from(nest: Nest) -> tuple[str, ...]:
    """Return the arrays that hold every last coordinate that is delivered, () if not all do.

    A flush has no more entries than they have elements.
    """
    found: list[str] = []
    for chain in nest.chains:
        steps = nest.prefix + chain.steps
        last = expand(steps, terms.var(nest.coordinates[nest.assembly.modes[-1]]))
        loads = [s.value for s in steps if isinstance(s, Let) and terms.var(s.variable) == last]
        match [term.parts for term in loads]:
            case [((1, UF(function, (_,))),)]:
                found.append(function)
            case _:
                return ()
    return tuple(found)


def _is_guide(nest: Nest, find: Find) -> bool:
    return find.variable == nest.assembly.guide


def leading_lets(chain: Chain) -> tuple[Let, ...]:
    """Return the definitions that a chain begins with."""
    found: list[Let] = []
    for step in chain.steps:
        if not isinstance(step, Let):
            break
        found.append(step)
    return tuple(found)


def _reads(step: Scan | Let | Merge) -> frozenset[str]:
    found: list[Term] = []
    match step:
        case Scan(_, lows, highs, _):
            found += [*lows, *highs]
        case Let(_, value, _, _):
            found.append(value)
        case Merge(_, parts):
            for part in parts:
                found += [*part.lows, *part.highs]
    return frozenset[str]().union(*(terms.variables(t) for t in found))
