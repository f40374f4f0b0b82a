"""Serving platforms: two memory tiers, the link between them and how fast an expert runs.

Three come with the package, read from ``rdu/specs``; a user's own platform is a file of the same
keys, read with `Platform.from_toml`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rdu.coe.parts import Composition, Expert, Router
from rdu.coe.tables import amount, flag, read_toml, section, text, whole
from rdu.errors import CapacityError, SpecError
from rdu.memory.tiers import Link, Tier, counts, positive
from rdu.specs import Node

_SPECS = Path(__file__).resolve().parent.parent / "specs"

_KEYS: dict[str, tuple[str, ...]] = {
    "": ("name", "hbm", "backing", "switch", "expert"),
    "hbm": ("capacity_gb", "bandwidth_gb_per_s"),
    "backing": ("name", "capacity_gb", "bandwidth_gb_per_s", "staged"),
    "switch": ("name", "link_gb_per_s", "links", "latency_us"),
    "expert": ("reference_gb", "run"),
    "expert.run": ("output_tokens", "run_ms"),
}


@dataclass(frozen=True, slots=True)
class Platform:
    """A node that serves experts from HBM, backed by a larger and slower tier.

    Parameters
    ----------
    name:
        Shown in reports.
    hbm, backing:
        The two tiers. Experts run from ``hbm``.
    switch:
        What an expert crosses when it is activated.
    staged:
        True where every expert keeps its place in ``backing`` while active (SN40L); false where
        the two tiers hold experts between them (the paper's estimate for DGX).
    reference_bytes:
        Size of the model the run times belong to; larger experts take proportionally longer.
    runs:
        ``(output tokens, seconds)`` of one prompt, ascending.
    """

    name: str
    hbm: Tier
    backing: Tier
    switch: Link
    staged: bool
    reference_bytes: float
    runs: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        positive(f"platform {self.name!r}", reference_bytes=self.reference_bytes)
        if not self.runs:
            raise SpecError(f"platform {self.name!r}: at least one run time is needed, found none")
        tokens = [count for count, _ in self.runs]
        if tokens != sorted(set(tokens)) or tokens[0] < 1:
            raise SpecError(
                f"platform {self.name!r}: output tokens must ascend from 1, found {tokens}"
            )
        for count, seconds in self.runs:
            positive(f"platform {self.name!r}, run of {count} tokens", seconds=seconds)

    @classmethod
    def from_toml(cls, path: str | Path) -> Platform:
        """Read a platform file.

        Raises
        ------
        SpecError
            For a file that cannot be read, an unknown or missing key (a wrong unit is an unknown
            key) or a value that makes no sense.
        """
        data = read_toml(path, "platform")
        try:
            return _platform(data, str(path))
        except SpecError as error:
            told = error.message
            where = "" if told.startswith(str(path)) else f"{path}: "
            raise SpecError(where + told, hint=error.hint) from None

    @classmethod
    def of_node(
        cls, node: Node, runs: Iterable[tuple[int, float]], reference_bytes: float, name: str = ""
    ) -> Platform:
        """A node of emulated chips: its memory tiers, and one link a socket between them.

        Parameters
        ----------
        runs:
            ``(output tokens, seconds)`` of one prompt, such as `rdu.llm.generate` estimates.
        reference_bytes:
            Weights of the model that ``runs`` are of.

        Examples
        --------
        >>> import rdu
        >>> sixteen = Platform.of_node(rdu.sn40l_node(16), [(20, 0.04)], 14e9)
        >>> sixteen.switch_seconds(14e9)
        0.007
        """
        chip, sockets = node.chip, node.sockets
        return cls(
            name or f"{sockets} x {chip.name}",
            Tier("hbm", sockets * chip.hbm_bytes, 1e12 * sockets * chip.hbm_tb_per_s),
            Tier("ddr", sockets * chip.ddr_bytes, 1e9 * sockets * chip.ddr_gb_per_s),
            Link("ddr to hbm", 1e9 * chip.ddr_to_hbm_gb_per_s, sockets),
            True,
            reference_bytes,
            tuple(sorted(runs)),
        )

    @property
    def hbm_bytes(self) -> int:
        """Capacity of the tier experts run from, in whole bytes."""
        return math.floor(self.hbm.capacity_bytes)

    @property
    def capacity_bytes(self) -> int:
        """What one node can hold at all."""
        held = math.floor(self.backing.capacity_bytes)
        return held if self.staged else held + self.hbm_bytes

    def switch_seconds(self, count: float) -> float:
        """Time to copy ``count`` bytes between the two tiers."""
        return self.switch.seconds(count)

    def run_seconds(self, model: Expert | Router, output_tokens: int) -> float:
        """Time of one prompt on ``model``, in seconds.

        A figure of the model's own wins. Otherwise the platform's run times are used, linear
        between and beyond the known token counts, in proportion to the model's weight bytes.
        """
        if model.run_seconds is not None:
            return model.run_seconds
        counts("run", output_tokens=output_tokens)
        scale = model.weight_bytes / self.reference_bytes
        return scale * _interpolate(self.runs, output_tokens)

    def require(self, composition: Composition) -> None:
        """Check that the composition can be served at all.

        Raises
        ------
        CapacityError
            Saying what did not fit, where, and by how many bytes.
        """
        free = self.hbm_bytes - composition.router.hbm_bytes
        for expert in composition.experts:
            if expert.hbm_bytes > free:
                raise CapacityError(
                    f"expert {expert.name!r} needs {expert.hbm_bytes:,} bytes of HBM, "
                    f"{self.name} leaves {max(free, 0):,} beside the router: "
                    f"{expert.hbm_bytes - free:,} bytes too many",
                    hint="use a platform with more HBM, or a smaller expert",
                )
        if composition.bytes > self.capacity_bytes:
            over = composition.bytes - self.capacity_bytes
            tiers = self.backing.name if self.staged else f"hbm + {self.backing.name}"
            raise CapacityError(
                f"{len(composition)} experts and the router need {composition.bytes:,} bytes, "
                f"{tiers} of {self.name} holds {self.capacity_bytes:,}: "
                f"{over:,} bytes too many",
                hint=f"use {math.ceil(composition.bytes / self.capacity_bytes)} nodes, "
                "or fewer experts",
            )

    def with_links(self, links: int) -> Platform:
        """The same platform with ``links`` links between the tiers."""
        counts(f"platform {self.name!r}", links=links)
        return dataclasses.replace(self, switch=dataclasses.replace(self.switch, lanes=links))


def dgx_a100(links: int = 1) -> Platform:
    """DGX A100 with the paper's constants; ``links=8`` loads the eight shards at once."""
    return Platform.from_toml(_SPECS / "dgx_a100.toml").with_links(links)


def dgx_h100(links: int = 1) -> Platform:
    """DGX H100 with the paper's constants; ``links=8`` loads the eight shards at once."""
    return Platform.from_toml(_SPECS / "dgx_h100.toml").with_links(links)


def sn40l_node() -> Platform:
    """A node of eight SN40L sockets with the constants of the paper's figures."""
    return Platform.from_toml(_SPECS / "sn40l_node.toml")


PLATFORMS = {"dgx_a100": dgx_a100, "dgx_h100": dgx_h100, "sn40l_node": sn40l_node}
"""The platforms that come with the package, by name."""


def _interpolate(points: tuple[tuple[int, float], ...], at: int) -> float:
    if len(points) == 1:
        tokens, seconds = points[0]
        return seconds * at / tokens
    low, high = points[0], points[1]
    for pair in itertools.pairwise(points):
        low, high = pair
        if at <= high[0]:
            break
    slope = (high[1] - low[1]) / (high[0] - low[0])
    return max(low[1] + slope * (at - low[0]), 0.0)


def _platform(data: Mapping[str, Any], where: str) -> Platform:
    top = section(data, "", where, _KEYS[""])
    hbm = section(top["hbm"], "hbm", where, _KEYS["hbm"])
    backing = section(top["backing"], "backing", where, _KEYS["backing"])
    switch = section(top["switch"], "switch", where, _KEYS["switch"])
    expert = section(top["expert"], "expert", where, _KEYS["expert"])
    runs = expert["run"]
    if not isinstance(runs, list):
        raise SpecError(f"{where}: expert.run must be an array of tables [[expert.run]]")
    table = [
        section(run, "expert.run", where, _KEYS["expert.run"]) for run in cast("list[Any]", runs)
    ]
    return Platform(
        name=text(top, "name", where),
        hbm=Tier(
            "hbm",
            1e9 * amount(hbm, "hbm.capacity_gb", where, zero=False),
            1e9 * amount(hbm, "hbm.bandwidth_gb_per_s", where, zero=False),
        ),
        backing=Tier(
            text(backing, "backing.name", where),
            1e9 * amount(backing, "backing.capacity_gb", where, zero=False),
            1e9 * amount(backing, "backing.bandwidth_gb_per_s", where, zero=False),
        ),
        switch=Link(
            text(switch, "switch.name", where),
            1e9 * amount(switch, "switch.link_gb_per_s", where, zero=False),
            whole(switch, "switch.links", where),
            1e-6 * amount(switch, "switch.latency_us", where),
        ),
        staged=flag(backing, "backing.staged", where),
        reference_bytes=1e9 * amount(expert, "expert.reference_gb", where, zero=False),
        runs=tuple(
            (
                whole(run, "expert.run.output_tokens", where),
                1e-3 * amount(run, "expert.run.run_ms", where, zero=False),
            )
            for run in table
        ),
    )
