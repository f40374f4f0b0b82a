"""What a kernel launch costs: program load, argument load, start (section IV-D).

The host drives each launch (``software``), or a static schedule on the chip does (``hardware``).
``looped`` folds the repeats of a kernel into one launch (kernel looping, arXiv 2410.23668).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from rdu.errors import MappingError
from rdu.specs import Chip

Orchestration: TypeAlias = Literal["software", "hardware", "looped"]


def config_bytes(chip: Chip, pcus: int, pmus: int) -> float:
    """Size of the program of a kernel that uses so many units."""
    return 1024 * (pcus * chip.pcu_config_kib + pmus * chip.pmu_config_kib)


def launch_seconds(
    chip: Chip, program_bytes: float, orchestration: Orchestration, *, loaded: bool = False
) -> float:
    """Seconds of one launch.

    Parameters
    ----------
    program_bytes:
        From `config_bytes`.
    loaded:
        The kernel before was the same: the schedule leaves its program where it is. The host
        loads it again, which is what the paper's software bars show.

    Raises
    ------
    MappingError
        For an unknown orchestration.
    """
    arguments = 1e-6 * chip.argument_load_us
    match orchestration:
        case "software":
            load = program_bytes / (1e9 * chip.config_load_gb_per_s)
            return 1e-6 * chip.host_launch_us + arguments + load
        case "hardware" | "looped":
            # Programs of a resident model lie in HBM.
            load = 0.0 if loaded else program_bytes / (1e12 * chip.hbm_tb_per_s)
            return 1e-6 * chip.hardware_launch_us + arguments + load
        case _:
            raise MappingError(
                f"unknown orchestration {orchestration!r}", hint="known: software, hardware, looped"
            )
