"""Collectives between sockets, streamed peer to peer without touching HBM (section IV-C)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rdu.memory.tiers import counts, not_negative, positive
from rdu.specs import Node


@dataclass(frozen=True, slots=True)
class Peers:
    """``sockets`` equal sockets; each reaches ``ports`` others directly, or all in turn.

    Parameters
    ----------
    bytes_per_second:
        What one socket sends at once, all its links together.
    latency_seconds:
        Time of one message without its bytes.
    ports:
        Peer links of a socket; figure 5 shows ten.

    Examples
    --------
    >>> peers = Peers(8, 100e9, 1e-6)
    >>> round(peers.all_reduce(8192) * 1e6, 2)
    2.14
    """

    sockets: int
    bytes_per_second: float
    latency_seconds: float
    ports: int = 10

    @classmethod
    def of(cls, node: Node, sockets: int, ports: int = 10) -> Peers:
        """Some sockets of a node."""
        return cls(sockets, 1e9 * node.p2p_gb_per_s, 1e-9 * node.p2p_latency_ns, ports)

    def __post_init__(self) -> None:
        counts("peers", sockets=self.sockets, ports=self.ports)
        positive("peers", bytes_per_second=self.bytes_per_second)
        not_negative("peers", latency_seconds=self.latency_seconds)

    def send(self, count: float) -> float:
        """One socket to another: a pipeline's hand-over."""
        return self.latency_seconds + count / self.bytes_per_second if self.sockets > 1 else 0.0

    @property
    def _steps(self) -> int:
        """Exchanges that reach every socket."""
        return 1 if self.sockets - 1 <= self.ports else math.ceil(math.log2(self.sockets))

    def all_gather_parts(self, count: float) -> tuple[float, float]:
        """Seconds of latency and of transfer until ``count`` bytes are on every socket.

        One exchange with all others where the ports suffice, else recursive doubling.
        """
        if self.sockets == 1 or not count:
            return 0.0, 0.0
        share = (self.sockets - 1) / self.sockets
        return self._steps * self.latency_seconds, share * count / self.bytes_per_second

    def reduce_scatter_parts(self, count: float) -> tuple[float, float]:
        """The same volume as an all-gather, in the other direction."""
        return self.all_gather_parts(count)

    def all_reduce_parts(self, count: float) -> tuple[float, float]:
        """The quicker of reduce-scatter with all-gather, and doubling with everything."""
        if self.sockets == 1 or not count:
            return 0.0, 0.0
        latency, transfer = self.all_gather_parts(count)
        steps = math.ceil(math.log2(self.sockets))
        doubling = (steps * self.latency_seconds, steps * count / self.bytes_per_second)
        return min((2 * latency, 2 * transfer), doubling, key=sum)

    def all_gather(self, count: float) -> float:
        """Seconds until ``count`` bytes, a share from each socket, are on all of them."""
        return sum(self.all_gather_parts(count))

    def reduce_scatter(self, count: float) -> float:
        """Seconds until each socket has its share of the sum of ``count`` bytes."""
        return sum(self.reduce_scatter_parts(count))

    def all_reduce(self, count: float) -> float:
        """Seconds until every socket has the sum of ``count`` bytes."""
        return sum(self.all_reduce_parts(count))
