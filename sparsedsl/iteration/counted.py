"""Which loops bound the entries of an output, when they can be counted before.

Takes: a nest and one of its chains.  Gives: the steps to count over.  Invariant: at least as
many visits are counted as entries can be delivered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sparsedsl.iteration.nodes import (
    Chain,
    Find,
    Guard,
    Let,
    Merge,
    Nest,
    Operand,
    Probe,
    Scan,
)
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.steps import depends_on, expand, fixed_turns
from sparsedsl.layouts.properties import Equality, Nondecreasing
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Term, Var

Counting: TypeAlias = Scan | Let | Merge
"""A step that counting takes."""

DEEPEST = 4
"""Loops that counting may nest; deeper counts cost more than growing the output."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Steps to count over, the last a loop, and how many visits each of its turns stands for."""

    steps: tuple[Counting, ...]
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
    kept: list[Counting] = []
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


def _turns_in_block(step: Counting) -> int | None:
    return fixed_turns(step) if isinstance(step, Scan) else None


@dataclass(frozen=True, slots=True)
class OneRange:
    """A loop whose ranges make up one range in all turns of the loop around it.

    ``begin``: where its range begins, from the variable of that loop; ``later`` steps come after.
    """

    loop: Scan
    begin: Term
    later: tuple[Counting, ...]


def one_range(chain: Chain, steps: tuple[Counting, ...]) -> OneRange | None:
    """Return the loop that makes up one range in all turns of the first of ``steps``, if one does.

    Each range begins where the one before ends, none ends before it begins, since pointers are
    validated, and later steps do not ask which of them they are in.
    """
    outer = steps[0]
    place = next((at for at, s in enumerate(steps[1:], 1) if not _is_affine(s)), len(steps))
    between, later = steps[1:place], steps[place + 1 :]
    inner = steps[place] if place < len(steps) else None
    every = isinstance(outer, Scan) and _is_extent(outer)
    if not every or not isinstance(inner, Scan) or len(inner.lows) != 1 or len(inner.highs) != 1:
        return None
    lost = {outer.variable, *(s.variable for s in between)}
    operand = next((o for o in chain.operands if o.name == inner.operand), None)
    if operand is None or any(lost & _reads(s) for s in later):
        return None
    at, after = terms.var(outer.variable), terms.add(terms.var(outer.variable), terms.const(1))
    begin = expand(between, inner.lows[0])
    match begin:
        case Term(((1, UF(array, (argument,))),), 0) if argument == at:
            ends = expand(between, inner.highs[0]) == terms.uf(array, after)
            return OneRange(inner, begin, later) if ends and _starts(operand, array) else None
        case _:
            return None


def _starts(operand: Operand, array: str) -> bool:
    """Whether an array is validated not to decrease, and to have an element 0 whatever comes."""
    own = {used: name for name, used in operand.functions}.get(array)
    properties = operand.layout.properties
    first = (x.left for x in properties if isinstance(x, Equality))
    if own is None or Nondecreasing(own) not in properties:
        return False
    return terms.uf(own, terms.const(0)) in first


def _is_extent(scan: Scan) -> bool:
    """Whether a loop goes over a whole extent."""
    match scan.highs:
        case (Term(((1, Var()),), 0),):
            return scan.lows == (terms.const(0),)
        case _:
            return False


def _is_affine(step: Counting) -> bool:
    return isinstance(step, Let) and step.kind == "determined"


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


def _reads(step: Counting) -> frozenset[str]:
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
