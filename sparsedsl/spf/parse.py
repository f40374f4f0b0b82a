"""Text of relations and terms -> nodes.

Takes: isl's set syntax plus calls of uninterpreted functions.  Gives: ``Relation`` and ``Term``.
Invariant: whatever is not understood raises ``LayoutError`` with a caret; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

from sparsedsl.errors import LayoutError
from sparsedsl.spf import terms as t
from sparsedsl.spf.lex import Cursor, Token, span_of
from sparsedsl.spf.nodes import Conjunct, Constraint, Relation, Term

COMPARISONS = ("<=", "<", ">=", ">", "=", "==", "!=")

# A formula in disjunctive form: alternatives of (existential names, constraints).
Branch = tuple[tuple[str, ...], tuple[Constraint, ...]]
Formula = tuple[Branch, ...]
TRUE: Formula = (((), ()),)
BRANCHES = 64


@dataclass(slots=True)
class Scope:
    """Names that may be used: parameters, and variables (None allows every name)."""

    parameters: frozenset[str]
    names: frozenset[str] | None
    renamed: dict[str, str] = field(default_factory=dict[str, str])
    taken: set[str] = field(default_factory=set[str])

    def inner(self, names: Iterable[tuple[str, str]]) -> Scope:
        """The scope inside ``exists``, each name paired with the unique one it gets."""
        pairs = dict(names)
        known = None if self.names is None else self.names | frozenset(pairs)
        return Scope(self.parameters, known, {**self.renamed, **pairs}, self.taken)

    def fresh(self, name: str) -> str:
        """``name``, or a variant of it that is not used yet."""
        chosen, number = name, 1
        while chosen in self.taken:
            chosen, number = f"{name}_{number}", number + 1
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


def parse_relation(text: str) -> Relation:
    """Parse ``[parameters] -> { [inputs] -> [outputs] : constraints; ... }``.

    Constraints are chains of comparisons (``0 <= i < N``) joined by ``and``, ``or`` and
    ``exists a, b: ...``; terms hold calls, ``floor(e/d)``, ``e // d``, ``e mod d``, ``e % d``.
    Outputs may be expressions.

    Raises
    ------
    LayoutError
        For anything that cannot be read, with a caret.

    >>> csr = parse_relation("[N] -> { [i, p] -> [i, indices(p)] : 0 <= i < N "
    ...                      "and indptr(i) <= p < indptr(i+1) }")
    >>> csr.inputs, csr.outputs
    (('i', 'p'), ('i', 'o1'))
    """
    cursor = Cursor(text)
    parameters: tuple[str, ...] = ()
    if cursor.at("["):
        parameters = tuple(token.text for token in _name_list(cursor, "a parameter"))
        cursor.expect("->", hint="write [N, M] -> { ... }")
    cursor.expect("{", hint="the relation stands in braces: { [i, p] -> [i, j] : ... }")
    pieces = [_basic(cursor, parameters)]
    while cursor.accept(";"):
        pieces.append(_basic(cursor, parameters))
    cursor.expect("}")
    expect_end(cursor)
    return _joined(cursor, parameters, pieces)


def expect_end(cursor: Cursor) -> None:
    """Raise unless everything was read."""
    if cursor.token.kind != "end":
        cursor.fail(f"expected the end, found {cursor.describe()}")


@dataclass(frozen=True, slots=True)
class _Piece:
    """One basic relation as written; ``outputs`` are all terms, ``place`` its first token."""

    place: Token
    inputs: tuple[str, ...]
    outputs: tuple[Term, ...]
    formula: Formula
    names: tuple[str | None, ...]  # the name of each output that is a plain new name


def _basic(cursor: Cursor, parameters: tuple[str, ...]) -> _Piece:
    place = cursor.token
    inputs = _name_list(cursor, "a physical dimension")
    for token in inputs:
        if token.text in parameters:
            cursor.fail(f"'{token.text}' is a parameter and cannot be a dimension too", token)
    cursor.expect("->", hint="a layout maps physical to logical: { [i, p] -> [i, j] : ... }")
    names = {token.text for token in inputs}
    scope = Scope(frozenset(parameters), frozenset(names | set(parameters)))
    outputs, new = _outputs(cursor, scope)
    scope.names = frozenset({*names, *parameters, *(name for name in new if name)})
    scope.taken = set(scope.names)
    formula = TRUE
    if cursor.accept(":"):
        formula = TRUE if cursor.at("}", ";") else _disjunction(cursor, scope)
    return _Piece(place, tuple(x.text for x in inputs), outputs, formula, new)


def _name_list(cursor: Cursor, what: str) -> list[Token]:
    cursor.expect("[")
    found: list[Token] = []
    while not cursor.at("]"):
        if found:
            cursor.expect(",")
        token = cursor.name(what)
        if any(token.text == other.text for other in found):
            cursor.fail(f"'{token.text}' is declared twice", token)
        found.append(token)
    cursor.expect("]")
    return found


def _outputs(cursor: Cursor, scope: Scope) -> tuple[tuple[Term, ...], tuple[str | None, ...]]:
    """Output positions: a lone unknown name declares one, anything else is an expression."""
    cursor.expect("[")
    found: list[Term] = []
    names: list[str | None] = []
    while not cursor.at("]"):
        if found:
            cursor.expect(",")
        token, after = cursor.token, cursor.tokens[min(cursor.place + 1, len(cursor.tokens) - 1)]
        known = scope.names or frozenset()
        if token.kind == "name" and after.text in (",", "]") and token.text not in known:
            cursor.next()
            found.append(t.var(token.text))
            names.append(None if token.text in names else token.text)
        else:
            found.append(read_term(cursor, scope))
            names.append(None)
    cursor.expect("]")
    return tuple(found), tuple(names)


def _joined(cursor: Cursor, parameters: tuple[str, ...], pieces: list[_Piece]) -> Relation:
    """All pieces over the names of the first one."""
    first = pieces[0]
    for piece in pieces[1:]:
        if (len(piece.inputs), len(piece.outputs)) != (len(first.inputs), len(first.outputs)):
            cursor.fail(
                f"expected {len(first.inputs)} physical and {len(first.outputs)} logical "
                f"dimensions as in the first part, found {len(piece.inputs)} and "
                f"{len(piece.outputs)}",
                piece.place,
            )
    outputs: list[str] = []
    taken = {*parameters, *first.inputs, *(name for name in first.names if name)}
    for position, name in enumerate(first.names):
        shared = _shared(first, position)
        same = shared is not None and all(_shared(piece, position) == shared for piece in pieces)
        if same and shared is not None and first.inputs[shared] not in outputs:
            outputs.append(first.inputs[shared])
        elif name is not None:
            outputs.append(name)
        else:
            fresh = f"o{position}"
            while fresh in taken:
                fresh += "_"
            taken.add(fresh)
            outputs.append(fresh)
    conjuncts = tuple(
        conjunct for piece in pieces for conjunct in _renamed(piece, first.inputs, tuple(outputs))
    )
    return Relation(parameters, first.inputs, tuple(outputs), conjuncts)


def _shared(piece: _Piece, position: int) -> int | None:
    """The input an output position repeats, if it is one plain input."""
    for number, name in enumerate(piece.inputs):
        if piece.outputs[position] == t.var(name):
            return number
    return None


def _renamed(
    piece: _Piece, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> Iterable[Conjunct]:
    own = {name: t.var(new) for name, new in zip(piece.inputs, inputs, strict=True)}
    for position, name in enumerate(piece.names):
        if name is not None:
            own[name] = t.var(outputs[position])
    reserved = {*inputs, *outputs}
    for exists, constraints in piece.formula:
        change = dict(own)
        chosen: list[str] = []
        for name in exists:
            new = name
            while new in reserved or new in chosen:
                new += "_"
            chosen.append(new)
            change[name] = t.var(new)
        found = [renewed(c, change) for c in constraints]
        for position, output in enumerate(outputs):
            term = t.subtract(t.var(output), t.substitute(piece.outputs[position], change))
            if term != t.ZERO:
                found.append(equation(term))
        yield Conjunct(tuple(chosen), tuple(dict.fromkeys(found)))


def _disjunction(cursor: Cursor, scope: Scope) -> Formula:
    found = _conjunction(cursor, scope)
    while cursor.accept("or", "||", "|"):
        found += _conjunction(cursor, scope)
    return found


def _conjunction(cursor: Cursor, scope: Scope) -> Formula:
    found = _unit(cursor, scope)
    while operator := cursor.accept("and", "&&", "&"):
        found = _both(found, _unit(cursor, scope))
        if len(found) > BRANCHES:
            cursor.fail(f"more than {BRANCHES} alternatives", operator, "use fewer 'or' and '!='")
    return found


def _both(left: Formula, right: Formula) -> Formula:
    return tuple((a[0] + b[0], a[1] + b[1]) for a, b in product(left, right))


def _unit(cursor: Cursor, scope: Scope) -> Formula:
    if cursor.accept("true"):
        return TRUE
    if cursor.accept("exists"):
        return _exists(cursor, scope)
    if cursor.at("("):
        after = cursor.tokens[cursor.closing() + 1]
        if after.text in ("and", "or", "&&", "||", "&", "|", "}", ";", ")", ":"):
            cursor.next()
            found = _disjunction(cursor, scope)
            cursor.expect(")")
            return found
    return _chain(cursor, scope)


def _exists(cursor: Cursor, scope: Scope) -> Formula:
    """``exists a, b: formula``, reaching as far right as it can; ``exists (a: ...)`` too."""
    bracket = cursor.accept("(")
    names = [cursor.name("an existential variable")]
    while cursor.accept(","):
        names.append(cursor.name("an existential variable"))
    cursor.expect(":", hint="write exists a, b: constraints")
    pairs = [(token.text, scope.fresh(token.text)) for token in names]
    found = _disjunction(cursor, scope.inner(pairs))
    if bracket:
        cursor.expect(")")
    return tuple((tuple(new for _, new in pairs) + names_, body) for names_, body in found)


def _chain(cursor: Cursor, scope: Scope) -> Formula:
    """``a <= b, c < d``: every neighbouring pair, lists elementwise."""
    left = _terms(cursor, scope)
    if not cursor.at(*COMPARISONS):
        cursor.fail(
            f"expected a comparison, found {cursor.describe()}",
            hint="a constraint is a chain such as 0 <= i < N or j = indices(p)",
        )
    found = TRUE
    while cursor.at(*COMPARISONS):
        operator = cursor.next().text
        right = _terms(cursor, scope)
        for a, b in product(left, right):
            found = _both(found, comparison(operator, a, b))
        left = right
    return found


def comparison(operator: str, left: Term, right: Term) -> Formula:
    """``left operator right`` in disjunctive form."""
    difference = t.subtract(right, left)
    below = Constraint(t.subtract(difference, t.ONE), False)
    above = Constraint(t.subtract(t.scale(-1, difference), t.ONE), False)
    match operator:
        case "=" | "==":
            return (((), (equation(difference),)),)
        case "<=":
            return (((), (Constraint(difference, False),)),)
        case "<":
            return (((), (below,)),)
        case ">=":
            return (((), (Constraint(t.scale(-1, difference), False),)),)
        case ">":
            return (((), (above,)),)
        case _:
            return (((), (below,)), ((), (above,)))


def equation(term: Term) -> Constraint:
    """``term = 0``, the sign chosen so that the first part is positive."""
    negative = bool(term.parts) and term.parts[0][0] < 0
    return Constraint(t.scale(-1, term) if negative else term, True)


def renewed(constraint: Constraint, values: Mapping[str, Term]) -> Constraint:
    """``constraint`` with variables replaced by terms."""
    term = t.substitute(constraint.term, values)
    return equation(term) if constraint.equality else Constraint(term, False)


def _terms(cursor: Cursor, scope: Scope) -> list[Term]:
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
    arguments = [] if cursor.at(")") else _terms(cursor, scope)
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
        cursor.fail(f"a divisor must be positive, found {right.constant}", place)
    return divide(left, right)


def _parametric(term: Term, scope: Scope) -> bool:
    """Whether only parameters and constants occur."""
    return t.variables(term) <= scope.parameters and not t.ufs(term)
