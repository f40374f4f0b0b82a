"""The memory map of a program: tiers and addresses by the lifetimes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from rdu.errors import CapacityError, RDUError
from rdu.graph.graph import Graph, kernel_reads, kernel_writes
from rdu.graph.nodes import Operator
from rdu.mapping.program import Symbol
from rdu.mapping.stages import Tier
from rdu.memory.allocate import Symbol as Life
from rdu.memory.allocate import pack
from rdu.specs import Chip


def memory_map(
    chip: Chip,
    graph: Graph,
    groups: Sequence[tuple[Operator, ...]],
    wanted: Mapping[str, str],
    only: Set[str] | None = None,
    socket: int = 0,
) -> tuple[Symbol, ...]:
    """Place every tensor that some kernel reads or writes outside itself.

    Tensors that are never alive at the same kernel share addresses; inputs and results live
    to the end. All go to HBM; what does not fit goes to DDR, the tensor with the fewest bytes
    transferred first (weights stay, activations go). ``wanted`` fixes the tier of some; with
    ``only``, no others lie in the memory of this ``socket``.

    Raises
    ------
    RDUError
        On an unknown tensor or tier name.
    CapacityError
        When a tier is too small: which, and by how many bytes.
    """
    lives = [x for x in lifetimes(graph, groups) if only is None or x.name in only]
    if only is not None:
        wanted = {name: tier for name, tier in wanted.items() if name in only}
    chosen = {life.name: Tier.HBM for life in lives} | _wanted(lives, wanted)
    spillable = iter(
        sorted(
            (life for life in lives if life.name not in wanted),
            key=lambda life: (life.transfer_bytes, life.name),
        )
    )
    while True:
        offsets = {t: _packed(lives, chosen, t) for t in (Tier.HBM, Tier.DDR)}
        over = _top(lives, offsets[Tier.HBM]) - chip.hbm_bytes
        if over <= 0:
            break
        victim = next(spillable, None)
        if victim is None:
            raise CapacityError(
                f"HBM holds {chip.hbm_bytes:,} bytes, the tensors fixed there need {over:,} more",
                hint="leave the tier of some tensors open",
            )
        chosen[victim.name] = Tier.DDR
    over = _top(lives, offsets[Tier.DDR]) - chip.ddr_bytes
    if over > 0:
        raise CapacityError(
            f"DDR holds {chip.ddr_bytes:,} bytes, what HBM has no room for needs {over:,} more",
            hint="use a smaller problem or a chip with more memory",
        )
    return tuple(
        Symbol(life.name, tier, offsets[tier][life.name], life.size, socket, life.start, life.stop)
        for life in lives
        for tier in (chosen[life.name],)
    )


def lifetimes(graph: Graph, groups: Sequence[tuple[Operator, ...]]) -> list[Life]:
    """List the tensors in memory: size, first and last kernel, how often they are moved."""
    end = max(len(groups), 1)
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys((*graph.inputs, *graph.results), end)
    uses: dict[str, int] = {}
    for step, group in enumerate(groups):
        for name in (*kernel_reads(group), *kernel_writes(graph, group)):
            first.setdefault(name, step)
            last[name] = max(last.get(name, 0), step + 1)
            uses[name] = uses.get(name, 0) + 1
    return [
        Life(name, graph.tensor(name).bytes, start, last[name], uses.get(name, 0))
        for name, start in first.items()
    ]


def _wanted(lives: Sequence[Life], wanted: Mapping[str, str]) -> dict[str, Tier]:
    known = [life.name for life in lives]
    for name, tier in wanted.items():
        if name not in known:
            raise RDUError(
                f"tiers names {name!r}, which is not in memory", hint=f"known: {', '.join(known)}"
            )
        if tier not in ("hbm", "ddr"):
            raise RDUError(f"tier of {name!r} must be 'hbm' or 'ddr', found {tier!r}")
    return {name: Tier(tier) for name, tier in wanted.items()}


def _packed(lives: Sequence[Life], chosen: Mapping[str, Tier], tier: Tier) -> dict[str, int]:
    return pack([life for life in lives if chosen[life.name] is tier])


def _top(lives: Sequence[Life], offsets: Mapping[str, int]) -> int:
    return max(
        (offsets[life.name] + life.size for life in lives if life.name in offsets), default=0
    )
