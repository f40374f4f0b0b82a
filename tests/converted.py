"""What the tests of conversions share: layouts by name, matrices, and the comparison."""

import numpy as np

from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.convert import convert as plainly

SOURCES = (
    *("dense", "coo", "coo_unsorted", "csr", "csc", "dcsr", "csf", "dia", "ell", "bitmap"),
    *("bcsr(2, 3)", "bcsc(3, 2)", "sell(3)", "csb(2)", "nm(2, 3)", "banded(6, 6)", "vbl", "jad"),
    "hyb(2)",
)
ONES = (
    *("hyb(1)", "csb(1)", "nm(1, 1)", "nm(1, 4)", "nm(2, 1)", "sell(1)", "sell_sigma(1, 1)"),
    *("sell_sigma(3, 1)", "sell_sigma(1, 3)", "hash(1)", "bcsr(1, 1)", "bcsr(1, 3)", "bcsc(2, 1)"),
    *("hicoo(1)", "banded(6, 6)"),
)
"""Layouts whose parameters are 1."""

TARGETS = (*SOURCES, "sell_sigma(2, 4)", "morton", "hicoo(2)", "hash(5)", "rle", "ragged")


def layout_of(name, rank=2):
    stem, _, sizes = name.partition("(")
    if sizes:
        return resolve(layouts[stem](*map(int, sizes.rstrip(")").split(","))), rank)
    return resolve(stem, rank)


def matrix(shape, seed, density=0.5):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < density, rng.integers(1, 9, shape), 0).astype(float)


def agree(source, target, shape, arrays, made, fill=0.0):
    """Whether two conversions gave the same arrays."""
    wanted = plainly(source, target, shape, arrays, fill=fill)
    validate(target, shape, made)
    for name, array in wanted.items():
        assert made[name].dtype == array.dtype, name
        np.testing.assert_array_equal(made[name], array, err_msg=name)
