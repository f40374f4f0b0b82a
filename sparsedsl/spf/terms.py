"""Canonical construction, substitution, printing and evaluation of terms.

Takes: names, integers and terms.  Gives: ``Term`` nodes in one canonical form, so that equal
terms compare equal.  Invariant: no part has coefficient 0, no atom occurs twice, constant
divisions are folded, a product holds no constant factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias, assert_never

import numpy as np

from sparsedsl.spf.nodes import UF, Atom, FloorDiv, Mod, Product, Term, Var

Index: TypeAlias = "int | np.ndarray"


def const(value: int) -> Term:
    """The constant ``value``."""
    return Term((), int(value))


ZERO = const(0)
ONE = const(1)


@lru_cache(maxsize=16384)
def var(name: str) -> Term:
    """The variable or parameter ``name``."""
    return Term(((1, Var(name)),))


def atom(node: Atom, coefficient: int = 1) -> Term:
    """``coefficient * node`` as a term."""
    return Term(((coefficient, node),)) if coefficient else ZERO


def uf(function: str, *arguments: Term) -> Term:
    """The call ``function(arguments)``."""
    return atom(UF(function, tuple(arguments)))


def add(*terms: Term) -> Term:
    """The sum of ``terms``; equal atoms merge.

    >>> text(add(var("i"), const(2), var("i")))
    '2*i + 2'
    """
    constant = 0
    varying: list[Term] = []
    for term in terms:
        constant += term.constant
        if term.parts:
            varying.append(term)
    if len(varying) < 2:
        # most sums are of one term and a number: its parts are in order
        return Term(varying[0].parts if varying else (), constant)
    total: dict[Atom, int] = {}
    for term in varying:
        for coefficient, node in term.parts:
            total[node] = total.get(node, 0) + coefficient
    parts = [(coefficient, node) for node, coefficient in total.items() if coefficient]
    if len(parts) > 1:
        parts.sort(key=_place)
    return Term(tuple(parts), constant)


def _place(part: tuple[int, Atom]) -> tuple[int, str]:
    """Where a part stands among others."""
    return _sort_key(part[1])


def scale(factor: int, term: Term) -> Term:
    """``factor * term``."""
    if factor == 0:
        return ZERO
    if factor == 1:
        return term
    return Term(tuple([(factor * c, node) for c, node in term.parts]), factor * term.constant)


def subtract(left: Term, right: Term) -> Term:
    """``left - right``."""
    return add(left, scale(-1, right))


def multiply(left: Term, right: Term) -> Term:
    """``left * right``, distributed over sums; a constant factor becomes a coefficient."""
    if not left.parts:
        return scale(left.constant, right)
    if not right.parts:
        return scale(right.constant, left)
    pieces = [scale(left.constant, Term(right.parts)), scale(right.constant, Term(left.parts))]
    pieces.append(const(left.constant * right.constant))
    for c, a in left.parts:
        for d, b in right.parts:
            factors = sorted(_factors(a) + _factors(b), key=_sort_key)
            pieces.append(scale(c * d, atom(_product(factors))))
    return add(*pieces)


def _factors(node: Atom) -> list[Atom]:
    """The atoms a product multiplies; a single atom otherwise."""
    if isinstance(node, Product):
        return _factors(node.left.parts[0][1]) + _factors(node.right.parts[0][1])
    return [node]


def _product(factors: list[Atom]) -> Atom:
    node = factors[-1]
    for factor in reversed(factors[:-1]):
        node = Product(atom(factor), atom(node))
    return node


def floordiv(numerator: Term, denominator: Term | int) -> Term:
    """``floor(numerator / denominator)``; a constant denominator is positive.

    >>> text(floordiv(parts := add(scale(4, var("i")), var("r")), 4))
    'i + floor(r/4)'
    """
    below = const(denominator) if isinstance(denominator, int) else denominator
    if below.parts:
        return ZERO if numerator == ZERO else atom(FloorDiv(numerator, below))
    divisor = below.constant
    if divisor <= 0:
        raise ValueError(f"a divisor must be positive, found {divisor}")
    whole = [(c // divisor, node) for c, node in numerator.parts if c % divisor == 0]
    rest = tuple((c, node) for c, node in numerator.parts if c % divisor)
    quotient = Term(tuple(whole), numerator.constant // divisor)
    if not rest:
        return quotient
    return add(quotient, atom(FloorDiv(Term(rest, numerator.constant % divisor), below)))


def mod(numerator: Term, denominator: Term | int) -> Term:
    """``numerator mod denominator``, in ``[0, denominator)``; a constant one is positive."""
    below = const(denominator) if isinstance(denominator, int) else denominator
    if below.parts:
        return ZERO if numerator == ZERO else atom(Mod(numerator, below))
    divisor = below.constant
    if divisor <= 0:
        raise ValueError(f"a divisor must be positive, found {divisor}")
    rest = tuple((c, node) for c, node in numerator.parts if c % divisor)
    if not rest:
        return const(numerator.constant % divisor)
    return atom(Mod(Term(rest, numerator.constant % divisor), below))


def replace(term: Term, change: Mapping[Atom, Term]) -> Term:
    """``term`` with atoms exchanged, outermost first; what is put in is not searched again."""
    if not term.parts:
        return term
    pieces = [const(term.constant)]
    for coefficient, node in term.parts:
        pieces.append(scale(coefficient, _replace_atom(node, change)))
    return add(*pieces)


def _replace_atom(node: Atom, change: Mapping[Atom, Term]) -> Term:
    if node in change:
        return change[node]
    match node:
        case Var():
            return atom(node)
        case UF(function, arguments):
            return uf(function, *(replace(argument, change) for argument in arguments))
        case FloorDiv(numerator, denominator):
            return floordiv(replace(numerator, change), replace(denominator, change))
        case Mod(numerator, denominator):
            return mod(replace(numerator, change), replace(denominator, change))
        case Product(left, right):
            return multiply(replace(left, change), replace(right, change))
        case _:
            assert_never(node)


def substitute(term: Term, values: Mapping[str, Term]) -> Term:
    """``term`` with variables replaced by terms, inside calls and divisions too."""
    if variables(term).isdisjoint(values):
        return term
    return replace(term, {Var(name): value for name, value in values.items()})


def children(node: Atom) -> tuple[Term, ...]:
    """The terms directly inside an atom."""
    match node:
        case Var():
            return ()
        case UF(_, arguments):
            return arguments
        case FloorDiv(numerator, denominator) | Mod(numerator, denominator):
            return (numerator, denominator)
        case Product(left, right):
            return (left, right)
        case _:
            assert_never(node)


def atoms(term: Term) -> Iterator[Atom]:
    """Every atom of ``term``, at any depth, outer before inner."""
    for _, node in term.parts:
        yield node
        for child in children(node):
            yield from atoms(child)


@lru_cache(maxsize=16384)
def variables(term: Term) -> frozenset[str]:
    """Names of the variables and parameters that occur, inside calls too."""
    return frozenset(node.name for node in atoms(term) if isinstance(node, Var))


@lru_cache(maxsize=16384)
def ufs(term: Term) -> tuple[UF, ...]:
    """The distinct UF calls that occur, outer before inner."""
    return tuple(dict.fromkeys(node for node in atoms(term) if isinstance(node, UF)))


def coefficient(term: Term, name: str) -> int:
    """The coefficient of the plain variable ``name`` (0 when it does not stand alone)."""
    for found, node in term.parts:
        if isinstance(node, Var) and node.name == name:
            return found
    return 0


@lru_cache(maxsize=16384)
def _sort_key(node: Atom) -> tuple[int, str]:
    kinds = (Var, UF, FloorDiv, Mod, Product)
    return kinds.index(type(node)), _atom_text(node)


def _atom_text(node: Atom) -> str:
    match node:
        case Var(name):
            return name
        case UF(function, arguments):
            return f"{function}({', '.join(text(argument) for argument in arguments)})"
        case FloorDiv(numerator, denominator):
            return f"floor({_wrapped(numerator)}/{_wrapped(denominator)})"
        case Mod(numerator, denominator):
            return f"({_wrapped(numerator)} mod {_wrapped(denominator)})"
        case Product(left, right):
            return f"{_wrapped(left)}*{_wrapped(right)}"
        case _:
            assert_never(node)


def _wrapped(term: Term) -> str:
    plain = not term.parts or (len(term.parts) == 1 and not term.constant)
    if plain and (not term.parts or term.parts[0][0] == 1):
        return text(term) if term.constant >= 0 else f"({term.constant})"
    return f"({text(term)})"


@lru_cache(maxsize=16384)
def text(term: Term) -> str:
    """``term`` as the layout language writes it, positive parts first.

    >>> text(subtract(uf("indptr", add(var("i"), ONE)), var("p")))
    'indptr(i + 1) - p'
    """
    ordered = sorted(term.parts, key=lambda part: part[0] < 0)
    out = ""
    for coefficient_, node in ordered:
        body = _atom_text(node)
        if abs(coefficient_) != 1:
            body = f"{abs(coefficient_)}*{body}"
        sign = "-" if coefficient_ < 0 else "+"
        out = f"{out} {sign} {body}" if out else (f"-{body}" if coefficient_ < 0 else body)
    if term.constant and out:
        return f"{out} {'-' if term.constant < 0 else '+'} {abs(term.constant)}"
    return out or str(term.constant)


def evaluate(term: Term, env: Mapping[str, Index], arrays: Mapping[str, np.ndarray]) -> Index:
    """The value of ``term``: NumPy broadcasting over ``env``, UF calls by fancy indexing.

    Returns a Python int when every variable that occurs is one, else an int64 array.
    Subscripts are used as they are: check hostile data first.

    >>> evaluate(uf("f", var("i")), {"i": np.array([2, 0])}, {"f": np.array([5, 6, 7])})
    array([7, 5])
    """
    total: Index = term.constant
    for coefficient_, node in term.parts:
        value = _evaluate_atom(node, env, arrays)
        total = total + (value if coefficient_ == 1 else coefficient_ * value)
    return total


def _evaluate_atom(node: Atom, env: Mapping[str, Index], arrays: Mapping[str, np.ndarray]) -> Index:
    match node:
        case Var(name):
            value = env[name]
            return value if isinstance(value, np.ndarray) else int(value)
        case UF(function, arguments):
            where = tuple(evaluate(argument, env, arrays) for argument in arguments)
            return as_index(arrays[function][where])
        case FloorDiv(numerator, denominator):
            return evaluate(numerator, env, arrays) // evaluate(denominator, env, arrays)
        case Mod(numerator, denominator):
            return evaluate(numerator, env, arrays) % evaluate(denominator, env, arrays)
        case Product(left, right):
            return evaluate(left, env, arrays) * evaluate(right, env, arrays)
        case _:
            assert_never(node)


def as_index(value: np.ndarray | np.integer) -> Index:
    """A loaded index: an int for one element, else int64."""
    if isinstance(value, np.ndarray) and value.ndim:
        return value.astype(np.int64, copy=False)
    return int(value)


def all_ufs(terms: Iterable[Term]) -> tuple[UF, ...]:
    """The distinct UF calls of several terms, in order of first occurrence."""
    return tuple(dict.fromkeys(call for term in terms for call in ufs(term)))
