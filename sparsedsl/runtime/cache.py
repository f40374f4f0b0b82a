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
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sparsedsl.errors import CacheError
from sparsedsl.locks import compiling
from sparsedsl.options import current
from sparsedsl.runtime.cache_files import (
    CacheWarning,
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

if TYPE_CHECKING:
    from sparsedsl.codegen.machine import Code
    from sparsedsl.loops.nodes import Kernel

Kinds: TypeAlias = tuple[tuple[str, int], ...]
Function: TypeAlias = "Callable[..., tuple[int, ...]]"
Direct: TypeAlias = "Callable[[Kinds, str], Code | None]"

__all__ = [
    "CacheInfo",
    "CacheWarning",
    "Entry",
    "KernelCache",
    "clear",
    "default",
    "info",
    "straight",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel found in, or added to, the cache.

    Attributes
    ----------
    kernel:
        The hash of the module's text.
    source:
        The module's text.
    metadata:
        What the caller stored beside it, as JSON keeps it.
    path:
        The module's file; None when nothing is kept on disk.
    direct:
        Makes object code, for the types of arguments and a name, without Numba or not at all;
        None for an entry of an earlier process.
    """

    kernel: str
    source: str
    metadata: Mapping[str, Any] = field(hash=False)
    path: Path | None
    direct: Direct | None = field(default=None, compare=False)

    def load(self) -> Any:
        """Return the kernel's Numba dispatcher, one per module and process."""
        place = (self.kernel, str(self.path))
        with compiling:
            if place not in _loaded:
                from sparsedsl.codegen import numba_jit

                try:
                    _loaded[place] = numba_jit.load(self.source, path=self._file())
                except (OSError, RuntimeError):
                    # the file went away meanwhile, or Numba cannot write beside it
                    _loaded[place] = numba_jit.load(self.source)
            return _loaded[place]

    def function(self, arguments: Sequence[Any]) -> Function:
        """Return the kernel's machine code for arguments such as these, without dispatch.

        From memory, from disk, or compiled.  Where it can be linked by itself, neither Numba is
        loaded nor its wrapper used.
        """
        from sparsedsl.codegen import machine

        kinds = machine.kinds(arguments)
        place = self.kernel, kinds
        with compiling:
            found = _functions.get(place)
            if found is None:
                found = self._linked(kinds) if machine.readable() else None
                if found is None:
                    from sparsedsl.codegen import numba_jit

                    found = numba_jit.function_for(self.load(), arguments)
                _functions[place] = found
            return found

    def _linked(self, kinds: Kinds) -> Function | None:
        """Return the kernel's object code as a function; None where it needs Numba."""
        from sparsedsl.codegen import machine

        name = f"k_{self.kernel}.{_sha(repr(kinds))[:16]}"
        directory = None if self.path is None else self.path.parent

        def make() -> Code:
            return self._compiled(kinds, name) or machine.Code(name, (), b"")

        return machine.linked(kept_code(directory, name, make))

    def _compiled(self, kinds: Kinds, name: str) -> Code | None:
        """Return the kernel's object code, compiled now."""
        code = None if self.direct is None else self.direct(kinds, name)
        if code is None:
            from sparsedsl.codegen.linkable import linkable_code

            code = linkable_code(self.load(), kinds, name)
        return code

    def _file(self) -> Path | None:
        """Return the file if it still holds the module: another process may have evicted it."""
        if self.path is None or read(self.path) != self.source:
            return None
        return self.path


def straight(kernel: Kernel, *, fastmath: bool) -> Direct:
    """Return what makes a kernel's object code without Numba, where it needs none of it."""

    def direct(kinds: Kinds, name: str) -> Code | None:
        from sparsedsl.codegen.llvm_object import direct_code

        return direct_code(kernel, kinds, name, fastmath=fastmath)

    return direct


def kept_code(directory: Path | None, name: str, make: Callable[[], Code]) -> Code:
    """Return the object code kept as ``name`` for this machine, or made now and kept."""
    from sparsedsl.runtime import object_files

    if directory is None:
        return make()
    path, key = directory / f"{name}.o", f"{machine_environment()}\n{name}"
    code = object_files.load(path, key)
    if code is None:
        code = make()
        object_files.save(path, key, code)
    return code


_loaded: dict[tuple[str, str], Any] = {}
_functions: dict[tuple[str, Kinds], Function] = {}


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The state of a cache: where it is, what it holds, sizes in bytes."""

    directory: Path | None
    entries: int
    kernels: int
    bytes: int
    limit_bytes: int


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


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
        index = directory / "index" / f"{_sha(full)}.json"
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
        if source is None or _sha(source) != kernel:
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
            text = read(self.directory / "index" / f"{_sha(full)}.proofs") or ""
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
        kernel = _sha(source)
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
                write(directory / "index" / f"{_sha(full)}.{ending}", text)
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
    return {"digest": _sha(_canonical(content)), "content": content}


def _opened_record(text: str, key: str) -> Any:
    """Return the content of a record; ValueError unless its digest and key are right."""
    record = json.loads(text)
    content = record["content"]
    if record["digest"] != _sha(_canonical(content)) or content["key"] != key:
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
