"""Seconds of a kernel's first call in a new process, and of ``import sparsedsl``.

``python -m sparsedsl.bench.first KERNEL INPUT`` evaluates the kernel on the quick form of the
input and prints the seconds that the first call took.  With an empty cache directory the call
plans, proves and compiles; with a filled one it loads.  Importing is timed in a process that has
imported NumPy and scipy's sparse matrices.

The garbage collector has just passed over what the imports left: a pass takes some ten
milliseconds, and comes at one call or another of any program.  All modules have their bytecode, as
those of an installed package do: where the environment forbids Python to keep any, each process
would compile every source it imports.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class First:
    """Seconds of the first call of a kernel, cold and from disk, each in a new process.

    ``imported`` are those of ``import sparsedsl``.
    """

    kernel: str
    cold: float
    disk: float
    imported: float


IMPORT = """
import time, numpy, scipy.sparse
start = time.perf_counter()
import sparsedsl
print(time.perf_counter() - start)
"""


def first_calls(kernel: str, name: str) -> First:
    """Start two processes that share a fresh cache directory."""
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "SPARSEDSL_CACHE_DIR": place, "SPARSEDSL_NO_CACHE": "0"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = _bytecode()
        call = [sys.executable, "-m", "sparsedsl.bench.first", kernel, name]
        # a first process writes the bytecode of all that it imports
        elsewhere = {**environment, "SPARSEDSL_CACHE_DIR": os.path.join(place, "bytecode")}
        _seconds(call, elsewhere)
        imports = [sys.executable, "-c", IMPORT]
        seconds = [_seconds(command, environment) for command in (call, call, imports)]
    return First(kernel, *seconds)


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    """Return what a process prints last; NaN where it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else float("nan")


@functools.cache
def _bytecode() -> str:
    """Return a directory for bytecode, removed when the process ends."""
    place = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def main() -> None:
    """Evaluate once and print the seconds."""
    from sparsedsl.bench.cases import case

    chosen = case(*sys.argv[1:3], quick=True)
    gc.collect()
    start = time.perf_counter()
    chosen()
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
