"""What the parameters of a layout are for given arrays.

Takes: a layout, a shape and arrays.  Gives: a value for every parameter that a length tells.
Invariant: arrays whose lengths tell the same parameter agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.layouts.extent import size_in
from sparsedsl.layouts.layout import Layout
from sparsedsl.spf import terms as t


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
    origin: dict[str, str] = {}
    for name, lengths in layout.lengths.items():
        if name not in arrays:
            continue
        for axis, length in enumerate(lengths):
            size = size_in(length, layout.sizes)
            if size is None or length is None or axis >= arrays[name].ndim:
                continue
            rest = t.subtract(length, t.var(size))
            if not t.variables(rest) <= set(values) or t.ufs(rest):
                continue
            actual = arrays[name].shape[axis] - int(t.evaluate(rest, values, {}))
            place = f"{name}.shape[{axis}]"
            if actual < 0:
                raise InvalidTensorError(
                    f"{place} = {arrays[name].shape[axis]} gives {size} = {actual}",
                    hint=f"the length of {name} is {t.text(length)}",
                )
            if values.setdefault(size, actual) != actual:
                raise InvalidTensorError(
                    f"{place} gives {size} = {actual}, but {origin[size]} gives "
                    f"{size} = {values[size]}",
                    hint=f"arrays that share {size} have the same length",
                )
            origin.setdefault(size, place)
    return values
