import numpy as np
import pytest
import scipy.sparse as sp

from sparsedsl.bench import inputs


@pytest.mark.parametrize("name", inputs.MATRICES)
def test_matrices_are_canonical(name):
    matrix = inputs.load(name, quick=True)
    assert matrix.shape[0] == matrix.shape[1]
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.data.dtype == np.float64
    for row in np.split(matrix.indices, matrix.indptr[1:-1]):
        assert (np.diff(row) > 0).all()


@pytest.mark.parametrize("name", inputs.MATRICES)
def test_the_same_matrix_every_time(name):
    first = inputs.MATRICES[name].make(True)
    again = inputs.MATRICES[name].make(True)
    assert (first != again).nnz == 0


def test_tensor_holds_what_its_fibers_say():
    x = inputs.tensor((4, 5, 6), 30, seed=3)
    dense = np.zeros(x.shape)
    first = x.first
    for fiber, middle in enumerate(x.middles):
        part = slice(x.starts[fiber], x.starts[fiber + 1])
        dense[first[fiber], middle, x.last[part]] = x.values[part]
    assert np.count_nonzero(dense) == x.values.size
    summed = np.asarray(x.by_fiber.sum(axis=1)).ravel()
    np.testing.assert_allclose(summed, dense.sum(axis=2)[first, x.middles])
    assert (np.diff(x.roots) > 0).all()


def test_rmat_is_skewed():
    degrees = np.sort(np.diff(inputs.rmat(10, 16).indptr))[::-1]
    assert degrees[:10].mean() > 5 * degrees.mean()


def test_moved_keeps_entries_and_other_values_the_pattern():
    a = inputs.grid(6)
    assert inputs.moved(a).nnz == a.nnz
    np.testing.assert_allclose(inputs.moved(a).toarray(), np.roll(a.toarray(), 1, axis=0))
    other = inputs.other_values(a)
    assert (other.indices == a.indices).all()
    assert (other.data != a.data).any()


def test_grid_is_the_five_point_stencil():
    pattern = (inputs.grid(3).toarray() != 0).astype(int)
    degrees = pattern.sum(axis=1)
    assert degrees.tolist() == [3, 4, 3, 4, 5, 4, 3, 4, 3]
    assert (pattern == pattern.T).all()


def test_blocks_are_full():
    pattern = sp.csr_array(inputs.blocks(3)).tobsr((3, 3))
    assert (pattern.data != 0).all()


def test_every_input_has_a_line_about_it():
    about = inputs.known(quick=True)
    assert {*inputs.MATRICES, *inputs.TENSORS} <= {*about}


@pytest.mark.parametrize("quick", [True, False])
def test_real_matrices_that_are_not_square_have_their_normal_matrix(quick):
    there = inputs.real(quick)
    if not there:
        pytest.skip("scipy is installed without its tests")
    given, normal = there["A_real"].toarray(), inputs.load("N_real", quick)
    np.testing.assert_allclose(normal.toarray(), given.T @ given, rtol=1e-12, atol=1e-12)
    assert normal.has_sorted_indices
    assert normal.indices.dtype == np.int32
    assert "A_real' A_real" in inputs.known(quick)["N_real"]


def test_unknown_inputs_are_key_errors():
    with pytest.raises(KeyError):
        inputs.load("nothing", quick=True)
