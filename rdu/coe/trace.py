"""Request traces: which experts each request needs, and when it arrives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rdu.coe.parts import Composition
from rdu.coe.trace_file import read_rows
from rdu.errors import SpecError
from rdu.memory.tiers import counts, not_negative, positive


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests in order of arrival.

    Parameters
    ----------
    experts:
        Expert numbers, shape ``(requests,)``, or ``(requests, steps)`` where a request needs
        several experts one after the other; ``-1`` pads unused steps at the end of a row.
    arrivals:
        Seconds, shape ``(requests,)``, ascending; ``None`` means a closed loop: the next batch is
        there as soon as the node is free, and a request's latency is its service time.
    batch:
        Most requests served together. With arrivals a batch takes what has arrived.
    output_tokens:
        Tokens each expert generates, the key into the platform's run times.
    conversations:
        Number of each request's conversation, shape ``(requests,)``, ``-1`` for none. A request
        needs the answer to the one before it in its conversation.

    Raises
    ------
    SpecError
        For shapes, numbers or times that make no sense.

    Examples
    --------
    >>> Trace.distinct(6, experts=4).experts[:, 0].tolist()
    [0, 1, 2, 3, 0, 1]
    """

    experts: npt.NDArray[np.int64]
    arrivals: npt.NDArray[np.float64] | None = None
    batch: int = 1
    output_tokens: int = 20
    conversations: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "experts", _requests(self.experts))
        if self.arrivals is not None:
            object.__setattr__(self, "arrivals", _times(self.arrivals, len(self.experts)))
        if self.conversations is not None:
            talks = _conversations(self.conversations, len(self.experts))
            object.__setattr__(self, "conversations", talks)
        counts("trace", batch=self.batch, output_tokens=self.output_tokens)

    def __len__(self) -> int:
        return len(self.experts)

    @classmethod
    def distinct(
        cls, requests: int, experts: int, *, batch: int = 1, output_tokens: int = 20
    ) -> Trace:
        """Every expert in turn: the paper's worst case, in which LRU never hits once spilled."""
        _sizes(requests, experts)
        return cls(np.arange(requests) % experts, None, batch, output_tokens)

    @classmethod
    def zipf(
        cls,
        requests: int,
        experts: int,
        *,
        exponent: float = 1.0,
        seed: int = 0,
        batch: int = 1,
        output_tokens: int = 20,
    ) -> Trace:
        """Independent draws, expert ``n`` with weight ``(n + 1) ** -exponent``."""
        _sizes(requests, experts)
        not_negative("trace", exponent=exponent)
        weights = np.arange(1, experts + 1, dtype=float) ** -exponent
        draws = np.random.default_rng(seed).choice(experts, requests, p=weights / weights.sum())
        return cls(draws, None, batch, output_tokens)

    @classmethod
    def bursts(
        cls,
        requests: int,
        experts: int,
        *,
        length: float = 8.0,
        seed: int = 0,
        batch: int = 1,
        output_tokens: int = 20,
    ) -> Trace:
        """Runs of one expert, of geometric length with mean ``length``, experts uniform."""
        _sizes(requests, experts)
        if not 1 <= length < float("inf"):
            raise SpecError(f"a burst has a mean length of at least 1, found {length}")
        rng = np.random.default_rng(seed)
        first = rng.random(requests) < 1 / length
        if requests:
            first[0] = True
        heads = rng.integers(0, experts, int(first.sum()))
        return cls(heads[np.cumsum(first) - 1], None, batch, output_tokens)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        composition: Composition | None = None,
        *,
        batch: int = 1,
        output_tokens: int = 20,
    ) -> Trace:
        """Read a CSV file with a header: ``expert`` and maybe ``arrival_s``, ``conversation``.

        ``expert`` is a number, or a name of ``composition``; several, needed one after the other,
        are separated by ``>``. ``conversation`` is any text; an empty one is a request by itself.

        Raises
        ------
        SpecError
            Naming the file and line of what cannot be read.
        """
        names = [expert.name for expert in composition.experts] if composition else []
        rows = read_rows(path, names)
        return cls(rows.experts, rows.arrivals, batch, output_tokens, rows.conversations)

    def with_rate(self, requests_per_second: float, *, seed: int = 0) -> Trace:
        """The same requests with Poisson arrivals at the given rate."""
        positive("trace", requests_per_second=requests_per_second)
        gaps = np.random.default_rng(seed).exponential(1 / requests_per_second, len(self))
        return replace(self, arrivals=np.cumsum(gaps))

    def predecessors(self) -> npt.NDArray[np.int64]:
        """The request before each in its conversation, ``-1`` for none; shape ``(requests,)``.

        >>> Trace(np.array([0, 1, 2]), conversations=np.array([5, -1, 5])).predecessors().tolist()
        [-1, -1, 0]
        """
        found = np.full(len(self), -1, np.int64)
        if self.conversations is not None:
            order = np.argsort(self.conversations, kind="stable")
            talks = self.conversations[order]
            same = (talks[1:] == talks[:-1]) & (talks[1:] >= 0)
            found[order[1:][same]] = order[:-1][same]
        return found

    def frequencies(self, experts: int) -> npt.NDArray[np.float64]:
        """Share of the uses that go to each of ``experts`` experts."""
        used = self.experts[self.experts >= 0]
        counts = np.bincount(used, minlength=experts)[:experts]
        return counts / max(int(counts.sum()), 1)


def _sizes(requests: int, experts: int) -> None:
    not_negative("trace", requests=requests)
    counts("trace", experts=experts)


def _requests(given: Any) -> npt.NDArray[np.int64]:
    table = np.asarray(given)
    if table.ndim not in (1, 2):
        raise SpecError(f"expert numbers have shape (requests[, steps]), found {table.shape}")
    if table.size and not np.issubdtype(table.dtype, np.integer):
        raise SpecError(f"expert numbers must be integers, found dtype {table.dtype}")
    table = table.astype(np.int64).reshape(len(table), -1 if table.size else 1)
    if table.size:
        used = table >= 0
        if bool((table < -1).any()) or not bool(used[:, 0].all()):
            raise SpecError("each request needs a first expert >= 0; only -1 pads the later steps")
        if bool((used[:, 1:] & ~used[:, :-1]).any()):
            raise SpecError("padding with -1 must come at the end of a request's steps")
    return table


def _times(given: Any, requests: int) -> npt.NDArray[np.float64]:
    times = np.asarray(given, dtype=np.float64)
    if times.shape != (requests,):
        raise SpecError(f"arrivals need shape ({requests},), found {times.shape}")
    if times.size and (not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) < 0).any()):
        raise SpecError("arrivals must be finite, ascending and at least 0")
    return times


def _conversations(given: Any, requests: int) -> npt.NDArray[np.int64]:
    numbers = np.asarray(given)
    if numbers.shape != (requests,):
        raise SpecError(f"conversations need shape ({requests},), found {numbers.shape}")
    if numbers.size and not np.issubdtype(numbers.dtype, np.integer):
        raise SpecError(f"conversations must be integers, found dtype {numbers.dtype}")
    if numbers.size and int(numbers.min()) < -1:
        raise SpecError(f"conversations are numbered from 0, -1 is none; found {numbers.min()}")
    return numbers.astype(np.int64)
