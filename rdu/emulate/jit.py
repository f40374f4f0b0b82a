"""The only door to Numba; imported by what is itself imported late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """Compile a function at its first call, and keep the machine code on disk."""
    dispatcher: Any = numba.njit(cache=True)(function)
    return dispatcher


def inner(function: _F) -> _F:
    """Compile a function that only compiled functions call."""
    no_wrappers: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher: Any = numba.njit(**no_wrappers)(function)
    return dispatcher


def inlined(function: _F) -> _F:
    """Put a function's text into the compiled functions that call it, which then pass nothing."""
    dispatcher: Any = numba.njit(inline="always")(function)
    return dispatcher
