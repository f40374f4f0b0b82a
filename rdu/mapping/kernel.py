"""A mapped kernel: placed stages joined by routed streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from rdu.mapping.bursts import Access
from rdu.mapping.place import Placement
from rdu.mapping.route import Routes
from rdu.mapping.schedule import Schedule
from rdu.mapping.stages import Stage, Stream, Tier, Transfer


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch: stages, the streams between them and the order of memory transfers.

    ``axes`` are the kernel's axes along which each tensor is cut into tiles. ``interval`` is
    the time of its slowest stage or memory tier by the static bandwidth model; ``slowdown``
    stretches it where a link needs longer. ``twin`` is the number of an earlier kernel that
    differs in names only.
    """

    name: str
    schedule: Schedule
    stages: tuple[Stage, ...]
    streams: tuple[Stream, ...]
    loads: Mapping[Tier, tuple[Transfer, ...]]
    stores: Mapping[Tier, tuple[Transfer, ...]]
    placement: Placement
    routes: Routes
    config_bytes: int
    axes: Mapping[str, tuple[str, ...]]
    interval: int
    slowdown: Fraction
    twin: int | None = None

    @property
    def pcus(self) -> int:
        """PCUs in use."""
        return sum(stage.units.pcus for stage in self.stages)

    @property
    def pmus(self) -> int:
        """PMUs in use."""
        return sum(stage.units.pmus for stage in self.stages)

    def signature(self) -> tuple[object, ...]:
        """What the configuration depends on; equal for kernels that only differ in arguments."""
        stages = tuple(
            (
                type(stage.shape.operator).__name__,
                getattr(getattr(stage.shape.operator, "function", None), "name", ""),
                stage.shape.counts,
                stage.units,
                stage.out_bytes,
            )
            for stage in self.stages
        )
        streams = tuple((s.source, s.target, s.read, s.depth) for s in self.streams)
        return (stages, streams, self.placement.sites)

    def moved(self, tier: Tier) -> int:
        """Bytes asked for between the chip and ``tier``."""
        return sum(access.bytes for access in self.accesses(tier))

    def accesses(self, tier: Tier) -> list[Access]:
        """Return what all tiles ask of ``tier``."""
        sides = (self.loads.get(tier, ()), self.stores.get(tier, ()))
        return [transfer.access for side in sides for transfer in side]
