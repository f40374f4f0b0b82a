"""What one unit does, event by event: it takes a token, sends one, or works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rdu.emulate.tokens import Ints, Mask


@dataclass(frozen=True, slots=True)
class Port:
    """The events ``at`` at which a unit takes or sends the tokens of ``stream``, in order."""

    stream: int
    at: Ints


@dataclass(frozen=True, slots=True)
class Script:
    """Events of one unit: ``work[e]`` cycles pass before event e, ``tail`` after the last."""

    name: str
    work: Ints
    takes: tuple[Port, ...]
    sends: tuple[Port, ...]
    tail: int = 0

    @property
    def busy(self) -> int:
        """Cycles of work."""
        return int(self.work.sum()) + self.tail


@dataclass(frozen=True, slots=True)
class Slot:
    """A possible event of every row: in rows ``on``, after ``work`` cycles.

    ``stream`` None is work alone.
    """

    stream: int | None
    send: bool
    on: Mask
    work: Ints | int = 0


def by_rows(name: str, rows: int, slots: Sequence[Slot]) -> Script:
    """Make the script that goes through the slots of row 0, then of row 1, and so on."""
    on = np.zeros((rows, len(slots)), dtype=bool)
    spent = np.zeros((rows, len(slots)), dtype=np.int64)
    for n, slot in enumerate(slots):
        on[:, n] = slot.on
        spent[:, n] = slot.work
    flat = on.reshape(-1)
    ports: dict[tuple[int, bool], int] = {}
    for slot in slots:
        if slot.stream is not None:
            ports.setdefault((slot.stream, slot.send), len(ports))
    # Which port each slot is an event of; -1 for work alone.
    port_of = np.array(
        [-1 if s.stream is None else ports[s.stream, s.send] for s in slots], dtype=np.int8
    )
    events = np.broadcast_to(port_of, on.shape).reshape(-1)[flat]
    takes: list[Port] = []
    sends: list[Port] = []
    for (stream, send), n in ports.items():
        (sends if send else takes).append(Port(stream, np.flatnonzero(events == n)))
    return Script(name, spent.reshape(-1)[flat], tuple(takes), tuple(sends))
