"""How accesses move from one turn of the innermost loop to the next.

Takes: steps, and where an operand or a result is accessed.  Gives: whether neighbours follow each
other there, and where rows begin.  Invariant: a guess of what caches see, never of what is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sparsedsl.iteration.nodes import Find, Let, Merge, Operand, Scan, Step
from sparsedsl.iteration.steps import computed_from, depends_on
from sparsedsl.layouts.properties import Lexicographic, Nondecreasing
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


@dataclass(frozen=True, slots=True)
class Looped:
    """How often a loop, or a search, is entered, and how often what is inside is reached."""

    entered: float
    turned: float

    @property
    def turns(self) -> float:
        """Turns of one entry."""
        return self.turned / max(self.entered, 1e-9)


def way(steps: tuple[Step, ...], arguments: tuple[Term, ...]) -> str:
    """Return how an access moves from one turn of the innermost loop to the next.

    It stays the ``same``, goes to the ``next`` element, where a search has ``found`` one, or
    has to ``gather`` what an index array names.
    """
    loops = [s for s in steps if isinstance(s, Scan | Merge)]
    if not loops:
        return "same"
    innermost = loops[-1]
    inner = innermost.variable
    moving = [inner in depends_on(steps, terms.variables(a)) for a in arguments]
    if not any(moving):
        return "same"
    names = terms.variables(arguments[-1])
    if any(isinstance(s, Find) and s.variable in names for s in steps):
        return "found"
    direct = any(inner in computed_from(steps, name) for name in names)
    return (
        "next" if direct and not any(moving[:-1]) and not _named(steps, names, inner) else "gather"
    )


def in_order(
    steps: tuple[Step, ...], arguments: tuple[Term, ...], operands: Iterable[Operand]
) -> bool:
    """Whether entries that a loop goes over are stored in the order of the place accessed.

    That is told by the first of their coordinates: neighbours are often of one place.
    """
    scan = next((s for s in reversed(steps) if isinstance(s, Scan)), None)
    scanned = next((o for o in operands if scan is not None and o.name == scan.operand), None)
    if scanned is None or not arguments:
        return False
    first = {
        function
        for item in scanned.layout.properties
        for function in (
            item.functions[:1]
            if isinstance(item, Lexicographic)
            else (item.function,)
            if isinstance(item, Nondecreasing)
            else ()
        )
    }
    rising = {name for own, name in scanned.functions if own in first}
    names = terms.variables(arguments[0])
    loads = (s for s in steps if isinstance(s, Let) and s.kind == "load" and s.variable in names)
    return any(call.function in rising for s in loads for call in terms.ufs(s.value))


def anew(
    steps: tuple[Step, ...], arguments: tuple[Term, ...], trail: Mapping[int, Looped]
) -> float:
    """Return which part of an access to neighbours is not to the row that was there before.

    Loops that the place does not depend on go to the same row again, which is near.
    """
    last = max(k for k, s in enumerate(steps) if isinstance(s, Scan | Merge))
    scans = [k for k in trail if k < last and isinstance(steps[k], Scan)]
    moved = depends_on(steps, frozenset[str]().union(*map(terms.variables, arguments)))
    own = [trail[k].turned for k in scans if _variable(steps[k]) in moved]
    return (
        min((own[-1] if own else 1.0) / max(trail[scans[-1]].turned, 1e-9), 1.0) if scans else 1.0
    )


def _variable(step: Step) -> str:
    return step.variable if isinstance(step, Scan | Merge) else ""


def _named(steps: tuple[Step, ...], names: frozenset[str], inner: str) -> bool:
    """Whether an index array that is read at a loop's variable says what variables are."""
    for step in reversed(steps):
        if isinstance(step, Let) and step.variable in names:
            places = [a for call in terms.ufs(step.value) for a in call.arguments]
            read = frozenset[str]().union(*map(terms.variables, places))
            if step.kind == "load" and any(inner in computed_from(steps, v) for v in read):
                return True
            names |= terms.variables(step.value)
    return False


def picked(steps: tuple[Step, ...], operand: Operand) -> bool:
    """Whether coordinates of other operands say which row of this one is read."""
    outer = map(terms.variables, operand.value.arguments[:-1])
    names = frozenset[str]().union(*outer) if operand.total else frozenset(operand.dims[:-1])
    for step in reversed(steps):
        if isinstance(step, Let | Find) and step.variable in names:
            if step.operand != operand.name and (isinstance(step, Find) or step.kind == "load"):
                return True
            names |= terms.variables(step.value) if isinstance(step, Let) else frozenset[str]()
    return False
