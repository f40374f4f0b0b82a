"""A whole run: which kernels on which inputs, and on what machine.

Takes: the user's choice.  Gives: ``Run``, all that was measured.  One thread throughout, but
where one thread is compared with several.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sparsedsl.bench.cases import KERNELS, case
from sparsedsl.bench.conversions import Conversion, conversions
from sparsedsl.bench.first import First, first_calls
from sparsedsl.bench.growth import Growth, growths
from sparsedsl.bench.inputs import known
from sparsedsl.bench.measure import FULL, QUICK, Measured, bandwidth, measure
from sparsedsl.bench.memory import Memory, memories
from sparsedsl.bench.overhead import Overhead, overheads
from sparsedsl.bench.peers import Peers, find
from sparsedsl.bench.speedup import Speedup, speedups
from sparsedsl.errors import NotationError
from sparsedsl.options import options


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a run found.

    ``machine`` and ``inputs`` are lines by name; ``bandwidth`` is bytes a second by kind of
    access; ``absent`` holds the reason for each peer that was not there.
    """

    quick: bool
    machine: dict[str, str]
    inputs: dict[str, str]
    bandwidth: dict[str, float]
    versions: dict[str, str]
    absent: dict[str, str]
    cells: tuple[Measured, ...]
    firsts: tuple[First, ...]
    overheads: tuple[Overhead, ...] = ()
    speedups: tuple[Speedup, ...] = ()
    memories: tuple[Memory, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    growths: tuple[Growth, ...] = ()


def chosen(kernels: str = "", inputs: str = "", quick: bool = False) -> list[tuple[str, str]]:
    """Return (kernel, input) for each cell asked for; empty text asks for all.

    Names are separated by commas.  A kernel's name may be shortened to its beginning, and
    upper and lower case are alike: ``"spmv,a .* b"``.

    Raises
    ------
    NotationError
        For names that nothing has, and choices that leave nothing.
    """
    wanted = [_kernels(part.strip()) for part in kernels.split(",") if part.strip()]
    names = {name for group in wanted for name in group} or {*KERNELS}
    places = [part.strip() for part in inputs.split(",") if part.strip()]
    there = known(quick)
    for place in places:
        if place not in there:
            raise NotationError(
                f"--matrices: expected the name of an input, found '{place}'",
                hint=f"inputs: {', '.join(there)}",
            )
    cells = [
        (kernel.name, place)
        for kernel in KERNELS.values()
        if kernel.name in names
        for place in kernel.inputs
        if (place in places or not places) and place in there
    ]
    if not cells:
        raise NotationError(
            f"no kernel of '{kernels}' runs on '{inputs}'",
            hint="; ".join(f"{n}: {', '.join(KERNELS[n].inputs)}" for n in KERNELS if n in names),
        )
    return cells


def _kernels(text: str) -> list[str]:
    exact = [name for name in KERNELS if name.lower() == text.lower()]
    found = exact or [name for name in KERNELS if name.lower().startswith(text.lower())]
    if not found:
        raise NotationError(
            f"--kernels: expected the name of a kernel or its beginning, found '{text}'",
            hint=f"kernels: {', '.join(KERNELS)}",
        )
    return found


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"


def run(
    cells: Sequence[tuple[str, str]],
    *,
    quick: bool = False,
    threads: int = 1,
    peers: Peers | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Run:
    """Measure cells; ``step`` is told what comes next.

    With more than one of ``threads`` every cell is also timed on one thread beside so many.
    First calls and memory in new processes, one for each kernel, first calls by order and operands,
    calls on tiny arguments and conversions are measured in full runs alone.
    """
    from sparsedsl import __version__

    there = find() if peers is None else peers
    before = _load()
    step("memory bandwidth")
    speeds = bandwidth(quick, threads)
    measured: list[Measured] = []
    with options(threads=1):
        for kernel, place in cells:
            step(f"{kernel} on {place}")
            spent = QUICK if quick else FULL
            measured.append(measure(case(kernel, place, quick), there, spent))
        tiny: tuple[Overhead, ...] = ()
        stored: tuple[Conversion, ...] = ()
        if not quick:
            step("calls on tiny arguments")
            tiny = overheads()
            step("conversions")
            stored = conversions(quick)
    grown: tuple[Growth, ...] = ()
    if not quick:
        step("first calls by order and operands")
        grown = growths()
    faster = speedups(cells, threads, quick, step) if threads > 1 else ()
    firsts: list[First] = []
    taken: list[Memory] = []
    for kernel in dict.fromkeys(kernel for kernel, _ in cells if not quick):
        step(f"first call of {kernel}")
        firsts.append(first_calls(kernel, KERNELS[kernel].inputs[0]))
        step(f"memory of {kernel}")
        taken += memories(cell for cell in cells if cell[0] == kernel)
    about = known(quick)
    machine = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": "1" if threads < 2 else f"1, and 1 beside {threads} under Threads",
        "load before and after": f"{before}, {_load()}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "sparsedsl": __version__,
    }
    places = dict.fromkeys(place for _, place in cells)
    return Run(
        quick=quick,
        machine=machine,
        inputs={place: about[place] for place in places},
        bandwidth=speeds,
        versions=there.versions,
        absent=there.absent,
        cells=tuple(measured),
        firsts=tuple(firsts),
        overheads=tiny,
        speedups=faster,
        memories=tuple(taken),
        conversions=stored,
        growths=grown,
    )
