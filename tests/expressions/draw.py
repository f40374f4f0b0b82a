"""Arguments for an expression: shapes, small integers, and where a layout has a place for them."""

import numpy as np
from levels import store

import sparsedsl as sd
from expressions.table import modes


def extents_for(text, rng, least, most):
    """An extent for each index letter of an expression's operands."""
    return {c: int(rng.integers(least, most + 1)) for c in "ijkl"}


def shape_of(text, extents):
    found = []
    for mode in modes(text):
        if mode[0] == "+":
            found.append(max(extents[mode[1]] + extents[mode[2]] - 1, 0))
        elif mode.isdigit():
            found.append(int(mode) + 1 + extents["l"])
        else:
            found.append(extents[mode])
    return tuple(found)


def small_integers(rng, shape, dtype):
    """Values that add and multiply exactly, stored zeros among them."""
    values = rng.integers(0 if np.dtype(dtype).kind in "bu" else -3, 4, shape)
    if np.dtype(dtype).kind == "c":
        return (values + 1j * rng.integers(-3, 4, shape)).astype(dtype)
    return values.astype(dtype)


def draw(expr, layouts, rng, *, least=3, most=7, dtype="float64", fills=(), index_dtype=None):
    """Arguments and plain arrays for an expression: ``(tensors, truth)`` by name.

    ``layouts`` names a layout for each sparse operand; ``fills`` gives fill values by name.
    """
    extents = extents_for(expr, rng, least, most)
    tensors, truth = {}, {}
    for name, text in expr.operands:
        shape = shape_of(text, extents)
        dense = small_integers(rng, shape, dtype)
        if not name[0].isupper():
            tensors[name], truth[name] = sd.asarray(dense), dense
            continue
        layout = layouts[name]
        fill = dict(fills).get(name, 0)
        mask = structured(layout, shape, rng)
        dense = np.where(mask, dense, np.asarray(fill, dtype)).astype(dtype)
        name_of = getattr(layout, "name", layout)
        if name_of in ("symmetric", "packed"):
            square = min(shape)
            lower = np.tril(dense[:square, :square], -1)
            dense[:square, :square] = np.tril(dense[:square, :square]) + lower.T
        if name_of == "pattern":
            dense = np.where(mask, np.asarray(1, dtype), dense).astype(dtype)
        tensors[name] = store(dense, mask, layout, fill, index_dtype)
        truth[name] = dense
    return tensors, truth


def structured(layout, shape, rng):
    """Where to store entries: anywhere, or where a structured layout has a place for them."""
    mask = rng.random(shape) < rng.choice([0.15, 0.35, 0.6])
    name = getattr(layout, "name", layout)
    if name in ("triangular", "skyline", "symmetric", "packed"):
        mask = np.tril(mask)
    if name in ("symmetric", "packed"):
        square = min(shape)
        mask[square:] = False
        mask[:square, :square] |= mask[:square, :square].T
    if name == "banded":
        below, above = layout.block_sizes
        mask &= np.tril(np.ones(shape, bool), above) & ~np.tril(np.ones(shape, bool), -below - 1)
    if name == "nm":
        most, group = layout.block_sizes
        for start in range(0, shape[1], group):
            part = mask[:, start : start + group]
            part &= np.cumsum(part, axis=1) <= most
    return mask
