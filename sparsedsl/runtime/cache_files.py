"""The files of a kernel cache: written whole, locked, private; a place of last resort."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path

from sparsedsl.errors import CacheError

_LAYOUT = "kernels-1"
_LOCK_SECONDS = 10.0


class CacheWarning(UserWarning):
    """The kernel cache cannot be used where it should be; kernels are kept elsewhere."""


def read(path: Path) -> str | None:
    """Return a file's text, or None where there is none that can be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def write(path: Path, content: str | bytes) -> None:
    """Write a file that is never seen half written."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def locked(directory: Path) -> Generator[None, None, None]:
    """Hold the directory's lock; after a while, or without lock support, go on without."""
    import filelock

    lock = filelock.FileLock(directory / "lock", timeout=_LOCK_SECONDS)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(filelock.Timeout, NotImplementedError):
            stack.enter_context(lock)
        yield


def files(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yield every file below ``directory`` with its size in bytes."""
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield path, status.st_size


def last_used(path: Path) -> float:
    """Return when an index file was last looked up, in seconds."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def remove(path: Path) -> int:
    """Remove a file and return its size in bytes; 0 if it was not there."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return 0
    return size


def warn(message: str) -> None:
    """Warn, once for each message."""
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, CacheWarning, stacklevel=2)


_warned: set[str] = set()


@functools.cache
def temporary_directory() -> Path | None:
    """Return a directory of this process, removed at its end; None if there is no place."""
    try:
        directory = Path(tempfile.mkdtemp(prefix="sparsedsl-"))
        (directory / "index").mkdir()
    except OSError:
        return None
    atexit.register(_remove_temporary, directory, os.getpid())
    return directory


def _remove_temporary(directory: Path, owner: int) -> None:
    # a forked child ends earlier than the process the directory belongs to
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


def private_directory(base: Path) -> Path:
    """Return the cache's own directory below ``base``, made if need be.

    Raises
    ------
    CacheError
        It cannot be made or written, belongs to another user, or others may write to it.
    """
    directory = base.expanduser() / _LAYOUT
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "index").mkdir(mode=0o700, exist_ok=True)
        status = directory.stat()
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            raise CacheError(f"{directory} belongs to another user")
        if os.name == "posix" and status.st_mode & 0o077:
            directory.chmod(0o700)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise CacheError(f"{directory} cannot be used: {error}") from None
    return directory


def digest(text: str) -> str:
    """Return the hash by which texts are named and records are believed."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]
