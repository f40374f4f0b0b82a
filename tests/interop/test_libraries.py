"""Arrays of pydata/sparse and torch themselves, in kernels and files.

torch is large and no requirement of the tests: ``test_convert`` and ``gradients/test_autograd``
have stand-ins for it.
"""

import numpy as np
import pytest
import scipy.sparse as sp
import sparse

import sparsedsl as sd
from sparsedsl.gradients.autograd import differentiable

D = np.where(np.random.default_rng(0).random((4, 6)) < 0.5, 1.5, 0.0)


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def of_pydata(form, shape=(4, 6), **options):
    made = sparse.COO(D.reshape(shape))
    return made if form == "COO" else getattr(sparse, form)(made, **options)


FORMS = {
    "COO": {},
    "DOK": {},
    "GCXS": {},
    "GCXS by columns": {"compressed_axes": [1]},
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_pydata_sparse_are_operands(form):
    x = np.arange(6.0)
    made = of_pydata(form.partition(" ")[0], **FORMS[form])
    np.testing.assert_array_equal(spmv(made, x), D @ x)
    assert isinstance(sd.einsum("ij,kj->ik", made, made), sd.Tensor)
    filled = sd.asarray(made + 3)
    assert filled.fill_value == 3
    np.testing.assert_array_equal(filled.to_numpy(), D + 3)
    np.testing.assert_array_equal((sd.asarray(D, "csr") + made).to_numpy(), 2 * D)


GCXS_AXES = [((4, 6), [0]), ((4, 6), [1]), ((24,), None), ((2, 3, 4), [0]), ((2, 3, 4), [0, 2])]
GCXS_AXES += [((2, 2, 2, 3), [1, 3]), ((0, 3), [0]), ((2, 0, 3), [1])]


@pytest.mark.parametrize(("shape", "axes"), GCXS_AXES)
def test_archives_of_pydata_sparse_are_read(shape, axes, tmp_path):
    dense = D.reshape(shape) if np.prod(shape) else np.zeros(shape)
    for number, made in enumerate((sparse.COO(dense), sparse.GCXS(dense, compressed_axes=axes))):
        sparse.save_npz(tmp_path / f"{number}.npz", made)
        found = sd.read(tmp_path / f"{number}.npz")
        assert found.nnz == made.nnz
        np.testing.assert_array_equal(found.to_numpy(), dense)


@pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta")
@pytest.mark.parametrize("form", ["dense", "coo", "csr", "csc"])
def test_tensors_of_torch_are_operands(form):
    torch = pytest.importorskip("torch")
    given = torch.from_numpy(D)
    A = given if form == "dense" else getattr(given, f"to_sparse_{form}")()
    x = torch.arange(6.0, dtype=torch.float64)
    np.testing.assert_array_equal(spmv(A, x), D @ x.numpy())
    tensor = sd.asarray(A)
    assert tensor.layout.name == form
    if form == "dense":
        assert np.shares_memory(tensor.values, D)


def test_a_kernel_takes_part_in_torch_s_gradients():
    torch = pytest.importorskip("torch")
    A = sp.csr_array(D)
    values = torch.tensor(A.data, requires_grad=True)
    x = torch.arange(6.0, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    loss = (differentiable(spmv, A=A)(values, x) * weights).sum()
    loss.backward()
    rows = np.repeat(np.arange(4), np.diff(A.indptr))
    np.testing.assert_allclose(values.grad, weights.numpy()[rows] * x.detach().numpy()[A.indices])
    np.testing.assert_allclose(x.grad, D.T @ weights.numpy())
    assert torch.autograd.gradcheck(differentiable(spmv, A=A), (values, x))
