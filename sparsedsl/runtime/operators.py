"""Python's operators on tensors, as kernels.

Takes: a tensor and another operand.  Gives: what ``runtime.operations`` makes of them.
Invariant: nothing is computed here.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from sparsedsl.errors import TensorAttributeError, TensorTypeError
from sparsedsl.runtime import operations

_INSTEAD = {
    "toarray": "call .to_numpy()",
    "todense": "call .to_numpy()",
    "asformat": "call .convert(layout)",
    "tocsr": 'call .convert("csr"), and .to_scipy() for a scipy array',
    "tocsc": 'call .convert("csc"), and .to_scipy() for a scipy array',
    "tocoo": 'call .convert("coo"), and .to_scipy() for a scipy array',
    "format": "its layout is x.layout; functions of scipy's take x.to_scipy()",
    "data": "stored values are x.values, all arrays x.arrays",
    "indices": 'arrays of the layout are in x.arrays, such as x.arrays["indices"]',
    "indptr": 'arrays of the layout are in x.arrays, such as x.arrays["indptr"]',
    "getnnz": "x.nnz counts the stored entries, np.count_nonzero(x, axis) those not zero",
    "argmax": "x.to_scipy() has argmax(axis)",
    "argmin": "x.to_scipy() has argmin(axis)",
    "item": "a tensor without modes is float(x.to_numpy())",
    "ravel": "call .to_numpy() first; x.values are the stored values",
    "flatten": "call .to_numpy() first; x.values are the stored values",
    "reshape": "a kernel can subscript A[n * i + j] of a dense vector; or use x.to_scipy()",
}
"""What to write instead of the attributes that scipy's and NumPy's arrays have."""


class Operators:
    """Arithmetic, comparisons and products of ``Tensor``, and what scipy's solvers ask for."""

    __slots__ = ()

    def sum(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """The sum over ``axis``, or over everything."""
        return operations.apply("sum", self, axis)

    def prod(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """The product over ``axis``, or over everything."""
        return _numpy(np.prod, self, axis)

    def max(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """The greatest value over ``axis``, or over everything; what is not stored counts."""
        return _numpy(np.max, self, axis)

    def min(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """The least value over ``axis``, or over everything; what is not stored counts."""
        return _numpy(np.min, self, axis)

    def mean(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """The mean over ``axis``, or over everything; what is not stored counts."""
        return _numpy(np.mean, self, axis)

    def any(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """Whether any value over ``axis``, or of all, is not zero."""
        return _numpy(np.any, self, axis)

    def all(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """Whether every value over ``axis``, or of all, is not zero."""
        return _numpy(np.all, self, axis)

    def trace(self, offset: int = 0) -> Any:
        """The sum of a diagonal of a matrix."""
        return _numpy(np.trace, self, offset)

    def diagonal(self, offset: int = 0) -> Any:
        """A diagonal of a matrix, as a NumPy array."""
        return _numpy(np.diagonal, self, offset)

    def transpose(self, axes: tuple[int, ...] | None = None) -> Any:
        """The tensor with its modes in another order, reversed by default."""
        return _numpy(np.transpose, self, axes)

    def conj(self) -> Any:
        """The complex conjugate, element by element."""
        return _numpy(np.conj, self)

    def dot(self, other: Any) -> Any:
        """``self @ other``."""
        return self @ other

    def multiply(self, other: Any) -> Any:
        """``self * other``, element by element."""
        return self * other

    def power(self, exponent: Any) -> Any:
        """``self ** exponent``, element by element."""
        return self**exponent

    def clip(self, min: Any = None, max: Any = None) -> Any:
        """The values, or the bound that they are beyond."""
        return _numpy(np.clip, self, min, max)

    def round(self, decimals: int = 0) -> Any:
        """The values rounded to so many decimals."""
        return _numpy(np.round, self, decimals)

    def nonzero(self) -> tuple[Any, ...]:
        """Coordinates of the values that are not zero, an array a mode, in order."""
        return _numpy(np.nonzero, self)

    def __matmul__(self, other: Any) -> Any:
        return operations.apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return operations.apply("matmul", other, self)

    def __mul__(self, other: Any) -> Any:
        return operations.apply("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return operations.apply("mul", other, self)

    def __add__(self, other: Any) -> Any:
        return operations.apply("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return operations.apply("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return operations.apply("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return operations.apply("sub", other, self)

    def __truediv__(self, other: Any) -> Any:
        return operations.apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return operations.apply("div", other, self)

    def __pow__(self, other: Any) -> Any:
        return operations.apply("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return operations.apply("pow", other, self)

    def __neg__(self) -> Any:
        return operations.apply("neg", self)

    def __pos__(self) -> Any:
        return operations.apply("pos", self)

    def __abs__(self) -> Any:
        return operations.apply("abs", self)

    def __floordiv__(self, other: Any) -> Any:
        return operations.apply("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return operations.apply("floordiv", other, self)

    def __mod__(self, other: Any) -> Any:
        return operations.apply("mod", self, other)

    def __rmod__(self, other: Any) -> Any:
        return operations.apply("mod", other, self)

    def __and__(self, other: Any) -> Any:
        return operations.apply("and", self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Any:
        return operations.apply("or", self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Any:
        return operations.apply("xor", self, other)

    __rxor__ = __xor__

    def __invert__(self) -> Any:
        return operations.apply("not", self)

    def __eq__(self, other: object) -> Any:
        # None, names and the like equal no tensor; what holds numbers is compared by element
        return NotImplemented if _no_numbers(other) else operations.apply("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return NotImplemented if _no_numbers(other) else operations.apply("ne", self, other)

    __hash__ = object.__hash__

    def __lt__(self, other: Any) -> Any:
        return operations.apply("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return operations.apply("le", self, other)

    def __gt__(self, other: Any) -> Any:
        return operations.apply("gt", self, other)

    def __ge__(self, other: Any) -> Any:
        return operations.apply("ge", self, other)

    def matvec(self, x: Any) -> Any:
        """``self @ x``: what ``scipy.sparse.linalg.aslinearoperator`` asks for."""
        return self @ x

    matmat = matvec

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        del key, value
        raise TensorTypeError(
            "a bound tensor keeps its entries",
            hint="values that are stored may be written to, in x.values; with other coordinates "
            "make a new tensor: sd.asarray, sd.from_arrays or a kernel",
        )

    if not TYPE_CHECKING:  # a type checker is to know the attributes that there are

        def __getattr__(self, name: str) -> NoReturn:
            known = [] if name.startswith("_") else [n for n in dir(type(self)) if n[0] != "_"]
            close = difflib.get_close_matches(name, known, 1)
            hint = _INSTEAD.get(name) or (f"did you mean .{close[0]}?" if close else None)
            raise TensorAttributeError(f"a tensor has no attribute '{name}'", hint=hint)


def _numpy(function: Any, *arguments: Any) -> Any:
    """Call a function of NumPy's, which asks the tensor what it means."""
    return function(*arguments)


def _no_numbers(x: object) -> bool:
    return not isinstance(x, int | float | complex) and not hasattr(x, "dtype")
