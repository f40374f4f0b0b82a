"""Classify a dimension, given the variables bound outside it: determined, load, scan, find.

Takes: one operand's constraints and the set of bound names.  Gives: a closed form, the
bounds of a scan, or the keys of a find.  Invariant: every term returned reads bound names
and parameters only.

Uninterpreted calls are abstracted to fresh symbols first, known once their arguments are;
what is left is affine, and isl answers for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from sparsedsl.iteration.nodes import Key, Operand
from sparsedsl.layouts.properties import Disjoint, Lexicographic, Morton, Range
from sparsedsl.spf import isl, terms
from sparsedsl.spf.nodes import UF, Constraint, FloorDiv, Mod, Product, Term, Var


@dataclass(frozen=True, slots=True)
class Abstract:
    """Constraints with each outermost call replaced by the symbol it is keyed by.

    ``reads`` are the variables of each symbol's call, ``used`` all that the constraints mention.
    """

    constraints: tuple[Constraint, ...]
    symbols: tuple[tuple[str, UF], ...]
    reads: Mapping[str, frozenset[str]]
    used: frozenset[str]


@lru_cache(maxsize=4096)
def abstract(constraints: tuple[Constraint, ...]) -> Abstract:
    """Replace each outermost uninterpreted call by a symbol of its own."""
    symbols: dict[UF, str] = {}

    def walk(term: Term) -> Term:
        parts: list[Term] = []
        for coefficient, atom in term.parts:
            match atom:
                case UF():
                    name = symbols.setdefault(atom, f"call{len(symbols)}")
                    parts.append(terms.scale(coefficient, terms.var(name)))
                case FloorDiv(a, b):
                    parts.append(terms.scale(coefficient, terms.floordiv(walk(a), walk(b))))
                case Mod(a, b):
                    parts.append(terms.scale(coefficient, terms.mod(walk(a), walk(b))))
                case Product() | Var():
                    parts.append(Term(((coefficient, atom),)))
        return terms.add(terms.const(term.constant), *parts)

    plain = tuple(Constraint(walk(c.term), c.equality) for c in constraints)
    reads = {s: terms.variables(Term(((1, call),))) for call, s in symbols.items()}
    used = frozenset[str]().union(*(terms.variables(c.term) for c in plain))
    return Abstract(plain, tuple((s, call) for call, s in symbols.items()), reads, used)


def concrete(term: Term, symbols: Iterable[tuple[str, UF]]) -> Term:
    """Put the calls back in place of their symbols."""
    return terms.substitute(term, {s: Term(((1, call),)) for s, call in symbols})


def parameters(operand: Operand) -> frozenset[str]:
    """Return the names an operand's constraints may always read."""
    return frozenset(name for _, name in operand.parameters)


def _known(operand: Operand, plain: Abstract, bound: frozenset[str]) -> tuple[str, ...]:
    names = bound | parameters(operand)
    calls = {symbol for symbol, reads in plain.reads.items() if reads <= names}
    return tuple(sorted((names | calls) & plain.used))


@lru_cache(maxsize=4096)
def mentioned(operand: Operand) -> frozenset[str]:
    """Return the variables an operand's constraints mention: no others change what follows."""
    return frozenset[str]().union(*(terms.variables(c.term) for c in operand.constraints))


def closed_form(operand: Operand, target: str, bound: frozenset[str]) -> Term | None:
    """Return the one value ``target`` can have, as a term over bound names, or None.

    >>> # csr: A_i = i, and j = A_indices(A_p) once A_p is bound
    """
    return _closed_form(operand, target, bound & mentioned(operand))


@lru_cache(maxsize=65536)
def _closed_form(operand: Operand, target: str, bound: frozenset[str]) -> Term | None:
    known = _known(operand, abstract(operand.constraints), bound)
    return _value(operand, target, _near(operand, target).intersection(known))


@lru_cache(maxsize=4096)
def _near(operand: Operand, target: str) -> frozenset[str]:
    """Return the names and symbols that constraints link with ``target``: no others matter to it.

    There are none of them where no equality has it.
    """
    constraints = abstract(operand.constraints).constraints
    if not any(c.equality and target in terms.variables(c.term) for c in constraints):
        return frozenset()
    near, grown = frozenset[str](), frozenset({target})
    while grown != near:
        near = grown
        reads = (terms.variables(c.term) for c in constraints)
        grown = near.union(*(names for names in reads if names & near))
    return near


@lru_cache(maxsize=65536)
def _value(operand: Operand, target: str, known: frozenset[str]) -> Term | None:
    if not _near(operand, target):
        return None
    plain = abstract(operand.constraints)
    found = isl.closed_form(plain.constraints, sorted(known), target)
    return None if found is None else concrete(found, plain.symbols)


def follows(operand: Operand, bound: frozenset[str]) -> tuple[str, Term] | None:
    """Return the first index or dimension that bound names determine, with its value, if any."""
    return _follows(operand, bound & mentioned(operand))


@lru_cache(maxsize=65536)
def _follows(operand: Operand, bound: frozenset[str]) -> tuple[str, Term] | None:
    known = _known(operand, abstract(operand.constraints), bound)
    indices = (i for s in operand.access.subscripts for i in s.indices)
    for name in dict.fromkeys((*indices, *operand.dims, *operand.existentials)):
        if name in bound:
            continue
        value = _value(operand, name, _near(operand, name).intersection(known))
        if value is not None:
            return name, value
    return None


@dataclass(frozen=True, slots=True)
class Bounds:
    """``max(lows) <= dimension < min(highs)`` and the constraints that say so."""

    lows: tuple[Term, ...]
    highs: tuple[Term, ...]
    used: tuple[Constraint, ...]


def bounds(operand: Operand, dim: str, bound: frozenset[str]) -> Bounds | None:
    """Return the range of ``dim`` over bound names, or None while it is not bounded."""
    return _bounds(operand, dim, bound & mentioned(operand))


@lru_cache(maxsize=65536)
def _bounds(operand: Operand, dim: str, bound: frozenset[str]) -> Bounds | None:
    names = bound | parameters(operand)
    lows: list[Term] = []
    highs: list[Term] = []
    used: list[Constraint] = []
    linked = _linked(operand, dim)
    for constraint in operand.constraints:
        if constraint.equality or terms.variables(constraint.term).isdisjoint(linked):
            continue
        exact = _eliminate(operand, constraint.term, dim, names)
        term = _relax(operand, exact, dim, names)
        if not terms.variables(term) <= names | {dim}:
            continue
        end = end_of(term, dim)
        if end is None:
            continue
        if term == exact:
            used.append(constraint)
        value, low = end
        (lows if low else highs).append(value)
    if not lows or not highs:
        return None
    return Bounds(_distinct(lows), _distinct(highs), tuple(used))


def end_of(term: Term, dim: str) -> tuple[Term, bool] | None:
    """Solve ``term >= 0`` for ``dim``: its least value, or one more than its greatest.

    The second part tells which: True for the least.  None where ``dim`` does not stand alone.

    >>> end, low = end_of(terms.add(terms.var("n"), terms.scale(-1, terms.var("i"))), "i")
    >>> terms.text(end), low
    ('n + 1', False)
    """
    slope = terms.coefficient(term, dim)
    rest = terms.subtract(term, terms.scale(slope, terms.var(dim)))
    if slope == 0 or dim in terms.variables(rest):
        return None
    if slope > 0:
        return terms.scale(-1, _floor(rest, slope)), True
    return terms.add(_floor(rest, -slope), terms.const(1)), False


def _floor(term: Term, divisor: int) -> Term:
    return term if divisor == 1 else terms.floordiv(term, terms.const(divisor))


def _distinct(items: list[Term]) -> tuple[Term, ...]:
    """Drop repeats, keeping the order."""
    return tuple(dict.fromkeys(items))


@lru_cache(maxsize=4096)
def _with(operand: Operand, name: str) -> tuple[tuple[Constraint, int], ...]:
    """Return the constraints in which a variable stands outside calls, with its coefficient."""
    slopes = [(c, terms.coefficient(c.term, name)) for c in operand.constraints]
    return tuple((c, slope) for c, slope in slopes if slope)


@lru_cache(maxsize=4096)
def _linked(operand: Operand, dim: str) -> frozenset[str]:
    """Return the variables of the equalities that have ``dim``: it bounds what they are in."""
    equalities = (terms.variables(c.term) for c in operand.constraints if c.equality)
    return frozenset({dim}).union(*(names for names in equalities if dim in names))


def _eliminate(operand: Operand, term: Term, dim: str, names: frozenset[str]) -> Term:
    """Replace unbound variables of ``term`` that an equality gives in terms of ``dim``.

    Other unbound dimensions may come in with it, for ``_relax`` to take out: a block is in
    range if any of its rows is.
    """
    for name in sorted(terms.variables(term) - names - {dim}):
        found: list[Term] = []
        for constraint, slope in _with(operand, name):
            if not constraint.equality or abs(slope) != 1:
                continue
            rest = terms.subtract(constraint.term, terms.scale(slope, terms.var(name)))
            reads = terms.variables(rest)
            if name in reads or not reads <= names | {dim, *operand.dims}:
                continue
            if reads <= names | {dim}:
                found.insert(0, terms.scale(-slope, rest))
            elif dim in reads:
                found.append(terms.scale(-slope, rest))
        if found:
            term = terms.substitute(term, {name: found[0]})
    return term


def _relax(operand: Operand, term: Term, dim: str, names: frozenset[str]) -> Term:
    """Replace unbound dimensions of ``term`` by what makes it greatest.

    The bound that results is necessary, not sufficient: the constraint itself is enforced
    when the last of its dimensions is bound.
    """
    for name in sorted(terms.variables(term) - names - {dim}):
        slope = terms.coefficient(term, name)
        rest = terms.subtract(term, terms.scale(slope, terms.var(name)))
        if slope == 0 or name in terms.variables(rest):
            continue
        for constraint, own in _with(operand, name):
            if constraint.equality or own * slope >= 0 or abs(own) != 1:
                continue
            limit = terms.subtract(constraint.term, terms.scale(own, terms.var(name)))
            if terms.variables(limit) <= names:
                extreme = terms.scale(-own, limit)
                term = terms.add(rest, terms.scale(slope, extreme))
                break
    return term


@dataclass(frozen=True, slots=True)
class Sought:
    """The keys a dimension can be found by; ``complete`` when no equality is left over."""

    keys: tuple[Key, ...]
    complete: bool
    used: tuple[Constraint, ...]


def keys(operand: Operand, dim: str, bound: frozenset[str]) -> Sought:
    """Return what bound names say of the coordinates read at ``dim``."""
    return _keys(operand, dim, bound & mentioned(operand))


@lru_cache(maxsize=65536)
def _keys(operand: Operand, dim: str, bound: frozenset[str]) -> Sought:
    names = bound | parameters(operand)
    plain = abstract(operand.constraints)
    known = _known(operand, plain, bound)
    found: list[Key] = []
    used: list[Constraint] = []
    complete = True
    later = set(operand.dims) - bound - {dim}
    for original, constraint in zip(operand.constraints, plain.constraints, strict=True):
        if not constraint.equality:
            continue
        if not terms.variables(original.term).isdisjoint(later):
            continue  # met when that dimension is bound
        mentions = terms.variables(constraint.term)
        here = [(s, c) for s, c in plain.symbols if s in mentions and dim in plain.reads[s]]
        if not here:
            complete &= dim not in mentions
            continue
        symbol, call = here[0]
        reads = plain.reads[symbol] <= names | {dim}
        near = _near(operand, symbol).intersection(known)
        value = _value(operand, symbol, near) if len(here) == 1 else None
        if value is None or not reads or dim in mentions:
            complete = False
            continue
        found.append(Key(call, value))
        used.append(original)
    if complete and not found:
        implied = _implied(operand, dim, bound)
        if implied:
            return Sought(_in_order(operand, implied), True, ())
        return _interval(operand, dim, names)
    return Sought(_in_order(operand, found), complete and bool(found), tuple(used))


def _implied(operand: Operand, dim: str, bound: frozenset[str]) -> list[Key]:
    """Keys that follow by ranges of arrays, though another dimension is still open.

    So it is with a block number where ``i = B*block(b) + offset(e)`` and ``0 <= offset(e) < B``.
    """
    names, plain = bound | parameters(operand), abstract(operand.constraints)
    known = _known(operand, plain, bound)
    used = dict(operand.functions)
    rename = {own: terms.var(name) for own, name in operand.parameters}
    ranges: list[Constraint] = []
    for item in operand.layout.properties:
        if isinstance(item, Range) and not terms.ufs(item.low) and not terms.ufs(item.high):
            low, high = (terms.substitute(end, rename) for end in (item.low, item.high))
            for symbol, call in plain.symbols:
                if call.function == used[item.function]:
                    value = terms.var(symbol)
                    ranges.append(Constraint(terms.subtract(value, low), False))
                    top = terms.subtract(terms.subtract(high, terms.const(1)), value)
                    ranges.append(Constraint(top, False))
    defining = (terms.variables(c.term) for c in plain.constraints if c.equality)
    wanted = frozenset[str]().union(*defining)
    found: list[Key] = []
    for symbol, call in plain.symbols:
        reads = plain.reads[symbol]
        if symbol not in wanted or dim not in reads or not reads <= names | {dim}:
            continue
        value = isl.closed_form((*plain.constraints, *ranges), known, symbol)
        if value is None:
            return []  # another coordinate is still open
        found.append(Key(call, concrete(value, plain.symbols)))
    return found


def _in_order(operand: Operand, found: list[Key]) -> tuple[Key, ...]:
    """Keys as the layout orders them, the most significant first."""
    by_name = {key.function.function: key for key in found}
    used = dict(operand.functions)
    for item in operand.layout.properties:
        if isinstance(item, Lexicographic | Morton):
            names = [used[function] for function in item.functions]
            if set(names) <= by_name.keys():
                first = [by_name[name] for name in names]
                return (*first, *(key for key in found if key not in first))
    return tuple(found)


def _interval(operand: Operand, dim: str, names: frozenset[str]) -> Sought:
    """Return the interval at ``dim`` that a bound coordinate lies in, where intervals are apart."""
    ends: dict[str, tuple[Constraint, UF, Term]] = {}
    for constraint in operand.constraints:
        calls = [
            (c, a) for c, a in constraint.term.parts if dim in terms.variables(Term(((c, a),)))
        ]
        if constraint.equality or len(calls) != 1:
            continue
        factor, call = calls[0]
        rest = terms.subtract(constraint.term, Term((calls[0],)))
        reads = terms.variables(constraint.term) <= names | {dim}
        if abs(factor) == 1 and isinstance(call, UF) and reads:
            # f <= rest, or rest' < f
            value = rest if factor < 0 else terms.subtract(terms.scale(-1, rest), terms.const(1))
            ends[call.function] = (constraint, call, value)
    used = dict(operand.functions)
    for item in operand.layout.properties:
        if isinstance(item, Disjoint) and {used[item.start], used[item.stop]} <= ends.keys():
            (low, start, value), (high, stop, other) = (
                ends[used[name]] for name in (item.start, item.stop)
            )
            if value == other:
                return Sought((Key(start, value, stop),), True, (low, high))
    return Sought((), False, ())
