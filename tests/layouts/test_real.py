"""Real matrices through every layout, and arrays that were tampered with."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy
import scipy.sparse as sp

from sparsedsl.errors import InvalidTensorError
from sparsedsl.interop.arrays import from_arrays
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import convert, stored

SIDE = 40

# What a refusal names when it is about no single array.
ABOUT = ("stored twice", "the ranges of")


@cache
def real():
    """The leading part of a matrix that comes with scipy, and a grid's operator if at hand."""
    found = []
    path = Path(scipy.__file__).parent / "sparse/linalg/tests/propack_test_data.npz"
    if path.exists():
        with np.load(path, allow_pickle=True) as data:
            whole = sp.csr_array(data["A_real"].item())
        found.append(whole[:SIDE, : SIDE - 7])
    try:
        from pyamg.gallery import poisson

        found.append(sp.csr_array(poisson((6, 7), format="csr")))
    except ImportError:
        pass
    return found


def test_real_matrices_through_every_pair_of_layouts(member, cases):
    rows = resolve("csr", 2)
    for matrix in real():
        matrix.sort_indices()
        dense, shape = matrix.toarray(), matrix.shape
        if not cases.holdable(member, dense):
            continue
        arrays = {"indptr": matrix.indptr, "indices": matrix.indices, "data": matrix.data}
        made = convert(rows, member, shape, arrays)
        validate(member, shape, made)
        for target in cases.members(2):
            if cases.holdable(target, dense):
                other = convert(member, target, shape, made)
                assert (cases.scatter(shape, *stored(target, shape, other)) == dense).all()
                size = sum(array.nbytes for array in other.values())
                assert size == cases.predicted(target, shape, np.count_nonzero(dense), other)


def changes(array):
    """One index array with one thing wrong at a time."""
    flat = array.ravel()
    for place in {0, flat.size // 2, flat.size - 1}:
        for value in (-7, 1000, 2**31 - 1):
            bad = array.copy()
            bad.ravel()[place] = value
            yield bad
    yield array[:-1].copy()
    yield np.concatenate([array, array[-1:]])
    yield array[::-1].copy()
    yield np.zeros_like(array)
    yield np.full_like(array, 3)


def test_tampered_arrays_are_refused_with_a_name_or_still_sound(member, cases):
    """Nothing crashes, and whatever is accepted is a tensor that reads back in bounds."""
    refused = 0
    for dense in cases.matrices((6, 6), seed=2):
        if not dense.any() or not cases.holdable(member, dense):
            continue
        arrays = construct(member, dense.shape, *cases.coordinates(dense))
        for name in member.functions:
            if not arrays[name].size:
                continue
            for bad in changes(arrays[name]):
                given = {**arrays, name: np.ascontiguousarray(bad)}
                try:
                    tensor = from_arrays(member, dense.shape, given)
                except InvalidTensorError as error:
                    refused += 1
                    assert any(part in str(error) for part in (*member.arrays, *ABOUT))  # noqa: PT017
                    continue
                coords, _ = tensor.coordinates()
                assert ((coords >= 0) & (coords < 6)).all()
                distinct = len(np.unique(coords, axis=1).T) == coords.shape[1]
                assert distinct or member.repeats
        for name in (name for name in member.functions if arrays[name].size):
            with pytest.raises(InvalidTensorError, match=name):
                from_arrays(member, dense.shape, {**arrays, name: arrays[name].astype(float) + 0.5})
        break
    assert refused or not member.functions
