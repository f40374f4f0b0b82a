"""What this machine's processor is: code made for one may not run on another.

Takes: nothing.  Gives: text that differs where the processor, or what it can do, differs.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

_TOLD = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features", "isa", "uarch"),
)
"""Fields that say what a processor is, on x86, ARM and RISC-V; others change while it runs."""


@functools.cache
def host_cpu() -> str:
    """Return this machine's processor: what Linux says of the first, elsewhere what LLVM says."""
    return _described(_first_processor()) or _llvm_cpu()


@functools.cache
def has_masks() -> bool:
    """Return whether vectors of eight float64 are loaded lane by lane as fast as whole: AVX-512.

    Elsewhere masks take several instructions, or a branch for each lane.
    """
    lines = _first_processor()
    flags = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    if lines:
        return any("avx512f" in names and "avx512vl" in names for names in flags)
    from llvmlite import binding

    return bool(binding.get_host_cpu_features().get("avx512vl", False))


@functools.cache
def gathers() -> bool:
    """Return whether a vector is loaded from scattered places faster than element by element.

    Intel's processors with masks do so.  AMD's take several times as long: a sum over the
    rows of a matrix whose columns are close took 5 times as long on Zen 5 with such vectors.
    """
    return has_masks() and any("GenuineIntel" in line for line in _first_processor())


@functools.cache
def locality(*, of_row: bool) -> int:
    """Return in which cache memory that is fetched is kept, as LLVM numbers them: 3 is the nearest.

    Lines of rows that are read whole stay in the second one on Zen 4, whose first one they would
    crowd: with rows of 64 elements all around a product takes 0.75 of the time.
    """
    lines = _first_processor()
    fields = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    zen_4 = (fields.get("vendor_id"), fields.get("cpu family")) == ("AuthenticAMD", "25")
    return 2 if of_row and zen_4 and has_masks() else 3


@functools.cache
def packs_bytes() -> bool:
    """Return whether the bytes of a vector that a mask says are moved together: AVX-512 VBMI2."""
    lines = _first_processor()
    flags = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    return any("avx512_vbmi2" in names for names in flags)


def _first_processor() -> list[str]:
    """Return the lines of Linux about the first processor, which are made as they are read."""
    lines: list[str] = []
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace", buffering=4096) as stream:
            for line in stream:
                if not line.strip():
                    break
                lines.append(line)
    except OSError:
        return []
    return lines


def _described(lines: list[str]) -> str | None:
    """Return the name and a digest of what a processor can do; None where that is not told."""
    parts = [line.partition(":") for line in lines]
    fields = {name.strip(): value.strip() for name, _, value in parts}
    told = [f"{name}: {fields[name]}" for name in _TOLD if name in fields]
    if not ({"flags", "Features", "isa"} & fields.keys()):
        return None
    name = fields.get("model name") or fields.get("CPU part") or fields.get("uarch", "")
    return f"{name} {hashlib.sha256(chr(10).join(told).encode()).hexdigest()[:16]}"


def _llvm_cpu() -> str:
    from llvmlite import binding

    features = binding.get_host_cpu_features().flatten()
    return f"{binding.get_host_cpu_name()} {hashlib.sha256(features.encode()).hexdigest()[:16]}"
