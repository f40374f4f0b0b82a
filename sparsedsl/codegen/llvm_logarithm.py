"""Logarithms as straight code.

Takes: a builder and a float of LLVM's.  Gives: a float, wrong by less than one unit in the last
place.  Invariant: as for ``llvm_exponential``.

    log(u) = k * log(2) + log(1 + f),  u = 2 ** k * (1 + f),  1 + f between 1/2 ** 0.5 and 2 ** 0.5
    log(1 + f) = f - (f * f / 2 - s * (f * f / 2 + 2 s**2 / 3 + 2 s**4 / 5 + ...)),  s = f / (2 + f)

``log(1 + x)`` is that of the float ``u`` next to ``1 + x``, and the rest of the sum over ``u``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sparsedsl.codegen.llvm_exponential import Floats


@dataclass(frozen=True, slots=True)
class _Split:
    """``log(2)`` in two floats, of which any number of exponents times the first is exact.

    ``terms`` is the number of terms of the series, ``half`` the bits of the float next to the
    square root of 1/2, below which a number is doubled.
    """

    high: float
    low: float
    terms: int
    half: int


_LOG2_DOUBLE = _Split(
    high=float.fromhex("0x1.62e42feep-1"),
    low=float.fromhex("0x1.a39ef35793c76p-33"),
    terms=11,
    half=0x3FE6A09E667F3BCD,
)

_LOG2_SINGLE = _Split(
    high=float.fromhex("0x1.62e4p-1"),
    low=float.fromhex("0x1.7f7d1cp-20"),
    terms=5,
    half=0x3F3504F3,
)


def logarithm_of(builder: Any, value: Any) -> Any:
    """Return ``log`` of a float."""
    floats = Floats(builder, value.type)
    # numbers with fewer digits than others are multiplied by a power of 2
    scale = floats.form.digits + 2
    few = builder.fcmp_ordered("<", value, floats.number(2.0 ** (1 - floats.form.bias)))
    much = floats.multiplied(value, floats.number(2.0**scale))
    inside = builder.select(few, much, value)
    fewer = builder.select(few, floats.number(-float(scale)), floats.number(0.0))
    return _finished(floats, value, _sum(floats, inside, floats.number(0.0), fewer))


def logarithm_of_more(builder: Any, value: Any) -> Any:
    """Return ``log(1 + x)`` of a float."""
    floats = Floats(builder, value.type)
    one = floats.number(1.0)
    inside, rest = floats.sum_of(one, value)
    missing = floats.divided(rest, inside)
    found = _sum(floats, inside, missing, floats.number(0.0))
    found = _finished(floats, inside, found)
    return builder.select(builder.fcmp_ordered("==", value, floats.number(0.0)), value, found)


def _finished(floats: Floats, argument: Any, found: Any) -> Any:
    """Return what was found of an argument, with what numbers have that are no positive ones."""
    builder, number = floats.builder, floats.number
    endless = number(float("inf"))
    above = builder.select(builder.fcmp_unordered("==", argument, endless), argument, found)
    none = builder.fcmp_ordered("==", argument, number(0.0))
    above = builder.select(none, number(float("-inf")), above)
    below = builder.fcmp_ordered("<", argument, number(0.0))
    return builder.select(below, number(float("nan")), above)


def _sum(floats: Floats, value: Any, missing: Any, more: Any) -> Any:
    """Return the logarithm of a positive float, ``missing`` and ``more`` times ``log(2)``."""
    builder, word, form = floats.builder, floats.word, floats.form
    split = _LOG2_DOUBLE if form.digits == 52 else _LOG2_SINGLE
    fused, number = floats.fused, floats.number
    # k is added to the bits of a number so large that it is counted in ones: a vector of floats
    # in any case, where not all processors convert integers of 64 bits
    whole, large = builder.bitcast(value, word), 1.5 * 2.0**form.digits
    shifted = builder.add(whole, word((form.bias << form.digits) - split.half))
    biased = builder.lshr(shifted, word(form.digits))
    counted = builder.add(biased, builder.bitcast(number(large), word))
    turns = floats.less(builder.bitcast(counted, floats.real), number(large + form.bias))
    over = builder.sub(biased, word(form.bias))
    mantissa = builder.sub(whole, builder.shl(over, word(form.digits)))
    turns = floats.added(turns, more)

    part = floats.added(builder.bitcast(mantissa, floats.real), number(-1.0))
    slope = floats.divided(part, floats.added(part, number(2.0)))
    square = floats.multiplied(slope, slope)
    terms = [number(2.0 / (2 * n + 1)) for n in range(1, split.terms + 1)]
    series = floats.multiplied(square, floats.polynomial(terms, square))
    halved = floats.multiplied(number(0.5), part)
    half = floats.multiplied(halved, part)
    lost = fused(halved, part, builder.fneg(half))
    low = fused(slope, floats.added(half, series), fused(turns, number(split.low), missing))
    near = floats.less(part, half)
    low = floats.added(low, floats.less(floats.less(floats.less(part, near), half), lost))
    high = floats.multiplied(turns, number(split.high))
    found = floats.added(high, near)
    return floats.added(found, floats.added(low, floats.less(near, floats.less(found, high))))
