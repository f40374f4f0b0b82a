import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from sparsedsl.errors import InvalidTensorError, LayoutError, TensorTypeError
from sparsedsl.interop import asarray, from_arrays
from sparsedsl.layouts.catalogue import layouts
from sparsedsl.runtime.form import fill_scalar
from sparsedsl.runtime.tensor import Tensor

DENSE = np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0], [0.0, 0.0, 4.0]])


@pytest.fixture
def tensor():
    return asarray(sp.csr_array(DENSE))


def test_attributes(tensor):
    assert tensor.shape == (3, 3)
    assert tensor.ndim == 2
    assert tensor.size == 9
    assert tensor.dtype == np.float64
    assert tensor.nnz == 4
    assert tensor.fill_value == 0
    assert tensor.layout.name == "csr"
    assert list(tensor.arrays) == ["indptr", "indices", "data"]
    assert dict(tensor.sizes) == {"N": 3, "M": 3}
    assert len(tensor) == 3
    assert repr(tensor) == "<csr tensor shape=(3, 3) dtype=float64 nnz=4 fill=0.0>"
    assert "<td>float64</td>" in tensor._repr_html_()
    assert "indptr(i) &lt;= p" in tensor._repr_html_()


def test_the_structure_is_immutable(tensor):
    for name in ("shape", "layout", "arrays", "other"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(tensor, name, None)
    with pytest.raises(AttributeError, match="immutable"):
        del tensor.shape
    with pytest.raises(TypeError):
        tensor.arrays["data"] = np.ones(4)


@pytest.mark.parametrize(
    ("name", "stored"),
    [("csr", 4), ("coo", 4), ("dense", 9), ("dia", 7), ("ell", 4), ("rle", 4), ("vbl", 4)],
)
def test_nnz_counts_what_is_stored(name, stored):
    assert asarray(DENSE, name).nnz == stored


def test_nnz_of_runs_counts_entries():
    runs = asarray(np.array([[1.0, 1.0, 1.0, 0.0]]), "rle")
    assert runs.values.size == 1
    assert runs.nnz == 3


def test_a_sparse_tensor_does_not_turn_dense_unasked(tensor):
    with pytest.raises(TypeError, match=r"\.to_numpy\(\)") as caught:
        np.asarray(tensor)
    assert isinstance(caught.value, TensorTypeError)
    assert (np.asarray(asarray(DENSE)) == DENSE).all()
    with pytest.raises(TypeError):
        np.linalg.inv(tensor)
    huge = from_arrays("coo", (10**6,) * 4, {**{f"crd{m}": [1] for m in range(4)}, "data": [1.0]})
    assert huge.size == 10**24
    with pytest.raises(InvalidTensorError, match="does not fit in memory"):
        huge.to_numpy()


def test_copies_and_pickles(tensor):
    for made in (tensor.copy(), pickle.loads(pickle.dumps(tensor)), copy.deepcopy(tensor)):
        assert made.layout == tensor.layout
        assert (made.to_numpy() == DENSE).all()
        assert not np.shares_memory(made.values, tensor.values)


def test_convert_and_transpose(tensor):
    assert tensor.convert("csr") is tensor
    for name in ("csc", "coo", "dcsr", "dense"):
        assert (tensor.convert(name).to_numpy() == DENSE).all()
    assert tensor.convert(layouts["bcsr"](2, 2)).layout.label == "bcsr(2, 2)"
    assert tensor.T.layout.name == "csc"
    assert np.shares_memory(tensor.T.values, tensor.values)
    assert (tensor.T.T.to_numpy() == DENSE).all()
    cube = asarray(np.arange(24.0).reshape(2, 3, 4), "csf")
    assert (cube.T.to_numpy() == np.arange(24.0).reshape(2, 3, 4).T).all()
    line = asarray(np.arange(3.0))
    assert line.T is line
    assert tensor.convert("bcsr").layout.label == "bcsr(4, 4)"
    with pytest.raises(LayoutError, match="needs block sizes"):
        tensor.convert(layouts["bcsr"])


def test_other_fill_values():
    arrays = {"indptr": [0, 1, 1], "indices": [1], "data": [2.0]}
    tensor = from_arrays("csr", (2, 2), arrays, fill_value=np.inf)
    assert tensor.to_numpy().tolist() == [[np.inf, 2.0], [np.inf, np.inf]]
    assert tensor.convert("dense").convert("coo").nnz == 1
    assert "fill=inf" in repr(tensor)
    with pytest.raises(LayoutError, match="fill value is 0, found inf"):
        tensor.to_scipy()
    assert tensor.astype("float32").fill_value.dtype == np.float32


@pytest.mark.parametrize(
    ("value", "dtype", "good"),
    [
        *((0, "int8", True), (300, "int8", False), (-1, "uint8", False), (1.5, "int32", False)),
        *((np.nan, "int32", False), (np.nan, "float32", True), (0.1, "float32", True)),
        *((np.inf, "float32", True), (1e300, "float32", False), (1j, "float64", False)),
        *((2 + 0j, "float64", True), (1j, "complex64", True), (True, "bool", True)),
        *((2, "bool", False), ("a", "float64", False), ([1], "float64", False)),
    ],
)
def test_fill_values_must_be_values_of_the_dtype(value, dtype, good):
    if good:
        made = fill_scalar(value, np.dtype(dtype))
        assert made.dtype == dtype
        assert np.isclose(made, value, equal_nan=True)
    else:
        with pytest.raises(TensorTypeError):
            fill_scalar(value, np.dtype(dtype))


def test_changes_behind_the_back_are_found(tensor):
    made = tensor.copy()
    made.validate()
    made.arrays["indices"][0] = 99
    with pytest.raises(InvalidTensorError, match=r"indices\(p\) = 99"):
        made.validate()


def test_a_tensor_without_modes():
    scalar = asarray(2.0)
    assert isinstance(scalar, Tensor)
    assert scalar.nnz == 1
    with pytest.raises(TypeError, match=r"no len\(\)"):
        len(scalar)
