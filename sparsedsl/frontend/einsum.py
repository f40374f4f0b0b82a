"""NumPy's einsum notation, with another product or reduction if wanted.

Takes: a specification such as ``"ik,kj->ij"`` and what is known of the operands.  Gives: a
program of one statement.  Invariant: with the default product and reduction the program means
what ``numpy.einsum`` computes.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsedsl.contraction.algebra import fill_of
from sparsedsl.contraction.bindings import free_indices
from sparsedsl.contraction.expressions import dtype_of
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    Program,
    Reduce,
    Tensor,
)
from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.contraction.verify import verify
from sparsedsl.errors import NotationError, NotationTypeError, Span
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.functions import REDUCTIONS
from sparsedsl.frontend.semirings import STRUCTURAL, over_stored, structural

_DOTS = "..."


def einsum_program(
    spec: str,
    infos: Sequence[ArgumentInfo],
    combine: str = "mul",
    reduce: str = "sum",
    *,
    stored: bool = False,
) -> Program:
    """Return the program ``out[...] = reduce(combine(op0[...], op1[...], ...))``.

    Repeated letters take diagonals, an implicit output holds the letters that occur once in
    alphabetical order, and an ellipsis stands for leading modes that are broadcast (a mode of
    length 1 is repeated).  Bools give bools: a sum of products of bools is "any of all".

    Parameters
    ----------
    infos:
        One per operand; shapes are needed for broadcasting.
    combine:
        Name of a binary operator (``contraction.operators``), applied from the left; or
        ``"pair"`` (1), ``"first"`` or ``"second"`` (that factor) where all factors are stored.
    reduce:
        ``"sum"``, ``"prod"``, ``"min"``, ``"max"``, ``"any"`` or ``"all"``.
    stored:
        Reduce over products of stored entries alone, whatever the fills are.

    Returns
    -------
    Program
        Inputs ``op0, op1, ...``, result ``out``; its fill is the expression's where known.

    Raises
    ------
    NotationError
        With a caret into ``spec``.
    """
    monoid = _named_monoid(reduce)
    _check_combine(combine)
    parsed = _parse(spec, infos)
    inputs = tuple(
        Tensor(f"op{n}", len(info.shape), info.dtype, info.fill, info.total)
        for n, info in enumerate(infos)
    )
    broadcast = _broadcast_sizes(parsed, infos)
    factors: list[Access] = []
    for tensor, info, labels, place in zip(
        inputs, infos, parsed.operands, parsed.places, strict=True
    ):
        subscripts = (
            Affine((), 0) if size == 1 and broadcast.get(label, 1) != 1 else Affine.of(label)
            for label, size in zip(labels, info.shape, strict=True)
        )
        factors.append(Access(tensor.name, tuple(subscripts), place))
    known = Program(inputs, (), (), ())
    if combine in STRUCTURAL:
        value, stored = structural(combine, factors, monoid), True
    else:
        value = _product(factors, combine, known, Span(spec, 0, len(spec)))
    if stored and (combine, monoid) != ("mul", "add"):
        if monoid == "add" and dtype_of(value, known) == "bool":
            monoid = "any"
        value = over_stored(factors, value, monoid, known)
    summed = tuple(n for n in free_indices(value) if n not in parsed.output)
    if summed:
        if monoid == "add" and dtype_of(value, known) == "bool":
            monoid = "any"
        value = Reduce(monoid, summed, value)
    fill = fill_of(value, known)
    out = Tensor("out", len(parsed.output), dtype_of(value, known), 0 if fill is None else fill)
    target = tuple(Affine.of(n) for n in parsed.output)
    return verify(Program(inputs, (out,), (Assign("out", target, value),), ("out",)))


def _named_monoid(reduce: str) -> str:
    found = REDUCTIONS.get(reduce, reduce)
    if found not in MONOIDS:
        raise NotationError(f"reduce: expected one of {', '.join(REDUCTIONS)}, found {reduce!r}")
    return found


def _check_combine(combine: str) -> None:
    binary = [name for name, operator in OPERATORS.items() if operator.arity == 2]
    if combine not in (*binary, *STRUCTURAL):
        known = ", ".join((*binary, *STRUCTURAL))
        raise NotationError(f"combine: expected one of {known}, found {combine!r}")


def _product(given: list[Access], combine: str, program: Program, span: Span) -> Expression:
    """Combine from the left; the widest dtype goes first so that no partial product wraps."""
    operator = OPERATORS[combine]
    factors: list[Expression] = [*given]
    if operator.commutative:
        common = np.result_type(*(np.dtype(dtype_of(f, program)) for f in factors)).name
        factors = sorted(factors, key=lambda f: dtype_of(f, program) != common)
    value = factors[0]
    for factor in factors[1:]:
        value = Call(combine, (value, factor))
    try:
        dtype_of(value, program)
    except NotationTypeError as error:
        raise NotationTypeError(error.message, span=span, hint=error.hint) from None
    return value


@dataclass(frozen=True, slots=True)
class _Parsed:
    """Index names per operand mode and of the output, and where each operand's stand."""

    operands: tuple[tuple[str, ...], ...]
    places: tuple[Span, ...]
    output: tuple[str, ...]
    dots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A term of the specification: its letters, where dots stand (or -1), and its place."""

    letters: tuple[str, ...]
    dots: int
    start: int
    end: int


def _parse(spec: str, infos: Sequence[ArgumentInfo]) -> _Parsed:
    if not isinstance(spec, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise NotationTypeError(
            f"expected einsum subscripts such as 'ik,kj->ij', found {type(spec).__name__}"
        )
    left, arrow, _ = spec.partition("->")
    terms: list[_Part] = []
    start = 0
    for text in left.split(","):
        terms.append(_part(spec, start, start + len(text)))
        start += len(text) + 1
    if len(terms) != len(infos):
        raise NotationError(
            f"expected {len(terms)} operand{'s' * (len(terms) > 1)}, found {len(infos)}",
            span=Span(spec, 0, len(left)),
        )
    widths = [_dots_width(spec, n, term, infos[n]) for n, term in enumerate(terms)]
    places = tuple(Span(spec, term.start, term.end) for term in terms)
    names = tuple(f"b{n}" for n in range(max(widths)))
    operands = tuple(
        _labels(term, names[len(names) - width :])
        for term, width in zip(terms, widths, strict=True)
    )
    letters = [letter for term in terms for letter in term.letters]
    if not arrow:
        once = sorted(letter for letter, count in Counter(letters).items() if count == 1)
        return _Parsed(operands, places, (*names, *once), names)
    result = _part(spec, len(left) + 2, len(spec))
    for offset, letter in enumerate(result.letters):
        if letter not in letters or letter in result.letters[:offset]:
            found = "is not in any operand" if letter not in letters else "stands there twice"
            position = _position(spec, result, letter, last=letter in letters)
            raise NotationError(
                f"output subscript '{letter}' {found}", span=Span(spec, position, position + 1)
            )
    if names and result.dots < 0:
        raise NotationError(
            "the operands' '...' stands for modes that the output leaves out",
            span=Span(spec, result.start, result.end),
            hint="write '...' in the output too",
        )
    return _Parsed(operands, places, _labels(result, names), names)


def _position(spec: str, part: _Part, letter: str, last: bool) -> int:
    text = spec[part.start : part.end]
    return part.start + (text.rindex(letter) if last else text.index(letter))


def _part(spec: str, start: int, end: int) -> _Part:
    """Read the letters and dots of one term."""
    letters: list[str] = []
    dots = -1
    position = start
    while position < end:
        character = spec[position]
        if spec.startswith(_DOTS, position) and dots < 0:
            dots = len(letters)
            position += len(_DOTS)
            continue
        if character in string.ascii_letters:
            letters.append(character)
        elif not character.isspace():
            raise NotationError(
                f"expected a letter, ',', '->' or one '...' a term, found '{character}'",
                span=Span(spec, position, position + 1),
            )
        position += 1
    return _Part(tuple(letters), dots, start, end)


def _dots_width(spec: str, number: int, term: _Part, info: ArgumentInfo) -> int:
    """Return how many modes of the operand its dots stand for."""
    rank, letters = len(info.shape), len(term.letters)
    if rank == letters or (rank > letters and term.dots >= 0):
        return rank - letters
    wanted = f"at least {letters}" if term.dots >= 0 else f"{letters}"
    raise NotationError(
        f"operand {number} has {rank} mode{'s' * (rank != 1)}, its subscripts need {wanted}",
        span=Span(spec, term.start, term.end),
        hint=f"one letter a mode of shape {tuple(info.shape)}"
        + ("; '...' stands for further leading modes" if rank > letters else ""),
    )


def _labels(part: _Part, names: Sequence[str]) -> tuple[str, ...]:
    if part.dots < 0:
        return part.letters
    return (*part.letters[: part.dots], *names, *part.letters[part.dots :])


def _broadcast_sizes(parsed: _Parsed, infos: Sequence[ArgumentInfo]) -> dict[str, int]:
    """Return the extent of each broadcast index."""
    sizes: dict[str, int] = {}
    for labels, info in zip(parsed.operands, infos, strict=True):
        for label, size in zip(labels, info.shape, strict=True):
            if label in parsed.dots and size != 1:
                sizes.setdefault(label, size)
    return sizes
