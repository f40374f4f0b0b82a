"""The door to isl: closed forms, emptiness and implication of affine constraints.

Takes: constraints.  Gives: terms and yes/no answers.  Invariant: every UF call is an opaque
symbol (equal calls, equal symbols), so an answer holds for every content of the arrays; a
question that is too hard is answered ``None`` or ``False``, never by an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import permutations
from typing import TYPE_CHECKING, Any

from sparsedsl.interrupts import interrupts_later
from sparsedsl.locks import compiling
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Atom, Constraint, FloorDiv, Mod, Product, Term, Var
from sparsedsl.spf.text import relation_text, space_text

if TYPE_CHECKING:
    import islpy

__all__ = ["closed_form", "implied", "is_empty", "relation_text", "space_text"]

MAX_OPERATIONS = 200_000
_local = threading.local()


def closed_form(
    constraints: Sequence[Constraint], known: Iterable[str], target: str
) -> Term | None:
    """``target`` as a function of the known names, where the constraints determine it.

    Parameters
    ----------
    constraints:
        Calls whose arguments are all known are known values; constraints with other calls
        are left out.
    known:
        Names with a value, parameters included.
    target:
        The name to solve for.

    Returns
    -------
    Term | None
        Over known names and known calls, with floor and modulo where needed; None when the
        constraints do not determine ``target`` (or contradict each other).

    >>> from sparsedsl.spf.parse import parse_relation
    >>> blocked = parse_relation("{ [b, r] -> [i] : i = 4*b + r and 0 <= r < 4 }").conjuncts[0]
    >>> t.text(closed_form(blocked.constraints, ["i"], "b"))
    'floor(i/4)'
    """
    names = frozenset(known)
    direct = _solved(constraints, names, target) or _divided(constraints, names, target)
    if direct is not None:
        return direct
    usable = [c for c in constraints if _usable(c.term, names)]
    if not any(target in t.variables(c.term) for c in usable) or _ranges(usable, target):
        return None
    near = _connected(usable, names, target)
    used = frozenset[str]().union(*(t.variables(c.term) for c in near))
    return _by_isl(near, names & used, target)


def _connected(
    constraints: Sequence[Constraint], known: frozenset[str], target: str
) -> tuple[Constraint, ...]:
    """Keep the constraints that reach ``target`` by way of unknown names, or bound what these read.

    The others say nothing of it, and isl's time grows fast with their number.
    """
    reads = [t.variables(c.term) for c in constraints]
    reached = {target}
    grown = True
    while grown:
        near = frozenset[str]().union(*(r for r in reads if r & reached))
        grown = not near - known <= reached
        reached |= near - known
    beside = reached.union(*(r for r in reads if r & reached))
    return tuple(c for c, r in zip(constraints, reads, strict=True) if r and r <= beside)


def is_empty(constraints: Sequence[Constraint]) -> bool:
    """Whether no integers satisfy ``constraints``, whatever the calls return.

    ``False`` also when that could not be decided.
    """
    constants = [c for c in constraints if not c.term.parts]
    if any(map(_violated, constants)):
        return True
    if len(constants) == len(constraints):
        return False
    found = _basic_set(_Symbols(), constraints)
    if found is None:
        return False
    try:
        return bool(found.is_empty())
    except _isl().Error:
        return False


def implied(constraint: Constraint, context: Sequence[Constraint]) -> bool:
    """Whether ``constraint`` follows from ``context`` by affine reasoning alone.

    Calls are opaque: ``f(i) <= f(i)`` holds, ``f(i) <= f(i + 1)`` needs the fact in
    ``context``.
    """
    if not constraint.term.parts:
        return not _violated(constraint)
    if constraint in context:
        return True
    below = Constraint(t.subtract(t.scale(-1, constraint.term), t.ONE), False)
    if not constraint.equality:
        return is_empty([*context, below])
    above = Constraint(t.subtract(constraint.term, t.ONE), False)
    return is_empty([*context, below]) and is_empty([*context, above])


def _violated(constraint: Constraint) -> bool:
    value = constraint.term.constant
    return value != 0 if constraint.equality else value < 0


def _solved(constraints: Sequence[Constraint], known: frozenset[str], target: str) -> Term | None:
    """An equality with ``target`` alone unknown; the one with the smallest text."""
    found: list[Term] = []
    for constraint in constraints:
        factor = t.coefficient(constraint.term, target)
        if not constraint.equality or not factor:
            continue
        rest = t.subtract(constraint.term, t.scale(factor, t.var(target)))
        if t.variables(rest) <= known:
            value = t.scale(-1, rest) if factor > 0 else rest
            found.append(t.floordiv(value, abs(factor)))
    return min(found, key=lambda term: (len(t.ufs(term)), len(t.text(term))), default=None)


def _divided(constraints: Sequence[Constraint], known: frozenset[str], target: str) -> Term | None:
    """Quotient or remainder: ``target`` in ``d*q + r = value``, where ``0 <= r < d``.

    Blocks say this, and isl takes longer to load than all else that a first call with one does.
    """
    for constraint in constraints:
        unknown = t.variables(constraint.term) - known
        if not constraint.equality or len(unknown) != 2 or target not in unknown:
            continue
        for quotient, rest in permutations(sorted(unknown)):
            sign, many = (t.coefficient(constraint.term, name) for name in (rest, quotient))
            divisor = sign * many
            if abs(sign) != 1 or divisor < 2:
                continue
            both = t.add(t.scale(many, t.var(quotient)), t.scale(sign, t.var(rest)))
            value = t.scale(-sign, t.subtract(constraint.term, both))
            least = Constraint(t.var(rest), False)
            most = Constraint(t.subtract(t.const(divisor - 1), t.var(rest)), False)
            if t.variables(value) <= known and least in constraints and most in constraints:
                whole = t.floordiv(value, divisor)
                return whole if target == quotient else t.subtract(value, t.scale(divisor, whole))
    return None


def _ranges(constraints: Sequence[Constraint], target: str) -> bool:
    """Whether ``target`` is only bounded, in ranges not of one value: isl need not be asked."""
    lows: list[Term] = []
    highs: list[Term] = []
    for constraint in constraints:
        factor = t.coefficient(constraint.term, target)
        rest = t.subtract(constraint.term, t.scale(factor, t.var(target)))
        if target in t.variables(rest) or (factor and constraint.equality) or abs(factor) > 1:
            return False
        if factor:
            (lows if factor > 0 else highs).append(rest)
    return all(t.add(low, high) != t.const(0) for low in lows for high in highs)


def _usable(term: Term, known: frozenset[str]) -> bool:
    """Whether isl can take the term: unknown names stand in affine places only."""
    for _, node in term.parts:
        match node:
            case Var():
                continue
            case UF() | Product():
                if not t.variables(t.atom(node)) <= known:
                    return False
            case FloorDiv(numerator, denominator) | Mod(numerator, denominator):
                if denominator.parts:
                    if not t.variables(t.atom(node)) <= known:
                        return False
                elif not _usable(numerator, known):
                    return False
    return True


@dataclass(slots=True)
class _Symbols:
    """isl-safe names of variables and of opaque atoms."""

    names: dict[Atom, str] = field(default_factory=dict[Atom, str])

    def name(self, node: Atom) -> str:
        return self.names.setdefault(node, f"x{len(self.names)}")

    def text(self, term: Term) -> str:
        """``term`` in isl's syntax."""
        parts = [str(term.constant)]
        for coefficient, node in term.parts:
            parts.append(f"{coefficient}*{self._atom(node)}")
        return " + ".join(parts)

    def _atom(self, node: Atom) -> str:
        match node:
            case FloorDiv(numerator, denominator) if not denominator.parts:
                return f"floor(({self.text(numerator)})/{denominator.constant})"
            case Mod(numerator, denominator) if not denominator.parts:
                return f"(({self.text(numerator)}) mod {denominator.constant})"
            case _:
                return self.name(node)

    def constraints(self, constraints: Iterable[Constraint]) -> str:
        shown = [f"{self.text(c.term)} {'=' if c.equality else '>='} 0" for c in constraints]
        return " and ".join(shown) or "true"


@cache
def _isl() -> Any:
    with compiling, interrupts_later():
        import islpy

        return islpy


def _context() -> Any:
    """The isl context of the running thread, its budget of operations renewed."""
    if not hasattr(_local, "context"):
        _local.context = _isl().Context()
        _local.context.set_max_operations(MAX_OPERATIONS)
    _local.context.reset_operations()
    return _local.context


def _basic_set(symbols: _Symbols, constraints: Sequence[Constraint]) -> islpy.Set | None:
    body = symbols.constraints(constraints)
    names = ", ".join(symbols.names.values())
    try:
        return _isl().Set.read_from_str(_context(), f"{{ [{names}] : {body} }}")
    except _isl().Error:
        return None


@lru_cache(maxsize=8192)
def _by_isl(constraints: tuple[Constraint, ...], known: frozenset[str], target: str) -> Term | None:
    """Read the graph of ``known -> target`` as one quasi-affine expression."""
    symbols = _Symbols()
    body = symbols.constraints(constraints)
    given: list[Atom] = []
    hidden: list[Atom] = []
    for node in symbols.names:
        if node != Var(target):
            (given if t.variables(t.atom(node)) <= known else hidden).append(node)
    sources = ", ".join(symbols.names[node] for node in given)
    others = ", ".join(symbols.names[node] for node in hidden)
    inner = f"exists {others}: {body}" if others else body
    goal = symbols.name(Var(target))
    isl = _isl()
    try:
        graph = isl.Map.read_from_str(_context(), f"{{ [{sources}] -> [{goal}] : {inner} }}")
        if graph.is_empty() or not graph.is_single_valued():
            return None
        pieces: list[Term] = []

        def keep(_: Any, value: Any) -> None:
            pieces.append(_expression(value.get_at(0), given))

        isl.PwMultiAff.from_map(graph.coalesce()).foreach_piece(keep)
    except isl.Error:
        return None
    distinct = list(dict.fromkeys(pieces))
    return distinct[0] if len(distinct) == 1 else None


def _expression(value: islpy.Aff, symbols: Sequence[Atom]) -> Term:
    """An isl quasi-affine expression as a term over ``symbols``."""
    kind = _isl().dim_type
    denominator = int(value.get_denominator_val().to_python())
    scaled = value.scale_val(_isl().Val.int_from_si(value.get_ctx(), denominator))
    total = t.const(int(scaled.get_constant_val().to_python()))
    for position, node in enumerate(symbols):
        factor = int(scaled.get_coefficient_val(kind.in_, position).to_python())
        total = t.add(total, t.atom(node, factor))
    for position in range(scaled.dim(kind.div)):
        factor = int(scaled.get_coefficient_val(kind.div, position).to_python())
        if factor:
            total = t.add(total, t.scale(factor, _expression(scaled.get_div(position), symbols)))
    return t.floordiv(total, denominator)
