"""Where in the user's text an operation was written.

Takes: the Python stack, or a span set by a parser.  Gives: a ``Span``.  Invariant: the place
is always in the user's code, never in the library's.
"""

from __future__ import annotations

import inspect
import itertools
import linecache
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from sparsedsl.errors import NotationError, Span

_parsed: ContextVar[Span | None] = ContextVar("sparsedsl_span", default=None)


@contextmanager
def at(span: Span) -> Generator[None, None, None]:
    """Make `here` return ``span``: for text that is parsed, not executed."""
    token = _parsed.set(span)
    try:
        yield
    finally:
        _parsed.reset(token)


def here() -> Span | None:
    """Return the place in the user's code now executing; None if its source is not known."""
    parsed = _parsed.get()
    if parsed is not None:
        return parsed
    frame = user_frame()
    return None if frame is None else span_of(frame)


def place_of(error: BaseException) -> Span | None:
    """Return the innermost place in the user's code that an error came through."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [f for f in frames if not is_library(f.f_globals.get("__name__", ""))]
    return span_of(own[-1]) if own else None


@contextmanager
def bounded_depth() -> Generator[None, None, None]:
    """Turn running out of stack into an error that says what to do."""
    try:
        yield
    except RecursionError:
        raise NotationError(
            "the expression is nested too deeply",
            hint="compute part of it into an sd.output() of its own",
        ) from None


def user_frame() -> FrameType | None:
    """Return the innermost stack frame outside the library and those that call it for the user."""
    frame = inspect.currentframe()
    while frame is not None and is_library(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def is_library(module: str) -> bool:
    """Whether a module, by its name, is the library's or one of those that call it for the user."""
    # the demonstration's kernels are written as a user writes them
    library = module.partition(".")[0] in ("sparsedsl", "numpy", "scipy", "numba")
    return library and not module.startswith("sparsedsl.demo.")


def span_of(frame: FrameType) -> Span | None:
    """Return what a frame executes now; None where its line is not known."""
    code = frame.f_code
    positions = itertools.islice(code.co_positions(), frame.f_lasti // 2, None)
    line, last, start, end = next(positions, (frame.f_lineno, None, None, None))
    if line is None:
        return None
    text = linecache.getline(code.co_filename, line, frame.f_globals).rstrip("\n")
    if not text:  # typed or made by exec: the place is known, the text is not
        return Span("", 0, 0, code.co_filename, line)
    column = _characters(text, start) if start is not None else len(text) - len(text.lstrip())
    stop = _characters(text, end) if end is not None and last == line else len(text)
    return Span(text, column, stop, code.co_filename, line)


def _characters(text: str, column: int) -> int:
    """Turn a column in UTF-8 bytes into one in characters."""
    return len(text.encode()[:column].decode(errors="ignore"))
