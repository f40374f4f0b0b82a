"""A chip and a node of several: frozen, checked, one unit in every field's name."""

from __future__ import annotations

import difflib
import math
import tomllib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from rdu.errors import SpecError

_SECTIONS = ("chip", "compute", "memory", "network", "launch", "node")
_NODE_KEYS = ("sockets", "p2p_gb_per_s", "p2p_latency_ns")
_MOST = 1e15
_RATES = 2.0**-10, 2.0**40
"""Bytes a cycle that the emulator can count exactly."""
_MAY_BE_ZERO = frozenset(
    {
        "coalesce_requests",
        "tail_cycles",
        "hop_cycles",
        "hbm_latency_ns",
        "ddr_latency_ns",
        "p2p_latency_ns",
        "host_launch_us",
        "hardware_launch_us",
        "argument_load_us",
        "pcu_config_kib",
        "pmu_config_kib",
    }
)


@dataclass(frozen=True, slots=True)
class Chip:
    """One socket: compute units (PCU), memory units (PMU), mesh, memory tiers, launch costs.

    A field's name ends in its unit; counts have none. ``specs/sn40l.toml`` says of every
    number whether it is published, inferred or a default.

    Raises
    ------
    SpecError
        On a value that is not a number, is negative or does not fit the others.

    Examples
    --------
    >>> from rdu.specs import sn40l_node
    >>> chip = sn40l_node().chip
    >>> round(chip.peak_tflops)
    639
    """

    name: str
    clock_ghz: float
    pcus: int
    systolic_rows: int
    systolic_columns: int
    simd_lanes: int
    simd_stages: int
    tail_cycles: int
    pmus: int
    pmu_kib: int
    pmu_banks: int
    pmu_port_bytes_per_cycle: int
    hbm_gib: float
    hbm_tb_per_s: float
    hbm_latency_ns: float
    ddr_tib: float
    ddr_gb_per_s: float
    ddr_latency_ns: float
    ddr_to_hbm_gb_per_s: float
    mesh_rows: int
    mesh_columns: int
    link_bytes_per_cycle: int
    vector_tracks: int
    hop_cycles: int
    fifo_depth: int
    agcus: int
    host_launch_us: float
    hardware_launch_us: float
    argument_load_us: float
    pcu_config_kib: float
    pmu_config_kib: float
    config_load_gb_per_s: float
    int32_interval_cycles: int = 2
    burst_bytes: int = 64
    coalesce_requests: int = 16
    scalar_bytes: int = 4
    scalar_tracks: int = 8
    control_wires: int = 16

    def __post_init__(self) -> None:
        _check_values("chip", self)
        sites = self.mesh_rows * self.mesh_columns
        for kind, count in (("pcus", self.pcus), ("pmus", self.pmus)):
            if count > sites:
                raise SpecError(
                    f"chip {self.name!r}: {kind} = {count} do not fit a mesh of "
                    f"{self.mesh_rows} x {self.mesh_columns} = {sites} sites",
                    hint=f"make mesh_rows * mesh_columns at least {count}",
                )
        _check_rate(f"chip {self.name!r}: hbm_tb_per_s", self.hbm_bytes_per_cycle, self.clock_ghz)
        _check_rate(f"chip {self.name!r}: ddr_gb_per_s", self.ddr_bytes_per_cycle, self.clock_ghz)

    @classmethod
    def from_toml(cls, path: str | Path) -> Chip:
        """Read a chip from the ``chip``, ``compute``, ``memory``, ``network``, ``launch`` tables.

        Raises
        ------
        SpecError
            Naming the file and key: unknown, missing, of another unit, or senseless.
        """
        return Node.from_toml(path).chip

    @property
    def peak_tflops(self) -> float:
        """Peak of all systolic arrays; a multiply and an add are two operations."""
        return 2e-3 * self.pcus * self.systolic_rows * self.systolic_columns * self.clock_ghz

    @property
    def sram_bytes(self) -> int:
        """Scratchpad bytes of all PMUs."""
        return self.pmus * self.pmu_kib * 1024

    @property
    def hbm_bytes(self) -> int:
        """Capacity of the HBM tier."""
        return int(self.hbm_gib * 2**30)

    @property
    def ddr_bytes(self) -> int:
        """Capacity of the DDR tier."""
        return int(self.ddr_tib * 2**40)

    @property
    def hbm_bytes_per_cycle(self) -> float:
        """HBM bandwidth in bytes a clock cycle."""
        return self.hbm_tb_per_s * 1e12 / (self.clock_ghz * 1e9)

    @property
    def ddr_bytes_per_cycle(self) -> float:
        """DDR bandwidth in bytes a clock cycle."""
        return self.ddr_gb_per_s * 1e9 / (self.clock_ghz * 1e9)

    @property
    def hop_bytes_per_cycle(self) -> int:
        """Bytes a cycle between two neighbouring switches, one direction, all tracks."""
        return self.link_bytes_per_cycle * self.vector_tracks

    @property
    def hop_scalar_bytes_per_cycle(self) -> int:
        """Bytes of scalars a cycle between two neighbouring switches, one direction."""
        return self.scalar_bytes * self.scalar_tracks

    def cycles(self, seconds: float) -> int:
        """Return the whole cycles that cover ``seconds``."""
        return math.ceil(seconds * self.clock_ghz * 1e9 - 1e-9)

    def seconds(self, cycles: int) -> float:
        """Return the duration of ``cycles``."""
        return cycles / (self.clock_ghz * 1e9)

    def with_changes(self, **changes: Any) -> Chip:
        """Return a copy with some fields replaced, checked again."""
        unknown = sorted(set(changes) - {f.name for f in fields(Chip)})
        if unknown:
            raise SpecError(
                f"chip {self.name!r}: unknown field {unknown[0]!r}", hint=_closest(unknown[0])
            )
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Node:
    """``sockets`` equal chips joined peer to peer."""

    chip: Chip
    sockets: int
    p2p_gb_per_s: float
    p2p_latency_ns: float = 1000.0

    @property
    def p2p_bytes_per_cycle(self) -> float:
        """Bandwidth from one socket to another in bytes a clock cycle, one direction."""
        return self.p2p_gb_per_s * 1e9 / (self.chip.clock_ghz * 1e9)

    def __post_init__(self) -> None:
        _check_values("node", self)
        _check_rate("node: p2p_gb_per_s", self.p2p_bytes_per_cycle, self.chip.clock_ghz)

    @classmethod
    def from_toml(cls, path: str | Path) -> Node:
        """Read a node: the tables of a chip and ``[node]``.

        Raises
        ------
        SpecError
            Naming the file and key: unknown, missing, of another unit, or senseless.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise SpecError(f"cannot read the spec {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise SpecError(f"{path}: not valid UTF-8: {error.reason}") from None
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SpecError(f"{path}: not valid TOML: {error}") from None
        values = _flatten(path, data)
        chip_keys = {f.name for f in fields(Chip)}
        for key in values:
            if key not in chip_keys and key not in _NODE_KEYS:
                raise SpecError(f"{path}: unknown key {key!r}", hint=_closest(key))
        values.setdefault("sockets", 1)
        values.setdefault("p2p_gb_per_s", 100.0)
        values.setdefault("p2p_latency_ns", 1000.0)
        given = {f.name for f in fields(Chip) if f.default is not MISSING}
        missing = sorted(chip_keys - given - set(values))
        if missing:
            raise SpecError(
                f"{path}: missing key {missing[0]!r}",
                hint="a field without a default must be given; start from rdu/specs/sn40l.toml",
            )
        try:
            chip = Chip(**{key: values[key] for key in chip_keys if key in values})
            return cls(chip, **{key: values[key] for key in _NODE_KEYS})
        except SpecError as error:
            raise SpecError(f"{path}: {error.message}", hint=error.hint) from None


def sn40l_node(sockets: int = 8) -> Node:
    """Return the node of the paper: ``sockets`` SN40L chips (8 in its evaluation).

    Raises
    ------
    SpecError
        If ``sockets`` is not a positive whole number.
    """
    return replace(Node.from_toml(Path(__file__).parent / "sn40l.toml"), sockets=sockets)


def _flatten(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for section, table in data.items():
        if section in _SECTIONS and not isinstance(table, dict):
            raise SpecError(f"{path}: [{section}] must be a table, found {table!r}")
        if section not in _SECTIONS:
            near = difflib.get_close_matches(section, _SECTIONS, 1)
            raise SpecError(
                f"{path}: unknown table [{section}]",
                hint=f"did you mean [{near[0]}]?" if near else f"tables: {', '.join(_SECTIONS)}",
            )
        for key, value in table.items():
            if key in values:
                raise SpecError(f"{path}: key {key!r} is given twice")
            values[key] = value
    return values


def _closest(key: str) -> str:
    known = [f.name for f in fields(Chip)] + list(_NODE_KEYS)
    stem = key.split("_")[0]
    same = [name for name in known if name.split("_")[0] == stem]
    near = difflib.get_close_matches(key, known, 1)
    if near:
        return f"did you mean {near[0]!r}? The unit is part of the key"
    if same:
        return f"known keys near it: {', '.join(same)}. The unit is part of the key"
    return f"known keys: {', '.join(known)}"


def _check_values(owner: str, spec: Chip | Node) -> None:
    for field in fields(spec):
        value: Any = getattr(spec, field.name)
        kind = str(field.type)
        if kind == "Chip":
            continue
        if kind == "str":
            if not isinstance(value, str) or not value:
                raise SpecError(f"{owner}: {field.name} must be a name, found {value!r}")
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SpecError(f"{owner}: {field.name} must be a number, found {value!r}")
        if kind == "int" and isinstance(value, float) and not value.is_integer():
            raise SpecError(f"{owner}: {field.name} must be a whole number, found {value!r}")
        if kind == "int" and not isinstance(value, int):
            raise SpecError(f"{owner}: {field.name} must be written without a point: {value!r}")
        low_ok = value >= 0 if field.name in _MAY_BE_ZERO else value > 0
        if not low_ok or value == math.inf:
            bound = "at least 0" if field.name in _MAY_BE_ZERO else "above 0"
            raise SpecError(f"{owner}: {field.name} must be finite and {bound}, found {value!r}")
        if value > _MOST:
            raise SpecError(f"{owner}: {field.name} must be at most {_MOST:g}, found {value!r}")


def _check_rate(owner: str, bytes_per_cycle: float, clock_ghz: float) -> None:
    low, high = _RATES
    if not low <= bytes_per_cycle <= high:
        raise SpecError(
            f"{owner} at clock_ghz = {clock_ghz:g} is {bytes_per_cycle:.3g} bytes a cycle, "
            f"expected from {low:.3g} to {high:.3g}",
            hint="check the unit at the end of each key",
        )
