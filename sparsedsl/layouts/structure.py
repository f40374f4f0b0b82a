"""What each constraint of a layout is for.

Takes: a relation.  Gives: one ``Structure`` per alternative: what is scanned, what defines the
logical coordinates, what filters and what is promised.  Invariant: all terms are over physical
dimensions and parameters; the scan constraints bound every dimension by earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.properties import (
    Disjoint,
    Increasing,
    Injective,
    Lexicographic,
    Nondecreasing,
    Nonincreasing,
    Property,
    Within,
    property_text,
)
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Conjunct, Constraint, Product, Relation, Term, Var
from sparsedsl.spf.parse import renewed
from sparsedsl.spf.text import constraint_text


@dataclass(frozen=True, slots=True)
class Structure:
    """One alternative of a relation, each constraint under its purpose.

    Attributes
    ----------
    parameters:
        Extents and sizes.
    dims:
        Physical dimensions in storage order.
    definitions:
        (name, term) of every logical coordinate and existential, over dims.
    scan:
        Constraints that bound the dims.
    filters:
        Constraints on loaded values alone: where one fails, the slot is padding.
    invariants:
        Constraints on loaded coordinates: promised by the data, checked when it is bound.
    """

    parameters: tuple[str, ...]
    dims: tuple[str, ...]
    definitions: tuple[tuple[str, Term], ...]
    scan: tuple[Constraint, ...]
    filters: tuple[Constraint, ...]
    invariants: tuple[Constraint, ...]

    @property
    def calls(self) -> tuple[UF, ...]:
        """The distinct calls of constraints and definitions."""
        constraints = (*self.scan, *self.filters, *self.invariants)
        return t.all_ufs((*(c.term for c in constraints), *(term for _, term in self.definitions)))

    def definition(self, name: str) -> Term:
        """The value of a logical coordinate, existential or dim, over dims."""
        return dict(self.definitions).get(name, t.var(name))


def call_over(part: Structure, value: UF, function: str, variable: str) -> UF | None:
    """Return the call of ``function`` that a property within a range of ``variable`` is about.

    The variable is, or is in, one of its subscripts; None where the alternative has no such call.
    """
    found = [c for c in (*part.calls, *t.all_ufs(value.arguments)) if c.function == function]
    plain = [call for call in found if t.var(variable) in call.arguments]
    inside = [call for call in found if variable in t.variables(t.atom(call))]
    return next(iter((*plain, *inside)), None)


def require_calls(parts: Sequence[Structure], value: UF, properties: Iterable[Property]) -> None:
    """Raise LayoutError for a property within a range along which nothing is read.

    No data could be checked against it.
    """
    for item in properties:
        match item:
            case (
                Nondecreasing(function, Within() as within)
                | Nonincreasing(function, Within() as within)
                | Increasing(function, Within() as within)
            ):
                functions: tuple[str, ...] = (function,)
            case Injective(functions, Within() as within) | Lexicographic(
                functions, Within() as within
            ):
                pass
            case Disjoint(start, stop, Within() as within):
                functions = (start, stop)
            case _:
                continue
        name = within.variable
        if not any(all(call_over(part, value, f, name) for f in functions) for part in parts):
            raise LayoutError(
                f"'{property_text(item)}' says nothing: no alternative of the relation reads "
                f"{' and '.join(functions)} at a subscript with '{name}' in it",
                hint="name the range of the dimension that the array is read along",
            )


def structures(relation: Relation) -> tuple[Structure, ...]:
    """Sort out every alternative of ``relation``.

    Raises
    ------
    LayoutError
        When a coordinate is not a function of the physical dimensions, or a dimension has no
        bound.
    """
    return tuple(_structure(relation, conjunct) for conjunct in relation.conjuncts)


def _structure(relation: Relation, conjunct: Conjunct) -> Structure:
    known = {*relation.parameters, *relation.inputs}
    defined: dict[str, Term] = {}
    for name in (*relation.outputs, *conjunct.exists):
        if name in known:
            continue
        value = isl.closed_form(conjunct.constraints, known, name)
        if value is None:
            raise _undetermined(relation, name, name in relation.outputs)
        defined[name] = value
    loads = {name for name, value in defined.items() if is_load(value, relation.parameters)}
    scan: list[Constraint] = []
    filters: list[Constraint] = []
    invariants: list[Constraint] = []
    for constraint in conjunct.constraints:
        new = renewed(constraint, defined)
        if not new.term.parts and not isl.is_empty([new]):
            continue
        top = {node.name for _, node in constraint.term.parts if isinstance(node, Var)}
        top -= set(relation.parameters)
        direct = bool(_direct_ufs(constraint.term))
        if top & loads and not direct and not constraint.equality:
            invariants.append(new)
        elif (direct or top & loads) and not _names(new.term) & set(relation.inputs):
            filters.append(new)
        else:
            scan.append(new)
    _require_bounds(relation, scan)
    definitions = tuple(defined.items())
    return Structure(
        relation.parameters,
        relation.inputs,
        definitions,
        tuple(scan),
        tuple(filters),
        tuple(invariants),
    )


def is_load(value: Term, parameters: tuple[str, ...]) -> bool:
    """Whether a coordinate is read from index arrays alone (``indices(p)``, ``crd(p) - 1``)."""
    return bool(_direct_ufs(value)) and _names(value) <= set(parameters)


def _direct_ufs(term: Term) -> tuple[UF, ...]:
    """Calls that stand in the sum itself, or times a parameter."""
    found: list[UF] = []
    for _, node in term.parts:
        if isinstance(node, UF):
            found.append(node)
        elif isinstance(node, Product):
            found += _direct_ufs(node.left) + _direct_ufs(node.right)
    return tuple(found)


def _names(term: Term) -> set[str]:
    """Variables outside calls."""
    found: set[str] = set()
    for _, node in term.parts:
        match node:
            case Var(name):
                found.add(name)
            case UF():
                continue
            case _:
                for child in t.children(node):
                    found |= _names(child)
    return found


def _undetermined(relation: Relation, name: str, logical: bool) -> LayoutError:
    what = "logical coordinate" if logical else "existential variable"
    inputs = ", ".join(relation.inputs)
    return LayoutError(
        f"the {what} '{name}' is not determined by the physical dimensions [{inputs}]",
        hint=f"add an equality such as {name} = ... for it, or make '{name}' a dimension",
    )


def _require_bounds(relation: Relation, scan: list[Constraint]) -> None:
    bounds = Bounds(tuple(scan), relation.parameters)
    known = set(relation.parameters)
    for name in relation.inputs:
        for side, found in (
            ("lower", bounds.lower(name, known)),
            ("upper", bounds.upper(name, known)),
        ):
            if not found:
                shown = " and ".join(constraint_text(c) for c in scan) or "nothing"
                raise LayoutError(
                    f"the physical dimension '{name}' has no {side} bound; it is constrained "
                    f"by {shown}",
                    hint=f"add a range such as 0 <= {name} < N, over earlier dimensions, "
                    "parameters and index arrays",
                )
        known.add(name)
