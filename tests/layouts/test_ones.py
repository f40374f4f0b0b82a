"""Layouts whose parameters are 1, or 0 where that means something."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import convert, stored

ONES = {
    f"{name}{sizes}": layouts[name](*sizes)
    for name, sizes in [
        *(("bcsr", sizes) for sizes in ((1, 1), (1, 3), (2, 1))),
        *(("bcsc", sizes) for sizes in ((1, 1), (3, 1))),
        *(("sell_sigma", sizes) for sizes in ((1, 1), (3, 1), (1, 3))),
        *(("banded", sizes) for sizes in ((1, 1), (0, 0), (0, 2), (1, 0))),
        *(("nm", sizes) for sizes in ((1, 1), (2, 1), (1, 4))),
        *((name, (1,)) for name in ("sell", "hyb", "hash", "csb", "ell", "jad")),
    ]
} | {"hicoo(1)": layouts["hicoo"](1).of(2), "nm(1)": layouts["nm"](1)}

OTHERS = ("dense", "csr", "csc", "coo_unsorted", "dia", "hyb", "vbl", "rle", "bitmap", "morton")
SHAPES = ((7, 7), (4, 6), (1, 7), (7, 1), (0, 3), (3, 0), (1, 1))


def fitting(names, shape):
    """A matrix that layouts of those names hold."""
    rng = np.random.default_rng(4)
    dense = np.where(rng.random(shape) < 0.6, rng.integers(1, 5, shape), 0).astype(float)
    columns, rows = np.arange(shape[1]), np.arange(shape[0])[:, None]
    for name in names:
        match name.partition("("):
            case ("banded", _, sizes):
                low, high = map(int, sizes.rstrip(")").split(","))
                dense *= (columns - rows <= high) & (rows - columns <= low)
            case ("nm", _, sizes) if sizes == "1, 4)":
                dense *= columns % 4 == 0
            case ("ell" | "jad", _, _):
                dense *= columns == 0
            case _:
                pass
    return dense


def entries(dense):
    coords = np.array(np.nonzero(dense)).reshape(2, -1)
    return coords, dense[tuple(coords)]


@pytest.mark.parametrize("source", ONES)
def test_every_ordered_pair(source, cases):
    for target in (*ONES, *OTHERS):
        start = ONES[source]
        to = ONES[target] if target in ONES else layouts.usual(target)
        to = to if isinstance(to, sd.Layout) else resolve(to, 2)
        for shape in SHAPES:
            dense = fitting((source, target), shape)
            arrays = construct(start, shape, *entries(dense))
            made = convert(start, to, shape, arrays)
            validate(to, shape, made)
            assert (cases.scatter(shape, *stored(to, shape, made)) == dense).all()
            back = convert(to, start, shape, made)
            for name, array in arrays.items():
                np.testing.assert_array_equal(back[name], array, err_msg=f"{target} {name}")
            assert sd.storage_bytes(dense, to) == sum(array.nbytes for array in made.values())


@pytest.mark.parametrize("name", ONES)
def test_expressions(name):
    dense = fitting((name,), (6, 7))
    A, B = sd.convert(dense, ONES[name]), sp.csr_array(np.triu(np.ones((6, 7))))
    x = np.arange(1.0, 8.0)
    np.testing.assert_allclose(sd.evaluate("y[i] = A[i,j] * x[j]", A=A, x=x), dense @ x)
    total = sd.evaluate("s[()] = A[i,j] * B[i,j]", A=A, B=B)
    np.testing.assert_allclose(total, np.triu(dense).sum())
    made = sd.evaluate("C[i,j] = A[i,j] + B[i,j]", out="csr", A=A, B=B)
    np.testing.assert_allclose(sd.asarray(made).to_numpy(), dense + B.toarray())


@pytest.mark.parametrize(
    ("name", "sizes", "said"),
    [
        ("bcsr", (0, 2), "at least 1 for block size R"),
        ("hyb", (0,), "at least 1 for block size W"),
        ("csb", (0,), "at least 1 for block size B"),
        ("nm", (0, 4), "no place for any entry where K = 0, G = 4"),
        ("banded", (-1, 2), "at least 0 for block size KL"),
        ("banded", (2**31, 2), r"less than 2\*\*31"),
        ("bcsr", (1.5, 2), "a whole number for block size R"),
    ],
)
def test_sizes_without_a_meaning_are_refused(name, sizes, said):
    with pytest.raises(sd.LayoutError, match=said):
        layouts[name](*sizes)


def test_what_is_too_much_for_one_column_is_refused():
    for name in ("ell", "jad"):
        with pytest.raises(sd.InvalidTensorError, match="no place for the entry"):
            sd.convert(np.ones((2, 2)), ONES[f"{name}(1,)"])
