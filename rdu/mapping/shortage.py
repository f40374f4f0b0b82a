"""What a kernel that does not fit lacks, and the smallest change with which it would fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rdu.errors import MappingError
from rdu.graph.graph import Graph
from rdu.graph.nodes import Operator, Rearrange
from rdu.mapping.search import fits_in_some_way
from rdu.specs import Chip

_MOST = 2**16


def refusal(
    chip: Chip, graph: Graph, group: Sequence[Operator], settles: Callable[[Chip], bool]
) -> MappingError:
    """Return the error of a kernel that does not fit.

    Its hint names the least number of PMUs, and of PCUs where they are too few as well, with
    which the kernel is mapped: ``settles`` says whether it is on another chip.
    """
    names = ", ".join(operator.name for operator in group[:6]) + (", ..." if len(group) > 6 else "")
    # An access pattern between two buffers takes no PCU.
    computing = sum(not isinstance(operator, Rearrange) for operator in group)
    other = "take a smaller problem"
    if computing > chip.pcus:
        other = f"split the graph into {-(-computing // chip.pcus)} kernels or more"
    elif len(group) > 1:
        other = "cut the kernel with fusion='none' or named groups of fewer operators"
    found = _enough(chip, graph, group, computing, settles)
    if found is None:
        return MappingError(
            f"the kernel of {names} does not fit: its buffers need more than {_MOST} PMUs of "
            f"{chip.pmu_kib} KiB",
            hint=other,
        )
    pcus, pmus = found
    short: list[str] = []
    change: list[str] = []
    if pcus > chip.pcus:
        what = "stages" if pcus == computing else "streams"
        short.append(f"its {what} need {pcus} PCUs, the chip has {chip.pcus}")
        change.append(f"{pcus} PCUs")
    if pmus > chip.pmus:
        held = f"{pmus} PMUs of {chip.pmu_kib} KiB"
        short.append(f"its buffers need {held}, the chip has {chip.pmus}")
        change.append(f"{pmus} PMUs")
    return MappingError(
        f"the kernel of {names} does not fit: {'; '.join(short)}",
        hint=f"use a chip with {' and '.join(change)}, or {other}",
    )


def _enough(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    computing: int,
    settles: Callable[[Chip], bool],
) -> tuple[int, int] | None:
    """Return the least PCUs, and then the least PMUs, with which the kernel is mapped."""

    def larger(pcus: int, pmus: int) -> Chip:
        rows = -(-max(pmus, pcus) // chip.mesh_columns)
        return chip.with_changes(pmus=pmus, pcus=pcus, mesh_rows=max(rows, chip.mesh_rows))

    def fits(pcus: int, pmus: int) -> bool:
        return fits_in_some_way(larger(pcus, pmus), graph, group)

    pcus, pmus = max(chip.pcus, computing), chip.pmus
    if not fits(pcus, _MOST):
        if not fits(_MOST, _MOST):
            return None
        pcus = _least(lambda n: fits(n, _MOST), pcus, _MOST)
    if not fits(pcus, pmus):
        pmus = _least(lambda n: fits(pcus, n), pmus, _MOST)
    # Buffers in front of stages where paths rejoin may need more.
    if not settles(larger(pcus, pmus)):
        if not settles(larger(pcus, _MOST)):
            return None
        pmus = _least(lambda n: settles(larger(pcus, n)), pmus, _MOST)
    return pcus, pmus


def _least(fits: Callable[[int], bool], low: int, high: int) -> int:
    """Smallest number above ``low`` that fits, by bisection; ``high`` is known to fit."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
