"""Tokens of the layout language, each with its place in the text.

Takes: text.  Gives: ``Token``s and a ``Cursor`` over them that raises ``LayoutError`` with a
caret.  Invariant: the last token is always ``end``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from sparsedsl.errors import LayoutError, Span

KEYWORDS = frozenset({"and", "or", "exists", "floor", "mod", "true", "within", "in"})
DEPTH, LENGTH, DIGITS = 60, 20_000, 18
_TOKEN = re.compile(
    r"(?P<space>\s+|#[^\n]*)|(?P<int>\d+)|(?P<name>[A-Za-z_][A-Za-z_0-9]*'*)"
    r"|(?P<op>->|<=|>=|==|!=|//|&&|\|\||[-+*/%<>=()\[\]{}:;,&|])"
)


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is ``int``, ``name``, ``op`` (keywords too) or ``end``; columns from 0."""

    kind: str
    text: str
    start: int
    end: int


def span_of(source: str, start: int, end: int) -> Span:
    """The line of ``source`` that holds character ``start``, marked up to ``end``."""
    first = source.rfind("\n", 0, start) + 1
    stop = source.find("\n", start)
    line = source[first : stop if stop >= 0 else len(source)]
    return Span(line, start - first, max(min(end - first, len(line)), start - first + 1))


def tokens(source: str) -> list[Token]:
    """Split ``source``; LayoutError at the first character that starts no token."""
    found: list[Token] = []
    place = depth = 0
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            raise LayoutError(
                f"unexpected character {source[place]!r}",
                span=span_of(source, place, place + 1),
                hint="a layout is written as [N, M] -> { [i, p] -> [i, j] : constraints }",
            )
        kind = match.lastgroup or "op"
        if kind != "space":
            word = match.group()
            depth += (word in "([{") - (word in ")]}") if kind == "op" else 0
            if depth > DEPTH or len(found) >= LENGTH or (kind == "int" and len(word) > DIGITS):
                raise LayoutError(
                    f"too long: at most {LENGTH} tokens, {DEPTH} open brackets and numbers of "
                    f"{DIGITS} digits can be read",
                    span=span_of(source, match.start(), match.end()),
                    hint="declare a parameter for a number, [N, M, LIMIT] -> { ... }, or leave "
                    "out brackets",
                )
            found.append(
                Token("op" if word in KEYWORDS else kind, word, match.start(), match.end())
            )
        place = match.end()
    found.append(Token("end", "the end", len(source.rstrip()), len(source.rstrip()) + 1))
    return found


FORM = "the form is [N, M] -> { [i, p] -> [i, j] : constraints, joined by and }"
"""What a relation looks like."""

_OF_FORM = frozenset({"{", "}", "[", "]", "->"})


class Cursor:
    """A position in the tokens of ``source``."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokens(source)
        self.place = 0

    @property
    def token(self) -> Token:
        """The token to be read next."""
        return self.tokens[self.place]

    def next(self) -> Token:
        """Read one token."""
        token = self.token
        self.place = min(self.place + 1, len(self.tokens) - 1)
        return token

    def at(self, *texts: str) -> bool:
        """Whether the next token is one of the given operators or keywords."""
        return self.token.kind == "op" and self.token.text in texts

    def accept(self, *texts: str) -> Token | None:
        """Read the next token if it is one of ``texts``."""
        return self.next() if self.at(*texts) else None

    def expect(self, text: str, hint: str | None = None) -> Token:
        """Read ``text`` or raise."""
        if self.at(text):
            return self.next()
        hint = FORM if hint is None and text in _OF_FORM else hint
        return self.fail(f"expected '{text}', found {self.describe()}", hint=hint)

    def name(self, what: str, hint: str | None = FORM) -> Token:
        """Read a name or raise."""
        if self.token.kind == "name":
            return self.next()
        return self.fail(f"expected {what}, found {self.describe()}", hint=hint)

    def describe(self) -> str:
        """The next token in words."""
        return "the end" if self.token.kind == "end" else f"'{self.token.text}'"

    def fail(self, message: str, at: Token | None = None, hint: str | None = None) -> NoReturn:
        """Raise ``LayoutError`` at a token, the next one by default."""
        token = at or self.token
        raise LayoutError(message, span=span_of(self.source, token.start, token.end), hint=hint)

    def closing(self) -> int:
        """Index of the token that closes the bracket standing next."""
        open_brackets: list[str] = []
        for index in range(self.place, len(self.tokens)):
            token = self.tokens[index]
            if token.kind == "op" and token.text in "([{":
                open_brackets.append(token.text)
            elif token.kind == "op" and token.text in ")]}":
                if open_brackets.pop() + token.text not in ("()", "[]", "{}"):
                    break
                if not open_brackets:
                    return index
        return self.fail(
            f"'{self.token.text}' is never closed", hint="add the closing bracket it needs"
        )
