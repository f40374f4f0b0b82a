"""One compilation at a time in a process, and none under way when it forks.

Z3's context belongs to no thread in particular, and a lock that another thread holds stays
locked in a forked child for ever.  So planning and proving take ``compiling``, and a fork waits
until it is free.
"""

from __future__ import annotations

import os
import threading
from typing import Any

compiling = threading.RLock()
"""Held while a kernel is planned, proved, printed or loaded."""

_held: list[Any] = [compiling]


def hold_at_fork(lock: Any) -> None:
    """Let forks wait for ``lock`` too; it is taken after those given earlier."""
    _held.append(lock)


def _take() -> None:
    for lock in _held:
        lock.acquire()


def _give() -> None:
    for lock in reversed(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_give, after_in_child=_give)
