"""Products of the dense blocks that hang on the coordinates of a sparse product."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rdu.emulate import functional as f


def combine_blocks(
    blocks: Sequence[npt.NDArray[Any]],
    axes: Sequence[tuple[str, ...]],
    order: Sequence[int],
    out: Sequence[str],
    summed: Sequence[str],
    extents: Mapping[str, int],
    items: int,
    *,
    shared: bool,
) -> npt.NDArray[Any]:
    """Multiply the blocks of each item and sum the block axes the output lacks, ascending.

    ``blocks[n]`` is ``[items, *axes[n]]``. All factors but the last of ``order`` are multiplied
    element by element into the left operand; with ``shared`` the last one is ``[1, ...]``, the
    same for all items, which then are rows of one product. Returns ``[items, *out]``.
    """
    lefts = [blocks[n] for n in order]
    names = list(dict.fromkeys(a for n in order for a in axes[n]))
    if not summed:
        total: Any = 1
        for n, array in zip(order, lefts, strict=True):
            part = f.aligned(array, ("#", *axes[n]), ("#", *names))
            total = part if n == order[0] else total * part
        moved = f.aligned(np.asarray(total), ("#", *names), ("#", *out))
        return np.broadcast_to(moved, (items, *moved.shape[1:]))
    rest = [a for n in order[:-1] for a in axes[n]]
    left_names = list(dict.fromkeys([*(a for a in rest), *summed]))
    left: Any = np.ones((items,) + (1,) * len(left_names), dtype=lefts[0].dtype)
    for n, array in zip(order[:-1], lefts[:-1], strict=True):
        left = left * f.aligned(array, ("#", *axes[n]), ("#", *left_names))
    left = np.broadcast_to(left, (items, *(extents[a] for a in left_names)))
    last = order[-1]
    right_names = list(dict.fromkeys([*axes[last], *summed]))
    stack = lefts[-1]
    right = f.aligned(stack, ("#", *axes[last]), ("#", *right_names))
    right = np.broadcast_to(right, (len(stack), *(extents[a] for a in right_names)))
    batch = [a for a in out if a in left_names and a in right_names]
    m = [a for a in out if a in left_names and a not in right_names]
    n_axes = [a for a in out if a not in left_names]
    size = {a: extents[a] for a in (*left_names, *right_names)}

    def volume(group: Sequence[str]) -> int:
        return math.prod(size[a] for a in group)

    k = volume(summed)
    if shared:
        a = f.aligned(left, ("#", *left_names), (*batch, "#", *m, *summed))
        a = a.reshape(volume(batch), items * volume(m), k)
        b = f.aligned(right[0], right_names, (*batch, *summed, *n_axes))
        b = b.reshape(volume(batch), k, volume(n_axes))
        product = f.multiply_add(None, np.ascontiguousarray(a), b)
        shape = [*(size[x] for x in batch), items, *(size[x] for x in (*m, *n_axes))]
        labels = (*batch, "#", *m, *n_axes)
    else:
        a = f.aligned(left, ("#", *left_names), ("#", *batch, *m, *summed))
        a = a.reshape(items * volume(batch), volume(m), k)
        b = f.aligned(right, ("#", *right_names), ("#", *batch, *summed, *n_axes))
        b = b.reshape(items * volume(batch), k, volume(n_axes))
        product = f.multiply_add(None, np.ascontiguousarray(a), b)
        shape = [items, *(size[x] for x in (*batch, *m, *n_axes))]
        labels = ("#", *batch, *m, *n_axes)
    return f.aligned(product.reshape(shape), labels, ("#", *out))
