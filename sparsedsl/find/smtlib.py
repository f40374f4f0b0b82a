"""Questions as SMT-LIB 2 text, which any solver reads.

Takes: formulas.  Gives: a script of declarations and assertions, the goal negated last.
Invariant: the goal follows exactly when the assertions have no model; every symbol that is
used is declared, dimensions and parameters as integers, arrays as functions of integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from sparsedsl.find import formula as fo
from sparsedsl.spf.nodes import UF, Atom, FloorDiv, Mod, Product, Term, Var


def script(assumptions: Iterable[fo.Formula], goal: fo.Formula) -> str:
    """Return the script whose unsatisfiability proves ``goal`` from ``assumptions``.

    >>> from sparsedsl.spf import terms
    >>> n = terms.var("n")
    >>> print(script([fo.less(terms.const(3), n)], fo.less(terms.const(2), n)))
    (declare-const n Int)
    (assert (< 3 n))
    (assert (not (< 2 n)))
    """
    writer = _Writer()
    asserted = [writer.formula(part, frozenset()) for part in assumptions]
    asserted.append(f"(not {writer.formula(goal, frozenset())})")
    return "\n".join([*writer.declared.values(), *(f"(assert {text})" for text in asserted)])


class _Writer:
    """Writes formulas and remembers what has to be declared."""

    def __init__(self) -> None:
        self.declared: dict[str, str] = {}

    def formula(self, node: fo.Formula, bound: frozenset[str]) -> str:
        match node:
            case fo.Compare("!=", left, right):
                return f"(not (= {self.term(left, bound)} {self.term(right, bound)}))"
            case fo.Compare(operator, left, right):
                return f"({operator} {self.term(left, bound)} {self.term(right, bound)})"
            case fo.All(parts):
                return _joined("and", [self.formula(p, bound) for p in parts], "true")
            case fo.Any(parts):
                return _joined("or", [self.formula(p, bound) for p in parts], "false")
            case fo.Not(part):
                return f"(not {self.formula(part, bound)})"
            case fo.Implies(premise, conclusion):
                return f"(=> {self.formula(premise, bound)} {self.formula(conclusion, bound)})"
            case fo.Forall(variables, body, triggers):
                inner = bound | frozenset(variables)
                named = " ".join(f"({_symbol(v)} Int)" for v in variables)
                text = self.formula(body, inner)
                if triggers:
                    calls = " ".join(self.atom(call, inner) for call in triggers)
                    text = f"(! {text} :pattern ({calls}))"
                return f"(forall ({named}) {text})"
            case _:
                assert_never(node)

    def term(self, node: Term, bound: frozenset[str]) -> str:
        parts = [
            self.atom(atom, bound)
            if coefficient == 1
            else f"(* {_number(coefficient)} {self.atom(atom, bound)})"
            for coefficient, atom in node.parts
        ]
        if node.constant or not parts:
            parts.append(_number(node.constant))
        return parts[0] if len(parts) == 1 else f"(+ {' '.join(parts)})"

    def atom(self, node: Atom, bound: frozenset[str]) -> str:
        match node:
            case Var(name):
                symbol = _symbol(name)
                if name not in bound:
                    self.declared.setdefault(name, f"(declare-const {symbol} Int)")
                return symbol
            case UF(function, arguments):
                symbol = _symbol(function)
                sorts = " ".join(["Int"] * len(arguments))
                self.declared.setdefault(f"{function}()", f"(declare-fun {symbol} ({sorts}) Int)")
                written = " ".join(self.term(a, bound) for a in arguments)
                return f"({symbol} {written})" if arguments else symbol
            case FloorDiv(numerator, denominator):
                return f"(div {self.term(numerator, bound)} {self.term(denominator, bound)})"
            case Mod(numerator, denominator):
                return f"(mod {self.term(numerator, bound)} {self.term(denominator, bound)})"
            case Product(left, right):
                return f"(* {self.term(left, bound)} {self.term(right, bound)})"
            case _:
                assert_never(node)


def _joined(operator: str, parts: list[str], empty: str) -> str:
    if not parts:
        return empty
    return parts[0] if len(parts) == 1 else f"({operator} {' '.join(parts)})"


def _number(value: int) -> str:
    return str(value) if value >= 0 else f"(- {-value})"


def _symbol(name: str) -> str:
    """Return a name that is none of the language's own; quoted, primes may stand in it."""
    name = f"{name}'" if name in _WORDS else name
    return name if name.isascii() and name.isidentifier() else f"|{name}|"


_WORDS = frozenset(
    {
        "and",
        "or",
        "not",
        "div",
        "mod",
        "abs",
        "let",
        "forall",
        "exists",
        "par",
        "true",
        "false",
        "assert",
        "ite",
        "xor",
        "distinct",
        "is",
        "as",
        "match",
    }
)
"""Names that mean something in SMT-LIB."""
