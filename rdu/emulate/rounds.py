"""The rounds of kernels: iterations of one tiled axis, for every unit that takes part.

All stages go through the kernel's axes in one order, so the whole kernel can be cut before any
iteration of an axis: each unit then stands at a known number of steps. A stage without the
axis does its work in the first iteration, or in the last if it needs a sum over the axis. Tiles of
a sparse stage take the time that their coordinates need; rounds are alike where those times are.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rdu.emulate.engine import Context
from rdu.emulate.tokens import Ints
from rdu.mapping.kernel import Kernel
from rdu.mapping.shapes import Shape
from rdu.mapping.stages import Transfer

_FEWEST = 6


@dataclass(slots=True)
class Rounds:
    """Iterations of one axis: ``count`` of them, and ``runs`` times over for the axes outside.

    ``marks[unit][k]`` are the steps the unit has done before round k; ``kinds`` describes each
    step of a unit whose steps are not all alike.
    """

    count: int
    runs: int
    of_stage: tuple[Ints, ...]
    marks: dict[Context, Ints] = field(default_factory=dict[Context, "Ints"])
    kinds: dict[Context, Ints] = field(default_factory=dict[Context, "Ints"])

    @property
    def total(self) -> int:
        """Rounds of the whole kernel."""
        return self.count * self.runs

    def add_stage(self, unit: Context, stage: int, kinds: Sequence[Hashable] = ()) -> None:
        """Note a unit that does one step a firing of a stage; ``kinds`` if they are not alike."""
        self.marks[unit] = np.searchsorted(self.of_stage[stage], np.arange(self.total + 1))
        if kinds:
            self.kinds[unit] = numbered(kinds)

    def add_transfers(
        self, unit: Context, kernel: Kernel, transfers: Sequence[Transfer], *, loads: bool
    ) -> None:
        """Note a memory controller.

        Before a round begins, all tiles that earlier rounds take are loaded, and no tile that
        it makes is stored.
        """
        rounds = np.zeros(len(transfers), dtype=np.int64)
        for n, transfer in enumerate(transfers):
            ends = [
                kernel.streams[s].target if loads else kernel.streams[s].source
                for s in transfer.streams
            ]
            rounds[n] = min(
                int(self.of_stage[stage][firing])
                for stage, firing in zip(ends, transfer.firings, strict=True)
                if stage is not None
            )
        if loads:
            # The last load of every round, and of all rounds before.
            behind = np.zeros(self.total + 1, dtype=np.int64)
            np.maximum.at(behind, rounds + 1, np.arange(len(rounds)) + 1)
            self.marks[unit] = np.maximum.accumulate(behind)
        else:
            ahead = np.full(self.total + 1, len(rounds), dtype=np.int64)
            np.minimum.at(ahead, rounds, np.arange(len(rounds)))
            self.marks[unit] = np.minimum.accumulate(ahead[::-1])[::-1]
        self.kinds[unit] = numbered([(t.bytes, t.streams, t.access.moved) for t in transfers])

    def alike(self, begin: int, end: int, period: int) -> bool:
        """Whether every unit does the same in each ``period`` of the rounds ``begin .. end``."""
        for unit, marks in self.marks.items():
            inside = marks[begin : end + 1]
            steps = inside[period:] - inside[:-period]
            if np.any(steps != steps[0]):
                return False
            if unit in self.kinds:
                kinds, shift = self.kinds[unit][inside[0] : inside[-1]], int(steps[0])
                if shift and np.any(kinds[shift:] != kinds[:-shift]):
                    return False
        return True


def rounds_of(kernel: Kernel) -> Rounds | None:
    """Return the rounds of the longest axis that a stage of the kernel goes through.

    None where none could be skipped (three moments are compared, and a fourth behind a jump).
    """
    schedule = kernel.schedule
    gone_through = {axis for stage in kernel.stages for axis in stage.shape.loops}
    axes = [axis for axis in schedule.order if axis in gone_through]
    axis = max(axes, key=schedule.count, default=None)
    if axis is None or schedule.count(axis) < _FEWEST:
        return None
    outside = schedule.order[: schedule.order.index(axis) + 1]
    late = _late(kernel)
    rounds = tuple(
        _rounds_of_stage(stage.shape, [(a, schedule.count(a)) for a in outside], late[n])
        for n, stage in enumerate(kernel.stages)
    )
    runs = math.prod(schedule.count(a) for a in outside[:-1])
    return Rounds(schedule.count(axis), runs, rounds)


def rounds_of_line(kernels: Sequence[Kernel]) -> tuple[Rounds, ...] | None:
    """Return the rounds of a pipeline, for each of its kernels; their marks are those of all.

    Each kernel must go through one axis first, in tiles of which whole numbers make a common
    stretch; a stretch is a round. None otherwise.
    """
    first = kernels[0].schedule
    for axis in sorted(first.order, key=first.count, reverse=True):
        if all(_leads(kernel, axis) for kernel in kernels):
            counts = [kernel.schedule.count(axis) for kernel in kernels]
            count = math.gcd(*counts)
            stretches = {
                kernel.schedule.tile[axis] * (n // count)
                for kernel, n in zip(kernels, counts, strict=True)
            }
            if count >= _FEWEST and len(stretches) == 1:
                return _rounds_of_line(kernels, axis, count)
    return None


def _leads(kernel: Kernel, axis: str) -> bool:
    """Whether a kernel goes through an axis before any other."""
    order = kernel.schedule.order
    outside = order[: order.index(axis)] if axis in order else order
    return axis in order and all(kernel.schedule.count(a) == 1 for a in outside)


def _rounds_of_line(kernels: Sequence[Kernel], axis: str, count: int) -> tuple[Rounds, ...]:
    marks: dict[Context, Ints] = {}
    kinds: dict[Context, Ints] = {}
    found: list[Rounds] = []
    for kernel in kernels:
        many = kernel.schedule.count(axis)
        late = _late(kernel)
        of_stage = tuple(
            _rounds_of_stage(stage.shape, [(axis, many)], late[n]) * count // many
            for n, stage in enumerate(kernel.stages)
        )
        found.append(Rounds(count, 1, of_stage, marks, kinds))
    return tuple(found)


def _late(kernel: Kernel) -> list[set[str]]:
    """Axes whose last iteration a stage waits for: those summed up on the way to it."""
    shapes = [stage.shape for stage in kernel.stages]
    late: list[set[str]] = [set() for _ in shapes]
    for n, shape in enumerate(shapes):
        for stream in kernel.streams:
            if stream.target == n and stream.source is not None:
                before = {*shapes[stream.source].loops, *late[stream.source]}
                late[n] |= before - set(shape.loops)
    return late


def _rounds_of_stage(shape: Shape, outside: Sequence[tuple[str, int]], late: set[str]) -> Ints:
    """Round of every firing."""
    index = np.unravel_index(np.arange(shape.firings), shape.counts or (1,))
    found = np.zeros(shape.firings, dtype=np.int64)
    for axis, count in outside:
        if axis in shape.loops:
            place = index[shape.loops.index(axis)]
        else:
            place = count - 1 if axis in late else 0
        found = found * count + place
    return found


def numbered(values: Sequence[Hashable]) -> Ints:
    """Give equal values equal numbers."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(v, len(known)) for v in values], dtype=np.int64)
