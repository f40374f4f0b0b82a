"""Object code of kernels in files: written whole, believed only as it was written.

Takes: ``Code`` and a key, the description of all that shaped it.  Gives: the code for that key, or
None.  Invariant: what is linked into a process is what a process with the same key wrote, byte
by byte: the file begins with a digest of all that follows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from sparsedsl.codegen.machine import Code
from sparsedsl.runtime.cache_files import write
from sparsedsl.runtime.environment import machine_environment


def load(path: Path, key: str) -> Code | None:
    """Return the code in a file; None unless the file is whole and was written for ``key``."""
    try:
        text = path.read_bytes()
        digest, _, rest = text.partition(b"\n")
        if digest != _digest(rest):
            return None
        head, _, content = rest.partition(b"\n")
        record = json.loads(head)
        if record["key"] != key:
            return None
        shared = bool(record["shared"])
        returns = tuple((str(dtype), int(axes)) for dtype, axes in record["returns"])
        return Code(str(record["entry"]), tuple(record["needs"]), content, shared, returns)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, key: str, code: Code) -> None:
    """Write code to a file, if that is possible."""
    described = {"shared": code.shared, "returns": code.returns}
    record = {"key": key, "entry": code.entry, "needs": code.needs, **described}
    rest = json.dumps(record).encode() + b"\n" + code.content
    with contextlib.suppress(OSError):
        write(path, _digest(rest) + b"\n" + rest)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def kept(directory: Path | None, name: str, make: Callable[[], Code]) -> Code:
    """Return the object code kept as ``name`` for this machine, or made now and kept."""
    if directory is None:
        return make()
    environment = machine_environment()
    # environments that share a directory do not write over each other's code
    mark = hashlib.sha256(environment.encode()).hexdigest()[:8]
    path, key = directory / f"{name}.{mark}.o", f"{environment}\n{name}"
    code = load(path, key)
    if code is None:
        code = make()
        save(path, key, code)
    return code
