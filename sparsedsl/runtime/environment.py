"""What shapes generated code besides the user's program: versions, processor, settings.

Gives: texts that are part of the keys under which code is kept.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path


@functools.cache
def environment() -> str:
    """Return the versions of all that shapes a kernel: part of every key."""
    from sparsedsl.codegen.processor import host_cpu

    code = hashlib.sha256("".join(_sources(str(Path(__file__).parents[1]))).encode())
    versions = [f"python {platform.python_version()} {platform.machine()}", f"cpu {host_cpu()}"]
    for name in ("sparsedsl", "numba", "llvmlite", "numpy", "z3-solver", "islpy"):
        versions.append(f"{name} {_version(name)}")
    return "; ".join([*versions, f"code {code.hexdigest()[:16]}"])


def _sources(folder: str) -> Iterator[str]:
    """Yield the name, size and time of every module below a folder, in one order."""
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.endswith(".py"):
            status = entry.stat()
            yield f"{entry.name} {status.st_size} {status.st_mtime_ns}\n"
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from _sources(entry.path)


def _version(name: str) -> str:
    """Return the version of an installed package, from the first lines of its metadata alone."""
    try:
        text = importlib.metadata.distribution(name).read_text("METADATA") or ""
    except importlib.metadata.PackageNotFoundError:
        text = ""
    found = re.search(r"^Version: *(.+)$", text, re.MULTILINE)
    return found[1] if found else "unknown"


@functools.cache
def machine_environment() -> str:
    """Return all that shapes object code: versions, and what Numba is told by its environment."""
    told = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_")]
    return "; ".join([environment(), *sorted(told)])
