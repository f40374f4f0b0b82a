"""Functions of one float that are straight code, for generated Python.

Takes: a float of Numba's.  Gives: the code of ``llvm_exponential`` and ``llvm_logarithm``, the same
that kernels have which LLVM compiles directly.  Outside compiled code all are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import lower_builtin, type_callable

from sparsedsl.codegen.llvm_exponential import (
    exponential_less_one_of,
    exponential_of,
    hyperbolic_tangent_of,
)
from sparsedsl.codegen.llvm_logarithm import logarithm_of, logarithm_of_more


def exponential(value: Any) -> Any:
    """Return ``exp`` of a float."""
    return np.exp(value)


def exponential_less_one(value: Any) -> Any:
    """Return ``exp(x) - 1`` of a float."""
    return np.expm1(value)


def logarithm(value: Any) -> Any:
    """Return ``log`` of a float."""
    return np.log(value)


def logarithm_of_one_more(value: Any) -> Any:
    """Return ``log(1 + x)`` of a float."""
    return np.log1p(value)


def hyperbolic_tangent(value: Any) -> Any:
    """Return ``tanh`` of a float."""
    return np.tanh(value)


def _put_straight(function: Any, made: Callable[[Any, Any], Any]) -> None:
    """Tell Numba the code of a function of one float."""

    @type_callable(function)
    def typing(context: Any) -> Any:  # noqa: ARG001
        def typer(value: Any) -> Any:
            return value if isinstance(value, types.Float) else None

        return typer

    @lower_builtin(function, types.Float)
    def lowering(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return made(builder, arguments[0])


_put_straight(exponential, exponential_of)
_put_straight(exponential_less_one, exponential_less_one_of)
_put_straight(logarithm, logarithm_of)
_put_straight(logarithm_of_one_more, logarithm_of_more)
_put_straight(hyperbolic_tangent, hyperbolic_tangent_of)
