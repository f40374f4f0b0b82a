"""The table of elementwise operators and reduction monoids: one entry adds an operator.

Takes: NumPy dtype names.  Gives: result dtypes, NumPy functions, and the algebraic facts
(annihilators, identities, idempotence) that sparsity analysis rests on.  Invariant: facts are
stated as NumPy evaluates, so that a fact never changes a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sparsedsl.contraction.nodes import Scalar
from sparsedsl.errors import NotationTypeError

Unless = Literal["never", "nonfinite", "zero", "infinity", "-infinity"]


@dataclass(frozen=True, slots=True)
class Annihilator:
    """``operator(..., value at position, ...) = result`` whatever the other arguments are.

    ``unless`` names the exception, for the other arguments: ``"never"``, ``"nonfinite"`` (they
    are infinite or NaN), ``"zero"`` (they are zero or NaN), ``"infinity"`` or ``"-infinity"``
    (they are that one, or NaN).  ``kinds`` are the NumPy kinds of
    the operator's *result* for which the fact holds.  Results of integer or bool arguments
    have no exception of the ``"nonfinite"`` sort.
    """

    position: int
    value: Scalar
    result: Scalar
    unless: Unless = "never"
    kinds: str = "biufc"


@dataclass(frozen=True, slots=True)
class Operator:
    """An elementwise operator.

    Attributes
    ----------
    numpy:
        The NumPy callable that defines it.
    symbol:
        How it is written, or None for ``name(arguments)``.
    finite:
        Finite arguments give a finite result, overflow of sums and products aside.
    signs:
        Positions of arguments of which the sign of a zero shows in the result.
    source:
        The Python that defines it, where a user made it.
    partials:
        The operators that are a user's own one's derivatives by its arguments, None if not given.
    """

    name: str
    arity: int
    numpy: Callable[..., Any]
    rule: Callable[[tuple[str, ...]], str]
    symbol: str | None = None
    annihilators: tuple[Annihilator, ...] = ()
    commutative: bool = False
    finite: bool = False
    signs: tuple[int, ...] = ()
    source: str = ""
    partials: tuple[str, ...] | None = None

    def result(self, dtypes: tuple[str, ...]) -> str:
        """Return the result's dtype name for arguments of ``dtypes``.

        Raises
        ------
        NotationTypeError
            If NumPy defines no such operation.

        >>> OPERATORS["div"].result(("int32", "int32"))
        'float64'
        """
        try:
            return self.rule(dtypes)
        except TypeError:
            shown = self.symbol or self.name
            raise NotationTypeError(
                f"'{shown}' is not defined for {' and '.join(dtypes)}",
                hint=_HINTS.get(self.name),
            ) from None

    def evaluate(self, *arguments: Any) -> Any:
        """Apply the operator to arrays or NumPy scalars, giving exactly the dtype of `result`.

        >>> OPERATORS["sqrt"].evaluate(np.int8(4))
        np.float32(2.0)
        """
        arrays = [np.asarray(a) for a in arguments]
        dtype = np.dtype(self.result(tuple(a.dtype.name for a in arrays)))
        if dtype == np.float32 and all(a.dtype.kind in "biu" for a in arrays):
            arrays = [a.astype(dtype) for a in arrays]  # NumPy would compute in half precision
        return np.asarray(self.numpy(*arrays)).astype(dtype)[()]


_HINTS = {
    "sub": "for bools use '^' (exclusive or), or cast one side with '1 * x'",
    "neg": "for bools use '~'",
    "and": "'&' needs bools or integers: compare first, as in '(x > 0) & (y > 0)'",
    "or": "'|' needs bools or integers: compare first, as in '(x > 0) | (y > 0)'",
    "xor": "'^' needs bools or integers; powers are written '**'",
    "not": "'~' needs a bool or an integer: compare first, as in '~(x > 0)'",
}


def _by_ufunc(ufunc: np.ufunc) -> Callable[[tuple[str, ...]], str]:
    """Return NumPy's own dtype rule, except that half precision never appears by itself."""

    def rule(dtypes: tuple[str, ...]) -> str:
        arguments = tuple(np.dtype(d) for d in dtypes)
        result = ufunc.resolve_dtypes((*arguments, None))[-1]
        if result == np.float16 and not any(a.kind == "f" for a in arguments):
            return "float32"
        return result.name

    return rule


def _ordered(ufunc: np.ufunc) -> Callable[[tuple[str, ...]], str]:
    """Return the rule of an operator that needs an order, which complex numbers lack."""
    rule = _by_ufunc(ufunc)

    def ordered(dtypes: tuple[str, ...]) -> str:
        if any(np.dtype(d).kind == "c" for d in dtypes):
            raise TypeError
        return rule(dtypes)

    return ordered


def _where_rule(dtypes: tuple[str, ...]) -> str:
    return np.result_type(*(np.dtype(d) for d in dtypes[1:])).name


def _relu_rule(dtypes: tuple[str, ...]) -> str:
    if np.dtype(dtypes[0]).kind in "bc":
        raise TypeError
    return dtypes[0]


def _sigmoid_rule(dtypes: tuple[str, ...]) -> str:
    if np.dtype(dtypes[0]).kind == "c":
        raise TypeError
    return _by_ufunc(np.exp)(dtypes)


def _part_rule(dtypes: tuple[str, ...]) -> str:
    return np.real(np.empty(0, dtypes[0])).dtype.name


def _sigmoid(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    tail = np.exp(-np.abs(np.asarray(x, _sigmoid_rule((np.asarray(x).dtype.name,)))))
    return np.where(np.asarray(x) >= 0, 1 / (1 + tail), tail / (1 + tail)).astype(tail.dtype)


def _relu(x: Any) -> Any:
    return np.maximum(x, np.zeros((), np.asarray(x).dtype))


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return np.where(np.asarray(condition, bool), yes, no)


def _from_ufunc(
    name: str,
    ufunc: np.ufunc,
    symbol: str | None = None,
    *annihilators: Annihilator,
    commutative: bool = False,
    finite: bool = False,
    ordered: bool = False,
    signs: tuple[int, ...] = (),
) -> Operator:
    rule = _ordered(ufunc) if ordered else _by_ufunc(ufunc)
    return Operator(name, ufunc.nin, ufunc, rule, symbol, annihilators, commutative, finite, signs)


def _both(value: Scalar, unless: Unless = "never", kinds: str = "biufc") -> tuple[Annihilator, ...]:
    return tuple(Annihilator(position, value, value, unless, kinds) for position in (0, 1))


_INF = float("inf")

_TABLE = (
    _from_ufunc(
        "add",
        np.add,
        "+",
        *_both(_INF, "-infinity", "f"),
        *_both(-_INF, "infinity", "f"),
        commutative=True,
        finite=True,
    ),
    _from_ufunc(
        "sub",
        np.subtract,
        "-",
        Annihilator(0, _INF, _INF, "infinity", "f"),
        Annihilator(0, -_INF, -_INF, "-infinity", "f"),
        Annihilator(1, _INF, -_INF, "infinity", "f"),
        Annihilator(1, -_INF, _INF, "-infinity", "f"),
        finite=True,
    ),
    _from_ufunc("mul", np.multiply, "*", *_both(0, "nonfinite"), commutative=True, finite=True),
    _from_ufunc("div", np.true_divide, "/", Annihilator(0, 0, 0, "zero"), signs=(1,)),
    _from_ufunc(
        "floordiv",
        np.floor_divide,
        "//",
        Annihilator(0, 0, 0, kinds="biu"),
        Annihilator(0, 0, 0, "zero", kinds="f"),
        signs=(1,),
    ),
    _from_ufunc(
        "mod",
        np.remainder,
        "%",
        Annihilator(0, 0, 0, kinds="biu"),
        Annihilator(0, 0, 0, "zero", kinds="f"),
    ),
    _from_ufunc(
        "pow",
        np.power,
        "**",
        Annihilator(1, 0, 1, kinds="iuf"),
        Annihilator(0, 1, 1, kinds="f"),
        signs=(0,),
    ),
    _from_ufunc("neg", np.negative, "-", finite=True),
    _from_ufunc("pos", np.positive, "+", finite=True),
    _from_ufunc("abs", np.absolute, finite=True),
    _from_ufunc("sign", np.sign, finite=True),
    _from_ufunc("sqrt", np.sqrt),
    _from_ufunc("exp", np.exp),
    _from_ufunc("expm1", np.expm1),
    _from_ufunc("log", np.log),
    _from_ufunc("log1p", np.log1p),
    _from_ufunc("log2", np.log2),
    _from_ufunc("log10", np.log10),
    _from_ufunc("sin", np.sin, finite=True),
    _from_ufunc("cos", np.cos, finite=True),
    _from_ufunc("tan", np.tan),
    _from_ufunc("arctan", np.arctan),
    _from_ufunc("sinh", np.sinh),
    _from_ufunc("cosh", np.cosh),
    _from_ufunc("tanh", np.tanh, finite=True),
    Operator("sigmoid", 1, _sigmoid, _sigmoid_rule, finite=True),
    Operator("relu", 1, _relu, _relu_rule, finite=True),
    _from_ufunc(
        "minimum",
        np.minimum,
        None,
        *_both(-_INF, "nonfinite", "f"),
        *_both(0, "never", "bu"),
        commutative=True,
        finite=True,
        ordered=True,
    ),
    _from_ufunc(
        "maximum",
        np.maximum,
        None,
        *_both(_INF, "nonfinite", "f"),
        *_both(True, "never", "b"),
        commutative=True,
        finite=True,
        ordered=True,
    ),
    _from_ufunc("eq", np.equal, "==", commutative=True),
    _from_ufunc("ne", np.not_equal, "!=", commutative=True),
    _from_ufunc("lt", np.less, "<", ordered=True),
    _from_ufunc("le", np.less_equal, "<=", ordered=True),
    _from_ufunc("gt", np.greater, ">", ordered=True),
    _from_ufunc("ge", np.greater_equal, ">=", ordered=True),
    _from_ufunc("and", np.bitwise_and, "&", *_both(0, kinds="biu"), commutative=True),
    _from_ufunc("or", np.bitwise_or, "|", *_both(True, kinds="b"), commutative=True),
    _from_ufunc("xor", np.bitwise_xor, "^", commutative=True),
    _from_ufunc("not", np.invert, "~"),
    Operator("where", 3, _where, _where_rule, finite=True),
    _from_ufunc("floor", np.floor, finite=True),
    _from_ufunc("ceil", np.ceil, finite=True),
    _from_ufunc("rint", np.rint, finite=True),
    _from_ufunc("trunc", np.trunc, finite=True),
    _from_ufunc("conj", np.conjugate, finite=True),
    Operator("real", 1, np.real, _part_rule, finite=True),
    Operator("imag", 1, np.imag, _part_rule, finite=True),
    _from_ufunc("isnan", np.isnan),
    _from_ufunc("isinf", np.isinf),
    _from_ufunc("isfinite", np.isfinite),
)


class _Operators(dict[str, Operator]):
    """The table by name.  Those that users made are found in it too, but are no part of it."""

    def __missing__(self, name: str) -> Operator:
        return _own[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in _own


_own: dict[str, Operator] = {}
OPERATORS = _Operators({operator.name: operator for operator in _TABLE})


def register(operator: Operator) -> None:
    """Add an operator that a user made; one of its name, which holds a hash, is the same."""
    _own.setdefault(operator.name, operator)


@dataclass(frozen=True, slots=True)
class Monoid:
    """A commutative reduction; ``operator`` combines two values, ``ufunc`` reduces an array.

    ``any`` and ``all`` reduce truth values: their bodies are cast to bool first.  ``repeated`` is
    the operator that gives a value combined a number of times, None where that is the value.
    """

    name: str
    operator: str
    ufunc: np.ufunc
    repeated: str | None

    def keeps(self, value: Scalar, dtype: str) -> bool:
        """Return whether a value combined with itself is that value, so that any number of it is.

        >>> MONOIDS["max"].keeps(2, "int8"), MONOIDS["mul"].keeps(0.0, "float64")
        (True, True)
        """
        if self.repeated is None:
            return True
        given = np.asarray(value, dtype)
        with np.errstate(all="ignore"):
            return np.array_equal(self.ufunc(given, given), given, equal_nan=True)

    def result(self, dtype: str) -> str:
        """Return the dtype of a reduction of values of ``dtype``.

        Sums and products of bools count in int64, other dtypes keep theirs (as
        ``numpy.einsum`` does); ``any`` and ``all`` give bool.

        Raises
        ------
        NotationTypeError
            For ``min`` and ``max`` of complex values, which have no order.

        >>> MONOIDS["add"].result("bool"), MONOIDS["max"].result("float32")
        ('int64', 'float32')
        """
        kind = np.dtype(dtype).kind
        if self.name in ("any", "all"):
            return "bool"
        if self.name in ("min", "max"):
            if kind == "c":
                raise NotationTypeError(f"'{self.name}' is not defined for {dtype}: no order")
            return dtype
        return "int64" if kind == "b" else dtype

    def identity(self, dtype: str) -> Scalar:
        """Return the identity for results of ``dtype``: the value of an empty reduction.

        >>> MONOIDS["min"].identity("float64")
        inf
        """
        kind = np.dtype(dtype).kind
        match self.name:
            case "any":
                return False
            case "all":
                return True
            case "add" | "mul":
                unit = 0 if self.name == "add" else 1
                return {"b": bool, "f": float, "c": complex}.get(kind, int)(unit)
            case _:
                low = self.name == "max"
                if kind == "b":
                    return not low
                if kind in "iu":
                    info = np.iinfo(dtype)
                    return int(info.min if low else info.max)
                return -_INF if low else _INF


MONOIDS: dict[str, Monoid] = {
    monoid.name: monoid
    for monoid in (
        Monoid("add", "add", np.add, "mul"),
        Monoid("mul", "mul", np.multiply, "pow"),
        Monoid("min", "minimum", np.minimum, None),
        Monoid("max", "maximum", np.maximum, None),
        Monoid("any", "or", np.logical_or, None),
        Monoid("all", "and", np.logical_and, None),
    )
}
