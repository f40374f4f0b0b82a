"""Request traces: which experts each request needs, and when it arrives."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rdu.coe.parts import Composition
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "experts", _requests(self.experts))
        if self.arrivals is not None:
            object.__setattr__(self, "arrivals", _times(self.arrivals, len(self.experts)))
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
        """Read a CSV file with a header: ``expert`` and, optionally, ``arrival_s``.

        ``expert`` is a number, or a name of ``composition``; several, needed one after the other,
        are separated by ``>``.

        Raises
        ------
        SpecError
            Naming the file and line of what cannot be read.
        """
        names = {e.name: n for n, e in enumerate(composition.experts)} if composition else {}
        rows: list[list[int]] = []
        times: list[float] = []
        try:
            with Path(path).open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, restval="")
                header = reader.fieldnames or []
                if "expert" not in header:
                    raise SpecError(f"{path}: expected a column 'expert', found {list(header)}")
                for row in reader:
                    place = f"{path}, line {reader.line_num}"
                    rows.append([_expert(cell, names, place) for cell in row["expert"].split(">")])
                    if "arrival_s" in header:
                        times.append(_seconds(row["arrival_s"], place))
        except OSError as error:
            raise SpecError(f"cannot read the trace {path}: {error.strerror}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise SpecError(f"{path} is not a CSV text file: {error}") from error
        table = np.full((len(rows), max(map(len, rows), default=1)), -1, np.int64)
        for n, row in enumerate(rows):
            table[n, : len(row)] = row
        return cls(table, np.array(times) if times else None, batch, output_tokens)

    def with_rate(self, requests_per_second: float, *, seed: int = 0) -> Trace:
        """The same requests with Poisson arrivals at the given rate."""
        positive("trace", requests_per_second=requests_per_second)
        gaps = np.random.default_rng(seed).exponential(1 / requests_per_second, len(self))
        return replace(self, arrivals=np.cumsum(gaps))

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


def _expert(cell: str, names: dict[str, int], place: str) -> int:
    text = cell.strip()
    if text in names:
        return names[text]
    if text.isdigit():
        return int(text)
    raise SpecError(f"{place}: {text!r} is neither an expert's number nor a known name")


def _seconds(cell: str | None, place: str) -> float:
    try:
        return float(cell or "")
    except ValueError:
        raise SpecError(f"{place}: arrival_s must be a number, found {cell!r}") from None
