"""Serving a trace: router, switches and expert runs on one node (sections V and VI-C).

For each batch the router runs once, every needed expert is made active, and the (prompt, expert)
pairs run one after the other. Nothing overlaps by default, as in the paper; grouping, prefetching,
overlap and choosing batches within a window go beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rdu.coe.admission import Admission
from rdu.coe.loader import Loader
from rdu.coe.order import grouped
from rdu.coe.parts import Composition
from rdu.coe.platform import Platform
from rdu.coe.policies import make_policy
from rdu.coe.report import ServingReport
from rdu.coe.timeline import Event, EventKind
from rdu.coe.trace import Trace
from rdu.errors import SpecError
from rdu.memory.tiers import counts


def serve(
    composition: Composition,
    platform: Platform,
    trace: Trace,
    policy: str = "lru",
    prefetch: bool = False,
    overlap: bool = False,
    group_by_expert: bool = False,
    *,
    window: int | None = None,
    retain: bool = True,
    max_events: int = 10_000,
) -> ServingReport:
    """Serve ``trace`` on one node and report what it took.

    Parameters
    ----------
    policy:
        ``"lru"`` (the paper's), ``"fifo"``, ``"lfu"``, ``"probability"`` or ``"belady"``.
    prefetch:
        Copy all experts of a batch as soon as it is routed, none of them evicting another;
        otherwise each is copied when its turn comes.
    overlap:
        Copies go on beside expert runs: of the next pair, and with ``prefetch`` of the whole
        batch.
    group_by_expert:
        Pairs of one expert run together, active experts first; the steps of a request keep their
        order.
    window:
        The next batch is chosen among so many waiting requests: those of active experts first,
        then of popular ones; what so many have overtaken goes before them. ``None`` serves
        requests as they came. In both, a request of a conversation is in a later batch than the
        one before it.
    retain:
        False releases every expert after its batch.
    max_events:
        Length of the recorded time line.

    Raises
    ------
    CapacityError
        When the composition does not fit the platform.
    SpecError
        For an unknown policy, or a trace that asks for an expert the composition has not.

    Examples
    --------
    >>> from rdu.coe import Composition, sn40l_node
    >>> report = serve(Composition.uniform(150), sn40l_node(), Trace.distinct(300, 150))
    >>> round(report.p50 * 1e3, 1)
    147.3
    """
    _check(composition, platform, trace)
    if len(trace) and int(trace.experts.max()) >= len(composition):
        raise SpecError(
            f"the trace asks for expert {int(trace.experts.max())}, the composition has "
            f"{len(composition)} experts, numbered from 0"
        )
    if max_events < 0:
        raise SpecError(f"max_events must be at least 0, found {max_events}")
    if window is not None:
        counts("serve", window=window)
    server = _Server(composition, platform, trace, policy, max_events, Admission(trace, window))
    server.mode(prefetch=prefetch, overlap=overlap, group=group_by_expert, retain=retain)
    server.run()
    return server.report()


def _check(composition: object, platform: object, trace: object) -> None:
    kinds = (composition, Composition), (platform, Platform), (trace, Trace)
    for given, kind in kinds:
        if not isinstance(given, kind):
            raise SpecError(
                f"serve: expected a {kind.__name__}, found {type(given).__name__}",
                hint="serve(composition, platform, trace), all of rdu.coe: a platform is "
                "rdu.coe.sn40l_node(), rdu.sn40l_node() a node that kernels are mapped to",
            )


class _Server:
    """The state of one serving run; seconds throughout."""

    def __init__(
        self,
        composition: Composition,
        platform: Platform,
        trace: Trace,
        policy: str,
        max_events: int,
        admission: Admission,
    ) -> None:
        self.composition, self.platform, self.trace = composition, platform, trace
        self.policy_name = policy
        self.policy = make_policy(policy, composition, trace)
        self.loader = Loader(composition, platform, self.policy)
        used = trace.experts >= 0
        steps = used.sum(axis=1)
        self.experts: list[int] = trace.experts[used].tolist()
        self.requests: list[int] = np.repeat(np.arange(len(trace)), steps).tolist()
        self.first_use: list[int] = [0, *np.cumsum(steps).tolist()]
        self.admission = admission
        self.run_seconds = [
            platform.run_seconds(expert, trace.output_tokens) for expert in composition.experts
        ]
        router = composition.router
        self.router_seconds = platform.run_seconds(router, router.output_tokens)
        self.max_events = max_events
        self.events: list[Event] = []
        self.truncated = False
        self.now = self.link_free = 0.0
        self.router_total = self.run_total = self.stall = self.idle = self.copying = 0.0
        self.hits = self.switches = 0
        self.finish = [0.0] * len(trace)
        self.began = [0.0] * len(trace)
        self.batch_latencies: list[float] = []
        self.prefetch = self.overlap = self.group = False
        self.retain = True

    def mode(self, *, prefetch: bool, overlap: bool, group: bool, retain: bool) -> None:
        self.prefetch, self.overlap, self.group, self.retain = prefetch, overlap, group, retain

    def run(self) -> None:
        while not self.admission.empty:
            batch = self._admit()
            start = self.now
            self._record("router", self.composition.router.name, start, self.router_seconds)
            self.now += self.router_seconds
            self.router_total += self.router_seconds
            uses = self._uses(batch)
            if self.group and len(uses) > 1:
                uses = grouped(uses, self.experts, self.requests, self.loader.active)
            if self.prefetch or self.overlap:
                self._ahead(uses)
            else:
                self._on_demand(uses)
            if not self.retain:
                self._pay(self.loader.release(), "write back", "all")
            self.batch_latencies.append(self.now - start)

    def _admit(self) -> Sequence[int]:
        """Wait for a request; return the next batch."""
        start = self.admission.next_arrival(self.now)
        self.idle += start - self.now
        self.now = start
        batch = self.admission.take(self.now, self.loader.active)
        if self.trace.arrivals is None:
            for request in batch:
                self.began[request] = self.now
        return batch

    def _uses(self, batch: Sequence[int]) -> Sequence[int]:
        first = self.first_use
        if isinstance(batch, range):
            return range(first[batch.start], first[batch.stop])
        return [use for request in batch for use in range(first[request], first[request + 1])]

    def _on_demand(self, uses: Sequence[int]) -> None:
        """Copy each expert when its turn comes, then run it."""
        loader, policy, experts = self.loader, self.policy, self.experts
        active, run_seconds = loader.active, self.run_seconds
        for use in uses:
            expert = experts[use]
            if expert in active:
                self.hits += 1
            else:
                self._switch(expert, ())
            policy.touch(expert, use)
            self._run(use, expert, run_seconds[expert])

    def _ahead(self, uses: Sequence[int]) -> None:
        """Copy experts before their turn; those still to run are pinned."""
        experts, loader = self.experts, self.loader
        reach = len(uses) if self.prefetch else 2
        pinned: dict[int, int] = {}
        ready: dict[int, float] = {}
        looked = 0
        for turn, use in enumerate(uses):
            while looked < min(turn + reach, len(uses)):
                coming = experts[uses[looked]]
                if coming in loader.active:
                    self.hits += 1
                elif looked > turn and not loader.can_activate(coming, pinned):
                    break
                else:
                    ready[coming] = self._switch(coming, pinned)
                self.policy.touch(coming, uses[looked])
                pinned[coming] = pinned.get(coming, 0) + 1
                looked += 1
            expert = experts[use]
            wait = max(ready.pop(expert, 0.0) - self.now, 0.0)
            self.stall += wait
            self.now += wait
            self._run(use, expert, self.run_seconds[expert])
            pinned[expert] -= 1
            if not pinned[expert]:
                del pinned[expert]

    def _switch(self, expert: int, pinned: dict[int, int] | tuple[()]) -> float:
        """Activate ``expert``; return when its copy is done."""
        self.switches += 1
        back, up = self.loader.activate(expert, pinned)
        name = self.composition.experts[expert].name
        if not self.overlap:
            self._pay(back, "write back", name)
            self._pay(up, "copy", name)
            return self.now
        start = max(self.link_free, self.now)
        if back:
            self._record("write back", name, start, back)
        self._record("copy", name, start + back, up)
        self.copying += back + up
        self.link_free = start + back + up
        return self.link_free

    def _pay(self, seconds: float, kind: EventKind, name: str) -> None:
        """Let compute wait for a transfer."""
        if seconds:
            self._record(kind, name, self.now, seconds)
            self.now += seconds
            self.stall += seconds
            self.copying += seconds

    def _run(self, use: int, expert: int, seconds: float) -> None:
        if len(self.events) < self.max_events:
            self._record("run", self.composition.experts[expert].name, self.now, seconds)
        else:
            self.truncated = True
        self.now += seconds
        self.run_total += seconds
        self.finish[self.requests[use]] = self.now

    def _record(self, kind: EventKind, name: str, start: float, seconds: float) -> None:
        if len(self.events) < self.max_events:
            self.events.append(Event(kind, name, start, start + seconds))
        else:
            self.truncated = True

    def _asked(self) -> npt.NDArray[np.float64]:
        """When each request was asked: its arrival, and not before the answer it builds on."""
        if self.trace.arrivals is None:
            return np.array(self.began)
        before = self.trace.predecessors()
        answered = np.append(np.array(self.finish), 0.0)[before]
        return np.maximum(self.trace.arrivals, answered)

    def report(self) -> ServingReport:
        backing = self.platform.backing.name
        return ServingReport(
            platform=self.platform.name,
            policy=self.policy_name,
            latencies=np.array(self.finish) - self._asked(),
            batch_latencies=np.array(self.batch_latencies),
            hits=self.hits,
            switches=self.switches,
            bytes_moved={
                f"{backing}->hbm": self.loader.bytes_up,
                f"hbm->{backing}": self.loader.bytes_down,
            },
            peak_hbm_bytes=self.loader.peak_bytes,
            hbm_bytes=self.platform.hbm_bytes,
            seconds=self.now,
            time={
                "router": self.router_total,
                "run": self.run_total,
                "stall": self.stall,
                "idle": self.idle,
            },
            copy_seconds=self.copying,
            events=tuple(self.events),
            truncated=self.truncated,
        )
