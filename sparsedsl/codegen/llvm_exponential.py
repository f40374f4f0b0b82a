"""The exponential function as straight code.

Takes: a builder and a float of LLVM's.  Gives: a float, wrong by less than one unit in the last
place.  Invariant: it has no branches, calls nothing and reads no memory, so that loops around it
become vectors; the same number gives the same bits in a vector and alone.

    exp(x) = 2 ** k * exp(r + c),  k the integer nearest to x / log(2),  r + c = x - k * log(2)

``r`` is what a float holds of the difference, ``c`` the rest.  The series of ``exp(r)`` ends where
what is left out is less than a tenth of a unit.  What is rounded when is said operation by
operation: none may be taken in another order, whatever holds for sums around.
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


def exponential_of(builder: Any, value: Any) -> Any:
    """Return ``exp`` of a float."""
    real, word = value.type, ir.IntType(bits(value.type))
    form = _DOUBLE if isinstance(real, ir.DoubleType) else _SINGLE

    def fused(left: Any, right: Any, added: Any) -> Any:
        name = f"llvm.fma.{letter(real)}"
        return builder.call(declared(builder, name, real, [real] * 3), [left, right, added])

    def exact(operation: str, left: Any, right: Any) -> Any:
        # a flag that changes nothing here keeps Numba from adding those of the sums around
        return getattr(builder, operation)(left, right, flags=("contract",))

    def power(biased: Any) -> Any:
        return builder.bitcast(builder.shl(biased, word(form.digits)), real)

    low, high = real(form.least), real(form.most)
    # the value itself is what comes out where it is NaN
    inside = builder.select(builder.fcmp_ordered("<", value, low), low, value)
    inside = builder.select(builder.fcmp_ordered(">", inside, high), high, inside)

    # added to a number so large, others are rounded to integers
    large = real(1.5 * 2.0**form.digits)
    shifted = fused(inside, real(1.0 / math.log(2.0)), large)
    turns = exact("fsub", shifted, large)
    near = fused(turns, real(-form.high), inside)
    rest = fused(turns, real(-form.low), near)
    missing = fused(turns, real(-form.low), exact("fsub", near, rest))

    square = exact("fmul", rest, rest)
    # neighbouring terms are added up at the same time
    series, argument = [real(1.0 / math.factorial(n)) for n in range(2, form.terms + 1)], rest
    while len(series) > 1:
        pairs = zip_longest(series[::2], series[1::2])
        series = [even if odd is None else fused(odd, argument, even) for even, odd in pairs]
        argument = square if argument is rest else exact("fmul", argument, argument)
    beyond = fused(square, series[0], missing)
    found = exact("fadd", exact("fadd", rest, beyond), real(1.0))

    # in two steps, since one alone may be more than a float holds
    number = builder.sub(builder.bitcast(shifted, word), builder.bitcast(large, word))
    both = builder.add(number, word(2 * form.bias))
    first = builder.lshr(both, word(1))
    scaled = exact("fmul", found, power(first))
    return exact("fmul", scaled, power(builder.sub(both, first)))
