"""Interrupts (Ctrl-C) held back while they would do harm."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType


@contextlib.contextmanager
def interrupts_later() -> Generator[None, None, None]:
    """Hand an interrupt that comes meanwhile to its handler at the end.

    One that came into the import of a large library would end the process (islpy) or leave a
    library that cannot be imported again (Numba).  Python runs handlers in the main thread alone:
    elsewhere there is nothing to hold.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])
