"""A generated module to a Numba dispatcher."""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def load(module: Path | str, name: str | None = None) -> Any:
    """Return the Numba dispatcher that a generated module defines.

    Parameters
    ----------
    module:
        The path of a module printed by ``codegen.python.source``, or its text.  A module
        given as text keeps no machine code on disk.
    name:
        The function's name; by default that of the only dispatcher defined in the module.

    Returns
    -------
    numba.core.dispatcher.Dispatcher
        Not yet compiled: the first call does that, or takes the machine code of an earlier
        process from beside the file.
    """
    loaded = _from_path(module) if isinstance(module, Path) else _from_text(module)
    if name is None:
        (name,) = (n for n, v in vars(loaded).items() if hasattr(v, "py_func"))
    return getattr(loaded, name)


def _from_path(path: Path) -> ModuleType:
    # Numba finds its cached machine code by module name: the same in every process
    name = f"sparsedsl_generated.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_text(text: str) -> ModuleType:
    text = text.replace("@njit(cache=True, ", "@njit(", 1)
    stem = f"k_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    filename = f"<{stem}>"
    module = ModuleType(f"sparsedsl_generated.{stem}")
    # so that tracebacks and Numba's messages show the generated lines
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), module.__dict__)
    return module
