"""A generated module to a Numba dispatcher."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import linecache
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sparsedsl.codegen.numba_on import compiling_enabled
from sparsedsl.interrupts import interrupts_later
from sparsedsl.locks import hold_at_fork

_PACKAGE = "sparsedsl_generated"


def load(module: Path | str, name: str | None = None, *, path: Path | None = None) -> Any:
    """Return the Numba dispatcher that a generated module defines.

    Parameters
    ----------
    module:
        The path of a module printed by ``codegen.python.source``, or its text.
    name:
        The function's name; by default that of the only dispatcher defined in the module.
    path:
        For a module given as text: the file that holds the same text, beside which Numba
        keeps machine code.  Without it nothing is kept.

    Returns
    -------
    numba.core.dispatcher.Dispatcher
        Not yet compiled: the first call does that, or takes the machine code of an earlier
        process from beside the file.
    """
    if isinstance(module, Path):
        path = module
        module = path.read_text(encoding="utf-8")
    loaded = _executed(module, path)
    if name is None:
        (name,) = (
            key
            for key, value in vars(loaded).items()
            if hasattr(value, "py_func") and value.__module__ == loaded.__name__
        )
    dispatcher = getattr(loaded, name)
    if path is not None:
        _tolerate_bad_cache(dispatcher, path)
    return dispatcher


def function_for(dispatcher: Any, arguments: Sequence[Any]) -> Callable[..., Any]:
    """Return the machine code for arguments such as these, to be called without dispatch.

    It must be called with arrays of the same dtypes and numbers of axes alone.  Whether an
    array may be written to is not looked at: kernels write to arrays made for them, so that
    read-only operands need no code of their own.

    Parameters
    ----------
    dispatcher:
        What ``load`` returns; any other callable is returned as it is.
    arguments:
        C-contiguous arrays and Python ints.
    """
    if not hasattr(dispatcher, "compile"):
        return dispatcher
    from numba import from_dtype, types

    signature = tuple(
        types.Array(from_dtype(x.dtype), x.ndim, "C") if hasattr(x, "dtype") else types.int64
        for x in arguments
    )
    with compiling_enabled():
        dispatcher.compile(signature)
    return dispatcher.overloads[signature].entry_point


def _executed(text: str, path: Path | None) -> ModuleType:
    """Return the module ``text`` defines, executed."""
    if path is None:
        text = text.replace("@njit(cache=True, ", "@njit(", 1)
        stem = f"k_{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        filename = f"<{stem}>"
        # so that tracebacks and Numba's messages show the generated lines
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    else:
        stem, filename = path.stem, str(path)
    # Numba finds its machine code, and the module it belongs to, by this name: it must be the
    # same in every process and importable
    module = ModuleType(f"{_PACKAGE}.{stem}")
    module.__file__ = filename
    _ready()
    sys.modules[module.__name__] = module
    try:
        with compiling_enabled():
            exec(compile(text, filename, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


@functools.cache
def _ready() -> None:
    """Import Numba, and let forks wait for its compiler."""
    with interrupts_later():
        from numba.core.compiler_lock import global_compiler_lock

        hold_at_fork(global_compiler_lock)


def _tolerate_bad_cache(dispatcher: Any, path: Path) -> None:
    """Make ``dispatcher`` recompile when its machine code on disk is damaged or unwritable.

    Numba numbers the files of a function's signatures without a lock, so that two processes
    that save different signatures at once may write one file: saving takes a lock here, and
    machine code of another signature than the one asked for is not used.
    """
    cache = dispatcher._cache
    if cache.cache_path is None:
        return
    load_overload, save_overload = _quick_load(cache), cache.save_overload

    def load_or_miss(signature: Any, target: Any) -> Any:
        try:
            result = load_overload(signature, target)
        except Exception:
            result = None
            for damaged in Path(cache.cache_path).glob(f"{path.stem}.*.nb[ic]"):
                with contextlib.suppress(OSError):
                    damaged.unlink()
        if result is not None and tuple(result.signature.args) != tuple(signature):
            return None
        return result

    def save_if_possible(signature: Any, data: Any) -> None:
        import filelock

        lock = filelock.FileLock(Path(cache.cache_path) / "lock", timeout=10)
        with contextlib.suppress(OSError, filelock.Timeout), lock:
            save_overload(signature, data)

    cache.load_overload, cache.save_overload = load_or_miss, save_if_possible


def _quick_load(cache: Any) -> Callable[[Any, Any], Any]:
    """Return how machine code is loaded: without a refresh of Numba's registries.

    The refresh takes two thirds of the time of a first call in a process, and serves to compile;
    what machine code refers to is Numba's run-time alone.
    """
    load = getattr(cache, "_load_overload", None)
    if load is None:
        return cache.load_overload

    def loaded(signature: Any, target: Any) -> Any:
        from numba.core.runtime.nrt import rtsys

        rtsys.initialize(target)
        return load(signature, target)

    return loaded
