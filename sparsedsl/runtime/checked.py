"""Checking data by machine code, once that pays.

Takes: a layout, a shape and arrays.  Gives: what ``layouts.check.validate`` gives, or its error.
Invariant: data that machine code does not find right is looked at by ``validate``, which says
what is wrong.

The loops are ``layouts.checking.check_kernel``'s.  They are taken from disk, and compiled, when
the checks that they stand for have taken as long as that does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsedsl.layouts.arithmetic import multiplies
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.given import NATIVE_INDICES, check_arrays, check_shape, reach
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import unique
from sparsedsl.layouts.scan import OVERLAP, ROOM
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.locks import compiling
from sparsedsl.runtime.arguments import several

if TYPE_CHECKING:
    from sparsedsl.loops.nodes import Kernel
    from sparsedsl.runtime.entries import Function

LOOK = 0.01
"""Seconds that it takes to load loops from disk, about."""

COMPILE = 0.1
"""Seconds that it takes to compile them."""

NARROW = 2**31
"""Sizes below this have products within 64 bits."""


@dataclass(slots=True, eq=False)
class Checks:
    """The checks of one layout for index arrays of some dtypes.

    ``single`` says that they tell whether a coordinate is stored twice, where that is forbidden;
    ``multiplies`` that they multiply parameters.  ``indices`` looks the index arrays up.
    """

    layout: Layout
    dtypes: Mapping[str, str]
    single: bool
    multiplies: bool
    indices: Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, ...]]
    spent: float = 0.0
    function: Function | None = None

    def right(
        self, shape: Sequence[int], arrays: Mapping[str, np.ndarray]
    ) -> dict[str, int] | None:
        """The parameters of data that machine code finds right; None for other data."""
        if self.function is None:
            return None
        extents = check_shape(shape, self.layout)
        check_arrays(self.layout, arrays, extents, elements=False)
        values = infer_sizes(self.layout, extents, arrays)
        if self.multiplies and max(values.values(), default=0) >= NARROW:
            return None
        parameters = [values[name] for name in self.layout.relation.parameters]
        (bad,) = self.function(*self.arguments(parameters, extents, arrays))
        return None if bad else values

    def passes(
        self,
        extents: tuple[int, ...],
        arrays: Mapping[str, np.ndarray],
        count: int,
        total: int,
    ) -> bool:
        """Whether machine code finds arrays right of which dtypes and order are known.

        Each has one axis, and the layout no parameters but extents, which are not multiplied.
        There are ``count`` values, and ``total`` elements of all arrays.
        """
        if self.function is None:
            return False
        room = ROOM + OVERLAP * total
        (bad,) = self.function(*extents, count, room, reach(extents), *self.indices(arrays))
        return not bad

    def arguments(
        self,
        parameters: Sequence[int],
        extents: tuple[int, ...],
        arrays: Mapping[str, np.ndarray],
    ) -> list[Any]:
        """What the loops are called with."""
        room = ROOM
        for array in arrays.values():
            room += OVERLAP * array.size
        lengths = arrays[self.layout.value.function].shape
        return [*parameters, *lengths, room, reach(extents), *self.indices(arrays)]

    def took(self, seconds: float) -> None:
        """Get the loops once checks without them have taken long enough."""
        before, self.spent = self.spent, self.spent + seconds
        wanted = [limit for limit in (LOOK, COMPILE) if before < limit <= self.spent]
        if self.function is None and wanted:
            with compiling:
                self.function = self._loaded(compile=COMPILE in wanted)

    def _loaded(self, *, compile: bool) -> Function | None:
        """The loops' machine code: from disk, or compiled; None where there is none."""
        from sparsedsl.runtime import cache
        from sparsedsl.runtime.entries import straight

        kept = cache.default()
        key = f"check\n{self.layout.key}\n{' '.join(self.dtypes.values())}"
        entry = kept.lookup(key)
        if entry is None and compile and (made := self._text_and_loops()) is not None:
            direct = straight(made[1], fastmath=False)
            entry = kept.store(key, made[0], direct=direct)
        if entry is None:
            return None
        return entry.remade(self._text_and_loops, fastmath=False).function(self._example())

    def _text_and_loops(self) -> tuple[str, Kernel] | None:
        from sparsedsl.codegen.python import source
        from sparsedsl.layouts.checking import check_kernel
        from sparsedsl.loops.optimise import optimise

        kernel = check_kernel(self.layout, self.dtypes)
        if kernel is None:
            return None
        small = optimise(kernel)
        return source(small, fastmath=False), small

    def _example(self) -> list[Any]:
        """Arguments of the kinds that the loops are called with."""
        layout = self.layout
        # the limit and the reach
        numbers = 2 + len(layout.relation.parameters) + len(layout.value.arguments)
        arrays = [np.empty((0,) * n, self.dtypes[name]) for name, n in layout.functions.items()]
        return [*[0] * numbers, *arrays]


_loops: dict[tuple[Layout, tuple[np.dtype, ...]], Checks] = {}


def checked(
    layout: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    distinct: bool = True,
) -> dict[str, int]:
    """Check all that ``layout`` promises about ``arrays``, as ``layouts.check.validate`` does."""
    found = _loops_of(layout, arrays, distinct)
    if found is None:
        return validate(layout, shape, arrays, distinct=distinct)
    values = found.right(shape, arrays)
    if values is not None:
        return values
    begin = time.perf_counter()
    try:
        return validate(layout, shape, arrays, distinct=distinct)
    finally:
        # of wrong data too: entries of scipy's that are in no order are put right by who asks
        found.took(time.perf_counter() - begin)


def found_right(
    layout: Layout, shape: Sequence[int], arrays: Mapping[str, np.ndarray]
) -> tuple[bool, Mapping[str, int]] | None:
    """Whether machine code finds arrays right, and the parameters of those that are.

    None where it has not been asked for often enough.
    """
    found = _loops_of(layout, arrays, distinct=True)
    if found is None or found.function is None:
        return None
    values = found.right(shape, arrays)
    return (False, {}) if values is None else (True, values)


def _loops_of(layout: Layout, arrays: Mapping[str, np.ndarray], distinct: bool) -> Checks | None:
    """The loops for such arrays, compiled or not; None where there are none."""
    try:
        dtypes = tuple([arrays[name].dtype for name in layout.functions])
    except (KeyError, AttributeError):
        return None
    known = checks_of(layout, dtypes)
    return known if known is not None and (known.single or not distinct) else None


def checks_of(layout: Layout, dtypes: tuple[np.dtype, ...]) -> Checks | None:
    """The checks of index arrays of these dtypes, compiled or not; None where there are none."""
    key = (layout, dtypes)
    known = _loops.get(key)
    if known is None:
        if not NATIVE_INDICES.issuperset(dtypes):
            return None
        named = dict(zip(layout.functions, [dtype.name for dtype in dtypes], strict=True))
        single = layout.repeats or unique(layout)
        indices = several([*layout.functions])
        known = _loops[key] = Checks(layout, named, single, multiplies(layout), indices)
    return known
