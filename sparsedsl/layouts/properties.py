"""Properties of index arrays: what a layout promises about its data.

Takes: text such as ``"increasing indices within indptr(i) <= p < indptr(i+1)"``.  Gives:
nodes.  Invariant: every function a property names is called in the layout's relation.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from sparsedsl.errors import LayoutError
from sparsedsl.spf import terms as t
from sparsedsl.spf.lex import Cursor, Token
from sparsedsl.spf.nodes import UF, Relation, Term
from sparsedsl.spf.read import Scope, expect_end, read_term

KINDS = (
    *("nondecreasing", "nonincreasing", "increasing", "injective", "permutation", "range"),
    *("lexicographic", "morton", "disjoint", "repeated"),
)


@dataclass(frozen=True, slots=True)
class Within:
    """``low <= variable < high``, for all values of the other variables in the bounds."""

    variable: str
    low: Term
    high: Term

    def __str__(self) -> str:
        return f"within {t.text(self.low)} <= {self.variable} < {t.text(self.high)}"


@dataclass(frozen=True, slots=True)
class Nondecreasing:
    """``function`` never decreases along its range (everywhere when ``within`` is None)."""

    function: str
    within: Within | None = None


@dataclass(frozen=True, slots=True)
class Nonincreasing:
    """``function``, of one subscript, never increases along its range, cut to its length."""

    function: str
    within: Within | None = None


@dataclass(frozen=True, slots=True)
class Increasing:
    """``function`` strictly increases along its range."""

    function: str
    within: Within | None = None


@dataclass(frozen=True, slots=True)
class Injective:
    """No two places in the range hold the same tuple of values."""

    functions: tuple[str, ...]
    within: Within | None = None


@dataclass(frozen=True, slots=True)
class Permutation:
    """``function`` takes every value of ``[0, length)`` once."""

    function: str


@dataclass(frozen=True, slots=True)
class Range:
    """Every value lies in ``[low, high)``."""

    function: str
    low: Term
    high: Term


@dataclass(frozen=True, slots=True)
class Lexicographic:
    """The tuple of values strictly increases, the first function most significant."""

    functions: tuple[str, ...]
    within: Within | None = None


@dataclass(frozen=True, slots=True)
class Morton:
    """The bits of the values, interleaved, strictly increase (first function uppermost)."""

    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disjoint:
    """The intervals ``[start, stop)`` along the range lie one behind the other.

    None ends before it starts, and each starts where the one before it ends, or later.
    """

    start: str
    stop: str
    within: Within | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """Several places may hold the same tuple of values; what they store is added up."""

    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equality:
    """``left = right`` for all values of the dimensions that occur."""

    left: Term
    right: Term


Property: TypeAlias = (
    Nondecreasing
    | Nonincreasing
    | Increasing
    | Injective
    | Permutation
    | Range
    | Lexicographic
    | Morton
    | Disjoint
    | Repeated
    | Equality
)


def functions_of(item: Property) -> tuple[str, ...]:
    """The index arrays a property speaks about, those in its bounds included."""
    match item:
        case (
            Nondecreasing(function, within)
            | Nonincreasing(function, within)
            | Increasing(function, within)
        ):
            return (function, *_called(within))
        case Injective(functions, within) | Lexicographic(functions, within):
            return (*functions, *_called(within))
        case Disjoint(start, stop, within):
            return (start, stop, *_called(within))
        case Permutation(function):
            return (function,)
        case Range(function, low, high):
            return (function, *(call.function for call in t.all_ufs((low, high))))
        case Morton(functions) | Repeated(functions):
            return functions
        case Equality(left, right):
            return tuple(dict.fromkeys(call.function for call in t.all_ufs((left, right))))
        case _:
            assert_never(item)


def terms_of(item: Property) -> tuple[Term, ...]:
    """The terms that stand in a property."""
    match item:
        case Nondecreasing(_, within) | Nonincreasing(_, within) | Increasing(_, within):
            return (within.low, within.high) if within else ()
        case Injective(_, within) | Lexicographic(_, within) | Disjoint(_, _, within):
            return (within.low, within.high) if within else ()
        case Range(_, low, high):
            return (low, high)
        case Equality(left, right):
            return (left, right)
        case Permutation() | Morton() | Repeated():
            return ()
        case _:
            assert_never(item)


def within_of(item: Property) -> Within | None:
    """The range that a property holds in; None where it speaks of whole arrays."""
    match item:
        case Nondecreasing(_, within) | Nonincreasing(_, within) | Increasing(_, within):
            return within
        case Injective(_, within) | Lexicographic(_, within) | Disjoint(_, _, within):
            return within
        case Equality() | Permutation() | Range() | Morton() | Repeated():
            return None
        case _:
            assert_never(item)


def before_ranges(item: Property, parameters: frozenset[str]) -> bool:
    """Whether a property can be checked before any range is walked: it reads no dim."""
    if isinstance(item, Equality):
        return t.variables(item.left) | t.variables(item.right) <= parameters
    return within_of(item) is None


def substituted(item: Property, values: Mapping[str, Term]) -> Property:
    """``item`` with parameters replaced by terms."""

    def inside(within: Within | None) -> Within | None:
        if within is None:
            return None
        low, high = t.substitute(within.low, values), t.substitute(within.high, values)
        return Within(within.variable, low, high)

    match item:
        case Nondecreasing(function, within):
            return Nondecreasing(function, inside(within))
        case Nonincreasing(function, within):
            return Nonincreasing(function, inside(within))
        case Increasing(function, within):
            return Increasing(function, inside(within))
        case Injective(functions, within):
            return Injective(functions, inside(within))
        case Lexicographic(functions, within):
            return Lexicographic(functions, inside(within))
        case Disjoint(start, stop, within):
            return Disjoint(start, stop, inside(within))
        case Range(function, low, high):
            return Range(function, t.substitute(low, values), t.substitute(high, values))
        case Equality(left, right):
            return Equality(t.substitute(left, values), t.substitute(right, values))
        case Permutation() | Morton() | Repeated():
            return item
        case _:
            assert_never(item)


def _called(within: Within | None) -> tuple[str, ...]:
    if within is None:
        return ()
    return tuple(call.function for call in t.all_ufs((within.low, within.high)))


def property_text(item: Property) -> str:
    """``item`` as the layout language writes it."""
    match item:
        case Nondecreasing(function, within):
            return f"nondecreasing {function}{_tail(within)}"
        case Nonincreasing(function, within):
            return f"nonincreasing {function}{_tail(within)}"
        case Increasing(function, within):
            return f"increasing {function}{_tail(within)}"
        case Injective(functions, within):
            return f"injective {_tuple(functions)}{_tail(within)}"
        case Permutation(function):
            return f"permutation {function}"
        case Range(function, low, high):
            return f"range {function} in [{t.text(low)}, {t.text(high)})"
        case Lexicographic(functions, within):
            return f"lexicographic {_tuple(functions)}{_tail(within)}"
        case Morton(functions):
            return f"morton {_tuple(functions)}"
        case Disjoint(start, stop, within):
            return f"disjoint ({start}, {stop}){_tail(within)}"
        case Repeated(functions):
            return f"repeated {_tuple(functions)}"
        case Equality(left, right):
            return f"{t.text(left)} = {t.text(right)}"
        case _:
            assert_never(item)


def _tail(within: Within | None) -> str:
    return f" {within}" if within else ""


def _tuple(functions: tuple[str, ...]) -> str:
    return functions[0] if len(functions) == 1 else f"({', '.join(functions)})"


def calls(relation: Relation) -> tuple[UF, ...]:
    """Every distinct call in ``relation``."""
    found = (c.term for conjunct in relation.conjuncts for c in conjunct.constraints)
    return t.all_ufs(found)


def parse_property(text: str, relation: Relation, extra: Iterable[UF] = ()) -> Property:
    """Parse one property of the index arrays ``relation`` calls.

    ``extra`` are calls outside the relation that count too, those in the value's position.

    Raises
    ------
    LayoutError
        For unknown kinds, arrays or dimensions, with a caret.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise LayoutError(
            f"a property is text, found {type(text).__name__}",
            hint='write properties=["nondecreasing indptr", "indptr(0) = 0"]',
        )
    cursor = Cursor(text)
    names = {*relation.parameters, *relation.inputs}
    outputs = frozenset(relation.outputs) - names
    scope = Scope(frozenset(relation.parameters), frozenset(names), coordinates=outputs)
    axes = {call.function: len(call.arguments) for call in (*calls(relation), *extra)}
    reader = _Reader(cursor, scope, relation, axes)
    found = reader.item()
    expect_end(cursor)
    return found


_ARRAY = "a property speaks about an index array of the relation"


@dataclass(slots=True)
class _Reader:
    """``functions`` are the arrays that may be spoken of, with how many axes each has."""

    cursor: Cursor
    scope: Scope
    relation: Relation
    functions: Mapping[str, int]

    def item(self) -> Property:
        word = self.cursor.token
        after = self.cursor.tokens[min(self.cursor.place + 1, len(self.cursor.tokens) - 1)]
        if word.kind != "name" or (after.text in ("=", "(") and word.text in self.functions):
            return self._equality()
        if word.text not in KINDS:
            return self._equality()
        self.cursor.next()
        match word.text:
            case "nondecreasing":
                return Nondecreasing(self._function(), self._within())
            case "nonincreasing":
                return Nonincreasing(self._function(), self._within())
            case "increasing":
                return Increasing(self._function(), self._within())
            case "injective":
                return Injective(self._functions(), self._within())
            case "permutation":
                return Permutation(self._function())
            case "range":
                return self._range()
            case "lexicographic":
                return Lexicographic(self._functions(), self._within())
            case "disjoint":
                return self._intervals()
            case "repeated":
                return Repeated(self._functions())
            case _:
                return Morton(self._functions())

    def _equality(self) -> Property:
        start = self.cursor.token
        after = self.cursor.tokens[min(self.cursor.place + 1, len(self.cursor.tokens) - 1)]
        if start.kind == "name" and after.kind == "name":
            kinds = ", ".join(KINDS)
            close = difflib.get_close_matches(start.text.lower(), KINDS, n=1)
            self.cursor.fail(
                f"unknown property '{start.text}'; known are {kinds} and equalities",
                start,
                hint=f"did you mean {close[0]}?"
                if close
                else "leave out a promise that none of these makes: that costs speed alone",
            )
        left = self._term()
        if not self.cursor.accept("=", "=="):
            self.cursor.fail(
                f"expected '=' or a kind of property, found {self.cursor.describe()}",
                hint=f"kinds are {', '.join(KINDS)}",
            )
        right = self._term()
        if not t.all_ufs((left, right)):
            message = "an equality speaks about an index array, found none"
            self.cursor.fail(message, start, hint="write indptr(0) = 0")
        return Equality(left, right)

    def _term(self) -> Term:
        """Read a term that calls arrays of the relation alone, each with all its subscripts."""
        first = self.cursor.place
        term = read_term(self.cursor, self.scope)
        tokens = {token.text: token for token in reversed(self.cursor.tokens[first:])}
        for call in t.ufs(term):
            name, found = call.function, len(call.arguments)
            if name not in self.functions:
                self._unknown(tokens[name], name)
            if found != self.functions[name]:
                self.cursor.fail(
                    f"'{name}' has {self.functions[name]} axes, found {found} subscripts",
                    tokens[name],
                    hint="an index array has one number of axes",
                )
        return term

    def _function(self) -> str:
        token = self.cursor.name("the name of an index array", _ARRAY)
        if token.text not in self.functions:
            self._unknown(token, token.text)
        return token.text

    def _unknown(self, token: Token, name: str) -> None:
        known = ", ".join(sorted(self.functions)) or "none"
        self.cursor.fail(
            f"unknown index array '{name}'; the layout calls {known}",
            token,
            hint=_ARRAY,
        )

    def _functions(self) -> tuple[str, ...]:
        if not self.cursor.accept("("):
            return (self._function(),)
        found = [self._function()]
        while self.cursor.accept(","):
            found.append(self._function())
        self.cursor.expect(")")
        return tuple(found)

    def _intervals(self) -> Disjoint:
        hint = "write disjoint (start, stop) within indptr(i) <= b < indptr(i+1)"
        self.cursor.expect("(", hint=hint)
        start = self._function()
        self.cursor.expect(",", hint=hint)
        stop = self._function()
        self.cursor.expect(")", hint=hint)
        return Disjoint(start, stop, self._within())

    def _range(self) -> Range:
        function = self._function()
        hint = "write range f in [0, N)"
        self.cursor.expect("in", hint=hint)
        self.cursor.expect("[", hint=hint)
        low = self._term()
        self.cursor.expect(",", hint=hint)
        high = self._term()
        self.cursor.expect(")", hint=hint)
        return Range(function, low, high)

    def _within(self) -> Within | None:
        if not self.cursor.accept("within"):
            return None
        hint = "write within indptr(i) <= p < indptr(i+1)"
        low = self._term()
        strict = self.cursor.at("<")
        if not self.cursor.accept("<=", "<"):
            self.cursor.fail(f"expected '<=', found {self.cursor.describe()}", hint=hint)
        token = self.cursor.name("a physical dimension", hint)
        if token.text not in self.relation.inputs:
            known = ", ".join(self.relation.inputs)
            message = f"unknown dimension '{token.text}'; known are {known}"
            self.cursor.fail(message, token, hint=hint)
        closed = self.cursor.at("<=")
        if not self.cursor.accept("<", "<="):
            self.cursor.fail(f"expected '<', found {self.cursor.describe()}", hint=hint)
        high = self._term()
        low = t.add(low, t.ONE) if strict else low
        high = t.add(high, t.ONE) if closed else high
        return Within(token.text, low, high)
