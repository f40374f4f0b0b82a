"""First-order formulas over integer terms: the language of axioms, hypotheses and goals.

Takes: terms of ``spf``.  Gives: what ``find.smt`` decides and small models evaluate.
Invariant: a ``Forall`` is closed but for the variables of the question, and its triggers
mention each quantified variable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Constraint, Term


@dataclass(frozen=True, slots=True)
class Compare:
    """``left operator right`` with an operator of ``= != < <=``."""

    operator: str
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class All:
    """The conjunction of ``parts`` (true when empty)."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """The disjunction of ``parts`` (false when empty)."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of ``part``."""

    part: Formula


@dataclass(frozen=True, slots=True)
class Implies:
    """``premise`` implies ``conclusion``."""

    premise: Formula
    conclusion: Formula


@dataclass(frozen=True, slots=True)
class Forall:
    """``body`` for all integer ``variables``; ``triggers`` are the calls to instantiate by."""

    variables: tuple[str, ...]
    body: Formula
    triggers: tuple[UF, ...]


Formula: TypeAlias = "Compare | All | Any | Not | Implies | Forall"


def less(left: Term, right: Term) -> Compare:
    """Return ``left < right``."""
    return Compare("<", left, right)


def at_most(left: Term, right: Term) -> Compare:
    """Return ``left <= right``."""
    return Compare("<=", left, right)


def equal(left: Term, right: Term) -> Compare:
    """Return ``left = right``."""
    return Compare("=", left, right)


def holds(constraint: Constraint) -> Compare:
    """Return the formula of a constraint."""
    return Compare("=" if constraint.equality else "<=", terms.const(0), constraint.term)


def together(parts: Iterable[Formula]) -> Formula:
    """Return the conjunction, flat, of ``parts``."""
    flat: list[Formula] = []
    for part in parts:
        if isinstance(part, All):
            flat.extend(part.parts)
        else:
            flat.append(part)
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def lexicographically_less(left: tuple[Term, ...], right: tuple[Term, ...]) -> Formula:
    """Return the formula saying that ``left`` comes strictly before ``right``."""
    cases: list[Formula] = []
    for k in range(len(left)):
        before = [equal(left[m], right[m]) for m in range(k)]
        cases.append(together([*before, less(left[k], right[k])]))
    return cases[0] if len(cases) == 1 else Any(tuple(cases))


def interleaved(values: tuple[Term, ...]) -> Term:
    """Return the place of a tuple along the Morton curve: the bits of its numbers in turn.

    A function without a meaning of its own: equal tuples have equal places, no more is known.
    """
    return terms.uf(f"interleaved'{len(values)}", *values)


def text(formula: Formula) -> str:
    """Print a formula in the layout language."""
    match formula:
        case Compare(operator, left, right):
            return f"{terms.text(left)} {operator} {terms.text(right)}"
        case All(parts):
            return " and ".join(_inner(p) for p in parts) if parts else "true"
        case Any(parts):
            return " or ".join(_inner(p) for p in parts) if parts else "false"
        case Not(part):
            return f"not ({text(part)})"
        case Implies(premise, conclusion):
            return f"{_inner(premise)} => {_inner(conclusion)}"
        case Forall(variables, body, _):
            return f"for all {', '.join(variables)}: {text(body)}"
        case _:
            assert_never(formula)


def _inner(formula: Formula) -> str:
    return text(formula) if isinstance(formula, Compare) else f"({text(formula)})"


def terms_of(formula: Formula) -> Iterator[Term]:
    """Yield every term of a formula."""
    match formula:
        case Compare(_, left, right):
            yield left
            yield right
        case All(parts) | Any(parts):
            for part in parts:
                yield from terms_of(part)
        case Not(part):
            yield from terms_of(part)
        case Implies(premise, conclusion):
            yield from terms_of(premise)
            yield from terms_of(conclusion)
        case Forall(_, body, _):
            yield from terms_of(body)
        case _:
            assert_never(formula)


def functions(formula: Formula) -> frozenset[str]:
    """Return the names of the uninterpreted functions a formula mentions."""
    return frozenset(call.function for term in terms_of(formula) for call in terms.ufs(term))
