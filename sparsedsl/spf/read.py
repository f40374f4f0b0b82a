"""Text of integer terms -> nodes.

Takes: a ``Cursor`` and the names in scope.  Gives: ``Term``.  Invariant: a product has a side
of parameters alone, a divisor is a positive constant or of parameters alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sparsedsl.errors import LayoutError
from sparsedsl.spf import terms as t
from sparsedsl.spf.lex import Cursor, Token, span_of
from sparsedsl.spf.nodes import Constraint, Term

# What separates an existential's name from its number while a relation is read.
MARK = "#"


@dataclass(slots=True)
class Scope:
    """Names that may be used: parameters, and variables (None allows every name).

    ``coordinates`` are known names that may not.
    """

    parameters: frozenset[str]
    names: frozenset[str] | None
    renamed: dict[str, str] = field(default_factory=dict[str, str])
    taken: set[str] = field(default_factory=set[str])
    coordinates: frozenset[str] = frozenset()

    def inner(self, names: Iterable[tuple[str, str]]) -> Scope:
        """The scope inside ``exists``, each name paired with the unique one it gets."""
        pairs = dict(names)
        known = None if self.names is None else self.names | frozenset(pairs)
        return Scope(
            self.parameters, known, {**self.renamed, **pairs}, self.taken, self.coordinates
        )

    def fresh(self, name: str) -> str:
        """A name for one use of ``name``, told apart by a mark that text cannot hold."""
        chosen = f"{name}{MARK}{len(self.taken)}"
        self.taken.add(chosen)
        return chosen


def parse_term(
    text: str, *, parameters: Iterable[str] = (), names: Iterable[str] | None = None
) -> Term:
    """Parse an integer expression with calls.

    Parameters
    ----------
    text:
        Such as ``"4*bi + r"``, ``"indptr(i + 1)"``, ``"floor(j/4)"``, ``"j mod 4"``.
    parameters:
        Names that may multiply or divide a variable.
    names:
        The names that may occur besides parameters; every name when None.

    Raises
    ------
    LayoutError
        For unknown names, products of two variables and syntax errors, with a caret.

    >>> t.text(parse_term("floor((4*i + 2)/4) + f(i)"))
    'i + f(i)'
    """
    cursor = Cursor(text)
    known = None if names is None else frozenset(names)
    term = read_term(cursor, Scope(frozenset(parameters), known))
    expect_end(cursor)
    return term


def expect_end(cursor: Cursor) -> None:
    """Raise unless everything was read."""
    if cursor.token.kind != "end":
        cursor.fail(
            f"expected the end, found {cursor.describe()}",
            hint="leave out what follows, or give it as a property or a constraint of its own",
        )


def equation(term: Term) -> Constraint:
    """``term = 0``, the sign chosen so that the first part is positive."""
    negative = bool(term.parts) and term.parts[0][0] < 0
    return Constraint(t.scale(-1, term) if negative else term, True)


def renewed(constraint: Constraint, values: Mapping[str, Term]) -> Constraint:
    """``constraint`` with variables replaced by terms."""
    term = t.substitute(constraint.term, values)
    return equation(term) if constraint.equality else Constraint(term, False)


def read_terms(cursor: Cursor, scope: Scope) -> list[Term]:
    """Read sums separated by commas."""
    found = [read_term(cursor, scope)]
    while cursor.accept(","):
        found.append(read_term(cursor, scope))
    return found


def read_term(cursor: Cursor, scope: Scope) -> Term:
    """Read a sum."""
    total = _factor_chain(cursor, scope)
    while sign := cursor.accept("+", "-"):
        right = _factor_chain(cursor, scope)
        total = t.add(total, right) if sign.text == "+" else t.subtract(total, right)
    return total


def _factor_chain(cursor: Cursor, scope: Scope) -> Term:
    start = cursor.token
    left = _signed(cursor, scope)
    while operator := cursor.accept("*", "//", "%", "mod", "/"):
        place = cursor.token
        if operator.text == "/":
            cursor.fail(
                "'/' stands only inside floor(...)",
                operator,
                hint="write floor(e/d) or e // d for the rounded quotient",
            )
        right = _signed(cursor, scope)
        if operator.text == "*":
            left = _multiplied(cursor, scope, left, right, start)
        else:
            divide = t.floordiv if operator.text == "//" else t.mod
            left = _divided(cursor, scope, left, right, place, divide)
    return left


def _signed(cursor: Cursor, scope: Scope) -> Term:
    sign = 1
    while operator := cursor.accept("-", "+"):
        sign = -sign if operator.text == "-" else sign
    return t.scale(sign, _primary(cursor, scope))


def _primary(cursor: Cursor, scope: Scope) -> Term:
    token = cursor.token
    if token.kind == "int":
        cursor.next()
        value = t.const(int(token.text))
        if cursor.token.kind == "name" and cursor.token.start == token.end:
            return t.scale(value.constant, _primary(cursor, scope))
        return value
    if token.kind == "name":
        cursor.next()
        return _call(cursor, scope, token) if cursor.at("(") else _name(cursor, scope, token)
    if cursor.accept("floor"):
        return _floor(cursor, scope)
    if cursor.at("("):
        cursor.closing()
        cursor.next()
        inside = read_term(cursor, scope)
        cursor.expect(")")
        return inside
    return cursor.fail(
        f"expected a number, a name or a call, found {cursor.describe()}",
        hint="terms are sums of names, calls such as indices(p), floor(e/d) and e mod d",
    )


def _name(cursor: Cursor, scope: Scope, token: Token) -> Term:
    if scope.names is not None and token.text not in scope.names:
        if cursor.at(":"):
            cursor.fail(
                "a term cannot be a sum over a range, nor another aggregate",
                token,
                hint="store what it gives in an index array, and state how neighbours differ as a "
                'property such as "ptr(i + 1) = ptr(i) + lengths(i)"',
            )
        if token.text in scope.coordinates:
            cursor.fail(
                f"'{token.text}' is a coordinate, found where dims of the storage are meant",
                token,
                hint=f"write what {token.text} is in the dims, such as B*b + r",
            )
        if cursor.at("["):
            cursor.fail(
                f"index arrays are called, found '{token.text}['",
                token,
                hint=f"write {token.text}(i) instead of {token.text}[i]",
            )
        known = ", ".join(sorted(scope.names)) or "none"
        cursor.fail(
            f"unknown name '{token.text}'; known are {known}",
            token,
            hint=f"declare a parameter as [{token.text}] -> {{ ... }} "
            f"or a helper as exists {token.text}: ...",
        )
    return t.var(scope.renamed.get(token.text, token.text))


def _call(cursor: Cursor, scope: Scope, token: Token) -> Term:
    if scope.names is not None and token.text in scope.names:
        cursor.fail(
            f"'{token.text}' is a variable and cannot be called",
            token,
            hint=f"write {token.text}*(...) for a product, or rename the index array",
        )
    cursor.closing()
    cursor.expect("(")
    arguments = [] if cursor.at(")") else read_terms(cursor, scope)
    cursor.expect(")")
    return t.uf(token.text, *arguments)


def _floor(cursor: Cursor, scope: Scope) -> Term:
    """``floor(e/d)``: the division is the last one at the top level inside."""
    cursor.expect("(")
    total: list[Term] = []
    sign = 1
    while True:
        start = cursor.token
        part = _signed(cursor, scope)
        while operator := cursor.accept("*", "/", "//", "%", "mod"):
            place = cursor.token
            right = _signed(cursor, scope)
            if operator.text == "*":
                part = _multiplied(cursor, scope, part, right, start)
            elif operator.text == "/":
                if total or not cursor.at(")"):
                    cursor.fail("expected floor(e/d) with one division", operator)
                part = _divided(cursor, scope, part, right, place, t.floordiv)
            else:
                divide = t.floordiv if operator.text == "//" else t.mod
                part = _divided(cursor, scope, part, right, place, divide)
        total.append(t.scale(sign, part))
        token = cursor.accept("+", "-")
        if token is None:
            break
        sign = 1 if token.text == "+" else -1
    cursor.expect(")")
    return t.add(*total)


def _multiplied(cursor: Cursor, scope: Scope, left: Term, right: Term, start: Token) -> Term:
    if not (_parametric(left, scope) or _parametric(right, scope)):
        end = cursor.tokens[cursor.place - 1].end
        raise LayoutError(
            f"a product needs a constant or a parameter on one side, found "
            f"({t.text(left)})*({t.text(right)})",
            span=span_of(cursor.source, start.start, end),
            hint="replace the product by an index array, such as start(i) + j",
        )
    return t.multiply(left, right)


def _divided(
    cursor: Cursor,
    scope: Scope,
    left: Term,
    right: Term,
    place: Token,
    divide: Callable[[Term, Term], Term],
) -> Term:
    if not _parametric(right, scope):
        cursor.fail(
            f"a divisor must be a constant or a parameter, found {t.text(right)}",
            place,
            hint="declare a block size as a parameter: [N, M, R] -> { ... }",
        )
    if not right.parts and right.constant <= 0:
        cursor.fail(
            f"a divisor must be positive, found {right.constant}",
            place,
            hint="divide by a number from 1 on, or by a block size: [N, M, R] -> { ... }",
        )
    return divide(left, right)


def _parametric(term: Term, scope: Scope) -> bool:
    """Whether only parameters and constants occur."""
    return t.variables(term) <= scope.parameters and not t.ufs(term)
