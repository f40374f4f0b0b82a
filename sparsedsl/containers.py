"""What the container of this process grants of the machine: memory and processor time.

Takes: the control groups of Linux, in either version of their interface.  Gives: limits, None
where there are none, as on other systems.  Invariant: nothing is written.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")
"""The file that lists the groups of this process."""

ROOT = Path("/sys/fs/cgroup")
"""Where groups are mounted."""


@lru_cache(maxsize=1)
def granted_memory() -> int | None:
    """Return the bytes that this process and those it shares a group with may have."""
    return memory_limit(GROUPS, ROOT)


@lru_cache(maxsize=1)
def granted_cores() -> int | None:
    """Return for how many cores this process has time, rounded up."""
    return core_limit(GROUPS, ROOT)


def memory_limit(groups: Path, root: Path) -> int | None:
    """Return the least limit of memory of the groups in a file, and of those above them."""
    texts = _settings(groups, root, "memory", "memory.max", "memory.limit_in_bytes")
    return min((limit for (text,) in texts if (limit := _number(text)) is not None), default=None)


def core_limit(groups: Path, root: Path) -> int | None:
    """Return the least limit of processor time of the groups in a file, as a number of cores."""
    texts = _settings(groups, root, "cpu", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    shares: list[float] = []
    for words in texts:
        quota, period = map(_number, " ".join(words).split())
        if quota is not None and quota > 0 and period:
            shares.append(quota / period)
    return math.ceil(min(shares)) if shares else None


def _settings(
    groups: Path, root: Path, controller: str, unified: str, *apart: str
) -> Iterator[list[str]]:
    """Give the text of a group's files, from the groups of the process up.

    ``unified`` is the file of the second version, ``apart`` are those of the first.
    """
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            top, names = root / controller, apart
        elif not controllers:
            top, names = root, (unified,)
        else:
            continue
        folder = top / path.lstrip("/")
        while top in (folder, *folder.parents):
            with contextlib.suppress(OSError):  # a group that is not seen from within a container
                yield [(folder / name).read_text() for name in names]
            folder = folder.parent


def _number(text: str) -> int | None:
    """Return a limit; None for "max"."""
    return int(text) if text.strip().lstrip("-").isdigit() else None
