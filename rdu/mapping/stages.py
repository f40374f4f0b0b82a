"""What a kernel is made of before it is placed: stages, streams between them, tiles to move."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rdu.mapping.allocate import Units
from rdu.mapping.bursts import Access
from rdu.mapping.schedule import Coordinates
from rdu.mapping.shapes import Shape


class Tier(Enum):
    """Where bytes lie, or that they come from or go to another socket."""

    SRAM = "sram"
    HBM = "hbm"
    DDR = "ddr"
    PEER = "p2p"


@dataclass(frozen=True, slots=True)
class Stream:
    """Tiles of ``tensor`` on their way to operand ``read`` of stage ``target``.

    ``source`` is the stage that makes them, None for memory; ``depth`` tiles may wait.
    ``target`` None is a store to memory. A tile is ``hops`` links under way and takes
    ``tile_cycles`` to leave.
    """

    tensor: str
    source: int | None
    target: int | None
    read: int
    depth: int
    hops: int = 0
    tile_cycles: int = 0


@dataclass(frozen=True, slots=True)
class Transfer:
    """One tile between memory and the streams that carry it.

    ``firings`` has for each stream the number of the stage's firing that takes or makes the
    tile. Its streams carry all ``bytes``; ``access`` is what is asked of memory for them, which is
    less where coordinates lead to some rows alone, and nothing where they lead to none.
    """

    tensor: str
    tile: Coordinates
    bytes: int
    streams: tuple[int, ...]
    firings: tuple[int, ...]
    access: Access


@dataclass(frozen=True, slots=True)
class Stage:
    """An operator on its units.

    ``busy`` cycles of a whole kernel, ``rates`` the PMU ports that feed each operand
    and ``inside`` the bytes they send,
    ``out_bytes`` what it emits in a whole kernel.
    """

    name: str
    shape: Shape
    units: Units
    busy: int
    rates: tuple[int, ...]
    inside: tuple[int, ...]
    out_bytes: int

    def buffer(self, read: int) -> str:
        """Name of the buffer in front of one operand."""
        return f"{self.name}.{read}:{self.shape.reads[read].operand.tensor}"
