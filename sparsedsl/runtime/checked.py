"""Checking data by machine code, once that pays.

Takes: a layout, a shape and arrays.  Gives: what ``layouts.check.validate`` gives, or its error.
Invariant: data that machine code does not find right is looked at by ``validate``, which says
what is wrong.

The loops are ``layouts.checking.check_kernel``'s.  They are compiled when the checks they stand
for have taken as long as compiling them does.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparsedsl.layouts.check import validate
from sparsedsl.layouts.checking import check_kernel, multiplies
from sparsedsl.layouts.given import check_arrays, check_shape, reach
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import unique
from sparsedsl.layouts.scan import OVERLAP, ROOM
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.locks import compiling

WORTH = 0.04
"""Seconds that compiling takes, about."""

NARROW = 2**31
"""Sizes below this have products within 64 bits."""


@dataclass(slots=True, eq=False)
class _Loops:
    """The checks of one layout for index arrays of some dtypes."""

    layout: Layout
    dtypes: Mapping[str, str]
    spent: float = 0.0
    function: Callable[..., tuple[int, ...]] | None = None

    def right(
        self, shape: Sequence[int], arrays: Mapping[str, np.ndarray]
    ) -> dict[str, int] | None:
        """The parameters of data that machine code finds right; None for other data."""
        if self.function is None:
            return None
        extents = check_shape(shape, self.layout)
        check_arrays(self.layout, arrays, extents, elements=False)
        values = infer_sizes(self.layout, extents, arrays)
        if _multiplies(self.layout) and max(values.values(), default=0) >= NARROW:
            return None
        numbers = [values[name] for name in self.layout.relation.parameters]
        limit = OVERLAP * sum(array.size for array in arrays.values()) + ROOM
        lengths = arrays[self.layout.value.function].shape
        columns = [arrays[name] for name in self.layout.functions]
        (bad,) = self.function(*numbers, *lengths, limit, reach(extents), *columns)
        return None if bad else values

    def took(self, seconds: float) -> None:
        """Compile the loops once checks without them have taken long enough."""
        self.spent += seconds
        if self.spent < WORTH or self.function is not None:
            return
        self.spent = float("-inf")  # once: where it cannot be compiled, it is not tried again
        self.function = _compiled(self.layout, self.dtypes)


def _compiled(layout: Layout, dtypes: Mapping[str, str]) -> Callable[..., tuple[int, ...]] | None:
    kernel = check_kernel(layout, dtypes)
    if kernel is None:
        return None
    with compiling:
        from sparsedsl.codegen.llvm_object import direct_code
        from sparsedsl.codegen.machine import linked, readable
        from sparsedsl.loops.nodes import ArrayParam
        from sparsedsl.loops.optimise import optimise

        kinds = [
            (p.dtype, p.ndim) if isinstance(p, ArrayParam) else ("int64", -1) for p in kernel.params
        ]
        code = direct_code(optimise(kernel), kinds, "check", fastmath=False)
        return linked(code) if code is not None and readable() else None


_multiplies = functools.lru_cache(maxsize=512)(multiplies)
_loops: dict[tuple[Layout, tuple[str, ...]], _Loops] = {}


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
    values = validate(layout, shape, arrays, distinct=distinct)
    found.took(time.perf_counter() - begin)
    return values


def _loops_of(layout: Layout, arrays: Mapping[str, np.ndarray], distinct: bool) -> _Loops | None:
    """The loops for such arrays, compiled or not; None where there are none."""
    if distinct and not layout.repeats and not unique(layout):
        return None
    try:
        dtypes = tuple(arrays[name].dtype.name for name in layout.functions)
    except (KeyError, AttributeError):
        return None
    key = (layout, dtypes)
    known = _loops.get(key)
    if known is None:
        if not set(dtypes) <= {"int32", "int64"}:
            return None
        known = _loops[key] = _Loops(layout, dict(zip(layout.functions, dtypes, strict=True)))
    return known
