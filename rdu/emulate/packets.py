"""The packets of a kernel's tiles: sent when the emulation sends the tile, moved switch by switch.

The emulation moves whole tiles at the rate of the static bandwidth model. Here each tile becomes
packets that enter the network as its unit makes them. What a stage reads from its own buffers, and
the tokens between the units of a sparse stage, enter while the stage is busy: vectors of the first,
scalars of the second. Every stream of tiles has a control circuit back to its sender, which may
have as many tiles under way as fit the buffer. So what waiting at switches adds is seen tile by
tile: counted, or fed back, so that late tiles hold up the units that wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rdu.emulate.engine import Engine
from rdu.emulate.network import Circuit, NetworkRun, Traffic, simulate_network, traffic_of
from rdu.emulate.rates import ticks_a_cycle
from rdu.emulate.run import build, finished
from rdu.errors import RDUError
from rdu.graph.nodes import AllReduce
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Program
from rdu.specs import Chip

_N = TypeVar("_N", int, "int | None")

# Emulation and network in turn: enough for both to agree, or to say that they do not.
_TURNS = 32


@dataclass(frozen=True, slots=True)
class Packets:
    """A run of the network; ``late[stream]`` is by how many cycles its latest tile came too late.

    ``streams[flow]`` is the stream whose tiles a flow carries, None within a stage, whose number
    then is ``stages[flow]``; ``waits[stage]`` is by how many cycles what a firing of it needs came
    too late. ``cycles`` are those of the kernel, and ``settled`` says that nothing came later than
    they allow for: without ``holds`` that nothing was late.
    """

    network: NetworkRun
    flows: tuple[Traffic, ...]
    streams: tuple[int | None, ...]
    stages: tuple[int | None, ...]
    late: Mapping[int, int]
    waits: Mapping[int, int]
    cycles: int
    settled: bool


@dataclass(frozen=True, slots=True)
class _Late:
    """Cycles by which each tile of each stream, and each firing of each stage, comes too late."""

    tiles: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    firings: dict[int | None, list[int]] = field(default_factory=dict["int | None", list[int]])

    @property
    def any(self) -> bool:
        """Whether anything is late."""
        return any(any(some) for some in (*self.tiles.values(), *self.firings.values()))

    def at_least(self, other: _Late) -> _Late:
        """Return the larger delay of every tile and firing."""
        return _Late(_larger(self.tiles, other.tiles), _larger(self.firings, other.firings))


def _larger(one: dict[_N, list[int]], other: dict[_N, list[int]]) -> dict[_N, list[int]]:
    return {n: [max(p) for p in zip(one[n], other.get(n, one[n]), strict=True)] for n in one}


@dataclass(frozen=True, slots=True)
class _Emulated:
    """An emulation: when each tile of a stream leaves, when a stage is busy with each firing."""

    cycles: int
    ends: Sequence[Sequence[int]]
    spans: Sequence[Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class _Flow:
    """A flow as packets; ``owner`` is the tile of the stream, or firing of the stage, of each.

    ``due`` is the cycle by which those of each tile or firing should have arrived.
    """

    traffic: Traffic
    owner: tuple[int, ...]
    stream: int | None
    stage: int | None
    due: Sequence[int]


def packets_of(program: Program, kernel: int = 0, *, holds: bool = False) -> Packets:
    """Emulate one kernel and send the packets of its tiles.

    Flows from several units to one buffer share its places in turn: sequence IDs restore their
    order.

    Parameters
    ----------
    holds:
        Tiles that arrive late hold up what waits for them, and operands of a firing what it makes:
        emulation and network run in turn, with the largest delay that a tile or firing has had in
        any turn, until none is later still.

    Raises
    ------
    RDUError
        For a kernel number that the program does not have, or one joined to other sockets.
    MappingError
        If a link has too few control wires for the circuits over it.
    DeadlockError
        If packets block each other.
    """
    if not 0 <= kernel < len(program.kernels):
        raise RDUError(f"the program has {len(program.kernels)} kernels, found number {kernel}")
    mapped, chip = program.kernels[kernel], program.node.chip
    reduces = any(isinstance(stage.shape.operator, AllReduce) for stage in mapped.stages)
    if program.pipeline or reduces:
        raise RDUError(
            f"{mapped.name} is joined to other sockets by streams that this network does not carry",
            hint="compile the graph for one socket",
        )
    waits = _Late()
    turns = 0
    while True:
        turns += 1
        emulated = _emulated(program, mapped, waits)
        flows, network = _sent(chip, mapped, emulated)
        late = _late(network, flows)
        settled = not late.any or late.at_least(waits) == waits
        waits = late.at_least(waits)
        if settled or not holds or turns == _TURNS:
            break
    return Packets(
        network,
        tuple(flow.traffic for flow in flows),
        tuple(flow.stream for flow in flows),
        tuple(flow.stage for flow in flows),
        {stream: max(tiles) for stream, tiles in waits.tiles.items()},
        {stage: max(firings) for stage, firings in waits.firings.items() if stage is not None},
        emulated.cycles,
        settled,
    )


def _emulated(program: Program, kernel: Kernel, waits: _Late) -> _Emulated:
    """Emulate with the cycles that tiles wait on their way and firings for their operands."""
    engine = Engine(ticks_a_cycle(program, kernel))
    built = build(engine, program, kernel, 0, {}, None)
    tick = engine.tick
    for n, port in enumerate(built.ports):
        port.sent = []
        port.late = [cycles * tick for cycles in waits.tiles.get(n, ())]
    for n, unit in enumerate(built.units):
        unit.fired = []
        unit.late = [cycles * tick for cycles in waits.firings.get(n, ())]
    cycles = finished(engine)
    ends = [[-(-t // tick) for t in port.sent or ()] for port in built.ports]
    spans = [[(a // tick, -(-b // tick)) for a, b in unit.fired or ()] for unit in built.units]
    return _Emulated(cycles, ends, spans)


def _sent(chip: Chip, kernel: Kernel, emulated: _Emulated) -> tuple[list[_Flow], NetworkRun]:
    """Move the packets of an emulation."""
    flows, circuits = _with_circuits(kernel, _flows(chip, kernel, emulated))
    network = simulate_network(
        [flow.traffic for flow in flows],
        tracks=chip.vector_tracks,
        scalar_tracks=chip.scalar_tracks,
        depth=chip.fifo_depth,
        hop_cycles=chip.hop_cycles,
        circuits=circuits,
        control_wires=chip.control_wires,
    )
    return flows, network


def _flows(chip: Chip, kernel: Kernel, emulated: _Emulated) -> list[_Flow]:
    """Cut the packets of all flows into those of tiles and firings."""
    routes = kernel.routes
    routed = [
        (flow, hops)
        for flow, links, hops in zip(routes.flows, routes.links, routes.hops, strict=True)
        if links
    ]
    found: list[_Flow] = []
    for plain, (flow, hops) in zip(traffic_of(chip, kernel, 1), routed, strict=True):
        if flow.stream is not None:
            ends = emulated.ends[flow.stream]
            way = kernel.streams[flow.stream].hops * chip.hop_cycles
            parts, due = _of_tiles(plain, ends), [end + way for end in ends]
        else:
            assert flow.stage is not None
            spans = emulated.spans[flow.stage]
            parts = _of_firings(plain, spans)
            due = [end + hops * chip.hop_cycles for _, end in spans]
        found.append(_Flow(*parts, flow.stream, flow.stage, due))
    return _numbered(found)


def _of_tiles(flow: Traffic, ends: Sequence[int]) -> tuple[Traffic, tuple[int, ...]]:
    """Cut a flow's packets into those of its tiles, the last of which is made at the tile's end.

    Returns them, and the tile of each packet.
    """
    each = -(-flow.packets // max(len(ends), 1))
    enters = tuple(max(end - each + n, 0) for end in ends for n in range(each))
    owner = tuple(tile for tile in range(len(ends)) for _ in range(each))
    return replace(flow, packets=len(enters), throttle=1, enters=enters), owner


def _of_firings(flow: Traffic, spans: Sequence[tuple[int, int]]) -> tuple[Traffic, tuple[int, ...]]:
    """Spread a flow's packets evenly over the cycles in which the stage is busy.

    Returns them, and the firing of each packet.
    """
    busy = max(sum(end - begin for begin, end in spans), 1)
    enters: list[int] = []
    owner: list[int] = []
    done = 0
    for firing, (begin, end) in enumerate(spans):
        done += end - begin
        count = flow.packets * done // busy - len(enters)
        enters += [begin + n * (end - begin) // count for n in range(count)]
        owner += [firing] * count
    return replace(flow, packets=len(enters), throttle=1, enters=tuple(enters)), tuple(owner)


def _numbered(flows: Sequence[_Flow]) -> list[_Flow]:
    """Give flows of one stream to one buffer places in turn."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for n, flow in enumerate(flows):
        key = (n,) if flow.stream is None else (flow.stream, flow.traffic.ends)
        groups.setdefault(key, []).append(n)
    found = list(flows)
    for members in groups.values():
        for first, n in enumerate(members):
            traffic = replace(flows[n].traffic, first=first, stride=len(members))
            found[n] = replace(flows[n], traffic=traffic)
    return found


def _with_circuits(kernel: Kernel, flows: Sequence[_Flow]) -> tuple[list[_Flow], list[Circuit]]:
    """Let the longest flow of every stream have as many tiles under way as its buffer holds.

    A control token goes back for every tile that has arrived.
    """
    longest: dict[int, int] = {}
    for n, flow in enumerate(flows):
        if flow.stream is not None and len(flow.traffic.ends) == 1:
            best = longest.setdefault(flow.stream, n)
            if len(flow.traffic.links) > len(flows[best].traffic.links):
                longest[flow.stream] = n
    found, circuits = list(flows), list[Circuit]()
    for stream, n in longest.items():
        traffic, tiles = flows[n].traffic, len(flows[n].due)
        each = traffic.packets // max(tiles, 1)
        if each:
            back = tuple((b, a) for a, b in reversed(traffic.links))
            circuits.append(Circuit(back, n, n, each))
            allowed = replace(traffic, allowance=each * kernel.streams[stream].depth)
            found[n] = replace(flows[n], traffic=allowed)
    return found, circuits


def _late(run: NetworkRun, flows: Sequence[_Flow]) -> _Late:
    """By how much the last packet of each tile and firing misses its time."""
    found = _Late()
    of_flow = [
        found.tiles.setdefault(flow.stream, [0] * len(flow.due))
        if flow.stream is not None
        else found.firings.setdefault(flow.stage, [0] * len(flow.due))
        for flow in flows
    ]
    for arrival in run.arrivals:
        flow, late = flows[arrival.flow], of_flow[arrival.flow]
        item = flow.owner[(arrival.sequence - flow.traffic.first) // flow.traffic.stride]
        late[item] = max(late[item], arrival.cycle - flow.due[item])
    return found
