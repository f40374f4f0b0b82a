"""Numba's compiler, on while a generated kernel is compiled.

``NUMBA_DISABLE_JIT`` is for users who debug functions of their own; kernels, and what Numba
compiles within them, are compiled still.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any


@contextlib.contextmanager
def compiling_enabled() -> Generator[None, None, None]:
    """Compile inside the block, whatever the user's environment says."""
    from numba.core import config

    settings: Any = config
    disabled = settings.DISABLE_JIT
    settings.DISABLE_JIT = 0
    try:
        yield
    finally:
        settings.DISABLE_JIT = disabled
