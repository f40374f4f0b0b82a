"""Facts about expressions: their fill, and where a value may differ from it.

Takes: an expression and its program.  Gives: what the planner may leave out, derived from the
operator table alone.  Invariant: every support is a superset of the truth.  Each index bound
by a ``Reduce`` is bound once in an additive term (``contraction.verify``), so that accesses of
one conjunction which share an index name mean the same index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, assert_never

import numpy as np

from sparsedsl.contraction.demands import Demand, always_finite, demands_of
from sparsedsl.contraction.expressions import dtype_of, same_value, walk
from sparsedsl.contraction.nodes import (
    Access,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Scalar,
    Stored,
)
from sparsedsl.contraction.operators import MONOIDS, OPERATORS, Annihilator, Operator, Unless

Support: TypeAlias = tuple[frozenset[Access], ...]
"""A formula in disjunctive normal form: some conjunction's accesses are all stored."""

NOWHERE: Support = ()
EVERYWHERE: Support = (frozenset(),)

_WIDEST = 64


def fill_of(expression: Expression, program: Program, annihilating: bool = True) -> Scalar | None:
    """Return the value where every sparse operand is at its fill; None when it varies.

    Dense operands and index values vary, unless something annihilates them.  The sign of an
    annihilated zero is not kept; `ieee_operands` says where it would show.  See `support` for
    ``annihilating``.
    """
    return _Analysis(program, annihilating).facts(expression).fill


def support(expression: Expression, program: Program, annihilating: bool = True) -> Support:
    """Return where the expression may differ from `fill_of`, in terms of stored entries.

    Each frozenset is a conjunction of accesses that must be stored (``Stored`` counts as an
    ``Access``); they are joined by "or".  ``(frozenset(),)`` means everywhere and ``()`` nowhere.
    An index that a ``Reduce`` binds means "for some value of it".

    Parameters
    ----------
    annihilating:
        Take ``0 * x`` as 0, ``0 / x`` as 0 and the like for every floating ``x``.  Without it,
        only facts are used that hold for every value, infinite and NaN ones included; the
        result is then exact in NumPy's sense.  For integers and bools both are the same.
    """
    return _Analysis(program, annihilating).facts(expression).support


def ieee_operands(expression: Expression, program: Program) -> frozenset[tuple[Demand, str]] | None:
    """Return what of which tensors makes ``support(annihilating=True)`` exact in IEEE's sense.

    Asked of are the values that meet another operand's implicit annihilator: in a product the
    implicit zero, in ``A + B`` of fill infinity the implicit infinity, which only its opposite
    and NaN survive.  None when operands do not settle it: such a value is a function that may
    overflow by itself, as in ``A * exp(B)``, or the sign of a skipped zero shows, as in
    ``1 / (A * B)``.  In ``A / B`` the stored values of ``B`` must be nonzero too.  Overflow of
    sums and products of finite values is ignored.  Integer and bool values are asked nothing.
    """
    analysis = _Analysis(program, True)
    found: frozenset[tuple[Demand, str]] = frozenset()
    for call in _calls(expression):
        if analysis.shows_sign(call):
            return None
        for met, unless in analysis.met_by_annihilators(call):
            demands = demands_of(met, unless, program)
            if demands is None:
                return None
            found |= demands
    return found


def _calls(expression: Expression) -> Iterator[Call]:
    return (e for e in walk(expression) if isinstance(e, Call))


def unite(*supports: Support) -> Support:
    """Return the union, without conjunctions that others imply."""
    every = {conjunction for support in supports for conjunction in support}
    kept = [c for c in every if not any(other < c for other in every)]
    return tuple(sorted(kept, key=_order))


def intersect(left: Support, right: Support) -> Support:
    """Return the intersection; a superset of it when it would grow past a bound."""
    if len(left) * len(right) > _WIDEST:
        return left if len(left) <= len(right) else right
    return unite(tuple(a | b for a in left for b in right))


def _order(conjunction: frozenset[Access]) -> tuple[int, list[str]]:
    return len(conjunction), sorted(
        f"{a.tensor}{[str(s) for s in a.subscripts]}" for a in conjunction
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """``signless`` says that a fill of 0 stands for zeros of both signs."""

    fill: Scalar | None
    support: Support
    signless: bool = False


@dataclass(frozen=True, slots=True)
class _Analysis:
    program: Program
    annihilating: bool

    def facts(self, expression: Expression) -> _Facts:
        match expression:
            case Literal(value):
                return _Facts(value, NOWHERE)
            case Access(name):
                if self.program.covers(expression):
                    return _Facts(None, EVERYWHERE)
                return _Facts(self.program.tensor(name).fill, (frozenset({expression}),))
            case Stored(name, subscripts, span):
                if self.program.covers(expression):
                    return _Facts(True, NOWHERE)
                return _Facts(False, (frozenset({Access(name, subscripts, span)}),))
            case IndexValue(index):
                if index.terms:
                    return _Facts(None, EVERYWHERE)
                return _Facts(index.constant, NOWHERE)
            case Extent():
                return _Facts(None, EVERYWHERE)
            case Call("where", (condition, yes, no)):
                return self._where(expression, condition, yes, no)
            case Call():
                return self._call(expression)
            case Reduce():
                return self._reduce(expression)
            case _:
                assert_never(expression)

    def _call(self, call: Call) -> _Facts:
        parts = [self.facts(a) for a in call.arguments]
        fill = self._evaluate(call, parts)
        everything = unite(*(p.support for p in parts))
        if fill is None:
            everything = EVERYWHERE
        signless = any(p.signless for p in parts)
        if self._shows_sign(call, parts) and not self.annihilating:
            return _Facts(None, EVERYWHERE)
        for fact in self._applicable(call, parts, fill):
            if fill is None:
                fill = fact.result
            if same_value(fill, fact.result):
                everything = intersect(everything, parts[fact.position].support)
                signless = True
        floating = np.dtype(dtype_of(call, self.program)).kind in "fc"
        return _Facts(fill, everything, signless and floating and fill == 0)

    def shows_sign(self, call: Call) -> bool:
        """Return whether the sign of a zero that is not known shows in the call's result."""
        return self._shows_sign(call, [self.facts(a) for a in call.arguments])

    def _shows_sign(self, call: Call, parts: list[_Facts]) -> bool:
        match call:
            case Call("pow", (_, Literal(int() | float() as power))) if power >= 0:
                return False  # unless it is a zero itself
            case _:
                return any(parts[place].signless for place in OPERATORS[call.operator].signs)

    def _where(self, call: Call, *arguments: Expression) -> _Facts:
        condition, yes, no = (self.facts(a) for a in arguments)
        branches = unite(yes.support, no.support)
        if condition.fill is None:
            if yes.fill is None or no.fill is None or not same_value(yes.fill, no.fill):
                return _Facts(None, EVERYWHERE)
            signless = yes.signless or no.signless
            return _Facts(self._cast(yes.fill, call), branches, signless)
        taken, other = (yes, no) if condition.fill else (no, yes)
        if taken.fill is None:
            return _Facts(None, EVERYWHERE)
        switched = condition.support
        if other.fill is not None and same_value(taken.fill, other.fill):
            switched = intersect(switched, other.support)
        signless = taken.signless or other.signless
        return _Facts(self._cast(taken.fill, call), unite(switched, taken.support), signless)

    def _reduce(self, reduce: Reduce) -> _Facts:
        body = self.facts(reduce.body)
        monoid = MONOIDS[reduce.monoid]
        if body.fill is None:
            return _Facts(None, EVERYWHERE)
        fill = self._cast(body.fill, reduce)
        identity = monoid.identity(dtype_of(reduce, self.program))
        if same_value(fill, identity):
            return _Facts(identity, body.support)
        # A constant reduced over an unknown number of points; every one of them takes part.
        constant = monoid.keeps(fill, dtype_of(reduce, self.program))
        return _Facts(fill if constant else None, EVERYWHERE)

    def _applicable(
        self, call: Call, parts: list[_Facts], fill: Scalar | None
    ) -> Iterator[Annihilator]:
        """Yield the annihilators that hold here, given the fills of the arguments."""
        operator = OPERATORS[call.operator]
        for fact in _holding(operator, call, self.program):
            value = parts[fact.position].fill
            if value is None or not same_value(value, fact.value):
                continue
            if fill is not None and not same_value(fill, fact.result):
                continue
            if self.annihilating or self._exact(fact, call):
                yield fact

    def _exact(self, fact: Annihilator, call: Call) -> bool:
        """Return whether the fact holds for every value of the other arguments."""
        if fact.unless == "never":
            return True
        if fact.unless == "zero":
            return False
        if fact.unless != "nonfinite":
            others = [a for n, a in enumerate(call.arguments) if n != fact.position]
            return all(demands_of(a, fact.unless, self.program) == frozenset() for a in others)
        others = [a for n, a in enumerate(call.arguments) if n != fact.position]
        return all(always_finite(a, self.program) for a in others)

    def met_by_annihilators(self, call: Call) -> Iterator[tuple[Expression, Unless]]:
        """Yield arguments that meet an implicit zero, and which of their values matter."""
        if call.operator == "where":
            return
        parts = [self.facts(a) for a in call.arguments]
        fill = self._evaluate(call, parts)
        for fact in self._applicable(call, parts, fill):
            narrow = parts[fact.position].support
            for n, (argument, part) in enumerate(zip(call.arguments, parts, strict=True)):
                if n == fact.position or self._exact(fact, call):
                    continue
                # Entries of the argument that lie inside the zero's support meet no zero.
                if part.fill is not None and unite(part.support, narrow) == unite(narrow):
                    continue
                yield argument, fact.unless

    def _evaluate(self, expression: Call, parts: list[_Facts]) -> Scalar | None:
        """Return the operator's value at the arguments' fills, None if one varies."""
        fills = [p.fill for p in parts]
        if any(f is None for f in fills):
            return None
        dtypes = [dtype_of(a, self.program) for a in expression.arguments]
        values = [np.asarray(f, d) for f, d in zip(fills, dtypes, strict=True)]
        with np.errstate(all="ignore"):
            try:
                result = OPERATORS[expression.operator].evaluate(*values)
            except ValueError:  # an integer to a negative power has no value
                return None
        return result.item()

    def _cast(self, value: Scalar | np.generic, expression: Expression) -> Scalar:
        with np.errstate(all="ignore"):
            return np.asarray(value).astype(dtype_of(expression, self.program)).item()


def _holding(operator: Operator, call: Call, program: Program) -> Iterator[Annihilator]:
    kind = np.dtype(dtype_of(call, program)).kind
    return (fact for fact in operator.annihilators if kind in fact.kinds)
