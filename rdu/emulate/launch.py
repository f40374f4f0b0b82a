"""Starting a kernel: program load, argument load, execution (section 1 of the paper's digest).

Program load moves the configuration of the units in use. The host loads it at every launch;
the schedule on the chip loads it from HBM, and not again when the same kernel ran last. Each
adds its own constant. Where repeated kernels are looped, only the first of them is launched: the
loop's counters give the others their arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Orchestration
from rdu.specs import Chip


@dataclass(frozen=True, slots=True)
class Launch:
    """Cycles before a kernel executes, and whether its program had to be loaded."""

    cycles: int
    loaded: bool


class Launcher:
    """Remembers which program is on the chip."""

    def __init__(self, chip: Chip, orchestration: Orchestration) -> None:
        self.chip = chip
        self.orchestration = orchestration
        self.current: tuple[object, ...] | None = None

    def launch(self, kernel: Kernel) -> Launch:
        """Return the cost of starting ``kernel`` next."""
        chip = self.chip
        hardware = self.orchestration is not Orchestration.SOFTWARE
        who = chip.hardware_launch_us if hardware else chip.host_launch_us
        signature = kernel.signature()
        same = signature == self.current
        self.current = signature
        if same and self.orchestration is Orchestration.LOOPED:
            return Launch(0, False)
        load = not (same and hardware)
        seconds = 1e-6 * (who + chip.argument_load_us)
        if load:
            rate = chip.hbm_tb_per_s * 1e12 if hardware else chip.config_load_gb_per_s * 1e9
            seconds += kernel.config_bytes / rate
        return Launch(chip.cycles(seconds), load)
