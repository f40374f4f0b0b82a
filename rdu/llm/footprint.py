"""The symbols of a model's kernels, for static allocation (section IV-B)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rdu.llm.fusion import Fusion, Kernel, cut
from rdu.memory.allocate import MemoryMap, Symbol, allocate
from rdu.memory.tiers import Tier
from rdu.models.operators import ModelGraph
from rdu.specs import Chip


def symbols(graph: ModelGraph, kernels: Sequence[Kernel]) -> list[Symbol]:
    """Weights, cache and every activation that crosses a kernel's border; a step is a kernel.

    A repeated group is listed once: its repeats use the same activations' addresses in turn. The
    weights of all repeats are held throughout, in training with gradients and two fp32 moments.
    """
    found = _weights(graph, len(kernels))
    if graph.cache_bytes:
        found.append(Symbol("cache", math.ceil(graph.cache_bytes), 0, len(kernels), pinned=True))
    sizes: dict[str, float] = {}
    born: dict[str, int] = {}
    last: dict[str, int] = {}
    uses: dict[str, float] = {}
    for step, kernel in enumerate(kernels):
        inside = {op.name for op in kernel.operators}
        group = kernel.operators[0].group
        for op in kernel.operators:
            own = f"{group}.{op.name}"
            sizes[own], born[own] = op.output_bytes, step
            for tensor, size in op.reads:
                name = f"{group}.{tensor}"
                if tensor not in inside:
                    sizes[name] = size
                    born.setdefault(name, step)
                    last[name] = step
                    uses[name] = uses.get(name, 0) + kernel.repeat
    for name, step in last.items():
        made = 1 if born[name] < step else 0
        found.append(Symbol(name, math.ceil(sizes[name]), born[name], step + 1, uses[name] + made))
    return found


def _weights(graph: ModelGraph, end: int) -> list[Symbol]:
    """One symbol a layer and kind, so that a part of them can be spilled."""
    layers = max((op.repeat for op in graph.operators), default=1)
    kinds = [("weights", 1.0, 1.0)]
    if graph.phase == "train":
        # Forward, backward and update read or write the weights; the moments are fp32.
        kinds = [("weights", 1 / 6, 3.0), ("gradients", 1 / 6, 2.0), ("moments", 4 / 6, 2.0)]
    return [
        Symbol(f"{kind}.{n}", math.ceil(share * graph.resident_bytes / layers), 0, end, uses)
        for kind, share, uses in kinds
        for n in range(layers)
        if graph.resident_bytes
    ]


def memory_map(
    graph: ModelGraph, chip: Chip, fusion: Fusion = "spatial", share: float = 0.9
) -> MemoryMap:
    """Place the model in HBM and DDR of one socket; ``share`` as in `rdu.llm.cut`.

    Raises
    ------
    CapacityError
        Where cache does not fit HBM, or what is spilled does not fit DDR.
    """
    kernels = cut(graph, fusion, scratchpad=chip.sram_bytes, share=share)
    hbm = Tier("hbm", chip.hbm_bytes, 1e12 * chip.hbm_tb_per_s, 1e-9 * chip.hbm_latency_ns)
    ddr = Tier("ddr", chip.ddr_bytes, 1e9 * chip.ddr_gb_per_s, 1e-9 * chip.ddr_latency_ns)
    return allocate(symbols(graph, kernels), hbm, ddr)
