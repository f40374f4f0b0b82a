"""Settings: a frozen record, the environment it starts from, and ways to change it.

Precedence, strongest first: ``with options(...)`` around the call (in this thread or task),
an attribute set on ``config`` (in this process), a ``SPARSEDSL_*`` environment variable, the
default.  The environment is read once, when a setting is first needed.
"""

from __future__ import annotations

import difflib
import functools
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, TypeVar

from sparsedsl.containers import granted_cores
from sparsedsl.errors import PlanError


class OptionError(PlanError, TypeError):
    """A setting that does not exist, or a value of the wrong type or out of range."""


class OptionNameError(OptionError, AttributeError):
    """A setting that does not exist, read as an attribute."""


def _usable_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(cores, granted_cores() or cores)


@dataclass(frozen=True, slots=True)
class Options:
    """All settings.

    Attributes
    ----------
    threads:
        Threads a parallel kernel may use; 0 means one for each core that the process
        may use, and that its container has time for.
    verify:
        Check the loops after every pass, not only those that go from one stage to the next.
    safe:
        Compile kernels that check every subscript at run time, and check all of every scipy
        and NumPy argument at every call.
    track_writes:
        Ask the operating system whether arrays of more than 16384 elements were written to since
        they were last checked (Linux 6.7 and later, ``userfaultfd``).  Without it, or where the
        system cannot tell, they are compared at 64 positions with what they held, and index
        arrays now and then completely.
    cache:
        Keep compiled kernels on disk.
    cache_dir:
        Where; empty means the user's cache directory.
    cache_limit_mb:
        Size in MiB beyond which the kernels used longest ago are removed.
    dump:
        A directory that receives every intermediate program of a kernel as text when the kernel
        is first used, statements to source; empty means none.
    solver_timeout_ms:
        Time in milliseconds for each proof; one not found in time counts as not provable.
    search_limit:
        Loops, each after those outside of it, that the search for the plan of an output tries, some
        thousand a second.  Then the cheapest plan so far is taken, and ``explain`` says so.
    parallel_threshold:
        Estimated nanoseconds of a call below which ``parallel="auto"`` stays on one thread; twice
        as many for sparse results and where threads each go through all rows, one and a half times
        as many where each sets up a table of its own.
    tune:
        Measure the best few plans of the cost model at the first call with operands of a kind
        (layouts, dtypes, sizes up to a factor of four) and keep the fastest on disk, for later
        calls under the same setting.  The first call takes seconds.
    expected_calls:
        Calls with the same sparse operands that are expected.  A copy of one in another layout is
        made once and kept with it, so that so many times less is charged for it where plans are
        compared; from 2 on, plans with such copies and without are compared by the times that
        ``explain`` shows.
    tune_budget_ms:
        Milliseconds after which no further plan of a loop nest is compiled and measured.

    Raises
    ------
    OptionError
        A value of the wrong type or out of range.
    """

    threads: int = 0
    verify: bool = False
    safe: bool = False
    track_writes: bool = True
    cache: bool = True
    cache_dir: str = ""
    cache_limit_mb: int = 512
    dump: str = ""
    solver_timeout_ms: int = 300
    search_limit: int = 4_000
    parallel_threshold: int = 350_000
    tune: bool = False
    tune_budget_ms: int = 10_000
    expected_calls: int = 1

    def __post_init__(self) -> None:
        for name, minimum in _MINIMA.items():
            value = getattr(self, name)
            _expect(name, isinstance(value, int) and not isinstance(value, bool), "an int", value)
            if value < minimum:
                raise OptionError(
                    f"option '{name}': expected at least {minimum}, found {value}",
                    hint=f"pass {name}={max(minimum, getattr(_defaults(), name))}, the default",
                )
        for name in ("verify", "safe", "track_writes", "cache", "tune"):
            value = getattr(self, name)
            _expect(name, isinstance(value, bool), "True or False", value)
        for name in ("cache_dir", "dump"):
            value = getattr(self, name)
            _expect(name, isinstance(value, str), "a path as text", value)

    @property
    def thread_count(self) -> int:
        """``threads``, with 0 resolved to the number of usable cores."""
        return self.threads or _usable_cores()


_MINIMA = {
    "threads": 0,
    "cache_limit_mb": 1,
    "solver_timeout_ms": 1,
    "search_limit": 1,
    "parallel_threshold": 0,
    "tune_budget_ms": 0,
    "expected_calls": 1,
}


def _expect(name: str, good: bool, expected: str, found: object) -> None:
    if not good:
        raise OptionError(f"option '{name}': expected {expected}, found {found!r}")


@functools.cache
def _defaults() -> Options:
    return Options()


def _truth(text: str) -> bool:
    match text.strip().lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "" | "0" | "false" | "no" | "off":
            return False
        case _:
            raise ValueError("1 or 0")


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


# Environment variable -> (setting, how its text is read).
_VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "SPARSEDSL_NUM_THREADS": ("threads", _number),
    "SPARSEDSL_VERIFY": ("verify", _truth),
    "SPARSEDSL_SAFE": ("safe", _truth),
    "SPARSEDSL_TRACK_WRITES": ("track_writes", _truth),
    "SPARSEDSL_NO_CACHE": ("cache", lambda text: not _truth(text)),
    "SPARSEDSL_CACHE_DIR": ("cache_dir", str),
    "SPARSEDSL_CACHE_LIMIT_MB": ("cache_limit_mb", _number),
    "SPARSEDSL_DUMP": ("dump", str),
    "SPARSEDSL_SOLVER_TIMEOUT_MS": ("solver_timeout_ms", _number),
    "SPARSEDSL_SEARCH_LIMIT": ("search_limit", _number),
    "SPARSEDSL_PARALLEL_THRESHOLD": ("parallel_threshold", _number),
    "SPARSEDSL_TUNE": ("tune", _truth),
    "SPARSEDSL_TUNE_BUDGET_MS": ("tune_budget_ms", _number),
}


def from_environment(environment: Mapping[str, str]) -> Options:
    """Return the settings that ``environment`` asks for, defaults elsewhere.

    Raises
    ------
    OptionError
        Naming the variable, what it may hold and what it holds.

    >>> from_environment({"SPARSEDSL_NUM_THREADS": "2", "SPARSEDSL_NO_CACHE": "1"}).threads
    2
    """
    result = Options()
    for variable, (name, read) in _VARIABLES.items():
        text = environment.get(variable)
        if text is None:
            continue
        try:
            result = replace(result, **{name: read(text)})
        except OptionError as error:
            raise OptionError(
                f"environment variable {variable}={text!r}: {error.message}"
            ) from None
        except ValueError as error:
            raise OptionError(
                f"environment variable {variable}: expected {error}, found {text!r}",
                hint=f"unset {variable}, or set it to {error}",
            ) from None
    return result


_NAMES = tuple(field.name for field in fields(Options))


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``changes`` with paths as text; raise for a setting that does not exist."""
    for name in changes:
        if name not in _NAMES:
            close = difflib.get_close_matches(name, _NAMES, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"settings: {', '.join(_NAMES)}"
            raise OptionError(f"expected a setting, found '{name}'", hint=hint)
    return {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in changes.items()
    }


def _changed(base: Options, changes: Mapping[str, Any]) -> Options:
    """Return ``base`` with ``changes``: one object for equal ones, by which calls know it again."""
    typed = tuple([(name, type(value), value) for name, value in changes.items()])
    if all(kind in (bool, int, str) for _, kind, _ in typed):
        return _interned(base, typed)
    return replace(base, **changes)


@functools.lru_cache(maxsize=64)
def _interned(base: Options, changes: tuple[tuple[str, type, Any], ...]) -> Options:
    # the types are in the key since 1 and True are equal
    return replace(base, **{name: value for name, _, value in changes})


class Config:
    """The settings in force, as attributes; setting one changes it for the process.

    >>> config.threads = 2
    >>> with options(threads=1):
    ...     config.threads
    1
    >>> config.reset()
    """

    __slots__ = ("_base", "_merged")

    _base: Options | None
    _merged: tuple[Options, Mapping[str, Any], Options] | None

    def __init__(self) -> None:
        object.__setattr__(self, "_base", None)
        object.__setattr__(self, "_merged", None)

    def _process_wide(self) -> Options:
        base: Options | None = self._base
        if base is None:
            base = from_environment(os.environ)
            object.__setattr__(self, "_base", base)
        return base

    def current(self) -> Options:
        """Return the settings in force here."""
        overrides = _overrides.get()
        base = self._base or self._process_wide()
        if not overrides:
            return base
        merged = self._merged
        if merged is None or merged[0] is not base or merged[1] is not overrides:
            merged = (base, overrides, _changed(base, overrides))
            object.__setattr__(self, "_merged", merged)
        return merged[2]

    def reset(self) -> None:
        """Forget what was set on this object, and read the environment again."""
        object.__setattr__(self, "_base", None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            _checked({name: None})
        except OptionError as error:
            raise OptionNameError(error.message, hint=error.hint) from None
        return getattr(self.current(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, "_base", replace(self._process_wide(), **_checked({name: value})))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_NAMES]

    def __repr__(self) -> str:
        pairs = ", ".join(f"{name}={value!r}" for name, value in asdict(self.current()).items())
        return f"config({pairs})"


_overrides: ContextVar[Mapping[str, Any]] = ContextVar("sparsedsl_options", default={})  # noqa: B039

config = Config()
"""The settings of this process."""


current = config.current
"""Return the settings in force in this thread or task."""


_Function = TypeVar("_Function", bound=Callable[..., Any])


class Block(ContextDecorator):
    """Settings of a ``with`` block, or of the function that it decorates."""

    __slots__ = ("_changes", "_tokens", "_used")

    def __init__(self, changes: Mapping[str, Any]) -> None:
        self._changes, self._used = changes, False
        self._tokens: list[Token[Mapping[str, Any]]] = []

    def __enter__(self) -> Options:
        self._used = True
        overrides = {**_overrides.get(), **self._changes}
        chosen = _changed(config.current(), overrides)
        self._tokens.append(_overrides.set(overrides))
        return chosen

    def __exit__(self, *exception: object) -> None:
        _overrides.reset(self._tokens.pop())

    def _recreate_cm(self) -> Self:
        """Return a block for one call of a decorated function: threads may call it at a time."""
        return type(self)(self._changes)

    def __call__(self, func: _Function) -> _Function:
        """Return a function that runs with the settings."""
        self._used = True
        return super().__call__(func)

    def __del__(self) -> None:
        if not self._used:
            names = ", ".join(f"{name}={value!r}" for name, value in self._changes.items())
            warnings.warn(
                f"options({names}) changes nothing by itself: write with sd.options({names}): "
                "before what is to run so, or set sd.config for the whole process",
                RuntimeWarning,
                stacklevel=2,
            )


def options(**changes: Any) -> Block:
    """Change settings inside a ``with`` block, in this thread or task alone.

    It decorates functions, too.  What is not used in one of these ways warns when it goes.

    Raises
    ------
    OptionError
        An unknown setting, or a value of the wrong type or out of range.

    >>> with options(threads=2, verify=True) as chosen:
    ...     chosen.threads, chosen.verify
    (2, True)
    """
    checked = _checked(changes)
    _changed(config.current(), checked)
    return Block(checked)
