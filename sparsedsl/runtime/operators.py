"""Python's operators on tensors, as kernels.

Takes: a tensor and another operand.  Gives: what ``runtime.operations`` makes of them.
Invariant: nothing is computed here.
"""

from __future__ import annotations

from typing import Any

from sparsedsl.runtime import operations


class Operators:
    """Arithmetic, comparisons and products of ``Tensor``, and what scipy's solvers ask for."""

    __slots__ = ()

    def sum(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """The sum over ``axis``, or over everything."""
        return operations.apply("sum", self, axis)

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

    def __neg__(self) -> Any:
        return operations.apply("neg", self)

    def __abs__(self) -> Any:
        return operations.apply("abs", self)

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
