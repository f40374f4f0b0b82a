"""Experts, the router and their composition (section V of the paper)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rdu.errors import SpecError
from rdu.memory.tiers import counts, not_negative, positive

LLAMA2_7B_BYTES = 14e9
"""7e9 parameters in bf16: the size the paper charges for a Llama-2-7B expert."""


@dataclass(frozen=True, slots=True)
class Expert:
    """One model of the composition, compiled on its own.

    Parameters
    ----------
    name:
        Unique in its composition.
    weight_bytes:
        Read-only symbols: copied up on activation, never copied back.
    state_bytes:
        Mutable symbols in HBM: copied up on activation and back on eviction.
    run_seconds:
        Time of one prompt; ``None`` takes the platform's figure for the trace's number of output
        tokens, in proportion to the bytes.
    probability:
        Share of the requests that need this expert, if known; the usage-probability policy reads
        it and falls back to the shares in the trace.
    """

    name: str
    weight_bytes: float = LLAMA2_7B_BYTES
    state_bytes: float = 0.0
    run_seconds: float | None = None
    probability: float | None = None

    def __post_init__(self) -> None:
        owner = f"expert {self.name!r}"
        positive(owner, weight_bytes=self.weight_bytes)
        not_negative(owner, state_bytes=self.state_bytes)
        if self.run_seconds is not None:
            not_negative(owner, run_seconds=self.run_seconds)
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise SpecError(f"{owner}: probability must lie in [0, 1], found {self.probability!r}")

    @property
    def hbm_bytes(self) -> int:
        """What its binary declares it needs in HBM while active, in whole bytes."""
        return math.ceil(self.weight_bytes) + math.ceil(self.state_bytes)


@dataclass(frozen=True, slots=True)
class Router:
    """The model that names each prompt's expert; it runs once for a whole batch.

    Its weights and its key-value cache stay in HBM. ``counted`` says whether they are taken off
    the HBM the experts may use: the paper's own batch-1 line for the DGX systems does not.
    ``run_seconds=None`` charges the platform's figure for ``output_tokens`` at batch 1, whatever
    the batch, which is what the paper's latencies contain.
    """

    name: str = "router"
    weight_bytes: float = LLAMA2_7B_BYTES
    cache_bytes: float = 0.0
    run_seconds: float | None = None
    output_tokens: int = 20
    counted: bool = True

    def __post_init__(self) -> None:
        owner = f"router {self.name!r}"
        not_negative(owner, weight_bytes=self.weight_bytes, cache_bytes=self.cache_bytes)
        counts(owner, output_tokens=self.output_tokens)
        if self.run_seconds is not None:
            not_negative(owner, run_seconds=self.run_seconds)

    @property
    def total_bytes(self) -> int:
        """Weights and cache, in whole bytes."""
        return math.ceil(self.weight_bytes) + math.ceil(self.cache_bytes)

    @property
    def hbm_bytes(self) -> int:
        """What it takes off the experts' HBM."""
        return self.total_bytes if self.counted else 0


@dataclass(frozen=True, slots=True)
class Composition:
    """A router and the experts it chooses among.

    Raises
    ------
    SpecError
        For no expert at all, or two of one name.

    Examples
    --------
    >>> Composition.uniform(150).bytes / 1e9
    2114.0
    """

    experts: tuple[Expert, ...]
    router: Router

    def __init__(self, experts: Iterable[Expert], router: Router | None = None) -> None:
        object.__setattr__(self, "experts", tuple(experts))
        object.__setattr__(self, "router", router if router is not None else Router())
        if not self.experts:
            raise SpecError("a composition needs at least one expert, found none")
        names = [expert.name for expert in self.experts]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SpecError(f"experts need unique names, found {twice!r} more than once")

    @classmethod
    def uniform(
        cls,
        count: int,
        weight_bytes: float = LLAMA2_7B_BYTES,
        router: Router | None = None,
        *,
        state_bytes: float = 0.0,
    ) -> Composition:
        """``count`` equal experts named ``expert0``, ``expert1``, ... and a router."""
        counts("composition", count=count)
        return cls(
            (Expert(f"expert{n}", weight_bytes, state_bytes) for n in range(count)),
            router,
        )

    def __len__(self) -> int:
        return len(self.experts)

    @property
    def bytes(self) -> int:
        """All experts and the router together."""
        return self.router.total_bytes + sum(expert.hbm_bytes for expert in self.experts)
