"""What a peer hands to the measurement: a call, and how its result is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Operands = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A call to time, and how its result becomes NumPy or scipy to compare."""

    call: Callable[[], Any]
    finish: Callable[[Any], Any] = lambda result: result


Prepare = Callable[[Operands], Job]
"""Put operands into a peer's own form; nothing of it is timed."""
