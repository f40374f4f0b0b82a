"""A graph from a user's own file, ``FILE.py:function`` on the command line."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from rdu.errors import RDUError

_NAME = "rdu_user_graph"
"""What a user's file is called as a module."""


def load(source: str, hint: str) -> tuple[Any, list[Any]]:
    """Return the kernel and the arguments that a function of a Python file gives.

    Raises
    ------
    RDUError
        If ``source`` is no ``FILE.py:function`` (with ``hint``), there is no such file or function,
        its code fails, or it returns something else.
    """
    path, _, name = source.rpartition(":")
    if not path or not name:
        raise RDUError(f"unknown graph {source!r}", hint=hint)
    file = Path(path)
    if not file.is_file():
        raise RDUError(f"no such file: {file}")
    module = _called(file, lambda: _module(file))
    function: Any = getattr(module, name, None)
    if not callable(function):
        own = [n for n, x in vars(module).items() if getattr(x, "__module__", "") == _NAME]
        raise RDUError(
            f"{file} has no function {name!r}", hint=f"it has {', '.join(own) or 'none at all'}"
        )
    found: Any = _called(file, function)
    if not (isinstance(found, tuple) and len(cast("tuple[Any, ...]", found)) == 2):
        raise RDUError(
            f"{source} must return (kernel, arguments), found {type(found).__name__}",
            hint="return the kernel and a tuple of its arguments",
        )
    kernel, arguments = cast("tuple[Any, Any]", found)
    if not isinstance(arguments, tuple | list):
        raise RDUError(
            f"{source}: the arguments must be a tuple, found {type(arguments).__name__}",
            hint="one argument is a tuple too: return kernel, (A,)",
        )
    return kernel, list(cast("tuple[Any, ...]", arguments))


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_NAME, file)
    if spec is None or spec.loader is None:
        raise RDUError(f"{file} is not a Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _called(file: Path, function: Callable[[], Any]) -> Any:
    """Run a user's code; an error of theirs is told with its line."""
    try:
        return function()
    except RDUError:
        raise
    except SyntaxError as error:
        raise RDUError(f"{file}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        mine = [frame for frame in frames if Path(frame.filename) == file.resolve()]
        line = f"{file}:{mine[-1].lineno}" if mine else str(file)
        raise RDUError(f"{line}: {type(error).__name__}: {error}") from error
