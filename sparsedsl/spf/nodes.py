"""Integer terms, constraints and relations with uninterpreted functions (UFs).

Takes: nothing (a closed set of nodes).  Gives: what a layout's text parses to.
Invariant: a ``Term`` is a linear combination of atoms in canonical order, so equal terms
compare equal; UF calls may nest; division is floor division, modulo has the divisor's sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar


class Hashed:
    """A node that keeps its hash: nodes hold nodes, and are keys of most tables of a plan."""

    __slots__ = ("known_hash",)

    known_hash: int


_Node = TypeVar("_Node", bound=Hashed)


def _hashed_once(node: type[_Node]) -> type[_Node]:
    """Let a frozen dataclass keep its hash once it is asked for it."""
    of_fields: Callable[[_Node], int] = node.__hash__

    def kept(self: _Node) -> int:
        try:
            return self.known_hash
        except AttributeError:
            found = of_fields(self)
            object.__setattr__(self, "known_hash", found)
            return found

    node.__hash__ = kept
    return node


@dataclass(frozen=True, slots=True)
class Var:
    """A dimension, an existential variable or a parameter."""

    name: str

    def __hash__(self) -> int:
        return hash(self.name)


@_hashed_once
@dataclass(frozen=True, slots=True)
class UF(Hashed):
    """``function(arguments)``: one element of an index array."""

    function: str
    arguments: tuple[Term, ...]


@_hashed_once
@dataclass(frozen=True, slots=True)
class FloorDiv(Hashed):
    """``floor(numerator / denominator)``; the denominator is positive."""

    numerator: Term
    denominator: Term


@_hashed_once
@dataclass(frozen=True, slots=True)
class Mod(Hashed):
    """``numerator mod denominator`` in ``[0, denominator)``."""

    numerator: Term
    denominator: Term


@_hashed_once
@dataclass(frozen=True, slots=True)
class Product(Hashed):
    """A product with a block parameter, before its value is known."""

    left: Term
    right: Term


Atom: TypeAlias = "Var | UF | FloorDiv | Mod | Product"


@_hashed_once
@dataclass(frozen=True, slots=True)
class Term(Hashed):
    """``sum(coefficient * atom) + constant``; build with ``spf.terms``, which keeps the order."""

    parts: tuple[tuple[int, Atom], ...]
    constant: int = 0


@_hashed_once
@dataclass(frozen=True, slots=True)
class Constraint(Hashed):
    """``term = 0`` when ``equality``, else ``term >= 0``."""

    term: Term
    equality: bool


@dataclass(frozen=True, slots=True)
class Conjunct:
    """One basic relation: ``exists variables: all constraints``."""

    exists: tuple[str, ...]
    constraints: tuple[Constraint, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """``[parameters] -> { [inputs] -> [outputs] : conjunct or conjunct ... }``.

    ``outputs`` are names; an output position that repeats an input's name or holds an
    expression has been given a name of its own and an equality in every conjunct, except
    where it is the same name as an input (then the two are one variable).
    """

    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    conjuncts: tuple[Conjunct, ...]
