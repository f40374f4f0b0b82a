"""What users combine inside a kernel: indices, accesses and expressions of them.

Takes: Python operators.  Gives: contraction expressions with the dtype known at every step,
so that a mistake is reported at the operator that makes it.  Invariant: no handle has a truth
value, a length or a number in it; sums are not yet explicit (`frontend.sums`).
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import numpy as np

from sparsedsl.contraction.nodes import Affine, Call, Expression, IndexValue, Literal
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.errors import NotationAttributeError, NotationError, NotationTypeError
from sparsedsl.frontend.spans import here
from sparsedsl.frontend.weak import Weak, meet

Number: TypeAlias = bool | int | float | complex


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Operand, other: Any) -> Any:
        return combine(name, self, other)

    def reflected(self: Operand, other: Any) -> Any:
        return combine(name, other, self)

    return forward, reflected


def _unary(name: str) -> Callable[[Operand], Any]:
    def operator(self: Operand) -> Any:
        return combine(name, self)

    return operator


class Operand:
    """Anything that stands in an expression: an index, an access, a combination of them."""

    __slots__ = ()

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("sub")
    __mul__, __rmul__ = _binary("mul")
    __truediv__, __rtruediv__ = _binary("div")
    __floordiv__, __rfloordiv__ = _binary("floordiv")
    __mod__, __rmod__ = _binary("mod")
    __pow__, __rpow__ = _binary("pow")
    __and__, __rand__ = _binary("and")
    __or__, __ror__ = _binary("or")
    __xor__, __rxor__ = _binary("xor")
    __lt__, __gt__ = _binary("lt")[0], _binary("gt")[0]
    __le__, __ge__ = _binary("le")[0], _binary("ge")[0]
    __eq__, __ne__ = _binary("eq")[0], _binary("ne")[0]  # type: ignore[assignment]
    __neg__ = _unary("neg")
    __pos__ = _unary("pos")
    __abs__ = _unary("abs")
    __invert__ = _unary("not")

    def __hash__(self) -> int:
        return id(self)

    def value(self) -> Value:
        """Return the operand as an expression."""
        raise NotImplementedError

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        from sparsedsl.frontend.protocols import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, options)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Any:
        from sparsedsl.frontend.protocols import apply_function

        del types
        if function in (np.ndim, np.shape):  # what scipy asks of a subscript
            self._no_array()
        return apply_function(function, args, options)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._no_array()

    def _no_array(self) -> NoReturn:
        raise NotationTypeError(
            "an index or expression of a kernel is no array, and subscripts none from outside",
            span=here(),
            hint="give every array that the kernel reads as an argument; results are sd.output()",
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotationAttributeError(
            f"'.{name}' has no meaning inside a kernel",
            span=here(),
            hint=_INSTEAD.get(name, "write one statement over indices: C[i, j] = A[i, k] * x[k]"),
        )

    def __bool__(self) -> NoReturn:
        raise NotationError(
            "an expression has no truth value while a kernel is traced",
            span=here(),
            hint="choose with sd.where(condition, x, y) or sd.minimum / sd.maximum; combine "
            "conditions with & | ~, as in (i < j) & (j < k)",
        )

    def _refuse(self, action: str, hint: str) -> NoReturn:
        raise NotationTypeError(f"an expression {action}", span=here(), hint=hint)

    def __iter__(self) -> NoReturn:
        self._refuse(
            "cannot be iterated over",
            "A[i] stands for every element; sums over an index are sd.sum(A[i], over=i)",
        )

    def __contains__(self, x: object) -> NoReturn:
        self._refuse(
            "cannot be searched with 'in'", "compare: sd.any(A[i, j] == x, over=j) asks for x"
        )

    def __len__(self) -> NoReturn:
        self._refuse("has no length", "use A.shape of an argument")

    def __float__(self) -> NoReturn:
        self._refuse(
            "is no number yet",
            "use sd.exp, sd.sqrt, ... instead of the math module's; sd.output(dtype=...) gives a "
            "result its dtype",
        )

    __int__ = __complex__ = __float__

    def __round__(self, digits: Any = None) -> NoReturn:
        self._refuse(
            "is not rounded so", "write sd.rint(x); to two decimals sd.rint(100 * x) / 100"
        )

    def __format__(self, specification: str) -> str:
        if not specification:
            return str(self)
        return self._refuse(
            f"is no number to format with {specification!r}",
            "kernels run once, on placeholders: print the result of the call",
        )

    def __index__(self) -> NoReturn:
        self._refuse("is no integer", "loops are implied: write one statement over indices")

    def __matmul__(self, other: Any) -> NoReturn:
        self._refuse("has no matrix product", "write the indices: C[i, j] = A[i, k] * B[k, j]")

    __rmatmul__ = __matmul__

    def __divmod__(self, other: Any) -> NoReturn:
        self._refuse("has no divmod", "write the quotient x // y and the remainder x % y apart")

    __rdivmod__ = __divmod__

    def __lshift__(self, other: Any) -> NoReturn:
        self._refuse("cannot be shifted", "multiply by a power of two, or divide with //")

    __rlshift__ = __rshift__ = __rrshift__ = __lshift__


class Value(Operand):
    """An expression and its dtype; ``weak`` are the Python numbers that it stands for."""

    __slots__ = ("dtype", "expression", "weak")

    def __init__(self, expression: Expression, dtype: str, weak: tuple[Weak, ...] = ()) -> None:
        self.expression = expression
        self.dtype = dtype
        self.weak = weak

    def value(self) -> Value:
        """Return the expression itself."""
        return self

    def __getitem__(self, key: Any) -> NoReturn:
        raise NotationError(
            "an expression cannot be subscripted",
            span=here(),
            hint="subscript the operands: A[i] + B[i]",
        )

    def __repr__(self) -> str:
        from sparsedsl.contraction.text import expression_text

        return expression_text(self.expression)


class Index(Operand):
    """An index variable or an affine combination of some: ``i``, ``i + j``, ``2*i + 1``."""

    __slots__ = ("affine",)

    def __init__(self, affine: Affine) -> None:
        self.affine = affine

    def value(self) -> Value:
        """Return the index's value, an int64."""
        return Value(IndexValue(self.affine), "int64")

    def __repr__(self) -> str:
        return str(self.affine)

    def __add__(self, other: Any) -> Any:
        right = affine_of(other)
        return super().__add__(other) if right is None else Index(_sum(self.affine, right))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        right = affine_of(other)
        if right is None:
            return super().__sub__(other)
        return Index(_sum(self.affine, _scaled(right, -1)))

    def __rsub__(self, other: Any) -> Any:
        left = affine_of(other)
        if left is None:
            return super().__rsub__(other)
        return Index(_sum(left, _scaled(self.affine, -1)))

    def __mul__(self, other: Any) -> Any:
        factor = affine_of(other)
        if factor is None or factor.terms:
            return super().__mul__(other)
        return Index(_scaled(self.affine, factor.constant))

    __rmul__ = __mul__

    def __neg__(self) -> Index:
        return Index(_scaled(self.affine, -1))

    def __pos__(self) -> Index:
        return self

    def __getitem__(self, key: Any) -> NoReturn:
        raise NotationTypeError(
            f"'{self}' is an index and has no subscripts",
            span=here(),
            hint="subscript a tensor with it: x[i]; a name stands for one of the two",
        )


def affine_of(x: Any) -> Affine | None:
    """Return an index expression or an integer as ``Affine``; None for anything else."""
    if isinstance(x, Index):
        return x.affine
    if isinstance(x, int | np.integer) and not isinstance(x, bool | np.bool_):
        return Affine((), int(x))
    return None


def _sum(left: Affine, right: Affine) -> Affine:
    terms = dict(left.terms)
    for name, coefficient in right.terms:
        terms[name] = terms.get(name, 0) + coefficient
    kept = tuple(sorted((n, c) for n, c in terms.items() if c))
    return Affine(kept, left.constant + right.constant)


def _scaled(index: Affine, factor: int) -> Affine:
    if factor == 0:
        return Affine(())
    return Affine(tuple((n, factor * c) for n, c in index.terms), factor * index.constant)


def indices(names: str) -> tuple[Index, ...]:
    """Return index variables, named in one string.

    An index stands for every position along the tensor modes it subscripts.  Two indices of
    the same name are the same index.

    Raises
    ------
    NotationError
        If a name is repeated or is no plain identifier.

    >>> i, j = indices("i j")
    >>> 2 * i + 1
    2*i+1
    """
    if not isinstance(names, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise NotationTypeError(
            f'expected index names in one string such as "i j k", found {names!r}', span=here()
        )
    found = re.split(r"[,\s]+", names.strip(", \t\n"))
    for n, name in enumerate(found):
        if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
            raise NotationError(
                f"expected an index name such as i, found '{name}'",
                span=here(),
                hint='give names separated by spaces: sd.indices("i j k")',
            )
        if name in found[:n]:
            raise NotationError(f"index {name} is named twice", span=here())
    return tuple(Index(Affine.of(name)) for name in found)


def index(name: str) -> Index:
    """Return one index variable; see `indices`."""
    found = indices(name)
    if len(found) != 1:
        raise NotationError(
            f"expected one index name, found {len(found)}",
            span=here(),
            hint="use sd.indices for several",
        )
    return found[0]


_INSTEAD = {
    "T": "swap the subscripts: A[j, i]",
    "transpose": "swap the subscripts: A[j, i]",
    "sum": "write sd.sum(A[i, j], over=j)",
    "prod": "write sd.prod(A[i, j], over=j)",
    "any": "write sd.any(A[i, j], over=j)",
    "all": "write sd.all(A[i, j], over=j)",
    "mean": "write sd.sum(A[i, j], over=j) / A.shape[1]",
    "dot": "write the indices: C[i, j] = A[i, k] * B[k, j]",
    "multiply": "write A[i, j] * B[i, j]",
    "power": "write A[i, j] ** n",
    "max": "write sd.max(A[i, j], over=j), or sd.maximum(x, y)",
    "min": "write sd.min(A[i, j], over=j), or sd.minimum(x, y)",
    "clip": "write sd.clip(A[i, j], low, high)",
    "round": "write sd.rint(A[i, j])",
    "data": "A[i, j] reads every value, and sd.pattern(A)[i, j] is true where one is stored",
    "nnz": "write sd.sum(sd.where(sd.pattern(A)[i, j], 1, 0), over=(i, j)), or give it as an "
    "argument",
    "diagonal": "write A[i, i]",
    "trace": "write sd.sum(A[i, i], over=i)",
    "astype": "give the result a dtype: sd.output(dtype=...)",
    "conj": "write sd.conj(A[i, j])",
    "real": "write sd.real(A[i, j])",
    "imag": "write sd.imag(A[i, j])",
}
"""What to write instead of the attributes that arrays have."""

_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def combine(operator: str, *arguments: Any) -> Value:
    """Apply an operator of the table to operands and numbers.

    Python numbers take the dtype of the other arguments, as in NumPy.

    Raises
    ------
    NotationTypeError
        If the operator is not defined for the dtypes, or an argument is no operand.
    """
    operands = [a.value() if isinstance(a, Operand) else _checked_number(a) for a in arguments]
    first = 1 if operator == "where" else 0  # a condition does not take part in promotion
    strong = [a.dtype for a in operands[first:] if isinstance(a, Value)]
    weak = [(a.dtype, a.weak) for a in operands[first:] if isinstance(a, Value) and a.weak]
    left = _met(operator, operands[first:], weak) if weak else ()
    values = [
        a if isinstance(a, Value) else _literal(a, strong if n >= first else [], operator)
        for n, a in enumerate(operands)
    ]
    if operator == "pow":
        _check_power(values)
    try:
        dtype = OPERATORS[operator].result(tuple(v.dtype for v in values))
    except NotationTypeError as error:
        raise NotationTypeError(error.message, span=here(), hint=error.hint) from None
    return Value(Call(operator, tuple(v.expression for v in values)), dtype, left)


def _met(
    operator: str, operands: list[Any], weak: list[tuple[str, tuple[Weak, ...]]]
) -> tuple[Weak, ...]:
    strong = [a.dtype for a in operands if isinstance(a, Value) and not a.weak]
    return meet(operator, strong, weak)


def settled(x: Any) -> Value:
    """Return an operand or a number as an expression that no other gives its dtype."""
    value = as_value(x)
    for number in value.weak:
        number.alone()
    return value


def as_value(x: Any) -> Value:
    """Return an operand or a number as an expression."""
    if isinstance(x, Operand):
        return x.value()
    number = _checked_number(x)
    return number if isinstance(number, Value) else _literal(number, [], "pos")


def truth(x: Any) -> Value:
    """Return whether an operand or a number differs from zero."""
    value = as_value(x)
    return value if value.dtype == "bool" else combine("ne", value, 0)


def _checked_number(x: Any) -> Number | Value:
    """Return a Python number as it is and a NumPy scalar as a literal of its dtype."""
    if isinstance(x, np.generic) or (isinstance(x, np.ndarray) and x.ndim == 0):
        if x.dtype.kind in "biufc":
            return Value(Literal(x.item(), x.dtype.name), x.dtype.name)
    elif isinstance(x, bool | int | float | complex):
        return x
    raise NotationTypeError(
        f"expected an expression or a number, found {type(x).__name__}",
        span=here(),
        hint="give arrays to the kernel as arguments and subscript them: A[i, j]; outside of a "
        "kernel NumPy's functions take tensors: np.exp(T)"
        if hasattr(x, "shape")
        else None,
    )


def _literal(number: Number, strong: list[str], operator: str) -> Value:
    dtype = np.result_type(*(np.dtype(d) for d in strong), _weak(number)) if strong else None
    if dtype is None:
        dtype = np.result_type(type(number))
    if dtype.kind in "iu" and not _fits(int(number.real), dtype):
        if operator in _COMPARISONS and _fits(int(number.real), np.dtype(np.int64)):
            dtype = np.dtype(np.int64)
        else:
            raise NotationTypeError(
                f"{number} does not fit {dtype.name}",
                span=here(),
                hint="make the number a NumPy scalar of a wider dtype: np.int64(...)",
            )
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(number).astype(dtype).item()
    except OverflowError:
        raise NotationTypeError(f"the number does not fit {dtype.name}", span=here()) from None
    return Value(Literal(value, dtype.name), dtype.name)


def _weak(number: Number) -> Any:
    """Return a stand-in of the number's Python type that fits every dtype of its kind."""
    return type(number)(0)


def _fits(number: int, dtype: np.dtype[Any]) -> bool:
    info = np.iinfo(dtype)
    return info.min <= number <= info.max


def _check_power(values: list[Value]) -> None:
    base, exponent = values
    literal = exponent.expression
    if isinstance(literal, Literal) and np.dtype(base.dtype).kind in "biu":
        power = literal.value
        if np.dtype(exponent.dtype).kind in "iu" and power.real < 0:
            raise NotationTypeError(
                f"integers cannot be raised to the negative power {power}",
                span=here(),
                hint=f"use a floating exponent: x ** {float(power.real)}",
            )
