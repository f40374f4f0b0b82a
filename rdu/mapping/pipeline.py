"""A graph as a pipeline over sockets: consecutive operators a socket, tiles peer to peer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from rdu.errors import MappingError
from rdu.graph.graph import Graph, kernel_reads, kernel_writes
from rdu.graph.nodes import Operator, Role
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Crossing
from rdu.mapping.schedule import place_of
from rdu.mapping.stages import Tier, Transfer
from rdu.specs import Chip


def parts_of(chip: Chip, graph: Graph, sockets: int) -> tuple[tuple[Operator, ...], ...]:
    """Cut the operators into at most ``sockets`` runs whose slowest is as fast as possible.

    An operator costs what its arithmetic or its inputs from memory take, whichever is more.
    """
    operators = graph.operators
    peak = chip.peak_tflops * 1e12 / (chip.clock_ghz * 1e9)
    inputs = set(graph.inputs)
    costs: list[float] = []
    for operator in operators:
        moved = sum(graph.tensor(n).bytes for n in kernel_reads((operator,)) if n in inputs)
        flops = graph.operator_flops(operator) / peak
        costs.append(max(flops, moved / chip.hbm_bytes_per_cycle, 1.0))
    count = min(sockets, len(operators))
    # best[p][n]: slowest part when the first n operators are cut into p parts, and the last cut.
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for _ in range(count):
        row: dict[int, tuple[float, int]] = {}
        for end in range(1, len(operators) + 1):
            options = [
                (max(best[-1][start][0], sum(costs[start:end])), start)
                for start in best[-1]
                if start < end
            ]
            if options:
                row[end] = min(options)
        best.append(row)
    cuts = [len(operators)]
    for row in reversed(best[1:]):
        cuts.append(row[cuts[-1]][1])
    cuts.reverse()
    return tuple(operators[a:b] for a, b in itertools.pairwise(cuts))


def received(
    graph: Graph,
    groups: Sequence[tuple[Operator, ...]],
    kernels: Sequence[Kernel],
    target: int,
) -> tuple[Crossing, ...]:
    """List the tensors that go to one kernel from those before it.

    Raises
    ------
    MappingError
        For a fibre tree, which cannot go.
    """
    maker = {op.output.tensor: n for n, group in enumerate(groups) for op in group}
    found: list[Crossing] = []
    for name in kernel_reads(groups[target]):
        if name not in maker or maker[name] == target:
            continue
        if graph.tensor(name).sparse:
            raise MappingError(
                f"{name} is a fibre tree and cannot go from one socket to another",
                hint="use fewer sockets, or split a dense axis instead",
            )
        found.append(_crossing(graph, name, maker[name], target, kernels))
    return tuple(found)


def window_pmus(chip: Chip, found: Sequence[Crossing]) -> int:
    """PMUs that hold what has come to a kernel and is not used yet."""
    return sum(-(-crossing.window_bytes // (chip.pmu_kib * 1024)) for crossing in found)


def check_windows(chip: Chip, kernel: Kernel, found: Sequence[Crossing]) -> None:
    """Check that the PMUs that a kernel leaves free hold what comes before it is used.

    Raises
    ------
    MappingError
        Where the two kernels' orders of tiles differ so much that they do not: says the tensor,
        the bytes and what to do.
    """
    held, spare = window_pmus(chip, found), chip.pmus - kernel.pmus
    if held > spare:
        worst = max(found, key=lambda c: c.window_bytes)
        raise MappingError(
            f"{kernel.name} must hold {worst.window_bytes:,} bytes of {worst.tensor} "
            f"that come before they are used: {held} PMUs, {spare} are left",
            hint="use fewer sockets, so that both operators share one",
        )


def _crossing(
    graph: Graph, name: str, source: int, target: int, kernels: Sequence[Kernel]
) -> Crossing:
    sent = _transfers(kernels[source].stores, name)
    loads = _transfers(kernels[target].loads, name)
    theirs = [_place(graph, kernels[source], t) for t in sent]
    needs: list[int] = []
    window = received = used = 0
    for load in loads:
        mine = _place(graph, kernels[target], load)
        last = max(
            (n for n, other in enumerate(theirs) if _overlap(mine, other)),
            default=len(theirs) - 1,
        )
        needs.append(max(last + 1, needs[-1] if needs else 0))
        received = sum(t.bytes for t in sent[: needs[-1]])
        window = max(window, received - used)
        used += load.bytes
    if len({load.tile for load in loads}) < len(loads):
        window = graph.tensor(name).bytes
    return Crossing(name, source, target, tuple(needs), min(window, graph.tensor(name).bytes))


def _transfers(sides: Mapping[Tier, tuple[Transfer, ...]], name: str) -> list[Transfer]:
    return [t for side in sides.values() for t in side if t.tensor == name]


def _place(graph: Graph, kernel: Kernel, transfer: Transfer) -> tuple[slice, ...]:
    axes = kernel.axes[transfer.tensor]
    return place_of(kernel.schedule, axes, transfer.tile, graph.tensor(transfer.tensor).shape)


def _overlap(one: Sequence[slice], other: Sequence[slice]) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def stays(graph: Graph, groups: Sequence[tuple[Operator, ...]], socket: int) -> set[str]:
    """Tensors in a socket's memory: inputs that its operators read, and results they make."""
    made = {name for group in groups for name in kernel_writes(graph, group)}
    read = {name for name in kernel_reads(groups[socket]) if name not in made}
    results = {
        name
        for name in kernel_writes(graph, groups[socket])
        if graph.tensor(name).role is Role.RESULT
    }
    return read | results
