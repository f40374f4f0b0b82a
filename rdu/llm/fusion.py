"""Kernels from operators: one each, or as many together as the scratchpads hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal, TypeAlias

from rdu.errors import MappingError
from rdu.models.operators import ModelGraph, Operator, Phase

Fusion: TypeAlias = Literal["none", "spatial"]

_BACKWARD = ".backward"
_SAVED = "saved."


@dataclass(frozen=True, slots=True)
class Kernel:
    """Consecutive operators of one group, launched together ``repeat`` times.

    Attributes
    ----------
    read_bytes, write_bytes:
        Activations that cross the kernel's border: read once each, written if used outside.
    scratchpad_bytes:
        Stage buffers a fused kernel cannot do without, see `scratchpad_bytes`.
    """

    name: str
    operators: tuple[Operator, ...]
    repeat: int
    read_bytes: float
    write_bytes: float
    scratchpad_bytes: float

    @property
    def weight_bytes(self) -> float:
        """Weights read by one launch."""
        return sum(op.weight_bytes for op in self.operators)

    @property
    def memory_bytes(self) -> float:
        """Device memory traffic of one launch."""
        state = sum(op.state_bytes for op in self.operators)
        return self.read_bytes + self.write_bytes + self.weight_bytes + state

    @property
    def flops(self) -> float:
        """Operations of one launch."""
        return sum(op.flops for op in self.operators)


@lru_cache(maxsize=64)
def cut(
    graph: ModelGraph, fusion: Fusion, *, scratchpad: float, share: float = 0.9
) -> tuple[Kernel, ...]:
    """Divide the operators into kernels.

    Parameters
    ----------
    fusion:
        ``"none"``: one kernel an operator. ``"spatial"``: a group becomes one kernel, or as few
        as fit ``share`` of ``scratchpad`` bytes, filled from the front.

    Raises
    ------
    MappingError
        For an unknown fusion.
    """
    kernels: list[Kernel] = []
    groups = graph.groups
    for group, operators in groups.items():
        pieces: list[Sequence[Operator]]
        if fusion == "none":
            pieces = [[op] for op in operators]
        elif fusion == "spatial":
            if group.endswith(_BACKWARD):
                operators = recomputing(groups[group.removesuffix(_BACKWARD)], operators)
            pieces = _pieces(operators, graph, share * scratchpad)
        else:
            raise MappingError(f"unknown fusion {fusion!r}", hint="known: none, spatial")
        for piece in pieces:
            label = piece[0].name if fusion == "none" else f"{len(kernels)}"
            kernels.append(_kernel(f"{group}.{label}", piece, operators, graph))
    return tuple(kernels)


def scratchpad_bytes(operators: Sequence[Operator], phase: Phase, batch: int) -> float:
    """Bytes that must stay in scratchpads while the fused kernel streams its tokens.

    Weights stay while more than one token passes (in ``decode`` each is used once and streams
    through). Sums over all tokens, the gradients of weights, stay in fp32. At a barrier all of
    one sequence that was made before and is used from there on stays, in a double buffer.
    """
    held = 0.0
    if phase != "decode":
        held += sum(op.weight_bytes for op in operators)
        held += sum(2 * op.output_bytes for op in operators if op.accumulates)
    made = {op.name: n for n, op in enumerate(operators)}
    for place, barrier in enumerate(operators):
        if not barrier.barrier:
            continue
        alive: dict[str, float] = {}
        for op in operators[place:]:
            for tensor, size in op.reads:
                if made.get(tensor, place) < place:
                    alive[tensor] = size
        held += 2 * sum(alive.values()) / batch
    return held


def _pieces(
    operators: Sequence[Operator], graph: ModelGraph, room: float
) -> list[Sequence[Operator]]:
    """The fewest pieces that fit; among those, the fewest bytes across the cuts."""

    def fits(low: int, high: int) -> bool:
        return scratchpad_bytes(operators[low:high], graph.phase, graph.batch) <= room

    count = len(operators)
    if fits(0, count):
        return [operators]
    across = _crossing(operators)
    # best[n]: pieces, bytes across cuts and the last cut of the first n operators.
    best: list[tuple[int, float, int]] = [(0, 0.0, 0)] + [(count + 1, 0.0, 0)] * count
    for low in range(count):
        pieces, cost, _ = best[low]
        for high in range(low + 1, count + 1):
            # An operator too large for the scratchpads alone streams its weights again.
            if high > low + 1 and not fits(low, high):
                break
            best[high] = min(best[high], (pieces + 1, cost + across[low], low))
    cuts = [count]
    while cuts[-1]:
        cuts.append(best[cuts[-1]][2])
    cuts.reverse()
    return [operators[low:high] for low, high in pairwise(cuts)]


def _crossing(operators: Sequence[Operator]) -> list[float]:
    """Bytes made before each place and used from there on."""
    last = {tensor: n for n, op in enumerate(operators) for tensor, _ in op.reads}
    across = [0.0] * len(operators)
    for made, op in enumerate(operators):
        for place in range(made + 1, last.get(op.name, made) + 1):
            across[place] += op.output_bytes
    return across


def _kernel(
    name: str, piece: Sequence[Operator], group: Iterable[Operator], graph: ModelGraph
) -> Kernel:
    inside = {op.name for op in piece}
    reads: dict[str, float] = {}
    for op in piece:
        for tensor, size in op.reads:
            if tensor not in inside:
                reads[tensor] = size
    used_here = {tensor for op in piece for tensor, _ in op.reads}
    used_later = {t for op in group if op.name not in inside for t, _ in op.reads}
    # A result nobody in the kernel uses leaves it; in training, saved activations do too.
    saved = graph.phase == "train" and not piece[0].group.endswith(_BACKWARD)
    writes = sum(
        op.output_bytes
        for op in piece
        if op.name in used_later or op.name not in used_here or (saved and _is_saved(op))
    )
    return Kernel(
        name=name,
        operators=tuple(piece),
        repeat=piece[0].repeat,
        read_bytes=sum(reads.values()),
        write_bytes=writes,
        scratchpad_bytes=scratchpad_bytes(piece, graph.phase, graph.batch),
    )


def _is_saved(op: Operator) -> bool:
    """Whether a fused forward kernel stores the result; the rest is computed again."""
    return op.kind in ("gemm", "collective")


def recomputing(forward: Sequence[Operator], backward: Sequence[Operator]) -> tuple[Operator, ...]:
    """Put the forward operators whose results are not stored before the backward ones."""
    stored = {op.name for op in forward if _is_saved(op)}
    group = backward[0].group

    def source(tensor: str) -> str:
        return f"{_SAVED}{tensor}" if tensor in stored else tensor

    again = [
        replace(op, group=group, reads=tuple((source(t), size) for t, size in op.reads))
        for op in forward
        if op.name not in stored
    ]
    here = {op.name for op in again}

    def read(tensor: str) -> str:
        plain = tensor.removeprefix(_SAVED)
        return plain if plain in here or plain not in stored else tensor

    rest = [replace(op, reads=tuple((read(t), size) for t, size in op.reads)) for op in backward]
    return (*again, *rest)
