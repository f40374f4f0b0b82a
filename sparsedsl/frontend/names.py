"""What to say where a kernel uses a name that has no value.

Takes: a ``NameError`` out of the user's function.  Gives: an error with the place and what to write
instead.  Invariant: a ``NameError`` from within a library stays what it is.
"""

from __future__ import annotations

import difflib
import re
import traceback

from sparsedsl.errors import NotationNameError, Span
from sparsedsl.frontend.functions import ELEMENTWISE
from sparsedsl.frontend.spans import is_library, span_of

OTHERS = ("index", "indices", "output", "padded", "pattern")
"""Names of the library that kernels use besides operators."""


def without_value(error: NameError) -> NotationNameError | None:
    """Return what to say in place of ``error``; None where no code of the user's raised it."""
    frame = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    named = re.search(r"'(\w+)'", str(error))
    if named is None or is_library(frame.f_globals.get("__name__", "")):
        return None
    name, span = named[1], span_of(frame)
    close = difflib.get_close_matches(name, [*frame.f_locals, *frame.f_globals], 1)
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
    if after.startswith("(") and name in (
        *ELEMENTWISE,
        "padded",
        "pattern",
        "output",
        "index",
        "indices",
    ):
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
