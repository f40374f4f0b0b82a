"""How much memory a call takes at most, beside what it is given, returns and announces.

``python -m sparsedsl.bench.memory KERNEL INPUT ...`` measures cells in the process it starts in
and prints a JSON record for each.  The peak is the kernel's own count of resident pages, reset
before the call; memory that is freed goes back to the system at once, so that a call finds none
of what others left.  The first call on arguments includes the checks of their arrays;
machine code for these is compiled at one of the first calls: which one depends on the time taken.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsedsl.bench.cases import Case, as_argument, case
from sparsedsl.bench.inputs import Fibers
from sparsedsl.bench.measure import result_bytes
from sparsedsl.explain.storage import announced_bytes
from sparsedsl.options import options
from sparsedsl.runtime import blocks

LEAST = 20_000_000
"""Bytes of operands and result from which a cell is told: pages and pools are little of them."""

SLACK = 1.3
"""How far the peak may be above operands, result and announced workspace."""

STATUS = Path("/proc/self/status")
PEAK = Path("/proc/self/clear_refs")

AT_ONCE = {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment in which memory that is freed goes back to the system."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one cell.

    ``announced`` is what the explanation tells of copies and workspaces; ``first`` and ``again``
    are what a call on arguments not seen before, nothing compiled in it, and one on the same, took
    at most beside the operands, the result included.
    """

    kernel: str
    input: str
    operands: int
    result: int
    announced: int
    first: int
    again: int

    @property
    def ratio(self) -> float:
        """The peak over what is to be expected."""
        expected = self.operands + self.result + self.announced
        return (self.operands + max(self.first, self.again)) / expected


def measurable() -> bool:
    """Whether this system tells, and forgets, the most memory that a process had."""
    return os.access(PEAK, os.W_OK) and "VmHWM" in STATUS.read_text()


def growth(call: Callable[[], Any]) -> tuple[int, Any]:
    """Return how many bytes the process grew by at most during a call, and the call's result."""
    gc.collect()
    blocks.release()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # what was freed before and kept would not be seen to be taken again
        trim(0)
    before = _status("VmRSS")
    PEAK.write_text("5")
    result = call()
    return max(_status("VmHWM") - before, 0), result


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    assert found is not None
    return 1024 * int(found[1])


def measure(made: Case) -> Memory:
    """Call a case until its kernel is compiled, then measure first calls and another.

    The checks of each operand are compiled in one call at most, so that one first call more than
    there are operands is clear of that.
    """
    made()
    given, size = made, 0
    firsts: list[int] = []
    for _ in range(len(made.operands) + 1):
        unseen = {n: _unseen(x, made.arguments[n]) for n, x in made.operands.items()}
        given = replace(made, arguments=unseen)
        took, result = growth(given)
        firsts.append(took)
        size = result_bytes(result)
        del result
    first = min(firsts)
    again, _ = growth(given)
    announced = sum(map(announced_bytes, given.lower().units))
    return Memory(made.kernel.name, made.input, made.bytes, size, announced, first, again)


def _unseen(operand: Any, argument: Any) -> Any:
    """The same arrays in an object that was not bound before."""
    if isinstance(operand, Fibers):
        return as_argument(operand)
    return argument if isinstance(argument, np.ndarray) else copy.copy(argument)


def memories(cells: Iterable[tuple[str, str]]) -> tuple[Memory, ...]:
    """Measure cells of one kernel in a process of their own; those of ``LEAST`` bytes are kept.

    Nothing where the system does not tell, or the process fails.
    """
    if not measurable():
        return ()
    names = [name for cell in cells for name in cell]
    command = [sys.executable, "-m", "sparsedsl.bench.memory", *names]
    environment = {**os.environ, **AT_ONCE}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = [Memory(**json.loads(line)) for line in done.stdout.splitlines()]
    return tuple(m for m in found if m.operands + m.result >= LEAST)


def main() -> None:
    """Measure the cells named on the command line."""
    with options(threads=1):
        for kernel, place in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
            print(json.dumps(asdict(measure(case(kernel, place)))), flush=True)


if __name__ == "__main__":
    main()
