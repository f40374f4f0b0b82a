"""Shared objects: made by the system's linker, loaded by the system's loader.

Takes: object files.  Gives: shared objects, and where their functions lie in this process.
Invariant: neither LLVM nor Numba is loaded; what is loaded are the bytes given, not a file that
could change under it.

Only Linux can load bytes that lie in no file, so that elsewhere, and where there is no program
``ld``, LLVM links (``codegen.llvm_engine``).
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LINKER_SECONDS = 10.0
"""Seconds that a linker gets: it takes some milliseconds."""

_OPTIONS = ("-shared", "-z", "noexecstack", "-z", "now", "-z", "text")
"""No executable stack, for an object that does not say it needs none; every function that it needs
looked up when it is loaded; no addresses written into its code."""

_loaded = itertools.count(1)


@functools.cache
def linker() -> str | None:
    """Return the program that makes shared objects; None where they cannot be made or loaded."""
    if sys.platform != "linux" or not hasattr(os, "memfd_create"):
        return None
    return shutil.which("ld")


def made(content: bytes, entry: str) -> bytes | None:
    """Return the shared object of an object file of relocatable code.

    None where it cannot be made, or the system would not load it for its function ``entry``.
    """
    program = linker()
    if program is None:
        return None
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "kernel.o", Path(folder) / "kernel.so"
            source.write_bytes(content)
            words = [program, *_OPTIONS, "-o", str(target), str(source)]
            subprocess.run(words, check=True, capture_output=True, timeout=LINKER_SECONDS)
            found = target.read_bytes()
    except (OSError, subprocess.SubprocessError):
        return None
    return None if address(found, entry) is None else found


def address(content: bytes, entry: str) -> int | None:
    """Return where ``entry`` lies, after loading a shared object that stays in this process.

    None where the system refuses it, such as for want of a function that it needs.
    """
    try:
        file = os.memfd_create(entry, os.MFD_CLOEXEC)
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            library = ctypes.CDLL(_path(file), os.RTLD_NOW | os.RTLD_LOCAL)
        return ctypes.cast(library[entry], ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


def _path(file: int) -> str:
    """Return a path of an open file that no other file had before.

    Numbers of files are used again, and the loader takes the same path for the same library.
    """
    steps = f"{next(_loaded):b}".replace("0", "/").replace("1", "./")
    return f"/proc/self/fd/{steps}{file}"
