"""Converting arrays: by compiled passes where those are worth it, else interpreted.

Takes: arrays under one layout.  Gives: arrays under another, the same by both ways.

Passes take a tenth of the time, also for few entries, but some tenths of a second to compile.
The first ones of a process take some hundredths to load, others some thousandths.  So they are had
for many entries at once, and for few when a conversion has been asked for often, or they are kept
on disk and others are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from sparsedsl.layouts import convert as interpreted
from sparsedsl.layouts.layout import Layout
from sparsedsl.runtime import operations

Effort: TypeAlias = Literal["kept", "again", "now"]
"""Which passes to use: those kept on disk, those met before too, or all, compiled where needed."""

FEW = 20_000
"""Stored values up to which interpreting once takes less time than compiling."""

MANY = 100_000
"""Stored values from which passes are compiled when first met."""

SOME = 4_000
"""Stored values from which interpreting twice takes as long as loading passes when others are."""

LOADED, COMPILED = 5, 100
"""Conversions of few entries after which passes are loaded from disk, and are compiled."""

_asked: dict[tuple[Layout, Layout], int] = {}


def convert(
    source: Layout,
    target: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    fill: object = 0,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """Convert checked arrays; parameters and errors are those of ``layouts.convert.convert``."""
    made = by_passes(source, target, shape, arrays, fill=fill, sizes=sizes)
    if made is None:
        made = interpreted.convert(source, target, shape, arrays, fill=fill, sizes=sizes)
    return made


def by_passes(
    source: Layout,
    target: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    fill: object = 0,
    sizes: Mapping[str, int] | None = None,
    most: Effort = "now",
) -> dict[str, np.ndarray] | None:
    """Convert checked arrays with at ``most`` that effort for many; None where not worth it."""
    size = arrays[source.value.function].size
    effort = _for_few(source, target, size) if size < FEW else "again" if size < MANY else most
    if effort is None:
        return None
    given = source, target, shape, arrays
    return operations.apply("convert_arrays", *given, fill=fill, sizes=sizes, effort=effort)


def _for_few(source: Layout, target: Layout, size: int) -> Effort | None:
    asked = _asked[source, target] = _asked.get((source, target), 0) + 1
    if asked > COMPILED:
        return "now"
    soon = size >= SOME and operations.provided("convert_arrays")
    return "kept" if asked > LOADED or soon else None
