"""Blocks, slices and tables of size 1: compiled conversions against the interpreted ones."""

import numpy as np
import pytest
from converted import ONES, agree, layout_of, matrix

from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.sizes import infer_sizes

OTHERS = ("csr", "csc", "coo_unsorted", "dense", "hyb(2)", "dia", "vbl")


@pytest.mark.parametrize("rankable", [False, True])
@pytest.mark.parametrize("target", [*ONES, *OTHERS])
def test_every_pair(target, rankable, interpreted):
    to = layout_of(target)
    for source in (*ONES, *OTHERS):
        start = layout_of(source)
        for shape, density in (((5, 7), 0.4), ((6, 6), 1.0), ((1, 1), 1.0), ((4, 1), 0.7)):
            dense = matrix(shape, 3, density)
            if "nm(1, 4)" in (source, target):
                dense[:, np.arange(shape[1]) % 4 > 0] = 0
            coords = np.array(np.nonzero(dense))
            arrays = construct(start, shape, coords, dense[tuple(coords)])
            if start == to or not arrays[start.value.function].size:
                continue
            sizes = infer_sizes(start, shape, arrays)
            made = interpreted(start, to, shape, arrays, sizes=sizes, rankable=rankable)
            if made is None:
                # slices of one row take places that are counted for each row alone
                assert target.startswith("sell")
            else:
                agree(start, to, shape, arrays, made)
