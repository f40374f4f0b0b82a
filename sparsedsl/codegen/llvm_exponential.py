"""The exponential function, ``exp(x) - 1`` and the hyperbolic tangent as straight code.

Takes: a builder and a float of LLVM's.  Gives: a float, wrong by less than one unit in the last
place.  Invariant: it has no branches, calls nothing and reads no memory, so that loops around it
become vectors; the same number gives the same bits in a vector and alone.

    exp(x) = 2 ** k * exp(r + c),  k the integer nearest to x / log(2),  r + c = x - k * log(2)

``r`` is what a float holds of the difference, ``c`` the rest.  The series of ``exp(r)`` ends where
what is left out is less than a tenth of a unit.  What is rounded when is said operation by
operation: none may be taken in another order, whatever holds for sums around.

    exp(x) - 1 = 2 ** k * (exp(r + c) - 1 + (1 - 2 ** -k))
    tanh(x) = e / (e + 2),  e = exp(2 * x) - 1

Sums are of two floats where one would round too early.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from llvmlite import ir

from sparsedsl.codegen.llvm_vectors import bits, declared, letter


@dataclass(frozen=True, slots=True)
class _Format:
    """What a format of floats asks for.

    ``digits`` and ``bias`` are those of its bits.  ``high`` and ``low`` add up to ``log(2)``,
    ``high`` with so few bits that ``x - k * high`` is exact; ``terms`` is the power at which the
    series ends.  Results are infinite from ``most`` on, and zero up to ``least``.
    """

    digits: int
    bias: int
    high: float
    low: float
    terms: int
    most: float
    least: float


_DOUBLE = _Format(
    digits=52,
    bias=1023,
    high=float.fromhex("0x1.62e42feep-1"),
    low=float.fromhex("0x1.a39ef35793c76p-33"),
    terms=13,
    most=710.0,
    least=-746.0,
)

_SINGLE = _Format(
    digits=23,
    bias=127,
    high=float.fromhex("0x1.62e4p-1"),
    low=float.fromhex("0x1.7f7d1cp-20"),
    terms=8,
    most=89.0,
    least=-105.0,
)


class Floats:
    """Operations on floats of one type, or on vectors of them, rounded as they are said to be."""

    def __init__(self, builder: Any, real: Any) -> None:
        self.builder, self.real, self.word = builder, real, ir.IntType(bits(real))
        self.form = _DOUBLE if isinstance(real, ir.DoubleType) else _SINGLE

    def number(self, value: float) -> Any:
        return self.real(value)

    def fused(self, left: Any, right: Any, more: Any) -> Any:
        """Return ``left * right + more``, rounded once."""
        name = f"llvm.fma.{letter(self.real)}"
        function = declared(self.builder, name, self.real, [self.real] * 3)
        return self.builder.call(function, [left, right, more])

    # a flag that changes nothing here keeps Numba from adding those of the sums around

    def added(self, left: Any, right: Any) -> Any:
        return self.builder.fadd(left, right, flags=("arcp",))

    def less(self, left: Any, right: Any) -> Any:
        return self.builder.fsub(left, right, flags=("arcp",))

    def multiplied(self, left: Any, right: Any) -> Any:
        return self.builder.fmul(left, right, flags=("arcp",))

    def divided(self, left: Any, right: Any) -> Any:
        return self.builder.fdiv(left, right, flags=("contract",))

    def sum_of(self, left: Any, right: Any) -> tuple[Any, Any]:
        """Return a sum, and what rounding takes from it."""
        found = self.added(left, right)
        second = self.less(found, left)
        first = self.less(left, self.less(found, second))
        return found, self.added(first, self.less(right, second))

    def polynomial(self, series: list[Any], argument: Any) -> Any:
        """Return ``series[0] + series[1] * argument + ...``."""
        while len(series) > 1:
            # neighbouring terms are added up at the same time
            pairs = zip_longest(series[::2], series[1::2])
            series = [e if odd is None else self.fused(odd, argument, e) for e, odd in pairs]
            argument = self.multiplied(argument, argument)
        return series[0]

    def power(self, biased: Any) -> Any:
        """Return 2 to a power, of which the bits are given as a float has them."""
        shifted = self.builder.shl(biased, self.word(self.form.digits))
        return self.builder.bitcast(shifted, self.real)

    def between(self, value: Any, low: float, high: float) -> Any:
        """Return the number next to a float that is not outside, NaN where it is NaN."""
        builder, least, most = self.builder, self.number(low), self.number(high)
        value = builder.select(builder.fcmp_ordered("<", value, least), least, value)
        return builder.select(builder.fcmp_ordered(">", value, most), most, value)


def _reduced(floats: Floats, inside: Any) -> tuple[Any, Any, Any]:
    """Return ``k``, ``r`` and ``c``."""
    builder, fused, form = floats.builder, floats.fused, floats.form
    # added to a number so large, others are rounded to integers
    large = floats.number(1.5 * 2.0**form.digits)
    shifted = fused(inside, floats.number(1.0 / math.log(2.0)), large)
    turns = floats.less(shifted, large)
    near = fused(turns, floats.number(-form.high), inside)
    rest = fused(turns, floats.number(-form.low), near)
    missing = fused(turns, floats.number(-form.low), floats.less(near, rest))
    number = builder.sub(*(builder.bitcast(x, floats.word) for x in (shifted, large)))
    return number, rest, missing


def _series(floats: Floats, start: int, argument: Any) -> Any:
    """Return ``1 / start! + r / (start + 1)! + ...``."""
    terms = range(start, floats.form.terms + 1)
    return floats.polynomial([floats.number(1.0 / math.factorial(n)) for n in terms], argument)


def _scaled(floats: Floats, found: Any, number: Any) -> Any:
    """Return a float times a power of 2, which alone may be more than a float holds."""
    builder, word = floats.builder, floats.word
    both = builder.add(number, word(2 * floats.form.bias))
    first = builder.lshr(both, word(1))
    scaled = floats.multiplied(found, floats.power(first))
    return floats.multiplied(scaled, floats.power(builder.sub(both, first)))


def exponential_of(builder: Any, value: Any) -> Any:
    """Return ``exp`` of a float."""
    floats = Floats(builder, value.type)
    inside = floats.between(value, floats.form.least, floats.form.most)
    number, rest, missing = _reduced(floats, inside)
    beyond = floats.fused(floats.multiplied(rest, rest), _series(floats, 2, rest), missing)
    return _scaled(floats, floats.added(floats.added(rest, beyond), floats.number(1.0)), number)


def _less_one(floats: Floats, inside: Any) -> tuple[Any, Any, Any]:
    """Return ``k``, and ``exp(x) - 1`` without its power of 2 in two floats."""
    builder, word = floats.builder, floats.word
    number, rest, missing = _reduced(floats, inside)
    # beyond twice the digits of a float, nothing is taken from 1
    most = word(2 * floats.form.digits)
    small = builder.select(builder.icmp_signed(">", number, most), most, number)
    one, taken = floats.number(1.0), floats.power(builder.sub(word(floats.form.bias), small))
    whole = floats.less(one, taken)
    lost = floats.less(floats.less(one, whole), taken)

    halved = floats.multiplied(floats.number(0.5), rest)
    half = floats.multiplied(halved, rest)
    cube = floats.multiplied(floats.multiplied(rest, rest), rest)
    low = floats.fused(halved, rest, builder.fneg(half))
    low = floats.added(low, floats.fused(missing, rest, missing))
    low = floats.fused(cube, _series(floats, 3, rest), low)
    first, more = floats.sum_of(whole, rest)
    found, again = floats.sum_of(first, half)
    low = floats.added(floats.added(lost, more), floats.added(again, low))
    return number, found, low


def exponential_less_one_of(builder: Any, value: Any) -> Any:
    """Return ``exp(x) - 1`` of a float."""
    floats = Floats(builder, value.type)
    low = -1.2 * floats.form.digits
    number, found, more = _less_one(floats, floats.between(value, low, floats.form.most))
    found = _scaled(floats, floats.added(found, more), number)
    return builder.select(builder.fcmp_ordered("==", value, floats.number(0.0)), value, found)


def hyperbolic_tangent_of(builder: Any, value: Any) -> Any:
    """Return ``tanh`` of a float."""
    floats = Floats(builder, value.type)
    real, word, fused = floats.real, floats.word, floats.fused
    size = builder.call(declared(builder, f"llvm.fabs.{letter(real)}", real, [real]), [value])
    inside = floats.between(size, 0.0, 0.4 * floats.form.digits)
    number, found, more = _less_one(floats, floats.added(inside, inside))
    power = floats.power(builder.add(number, word(floats.form.bias)))
    first, second = floats.multiplied(found, power), floats.multiplied(more, power)
    above, left = floats.sum_of(first, second)
    below, rest = floats.sum_of(above, floats.number(2.0))
    rest = floats.added(rest, left)
    inverse = floats.divided(floats.number(1.0), below)
    quotient = floats.multiplied(above, inverse)
    over = fused(builder.fneg(quotient), below, above)
    over = floats.added(over, fused(builder.fneg(quotient), rest, left))
    sized = fused(over, inverse, quotient)
    name = f"llvm.copysign.{letter(real)}"
    return builder.call(declared(builder, name, real, [real] * 2), [sized, value])
