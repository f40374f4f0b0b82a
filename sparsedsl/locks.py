"""One compilation at a time in a process, and none under way when it forks.

Z3's context belongs to no thread in particular, and a lock that another thread holds stays
locked in a forked child for ever: those of the compiler, and that of a module being imported.
So ``compiling`` is held while a kernel is made ready, imports of large libraries and Numba's
part included, and a fork waits until it is free.
"""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

# These modules take locks of their own when a process forks, which a thread that compiles may
# need.  What is registered last waits first, so that they come before what is registered below.
for _module in ("logging", "concurrent.futures.thread", "filelock"):
    importlib.import_module(_module)

compiling = threading.RLock()
"""Held while a kernel is planned, proved, printed, loaded or compiled to machine code."""

_held: list[Any] = [compiling]


def hold_at_fork(lock: Any) -> None:
    """Let forks wait for ``lock`` too; it is taken after those given earlier."""
    with compiling:  # no fork is under way
        _held.append(lock)


def _take() -> None:
    for lock in _held:
        lock.acquire()


def _give() -> None:
    for lock in reversed(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_give, after_in_child=_give)
