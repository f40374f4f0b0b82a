"""Generated kernels kept on disk, by what they specialise and by what they contain.

    <directory>/kernels-1/index/<sha of key>.json      key -> kernel, with the caller's metadata
    <directory>/kernels-1/index/<sha of key>.proofs    the records of its proofs
    <directory>/kernels-1/k_<sha of text>.py           a generated module
    <directory>/kernels-1/k_<sha of text>.<...>.o       its object code, for dtypes of arguments
    <directory>/kernels-1/look.o                        code that looks at a call's operands
    <directory>/kernels-1/__pycache__/k_<sha>....      Numba's machine code, for ``njit`` users

A key is the caller's description of a specialisation together with the versions of everything
that shapes the result.  A module is executed only if its content has the hash in its name, and
an index entry or object code is believed only if its own digest matches; anything else counts
as absent and is written anew.  Files appear by renaming, so several processes may share a
directory.  It is private to the user.  Where it cannot be used, a temporary directory takes its
place with one ``CacheWarning``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsedsl.errors import CacheError
from sparsedsl.locks import compiling
from sparsedsl.options import current
from sparsedsl.runtime.cache_files import (
    CacheWarning,
    digest,
    files,
    last_used,
    locked,
    private_directory,
    read,
    remove,
    temporary_directory,
    warn,
    write,
)
from sparsedsl.runtime.entries import Direct, Entry
from sparsedsl.runtime.environment import environment

__all__ = [
    "CacheInfo",
    "CacheWarning",
    "KernelCache",
    "clear",
    "default",
    "info",
]


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The state of a cache: where it is, what it holds, sizes in bytes."""

    directory: Path | None
    entries: int
    kernels: int
    bytes: int
    limit_bytes: int


class KernelCache:
    """The kernels in one directory, or in this process alone when there is none.

    Parameters
    ----------
    directory:
        A writable directory private to the user; None keeps nothing on disk.
    limit_bytes:
        Size beyond which the kernels used longest ago are removed.
    """

    def __init__(self, directory: Path | None, limit_bytes: int) -> None:
        self.directory = directory
        self.limit_bytes = limit_bytes
        self._memory: dict[str, Entry] = {}
        self._stored = 0

    def lookup(self, key: str) -> Entry | None:
        """Return the kernel stored for ``key``, or None.

        Parameters
        ----------
        key:
            The caller's description of the specialisation, any text.
        """
        full = f"{environment()}\n{key}"
        found = self._memory.get(full)
        if found is None and self.directory is not None:
            found = self._from_disk(full, self.directory)
            if found is not None:
                self._memory[full] = found
        return found

    def _from_disk(self, full: str, directory: Path) -> Entry | None:
        index = directory / "index" / f"{digest(full)}.json"
        text = read(index)
        if text is None:
            return None
        try:
            content = _opened_record(text, full)
            kernel, metadata = str(content["kernel"]), dict(content["metadata"])
        except (ValueError, KeyError, TypeError):
            return None
        path = directory / f"k_{kernel}.py"
        source = read(path)
        if source is None or digest(source) != kernel:
            return None
        with contextlib.suppress(OSError):
            os.utime(index)  # used now: last to be evicted
        return Entry(kernel, source, metadata, path)

    def proofs(self, key: str) -> list[dict[str, Any]]:
        """Return the records of proofs stored for ``key``: none where they are gone."""
        full = f"{environment()}\n{key}"
        if self.directory is None:
            return []
        try:
            text = read(self.directory / "index" / f"{digest(full)}.proofs") or ""
            return [dict(record) for record in _opened_record(text, full)["proofs"]]
        except (ValueError, KeyError, TypeError):
            return []

    def store(
        self,
        key: str,
        source: str,
        metadata: Mapping[str, Any] | None = None,
        proofs: Sequence[Mapping[str, Any]] = (),
        direct: Direct | None = None,
    ) -> Entry:
        """Keep a generated module for ``key`` and return it.

        Parameters
        ----------
        key:
            As for ``lookup``.
        source:
            The module's text, printed with ``cache=True``.
        metadata:
            Whatever JSON can hold.
        proofs:
            The records of what the kernel rests on, kept apart: a call does not read them.
        direct:
            As ``Entry`` has it.

        Raises
        ------
        CacheError
            ``metadata`` that JSON cannot hold.
        """
        full = f"{environment()}\n{key}"
        kernel = digest(source)
        content = {"key": full, "kernel": kernel, "metadata": dict(metadata or {})}
        try:
            canonical = _canonical(content)
        except (TypeError, ValueError) as error:
            raise CacheError(f"expected metadata that JSON can hold: {error}") from None
        texts = [json.dumps(_sealed(part)) for part in (content, {"key": full, "proofs": proofs})]
        path = None
        while self.directory is not None and path is None:
            try:
                path = self._to_disk(self.directory, full, kernel, source, texts)
            except OSError as error:
                self._move(error)
        entry = Entry(kernel, source, json.loads(canonical)["metadata"], path, direct)
        self._memory[full] = entry
        return entry

    def _to_disk(
        self, directory: Path, full: str, kernel: str, source: str, texts: Sequence[str]
    ) -> Path:
        path = directory / f"k_{kernel}.py"
        with locked(directory):
            if read(path) != source:
                write(path, source)
                # the content is the version: a rewritten file must not look newer to Numba
                os.utime(path, (0, 0))
            for text, ending in zip(texts, ("json", "proofs"), strict=True):
                write(directory / "index" / f"{digest(full)}.{ending}", text)
            self._stored += 1
            if self._stored % 16 == 1:
                self._evict(directory, keep=path)
        return path

    def _move(self, error: OSError) -> None:
        """Go on in a temporary directory, or without one when that fails too."""
        failed = self.directory
        temporary = temporary_directory()
        self.directory = temporary if temporary != failed else None
        place = self.directory or "memory"
        warn(f"the kernel cache {failed} cannot be written ({error}); using {place}")

    def _evict(self, directory: Path, keep: Path) -> None:
        """Remove the entries used longest ago until the size is within the limit."""
        total = sum(size for _, size in files(directory))
        if total <= self.limit_bytes:
            return
        kernels = _kernels_by_index(directory)
        users: dict[str, int] = {}
        for kernel in kernels.values():
            users[kernel] = users.get(kernel, 0) + 1
        for index in sorted(kernels, key=last_used):
            kernel = kernels[index]
            if total <= self.limit_bytes * 3 // 4 or kernel == keep.stem[2:]:
                continue
            total -= remove(index) + remove(index.with_suffix(".proofs"))
            users[kernel] -= 1
            if users[kernel] == 0:
                total -= sum(remove(path) for path in _parts(directory, kernel))
        for path in directory.glob("k_*.py"):
            if path.stem[2:] not in users:
                for part in _parts(directory, path.stem[2:]):
                    remove(part)

    def info(self) -> CacheInfo:
        """Return where the cache is and what it holds."""
        if self.directory is None:
            kernels = {entry.kernel for entry in self._memory.values()}
            size = sum(len(entry.source) for entry in self._memory.values())
            return CacheInfo(None, len(self._memory), len(kernels), size, self.limit_bytes)
        entries = len(list((self.directory / "index").glob("*.json")))
        kernels = len(list(self.directory.glob("k_*.py")))
        size = sum(size for _, size in files(self.directory))
        return CacheInfo(self.directory, entries, kernels, size, self.limit_bytes)

    def clear(self) -> int:
        """Remove every kernel, and return how many there were."""
        removed = self.info().kernels
        self._memory.clear()
        if self.directory is not None:
            with locked(self.directory):
                for path, _ in list(files(self.directory)):
                    if path.name != "lock":
                        remove(path)
        return removed


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)


def _sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is written for ``content``: with its digest."""
    return {"digest": digest(_canonical(content)), "content": content}


def _opened_record(text: str, key: str) -> Any:
    """Return the content of a record; ValueError unless its digest and key are right."""
    record = json.loads(text)
    content = record["content"]
    if record["digest"] != digest(_canonical(content)) or content["key"] != key:
        raise ValueError("not the record that was written")
    return content


def _kernels_by_index(directory: Path) -> dict[Path, str]:
    """Return the kernel of each index file; "" for one that cannot be read."""
    found: dict[Path, str] = {}
    for path in (directory / "index").glob("*.json"):
        try:
            found[path] = str(json.loads(read(path) or "")["content"]["kernel"])
        except (ValueError, KeyError, TypeError):
            found[path] = ""
    return found


def _parts(directory: Path, kernel: str) -> list[Path]:
    """Return a kernel's module, its object code and Numba's machine code."""
    return [
        directory / f"k_{kernel}.py",
        *directory.glob(f"k_{kernel}.*.o"),
        *(directory / "__pycache__").glob(f"k_{kernel}.*"),
    ]


_caches: dict[tuple[str, int] | None, KernelCache] = {}


def default() -> KernelCache:
    """Return the cache the settings in force ask for.

    ``cache=False`` gives one that keeps kernels in this process alone.  A directory that
    cannot be used is replaced by a temporary one, with a ``CacheWarning``.
    """
    settings = current()
    place = (settings.cache_dir, settings.cache_limit_mb) if settings.cache else None
    with compiling:
        if place not in _caches:
            _caches[place] = _opened(settings.cache_dir, settings.cache_limit_mb << 20, place)
        return _caches[place]


def _opened(base: str, limit: int, place: object) -> KernelCache:
    if place is None:
        return KernelCache(None, limit)
    if not base:
        import platformdirs

        base = platformdirs.user_cache_dir("sparsedsl")
    try:
        return KernelCache(private_directory(Path(base)), limit)
    except CacheError as error:
        temporary = temporary_directory()
        warn(f"kernel cache: {error.message}; using {temporary or 'memory'}")
        return KernelCache(temporary, limit)


def info() -> CacheInfo:
    """Return the state of the cache in force."""
    return default().info()


def clear() -> int:
    """Empty the cache in force, and return how many kernels it held."""
    return default().clear()
