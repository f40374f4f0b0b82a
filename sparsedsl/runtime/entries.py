"""Kernels of the cache as functions of this process: loaded, linked or compiled once.

Takes: a module's text, where it is kept, what makes its object code.  Gives: Numba's dispatcher,
or machine code for arguments of given types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sparsedsl.locks import compiling
from sparsedsl.runtime.cache_files import digest, read

if TYPE_CHECKING:
    from sparsedsl.codegen.machine import Code
    from sparsedsl.loops.nodes import Kernel

Kinds: TypeAlias = tuple[tuple[str, int], ...]
Function: TypeAlias = "Callable[..., tuple[int, ...]]"
Direct: TypeAlias = "Callable[[Kinds, str], Code | None]"


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
        None for an entry of an earlier process, unless it was ``remade``.
    """

    kernel: str
    source: str
    metadata: Mapping[str, Any] = field(hash=False)
    path: Path | None
    direct: Direct | None = field(default=None, compare=False)

    def remade(self, loops: Callable[[], tuple[str, Kernel] | None], *, fastmath: bool) -> Entry:
        """Return the entry with a way to make object code that was lost.

        Parameters
        ----------
        loops:
            Gives the text and the loops that it was printed from once more, or None: they may be
            others by now, and then Numba compiles the text.
        """
        if self.direct is not None:
            return self

        def direct(kinds: Kinds, name: str) -> Code | None:
            found = loops()
            if found is None or found[0] != self.source:
                return None
            return straight(found[1], fastmath=fastmath)(kinds, name)

        return replace(self, direct=direct)

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
        from sparsedsl.runtime import object_files

        name = f"k_{self.kernel}.{digest(repr(kinds))[:16]}"
        directory = None if self.path is None else self.path.parent

        def make() -> Code:
            return self._compiled(kinds, name) or machine.Code(name, (), b"")

        return machine.linked(object_files.kept(directory, name, make))

    def _compiled(self, kinds: Kinds, name: str) -> Code | None:
        """Return the kernel's object code, compiled now."""
        code = None if self.direct is None else self.direct(kinds, name)
        if code is None:
            dispatcher = self.load()
            from sparsedsl.codegen.linkable import linkable_code

            code = linkable_code(dispatcher, kinds, name)
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


_loaded: dict[tuple[str, str], Any] = {}
_functions: dict[tuple[str, Kinds], Function] = {}
