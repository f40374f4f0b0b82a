"""How each elementwise operator is spelled in generated Python: one table, one line each.

An operator's meaning is ``contraction.operators``'s; here stands the expression that gives it
in code Numba compiles, by the kind of dtype the operator computes in.  Arguments arrive
already converted to that dtype (see ``Operands``), so a template never mixes dtypes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from sparsedsl.codegen import complex_functions
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.loops.text import PRECEDENCE

ATOM = 20
"""Binding strength of a call, a name or a subscript."""


class Operands(Enum):
    """Which dtype an operator's arguments are converted to first."""

    RESULT = "the dtype of the result"
    COMMON = "NumPy's common dtype of the arguments"
    OWN = "left as they are"
    CHOICE = "a bool, then the dtype of the result"


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to write an operator, for compute dtypes of the given NumPy ``kinds``.

    ``template`` has a slot ``{0}``, ``{1}``... per argument, and may use ``{type}``, the name
    of the compute dtype's constructor.  ``strength`` is the binding strength of the text;
    arguments get parentheses if they bind less tightly, unless it is ``ATOM``.  ``helper`` is
    the source of a function the template calls, ``intrinsic`` one of ``codegen.straight``.
    """

    template: str
    kinds: str = "biufc"
    strength: int = ATOM
    operands: Operands = Operands.RESULT
    helper: str = ""
    intrinsic: str = ""


def _infix(symbol: str, kinds: str = "biufc", operands: Operands = Operands.RESULT) -> Spelling:
    return Spelling(f"{{0}} {symbol} {{1}}", kinds, PRECEDENCE[symbol], operands)


def _call(name: str, kinds: str = "biufc", operands: Operands = Operands.RESULT) -> Spelling:
    return Spelling(f"{name}({{0}})", kinds, ATOM, operands)


def _compared(symbol: str, numpy_name: str) -> tuple[Spelling, ...]:
    ordered = _infix(symbol, "biuf", Operands.COMMON)
    if symbol in ("==", "!="):
        return (ordered, _infix(symbol, "c", Operands.COMMON))
    return (ordered, Spelling(f"np.{numpy_name}({{0}}, {{1}})", "c", ATOM, Operands.COMMON))


def _straight_code(name: str) -> Spelling:
    return Spelling(f"{name}({{0}})", "f", intrinsic=name)


def _complex_log(scale: str) -> Spelling:
    return Spelling(f"complex_log({{0}}, {scale})", "c", helper=complex_functions.LOG)


def _straight(name: str, helper: str) -> Spelling:
    return Spelling(f"{name}({{0}}, False)", "c", helper=helper)


def _turned(name: str, helper: str) -> Spelling:
    """The circular function of a hyperbolic one: of the argument times i."""
    return Spelling(f"{name}({{0}}, True)", "c", helper=helper)


_INT_FLOORDIV = """\
@register_jitable
def int_floordiv(a, b):
    # the one quotient that overflows wraps, where the machine's instruction would trap
    return -a if b == -1 else a // b
"""

_INT_POWER = """\
@register_jitable
def int_power(base, exponent, one):
    if exponent < 0:
        raise ValueError("integers to negative integer powers are not allowed")
    two = one + one
    result = one
    while exponent > 0:
        if exponent % two == one:
            result = result * base
        base = base * base
        exponent = exponent // two
    return result
"""

_FLOAT_FLOORDIV = """\
@register_jitable
def float_floordiv(a, b):
    rest = np.fmod(a, b)
    if b == 0.0:
        return a / b
    quotient = (a - rest) / b
    if rest != 0.0 and (b < 0.0) != (rest < 0.0):
        quotient = quotient - 1.0
    if quotient == 0.0:
        return math.copysign(0.0, a / b)
    whole = np.floor(quotient)
    return whole + 1.0 if quotient - whole > 0.5 else whole
"""

_FLOAT_MOD = """\
@register_jitable
def float_mod(a, b):
    rest = np.fmod(a, b)
    if b == 0.0:
        return rest
    if rest == 0.0:
        return math.copysign(0.0, b)
    return rest + b if (b < 0.0) != (rest < 0.0) else rest
"""

_COMPLEX_POWER = """\
@register_jitable
def complex_power(a, b):
    if b == 0:
        return complex(1.0, 0.0)
    if a == 0:
        return complex(0.0, 0.0) if b.real > 0.0 else complex(np.nan, np.nan)
    # single precision is computed in double, where it does not overflow on the way
    wide = complex(np.float64(a.real), np.float64(a.imag))
    return wide ** complex(np.float64(b.real), np.float64(b.imag))
"""

_REAL_LOG2 = """\
@register_jitable
def real_log2(x):
    # Numba declares one width of this function in a module
    return np.log2(np.float64(x))
"""

_COMPLEX_DIV = """\
@register_jitable
def complex_div(a, b):
    # Smith's method, as NumPy divides: no overflow in between, no error for zero
    if abs(b.real) >= abs(b.imag):
        if b.real == 0.0 and b.imag == 0.0:
            return complex(a.real / abs(b.real), a.imag / abs(b.real))
        ratio = b.imag / b.real
        scale = 1.0 / (b.real + b.imag * ratio)
        return complex((a.real + a.imag * ratio) * scale, (a.imag - a.real * ratio) * scale)
    ratio = b.real / b.imag
    scale = 1.0 / (b.imag + b.real * ratio)
    return complex((a.real * ratio + a.imag) * scale, (a.imag * ratio - a.real) * scale)
"""

_NEGATIVE_STRENGTH = 11

SPELLINGS: dict[str, tuple[Spelling, ...]] = {
    "add": (_infix("|", "b"), _infix("+")),
    "sub": (_infix("-", "iufc"),),
    "mul": (_infix("&", "b"), _infix("*")),
    "div": (_infix("/", "f"), Spelling("complex_div({0}, {1})", "c", helper=_COMPLEX_DIV)),
    "floordiv": (
        Spelling("int_floordiv({0}, {1})", "i", helper=_INT_FLOORDIV),
        _infix("//", "u"),
        Spelling("float_floordiv({0}, {1})", "f", helper=_FLOAT_FLOORDIV),
    ),
    "mod": (
        _infix("%", "iu"),
        Spelling("float_mod({0}, {1})", "f", helper=_FLOAT_MOD),
    ),
    "pow": (
        Spelling("int_power({0}, {1}, {type}(1))", "iu", helper=_INT_POWER),
        Spelling("{0} ** {1}", "f", 12),
        Spelling("complex_power({0}, {1})", "c", helper=_COMPLEX_POWER),
    ),
    "neg": (Spelling("-{0}", "iufc", _NEGATIVE_STRENGTH),),
    "pos": (Spelling("{0}", "iufc", 0),),
    "abs": (_call("abs", "ifc", Operands.OWN), Spelling("{0}", "bu", 0, Operands.OWN)),
    "sign": (
        _call("np.sign", "if"),
        Spelling("{type}(({0}) != 0)", "u"),
        Spelling("complex_sign({0})", "c", helper=complex_functions.SIGN),
    ),
    "sqrt": (_call("np.sqrt", "fc"),),
    "exp": (
        _straight_code("exponential"),
        Spelling("complex_exp({0})", "c", helper=complex_functions.EXP),
    ),
    "expm1": (
        _straight_code("exponential_less_one"),
        Spelling("complex_expm1({0})", "c", helper=complex_functions.EXPM1),
    ),
    "log": (_straight_code("logarithm"), _complex_log("1.0")),
    "log1p": (_straight_code("logarithm_of_one_more"), _call("np.log1p", "c")),
    "log2": (
        Spelling("real_log2({0})", "f", helper=_REAL_LOG2),
        _complex_log("1.4426950408889634"),
    ),
    "log10": (_call("np.log10", "f"), _complex_log("0.4342944819032518")),
    "sin": (_call("np.sin", "f"), _turned("complex_sinh", complex_functions.SINH)),
    "cos": (_call("np.cos", "f"), _turned("complex_cosh", complex_functions.COSH)),
    "tan": (_call("np.tan", "f"), _turned("complex_tanh", complex_functions.TANH)),
    "arctan": (
        _call("np.arctan", "f"),
        Spelling("complex_arctan({0})", "c", helper=complex_functions.ARCTAN),
    ),
    "sinh": (_call("np.sinh", "f"), _straight("complex_sinh", complex_functions.SINH)),
    "cosh": (_call("np.cosh", "f"), _straight("complex_cosh", complex_functions.COSH)),
    "tanh": (
        _straight_code("hyperbolic_tangent"),
        _straight("complex_tanh", complex_functions.TANH),
    ),
    "sigmoid": (
        Spelling(
            "{type}(1) / ({type}(1) + exponential(-{0}))",
            "f",
            PRECEDENCE["/"],
            intrinsic="exponential",
        ),
        Spelling("{type}(1) / ({type}(1) + np.exp(-{0}))", "c", PRECEDENCE["/"]),
    ),
    "relu": (
        Spelling("{0}", "bu", 0),
        Spelling("np.maximum({0}, {type}(0))", "if"),
    ),
    "floor": (_call("np.floor", "f"), Spelling("{0}", "biu", 0)),
    "rint": (_call("np.rint", "fc"), Spelling("{0}", "biu", 0)),
    "trunc": (_call("np.trunc", "f"), Spelling("{0}", "biu", 0)),
    "ceil": (_call("np.ceil", "f"), Spelling("{0}", "biu", 0)),
    "minimum": (
        _infix("&", "b"),
        Spelling("min({0}, {1})", "iu"),
        Spelling("np.minimum({0}, {1})", "fc"),
    ),
    "maximum": (
        _infix("|", "b"),
        Spelling("max({0}, {1})", "iu"),
        Spelling("np.maximum({0}, {1})", "fc"),
    ),
    "eq": _compared("==", "equal"),
    "ne": _compared("!=", "not_equal"),
    "lt": _compared("<", "less"),
    "le": _compared("<=", "less_equal"),
    "gt": _compared(">", "greater"),
    "ge": _compared(">=", "greater_equal"),
    "and": (_infix("&", "biu"),),
    "or": (_infix("|", "biu"),),
    "xor": (_infix("^", "biu"),),
    "not": (Spelling("not {0}", "b", 3), Spelling("~{0}", "iu", _NEGATIVE_STRENGTH)),
    "where": (Spelling("{1} if {0} else {2}", "biufc", 0, Operands.CHOICE),),
    "conj": (_call("np.conj", "c"), Spelling("{0}", "biuf", 0)),
    "real": (
        Spelling("{0}.real", "c", ATOM - 1, Operands.OWN),
        Spelling("{0}", "biuf", 0, Operands.OWN),
    ),
    "imag": (
        Spelling("{0}.imag", "c", ATOM - 1, Operands.OWN),
        Spelling("{type}(0)", "biuf", ATOM, Operands.OWN),
    ),
    "isnan": (
        _call("np.isnan", "fc", Operands.OWN),
        Spelling("False", "biu", operands=Operands.OWN),
    ),
    "isinf": (
        _call("np.isinf", "fc", Operands.OWN),
        Spelling("False", "biu", operands=Operands.OWN),
    ),
    "isfinite": (
        _call("np.isfinite", "fc", Operands.OWN),
        Spelling("True", "biu", operands=Operands.OWN),
    ),
}
"""Every operator's spellings; the first whose kinds hold the compute dtype's is used."""

STRAIGHT = frozenset(
    spelling.intrinsic
    for spellings in SPELLINGS.values()
    for spelling in spellings
    if spelling.intrinsic
)
"""Names of the functions of ``codegen.straight``."""

HELPERS = frozenset(
    spelling.template.partition("(")[0]
    for spellings in SPELLINGS.values()
    for spelling in spellings
    if spelling.helper
)
"""Names of the helper functions."""

OF_BOOLS = {"add": "or", "mul": "and", "minimum": "and", "maximum": "or", "or": "or", "and": "and"}
"""What combining two bools by each monoid's operator comes to."""

AUGMENTED = {"add": "+", "mul": "*", "or": "|", "and": "&"}
"""Operators that Python can write as ``target op= value``, for dtypes other than bool."""


def compute_dtype(spelling_operands: Operands, result: str, arguments: tuple[str, ...]) -> str:
    """Return the dtype an operator computes in, given its result's and arguments' dtypes."""
    match spelling_operands:
        case Operands.RESULT | Operands.CHOICE:
            return result
        case Operands.COMMON:
            return np.result_type(*(np.dtype(a) for a in arguments)).name
        case Operands.OWN:
            return arguments[0]


def spelling(operator: str, result: str, arguments: tuple[str, ...]) -> tuple[Spelling, str]:
    """Return the spelling of ``operator`` and the dtype it computes in.

    Raises
    ------
    KeyError
        The operator has no spelling for these dtypes.

    >>> found, dtype = spelling("add", "float32", ("float32", "float32"))
    >>> found.template, dtype
    ('{0} + {1}', 'float32')
    """
    own = OPERATORS[operator]
    if own.source:
        slots = ", ".join(f"{{{n}}}" for n in range(own.arity))
        return Spelling(f"{operator}({slots})", operands=Operands.OWN, helper=own.source), result
    for candidate in SPELLINGS[operator]:
        dtype = compute_dtype(candidate.operands, result, arguments)
        if np.dtype(dtype).kind in candidate.kinds:
            return candidate, dtype
    raise KeyError(f"operator {operator} has no spelling for {', '.join(arguments)} -> {result}")
