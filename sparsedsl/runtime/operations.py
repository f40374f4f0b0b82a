"""Operations on bound tensors that later stages provide.

Takes: registrations by name.  Gives: the operators of ``Tensor``.  Invariant: this module
imports nothing of the stages it calls; a provider is loaded when first needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeAlias

from sparsedsl.locks import compiling

Operation: TypeAlias = Callable[..., Any]

_operations: dict[str, Operation] = {}

# The modules whose import registers an operation; all others come from the interface.
API = "sparsedsl.operators"
_PROVIDERS = {
    "to_scipy": "sparsedsl.interop",
    "to_binsparse": "sparsedsl.interop.binsparse",
    "convert_arrays": "sparsedsl.conversion",
    "ufunc": "sparsedsl.numpy_functions.protocol",
    "function": "sparsedsl.numpy_functions.protocol",
}


def register(name: str, operation: Operation) -> None:
    """Let ``operation`` carry out ``name``: an operator such as ``"matmul"``, or ``"to_scipy"``.

    Binary operators get both operands in order (either may be the tensor), ``"sum"`` the
    tensor and ``axis``, ``"neg"`` and ``"to_scipy"`` the tensor, ``"ufunc"`` and
    ``"function"`` what NumPy's protocols hand over.
    """
    _operations[name] = operation


def provided(name: str) -> bool:
    """Whether what carries out an operation is loaded already."""
    return name in _operations


def apply(name: str, *arguments: Any, **options: Any) -> Any:
    """Carry out a registered operation; ``NotImplemented`` when nothing provides it."""
    if name not in _operations:
        module = _PROVIDERS.get(name, API)
        try:
            with compiling:
                importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    operation = _operations.get(name)
    return NotImplemented if operation is None else operation(*arguments, **options)
