"""Text of relations and terms -> nodes.

Takes: isl's set syntax plus calls of uninterpreted functions.  Gives: ``Relation`` and ``Term``.
Invariant: whatever is not understood raises ``LayoutError`` with a caret; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from sparsedsl.spf import terms as t
from sparsedsl.spf.lex import Cursor, Token
from sparsedsl.spf.nodes import Conjunct, Constraint, Relation, Term
from sparsedsl.spf.read import (
    MARK,
    Scope,
    equation,
    expect_end,
    parse_term,
    read_term,
    read_terms,
    renewed,
)

__all__ = ["equation", "parse_relation", "parse_term", "renewed"]

COMPARISONS = ("<=", "<", ">=", ">", "=", "==", "!=")

# A formula in disjunctive form: alternatives of (existential names, constraints).
Branch = tuple[tuple[str, ...], tuple[Constraint, ...]]
Formula = tuple[Branch, ...]
TRUE: Formula = (((), ()),)
BRANCHES = 64


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
            cursor.fail(
                f"'{token.text}' is declared twice",
                token,
                hint="give each a name of its own, and relate them by an equality",
            )
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
                hint="give dimensions that a part has no use for one value, such as v = 0",
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
        used = {name for c in constraints for name in t.variables(c.term)}
        for name in exists:
            if name not in used:
                continue
            new = name.partition(MARK)[0]
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
    left = read_terms(cursor, scope)
    if not cursor.at(*COMPARISONS):
        cursor.fail(
            f"expected a comparison, found {cursor.describe()}",
            hint="a constraint is a chain such as 0 <= i < N or j = indices(p)",
        )
    found = TRUE
    while cursor.at(*COMPARISONS):
        operator = cursor.next().text
        right = read_terms(cursor, scope)
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
