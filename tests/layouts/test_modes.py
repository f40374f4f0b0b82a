"""Mode-generic tensors, and slices of rows sorted within windows."""

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.errors import InvalidTensorError, LayoutError


@pytest.mark.parametrize("dense", [0, 1, 2, 3])
def test_the_inner_modes_are_plain_blocks(dense):
    rng = np.random.default_rng(dense)
    values = np.where(rng.random((4, 3, 5)) < 0.2, rng.integers(1, 9, (4, 3, 5)), 0)
    tensor = sd.convert(values.astype(float), sd.layouts["mode_generic"](dense=dense))
    assert (tensor.to_numpy() == values).all()
    outer = values.reshape(*values.shape[: 3 - dense], -1).any(axis=-1)
    blocks = (int(outer.sum()),) if dense < 3 else ()
    assert tensor.values.shape == (*blocks, *values.shape[3 - dense :])
    assert len(tensor.layout.functions) == 3 - dense
    weights = rng.random((5, 2))
    found = sd.einsum("ijk,kr->ijr", tensor, weights)
    np.testing.assert_allclose(getattr(found, "to_numpy", lambda: found)(), values @ weights)


@pytest.mark.parametrize("wrong", [-1, True, 4])
def test_a_wrong_number_of_dense_modes_is_refused(wrong):
    with pytest.raises(LayoutError, match="dense modes"):
        sd.convert(np.ones((2, 2, 2)), sd.layouts["mode_generic"](dense=wrong))
    with pytest.raises(LayoutError, match="no number of dense modes for 'csf'"):
        sd.layouts["csf"](dense=1)


def windowed():
    dense = np.array([[1, 0, 0], [1, 1, 1], [1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 1]])
    return dense, sd.convert(dense.astype(float), sd.layouts["sell_sigma"](2, 4))


def test_rows_are_sorted_by_length_within_windows():
    dense, tensor = windowed()
    assert tensor.arrays["perm"].tolist() == [1, 2, 0, 3, 5, 4]
    assert tensor.arrays["counts"].tolist() == [3, 2, 1, 0, 2, 1]
    assert tensor.arrays["widths"].tolist() == [3, 1, 2]
    assert (tensor.to_numpy() == dense).all()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("perm", {2: 4, 5: 0}, "perm"),
        ("perm", {0: 2}, "permutation perm"),
        ("counts", {0: 1, 1: 2}, "nonincreasing counts within"),
    ],
)
def test_rows_that_leave_their_window_or_their_order_are_refused(name, change, message):
    _, tensor = windowed()
    arrays = {key: array.copy() for key, array in tensor.arrays.items()}
    for place, value in change.items():
        arrays[name][place] = value
    with pytest.raises(InvalidTensorError, match=message):
        sd.from_arrays(tensor.layout, tensor.shape, arrays)


def test_windows_of_one_slice():
    """Windows and slices coincide: one bound in two forms."""
    dense = np.triu(np.arange(1.0, 26.0).reshape(5, 5))
    stored = sd.convert(dense, sd.layouts["sell_sigma"](2, 2))
    assert np.array_equal(stored.to_numpy(), dense)
    assert np.array_equal(sd.einsum("ij,j->i", stored, np.ones(5)), dense.sum(axis=1))
