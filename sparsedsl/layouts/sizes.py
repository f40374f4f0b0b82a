"""What the lengths of given arrays say: parameters of the layout, and which subscripts are inside.

Takes: a layout, a shape and arrays.  Gives: a value for every parameter that a length tells.
Invariant: arrays whose lengths tell the same parameter agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.extent import size_in
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.structure import Structure
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Term


def infer_sizes(
    layout: Layout, shape: Sequence[int], arrays: Mapping[str, np.ndarray]
) -> dict[str, int]:
    """Every parameter's value: extents from ``shape``, the others from lengths of arrays.

    Raises
    ------
    InvalidTensorError
        When two arrays disagree, or an array has the wrong number of axes.
    """
    values = dict(zip(layout.extents, map(int, shape), strict=True))
    origin: dict[str, tuple[str, int]] = {}
    for name, axis, size, rest in _telling(layout):
        if name not in arrays or axis >= arrays[name].ndim:
            continue
        if rest.parts and not t.variables(rest) <= values.keys():
            continue
        found = arrays[name].shape[axis]
        actual = found - int(t.evaluate(rest, values, {})) if rest.parts else found - rest.constant
        if actual < 0:
            length = layout.lengths[name][axis]
            raise InvalidTensorError(
                f"{name}.shape[{axis}] = {found} gives {size} = {actual}",
                hint=f"the length of {name} is {t.text(length) if length else found}",
            )
        if values.setdefault(size, actual) != actual:
            other = "{}.shape[{}]".format(*origin[size])
            raise InvalidTensorError(
                f"{name}.shape[{axis}] gives {size} = {actual}, but {other} gives "
                f"{size} = {values[size]}",
                hint=f"arrays that share {size} have the same length",
            )
        origin.setdefault(size, (name, axis))
    return values


@lru_cache(maxsize=1024)
def _telling(layout: Layout) -> tuple[tuple[str, int, str, Term], ...]:
    """Axes of arrays whose length tells a parameter: the array, the axis, the parameter, the rest.

    The length is the parameter plus the rest.
    """
    found: list[tuple[str, int, str, Term]] = []
    for name, lengths in layout.lengths.items():
        for axis, length in enumerate(lengths):
            size = size_in(length, layout.sizes)
            if size is None or length is None:
                continue
            rest = t.subtract(length, t.var(size))
            if not t.ufs(rest):
                found.append((name, axis, size, rest))
    return tuple(found)


def inside_by_lengths(layout: Layout, call: UF, part: Structure) -> bool:
    """Whether the checked lengths alone keep ``call`` inside its array."""
    parameters = layout.relation.parameters
    bounds = Bounds(part.scan, parameters)
    lengths = layout.lengths.get(call.function)
    if lengths is None or any(length is None for length in lengths):
        return False
    return not t.all_ufs(call.arguments) and all(
        any(not low.parts and low.constant >= 0 for low in bounds.minimum(x, parameters))
        for x in call.arguments
    )
