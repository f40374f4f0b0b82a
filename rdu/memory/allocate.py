"""Static allocation: every symbol has an address before the program starts (section IV-B).

Symbols whose lifetimes do not overlap share addresses. All go to the first tier; what does not
fit is spilled to the second, the symbol that moves the fewest bytes in a run first, so that
weights stay and activations go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdu.errors import CapacityError, SpecError
from rdu.memory.draw import Region, draw_map
from rdu.memory.tiers import Tier, not_negative


@dataclass(frozen=True, slots=True)
class Symbol:
    """A tensor of a program.

    Parameters
    ----------
    name:
        Unique in its program.
    size:
        Bytes.
    start, stop:
        Steps of the static schedule: alive in ``start <= step < stop``.
    uses:
        Times it is read or written in one run.
    pinned:
        True where it must stay in the first tier (a router's weights, a cache).
    """

    name: str
    size: int
    start: int
    stop: int
    uses: float = 1.0
    pinned: bool = False

    def __post_init__(self) -> None:
        not_negative(f"symbol {self.name!r}", size=self.size, uses=self.uses)
        if self.stop <= self.start:
            raise SpecError(
                f"symbol {self.name!r} must live for at least one step, "
                f"found start={self.start}, stop={self.stop}"
            )

    @property
    def transfer_bytes(self) -> float:
        """Bytes it moves in one run: size times uses."""
        return self.size * self.uses

    def overlaps(self, other: Symbol) -> bool:
        """Whether both are alive at some step."""
        return self.start < other.stop and other.start < self.stop


@dataclass(frozen=True, slots=True)
class Placement:
    """``symbol`` at byte ``offset`` of ``tier``."""

    symbol: Symbol
    tier: str
    offset: int

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.offset + self.symbol.size


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Where every symbol lies.

    ``str()`` prints the map, `draw` draws it: time to the right, addresses upwards.
    """

    placements: tuple[Placement, ...]
    tiers: tuple[Tier, ...]

    def used(self, tier: str) -> int:
        """Bytes of ``tier`` taken at the highest address."""
        return max((p.end for p in self.placements if p.tier == tier), default=0)

    @property
    def spilled(self) -> tuple[str, ...]:
        """Symbols in the second tier, in the order they were spilled."""
        return tuple(p.symbol.name for p in self.placements if p.tier != self.tiers[0].name)

    @property
    def spilled_transfer_bytes(self) -> float:
        """Bytes a run moves to and from the second tier."""
        first = self.tiers[0].name
        return sum(p.symbol.transfer_bytes for p in self.placements if p.tier != first)

    @property
    def shared_bytes(self) -> int:
        """What sharing of addresses saves in the first tier."""
        first = self.tiers[0].name
        return sum(p.symbol.size for p in self.placements if p.tier == first) - self.used(first)

    def __str__(self) -> str:
        lines: list[str] = []
        for tier in self.tiers:
            used, share = self.used(tier.name), self.used(tier.name) / tier.capacity_bytes
            lines.append(f"{tier.name}: {used:,} of {tier.capacity_bytes:,.0f} bytes ({share:.1%})")
            here = sorted(
                (p for p in self.placements if p.tier == tier.name),
                key=lambda p: (p.offset, p.symbol.start),
            )
            lines += [
                f"  {p.offset:#014x}  {p.symbol.size:>16,}  "
                f"steps {p.symbol.start}..{p.symbol.stop - 1}  {p.symbol.name}"
                for p in here
            ]
        return "\n".join(lines)

    def draw(self, path: str | Path) -> Path:
        """Draw the map; the suffix of ``path`` chooses ``.svg``, or with matplotlib another.

        Raises
        ------
        RDUError
            On another format than ``.svg``, ``.png`` and ``.pdf``.
        """
        regions = [
            Region(p.symbol.name, p.tier, p.offset, p.symbol.size, p.symbol.start, p.symbol.stop)
            for p in self.placements
        ]
        return draw_map(
            regions, {tier.name: tier.capacity_bytes for tier in self.tiers}, Path(path)
        )


def allocate(
    symbols: Iterable[Symbol], first: Tier, second: Tier, *, alignment: int = 64
) -> MemoryMap:
    """Place every symbol in ``first``, spilling to ``second`` what does not fit.

    Raises
    ------
    CapacityError
        When a pinned symbol does not fit ``first`` or a spilled one ``second``: what, where and
        by how many bytes.
    SpecError
        For two symbols of one name.

    Examples
    --------
    >>> hbm, ddr = Tier("hbm", 100, 1e12), Tier("ddr", 1000, 1e11)
    >>> weights = Symbol("weights", 60, 0, 3, uses=3)
    >>> symbols = [weights, Symbol("a", 40, 0, 2, uses=2), Symbol("b", 40, 2, 3, uses=2)]
    >>> shared = allocate(symbols, hbm, ddr, alignment=1)
    >>> shared.used("hbm"), shared.spilled
    (100, ())
    """
    kept = list(symbols)
    names = [symbol.name for symbol in kept]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecError(f"symbols need unique names, found {twice!r} more than once")
    spilled: list[Symbol] = []
    order = iter(
        sorted((s for s in kept if not s.pinned), key=lambda s: (s.transfer_bytes, s.name))
    )
    while True:
        if live_peak(kept) <= first.capacity_bytes:
            offsets = pack(kept, alignment)
            top = max((offsets[s.name] + s.size for s in kept), default=0)
            if top <= first.capacity_bytes:
                break
            over = top - first.capacity_bytes
        else:
            over = live_peak(kept) - first.capacity_bytes
        victim = next(order, None)
        if victim is None:
            raise CapacityError(
                f"{', '.join(s.name for s in kept)} must stay in {first.name} and do not fit its "
                f"{first.capacity_bytes:,.0f} bytes: {over:,.0f} bytes too many",
                hint="pin fewer symbols, or use a larger tier",
            )
        kept.remove(victim)
        spilled.append(victim)
    behind = pack(spilled, alignment)
    for symbol in spilled:
        second.require(behind[symbol.name] + symbol.size, f"spilled symbol {symbol.name!r}")
    placements = [Placement(s, first.name, offsets[s.name]) for s in kept]
    placements += [Placement(s, second.name, behind[s.name]) for s in spilled]
    return MemoryMap(tuple(placements), (first, second))


def live_peak(symbols: Sequence[Symbol]) -> int:
    """Most bytes alive at one step: no allocation needs less."""
    changes: dict[int, int] = {}
    for symbol in symbols:
        changes[symbol.start] = changes.get(symbol.start, 0) + symbol.size
        changes[symbol.stop] = changes.get(symbol.stop, 0) - symbol.size
    peak = now = 0
    for step in sorted(changes):
        now += changes[step]
        peak = max(peak, now)
    return peak


def pack(symbols: Sequence[Symbol], alignment: int = 64) -> dict[str, int]:
    """Offsets, the largest symbol first, each at the lowest address free for its whole life."""
    placed: list[tuple[Symbol, int]] = []
    for symbol in sorted(symbols, key=lambda s: (-s.size, s.start, s.name)):
        neighbours = sorted(
            (offset, offset + other.size) for other, offset in placed if other.overlaps(symbol)
        )
        at = 0
        for low, high in neighbours:
            if at + symbol.size <= low:
                break
            at = max(at, -(-high // alignment) * alignment)
        placed.append((symbol, at))
    return {symbol.name: offset for symbol, offset in placed}
