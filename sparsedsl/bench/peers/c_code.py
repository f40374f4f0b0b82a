"""C code, compiled by the system's compiler and loaded."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

from sparsedsl.bench.jobs import Missing

FLAGS = ("-O3", "-ffast-math", "-march=native", "-std=c99", "-fPIC")
"""TACO's flags, with the processor named."""


def compiler() -> str:
    """Return the path of the C compiler.

    Raises
    ------
    Missing
        Where there is none.
    """
    found = shutil.which("cc")
    if found is None:
        raise Missing("no C compiler cc on PATH")
    return found


def library(text: str) -> ctypes.CDLL:
    """Compile a text and load it.

    Raises
    ------
    Missing
        Where there is no compiler, or it refuses the text.
    """
    program = compiler()
    with tempfile.TemporaryDirectory() as folder:
        source, made, target = (Path(folder) / f"code.{end}" for end in ("c", "o", "so"))
        source.write_text(text)
        quiet = ["-w", "-c", str(source), "-o", str(made)]
        said = subprocess.run(
            [program, *FLAGS, *quiet], capture_output=True, text=True, check=False
        )
        if said.returncode:
            errors = [line for line in said.stderr.splitlines() if "error:" in line]
            raise Missing(f"{program} refuses it: {''.join(errors[:1]).partition('error: ')[2]}")
        # linked without -ffast-math, with which the library would make this whole process take
        # numbers below 2.2e-308 for zero, NumPy's and ours too
        subprocess.run([program, "-shared", str(made), "-o", str(target)], check=True)
        return ctypes.CDLL(str(target))
