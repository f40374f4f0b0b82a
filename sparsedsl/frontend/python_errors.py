"""Python's own errors in a kernel, with the place and what to write instead.

Takes: an exception out of the user's function.  Gives: an error of the tree that says the same and
more, or nothing.  Invariant: what a library raised, or the user, stays what it is.
"""

from __future__ import annotations

import difflib
import re
import traceback
from types import FrameType

from sparsedsl.errors import (
    NotationError,
    NotationNameError,
    NotationTypeError,
    Span,
    SparseDSLError,
)
from sparsedsl.frontend.functions import ELEMENTWISE
from sparsedsl.frontend.spans import is_library, place_of, span_of

OTHERS = ("index", "indices", "output", "padded", "pattern")
"""Names of the library that kernels use besides operators."""

MISUSED = {
    r"got an unexpected keyword argument 'axis'": "reductions go over indices: over=j",
    r"got an unexpected keyword argument": None,
    r"indices\(\) takes 1 positional argument": 'give names in one string: sd.indices("i j k")',
    r"takes .* positional arguments? but .* given": None,
    r"missing \d+ required .*argument": None,
    r"'(function|type)' object": "call it first, as in C = sd.output()",
    r"object does not support item assignment": "results are made first: C = sd.output()",
    r"object is not (callable|subscriptable|iterable)": None,
}
"""What Python says of things used as they cannot be, and what to write instead if that is known."""


def in_words(error: Exception) -> NotationError | None:
    """Return what to say in place of ``error``; None where it is to stay what it is."""
    if isinstance(error, SparseDSLError):
        return None
    if type(error).__module__.partition(".")[0] == "numba":
        return NotationTypeError(
            "a function under @numba.njit takes numbers, found expressions of a kernel",
            span=place_of(error),
            hint="write @sd.function above its @numba.njit, then it takes expressions",
        )
    frame = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    if is_library(frame.f_globals.get("__name__", "")):
        return None
    match error:
        case NameError():
            return _without_value(error, frame)
        case ValueError():
            return _unpacked(error, frame)
        case TypeError():
            return _misused(error, frame)
        case _:
            return None


def _unpacked(error: ValueError, frame: FrameType) -> NotationError | None:
    """Return what to say where ``sd.indices`` gave too few or too many."""
    found = re.fullmatch(r"(not enough|too many) values to unpack \(expected (\d+).*\)", str(error))
    place = span_of(frame) if found else None
    if found is None or place is None or "indices(" not in place.text:
        return None
    return NotationError(
        f"expected {found[2]} index names, found {'fewer' if found[1] == 'not enough' else 'more'}",
        span=place,
        hint='give a name for each, separated by spaces: i, j, k = sd.indices("i j k")',
    )


def _misused(error: TypeError, frame: FrameType) -> NotationTypeError | None:
    """Return what to say where something is called, subscripted or iterated over wrongly."""
    text = str(error)
    known = [pattern for pattern in MISUSED if re.search(pattern, text)]
    return NotationTypeError(text, span=span_of(frame), hint=MISUSED[known[0]]) if known else None


def _without_value(error: NameError, frame: FrameType) -> NotationNameError | None:
    """Return what to say where a name has no value."""
    named = re.search(r"'(\w+)'", str(error))
    if named is None:
        return None
    name, span = named[1], span_of(frame)
    close = difflib.get_close_matches(name, [*frame.f_locals, *frame.f_globals], 1, 0.7)
    if isinstance(error, UnboundLocalError):
        hint = f"assign to '{name}' before it is read"
    elif close and len(name) > 1:
        hint = f"did you mean '{close[0]}'?"
    else:
        hint = _instead(name, span)
    return NotationNameError(f"the name '{name}' has no value", span=span, hint=hint)


def _instead(name: str, span: Span | None) -> str:
    """Return how such a name gets its value, by what stands around it in its line."""
    before, after = ("", "") if span is None else (span.text[: span.column], _after(span))
    index = f'{name} = sd.index("{name}")'
    if name == "sd":
        return "import sparsedsl as sd"
    if after.startswith("(") and name in (*ELEMENTWISE, *OTHERS):
        return f"write sd.{name}(...)"
    if after.startswith("["):
        return f"what a kernel reads is an argument, a result is made first: {name} = sd.output()"
    if before.count("[") > before.count("]"):
        return f"make it an index first: {index}"
    if after.startswith((".", "(")):
        return f"import or define '{name}' before the kernel is called"
    return f"define '{name}' before the kernel is called; an index is made inside of it: {index}"


def _after(span: Span) -> str:
    return span.text[span.end_column :].lstrip()
