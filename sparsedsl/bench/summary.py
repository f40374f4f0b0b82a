"""What a run comes to: means over cells, and the targets beside what was reached.

Takes: ``Run``.  Gives: rows of figures.  Ratios are a peer's time over this library's: above 1,
this library is faster.  Targets on co-iteration are of the kernels that ``cases`` marks so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sparsedsl.bench.measure import Measured, Timed, geometric_mean
from sparsedsl.bench.run import Run

HAND = "hand"
"""The kernels written by hand: what is possible, not what there is to choose from."""

PAR = 0.95
"""A ratio below which a cell counts as slower than a peer."""

CACHE = 32 * 2**20
"""Bytes of operands and result from which a stream counts as out of cache."""

ALL, LIBRARIES = "fastest of all", f"fastest but {HAND}"


@dataclass(frozen=True, slots=True)
class Row:
    """A peer, the cells where it was timed, the mean of its ratios, and how many are under par."""

    peer: str
    cells: int
    mean: float
    under: int


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted at least, over how many cells, and what was reached; NaN of no cell."""

    about: str
    cells: int
    reached: float
    wanted: float

    @property
    def met(self) -> bool:
        """Whether it was reached; not where nothing was measured."""
        return self.reached >= self.wanted


def peer(cell: Measured, name: str) -> Timed | None:
    """Return the times of one peer, None where it was not timed."""
    return next((t for t in cell.peers if t.name == name), None)


def names(run: Run) -> list[str]:
    """Return the peers that were timed."""
    return [n for n in run.versions if any(peer(c, n) for c in run.cells)]


def coiterating(run: Run) -> list[Measured]:
    """Return the cells on which targets of co-iteration are set."""
    return [c for c in run.cells if c.coiterates]


def summary(run: Run, cells: Sequence[Measured] | None = None) -> list[Row]:
    """Return a row for each peer over some cells, all if not said, the fastest last."""
    some = run.cells if cells is None else cells
    every = names(run)
    groups = {n: [t.ratio for c in some if (t := peer(c, n)) is not None] for n in every}
    groups[ALL] = _fastest(some, every)
    groups[LIBRARIES] = _fastest(some, [n for n in every if n != HAND])
    return [
        Row(name, len(ratios), geometric_mean(ratios), sum(r < PAR for r in ratios))
        for name, ratios in groups.items()
    ]


def _fastest(cells: Iterable[Measured], peers: Collection[str]) -> list[float]:
    """Return each cell's ratio to the fastest of some peers, where any was timed."""
    by_cell = ([t.ratio for t in c.peers if t.name in peers] for c in cells)
    return [min(ratios) for ratios in by_cell if ratios]


def fraction(run: Run, cell: Measured) -> float:
    """Return a stream's bytes a second over those of the memory; NaN of what is none."""
    if not cell.streams or cell.ours is None:
        return math.nan
    return cell.bytes / cell.ours.median / run.bandwidth["read"]


def speedup(run: Run) -> float:
    """Return the geometric mean of the speed-up by threads over long cells; NaN without any."""
    return geometric_mean(cell.ratio for cell in run.speedups if cell.long)


def targets(run: Run) -> list[Target]:
    """Return what is wanted beside what was reached, means and the least of what each cell has."""
    together = {row.peer: row for row in summary(run, coiterating(run))}
    everything = {row.peer: row for row in summary(run)}
    found = [
        Target(f"co-iteration, over {name}", row.cells, row.mean, wanted)
        for name, wanted in (("TACO", 4.0), ("TACO default", 10.0), (LIBRARIES, 2.0))
        if (row := together.get(name)) is not None
    ]
    all_cells = everything[LIBRARIES]
    found.append(Target(f"every kernel, over {LIBRARIES}", all_cells.cells, all_cells.mean, 1.3))
    ratios = _fastest(run.cells, names(run))
    found.append(Target(f"least of any cell, over {ALL}", len(ratios), _least(ratios), PAR))
    streams = [f for c in run.cells if c.bytes >= CACHE and not math.isnan(f := fraction(run, c))]
    found.append(Target("least of streams out of cache", len(streams), _least(streams), 0.9))
    if run.speedups:
        about = f"mean speed-up by {run.speedups[0].threads} threads of long cells"
        long = sum(cell.long for cell in run.speedups)
        found.append(Target(about, long, speedup(run), 1.7))
    return found


def _least(values: Sequence[float]) -> float:
    return min(values, default=math.nan)
