import gc
import sys
import types
import weakref

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.errors import InvalidTensorError, LayoutError, TensorTypeError
from sparsedsl.interop import argument, asarray, from_arrays, recall, remember, to_scipy
from sparsedsl.layouts.catalogue import layouts
from sparsedsl.runtime import conversions

FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]
DTYPES = ["float32", "float64", "complex64", "complex128", "bool", "int8", "int64", "uint16"]


def matrix(shape=(6, 9), density=0.4, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random(shape) < density, rng.integers(1, 5, shape), 0).astype(dtype)
    return sp.csr_array(dense)


@pytest.mark.parametrize("shape", [(6, 9), (0, 0), (0, 3), (4, 0), (1, 1)], ids=str)
@pytest.mark.parametrize("make", ["array", "matrix"])
@pytest.mark.parametrize("name", FORMATS)
def test_scipy_in_and_out(name, make, shape):
    given_ = getattr(sp, f"{name}_{make}")(matrix(shape))
    tensor = asarray(given_)
    assert tensor.shape == shape
    assert (tensor.to_numpy() == given_.toarray()).all()
    out = tensor.to_scipy()
    assert isinstance(out, sp.sparray)
    assert (out.toarray() == given_.toarray()).all()
    assert (tensor.T.to_numpy() == given_.toarray().T).all()
    assert (to_scipy(tensor.T).toarray() == given_.toarray().T).all()


@pytest.mark.parametrize("name", ["csr", "csc", "bsr", "dia", "coo"])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_memory_is_shared_both_ways(name, index):
    given_ = matrix((6, 6)).asformat(name)
    for part in ("indptr", "indices", "offsets"):
        if hasattr(given_, part):
            setattr(given_, part, getattr(given_, part).astype(index))
    if name == "coo":
        given_ = sp.coo_array(matrix((6, 6)))
        given_.coords = tuple(c.astype(index) for c in given_.coords)
    tensor = asarray(given_, copy=False)
    for function in tensor.layout.functions:
        assert tensor.arrays[function].dtype == index
    assert np.shares_memory(tensor.values, given_.data)
    out = tensor.to_scipy()
    assert out.format == name
    assert np.shares_memory(out.data, given_.data)
    for part in ("indptr", "indices", "offsets"):
        assert getattr(out, part, np.empty(0, index)).dtype == index
    given_.data[...] = 7
    assert set(np.unique(tensor.values)) == {7}
    assert not np.shares_memory(asarray(given_, copy=True).values, given_.data)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_are_kept(dtype):
    given_ = matrix(dtype=dtype)
    assert asarray(given_).dtype == dtype
    assert asarray(given_.toarray()).dtype == dtype
    assert asarray(given_).to_scipy().dtype == dtype


def raw(kind, data, indices, indptr, shape):
    made = kind(shape, dtype=np.asarray(data).dtype)
    made.data, made.indices = np.array(data), np.array(indices, np.int32)
    made.indptr = np.array(indptr, np.int32)
    return made


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_matrix])
def test_unsorted_and_repeated_entries_are_put_right_on_a_copy(kind):
    given_ = raw(kind, [1.0, 2.0, 4.0, 8.0], [2, 0, 2, 1], [0, 3, 4], (2, 3))
    if kind is sp.csc_matrix:
        given_ = raw(kind, [1.0, 2.0, 4.0, 8.0], [2, 0, 2, 1], [0, 3, 4], (3, 2))
    before = [part.copy() for part in (given_.data, given_.indices, given_.indptr)]
    tensor = asarray(given_)
    assert (tensor.to_numpy() == given_.toarray()).all()
    assert tensor.nnz == 3
    tensor.validate()
    for old, new in zip(before, (given_.data, given_.indices, given_.indptr), strict=True):
        assert (old == new).all()
    with pytest.raises(InvalidTensorError, match="needs a copy"):
        asarray(given_, copy=False)


def test_repeated_coordinates_and_blocks_are_summed():
    rows, columns = [2, 0, 2, 2], [1, 1, 1, 0]
    given_ = sp.coo_array((np.array([1, 2, 3, 4]), (rows, columns)), shape=(3, 3))
    tensor = asarray(given_)
    assert (tensor.to_numpy() == given_.toarray()).all()
    assert tensor.nnz == 3
    flags = sp.coo_array((np.ones(2, bool), ([0, 0], [1, 1])), shape=(1, 2))
    assert asarray(flags).values.tolist() == [True]
    blocks = raw(sp.bsr_array, np.ones((3, 2, 2)), [1, 0, 1], [0, 3], (2, 4))
    assert (asarray(blocks).to_numpy() == [[1, 1, 2, 2], [1, 1, 2, 2]]).all()


@pytest.mark.parametrize("target", ["csr", "csc", "coo", "bcsr"])
@pytest.mark.parametrize("kind", ["coo", "csr"])
def test_entries_are_put_right_in_the_layout_they_are_wanted_in(kind, target, monkeypatch):
    """In one step where that is possible; what comes is the same, and wrong entries are refused."""
    monkeypatch.setattr(conversions, "FEW", 0)
    monkeypatch.setattr(conversions, "MANY", 0)
    rng = np.random.default_rng(2)
    rows, columns = rng.integers(0, 30, 400), rng.integers(0, 21, 400)
    given_ = sp.coo_array((rng.integers(1, 9, 400) * 1.0, (rows, columns)), shape=(30, 21))
    wanted = given_.toarray()
    if kind == "csr":
        order = np.argsort(rows, kind="stable")
        starts = np.searchsorted(rows[order], np.arange(31))
        given_ = raw(sp.csr_array, given_.data[order], columns[order], starts, (30, 21))
    layout = layouts["bcsr"](2, 3) if target == "bcsr" else layouts[target]
    made = asarray(given_, layout).validate()
    again = asarray(given_).convert(layout)
    assert made.layout == again.layout
    assert (made.to_numpy() == wanted).all()
    for name, array in again.arrays.items():
        np.testing.assert_array_equal(made.arrays[name], array)
    with pytest.raises(InvalidTensorError, match="needs a copy"):
        asarray(given_, layout, copy=False)
    (given_.col if kind == "coo" else given_.indices)[7] = 21
    with pytest.raises(InvalidTensorError, match="21"):
        asarray(given_, layout)


def test_unused_room_behind_the_entries_is_ignored():
    given_ = raw(sp.csr_array, [1.0, 2.0, 9.0], [0, 1, 7], [0, 1, 2], (2, 2))
    assert asarray(given_, copy=False).nnz == 2
    short = sp.dia_array((np.ones((1, 2)), [0]), shape=(3, 3))
    assert (asarray(short).to_numpy() == short.toarray()).all()
    long = sp.dia_array((np.ones((2, 5)), [1, -1]), shape=(4, 3))
    assert (asarray(long).to_numpy() == long.toarray()).all()


@pytest.mark.parametrize(
    ("indices", "indptr"),
    [
        ([0, 9, 1], [0, 2, 3]),
        ([0, -1, 1], [0, 2, 3]),
        ([0, 1, 1], [0, 5, 3]),
        ([0, 1, 1], [0, -2, 3]),
        ([0, 1, 1], [1, 2, 3]),
        ([0, 1, 1], [0, 2, 30]),
        ([0, 1, 1], [0, 2, -1]),
        ([0, 1, 1], [0, 3]),
    ],
)
def test_broken_scipy_objects_are_refused(indices, indptr):
    with pytest.raises(InvalidTensorError):
        asarray(raw(sp.csr_array, np.ones(3), indices, indptr, (2, 2)))


def test_validation_is_remembered_while_the_arrays_stay():
    given_ = matrix()
    first = argument(given_)
    assert recall(given_) is first
    assert asarray(given_).arrays["indices"] is first.arrays["indices"]
    given_.data = given_.data * 2
    assert recall(given_) is None
    second = asarray(given_)
    assert (second.to_numpy() == given_.toarray()).all()
    given_.indices = given_.indices[::-1].copy()
    assert (asarray(given_).to_numpy() == given_.toarray()).all()
    count = len(remember._known)
    key, alive = id(given_), weakref.ref(given_)
    del given_
    gc.collect()
    assert alive() is None
    assert key not in remember._known
    assert len(remember._known) < count


def test_unchecked_data_is_not_remembered_as_checked():
    given_ = raw(sp.csr_array, np.ones(3), [0, 9, 1], [0, 2, 3], (2, 2))
    asarray(given_, validate=False)
    with pytest.raises(InvalidTensorError):
        asarray(given_)


def test_numpy_arrays_are_bound_as_they_lie():
    plain = np.arange(12.0).reshape(3, 4)
    assert np.shares_memory(asarray(plain).values, plain)
    turned = asarray(plain.T, copy=False)
    assert turned.shape == (4, 3)
    assert (turned.to_numpy() == plain.T).all()
    sliced = plain[:, ::2]
    assert (asarray(sliced).to_numpy() == sliced).all()
    with pytest.raises(InvalidTensorError, match="needs a copy"):
        asarray(sliced, copy=False)
    swapped = asarray(plain.astype(">f8"))
    assert swapped.dtype == np.float64
    assert swapped.dtype.isnative
    assert (swapped.to_numpy() == plain).all()
    frozen = plain.copy()
    frozen.flags.writeable = False
    assert asarray(frozen, copy=False).shape == (3, 4)


@pytest.mark.parametrize("scalar", [3, 2.5, True, 1 + 2j, np.float32(4), np.array(5)])
def test_scalars_are_tensors_without_modes(scalar):
    tensor = asarray(scalar)
    assert tensor.shape == ()
    assert tensor.to_numpy()[()] == scalar


def test_tensors_of_more_modes():
    coo = sp.coo_array(np.arange(24).reshape(2, 3, 4))
    assert (asarray(coo).to_numpy() == coo.toarray()).all()
    assert (asarray(coo, "csf").to_numpy() == coo.toarray()).all()
    assert (asarray(coo, "csf").to_scipy().toarray() == coo.toarray()).all()
    line = sp.csr_array(np.array([0, 3, 0, 4]))
    assert (asarray(line).to_numpy() == [0, 3, 0, 4]).all()


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from(FORMATS),
    st.sampled_from(["csr", "csc", "coo", "dcsr", "csf", "dia", "ell", "dense"]),
    st.integers(0, 2**32 - 1),
)
def test_any_format_to_any_layout(rows, columns, name, layout, seed):
    given_ = matrix((rows, columns), 0.5, seed).asformat(name)
    tensor = asarray(given_, layout)
    assert tensor.layout.name == layout
    tensor.validate()
    assert (tensor.to_numpy() == given_.toarray()).all()
    assert (tensor.to_scipy().toarray() == given_.toarray()).all()


@pytest.mark.parametrize(
    "wrong",
    [
        *("text", None, object(), {}, {1, 2}, [[1], [1, 2]], b"bytes", len),
        np.array([1.0], "float16"),
        np.array(["a"]),
        np.array([None]),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.ma.array([1.0], mask=[True]),
        np.array([(1, 2.0)], "i4,f8"),
        np.zeros(2, np.longdouble) if np.longdouble is not np.float64 else "text",
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_what_is_no_tensor_is_a_type_error(wrong):
    with pytest.raises(TypeError) as caught:
        asarray(wrong)
    assert isinstance(caught.value, TensorTypeError)


def test_scipy_objects_of_strange_dtypes():
    given_ = matrix().astype(np.longdouble)
    with pytest.raises(TensorTypeError, match="convert it"):
        asarray(given_)


def test_layout_names_are_checked():
    with pytest.raises(LayoutError, match="unknown layout 'cssr'"):
        asarray(matrix(), "cssr")
    with pytest.raises(LayoutError, match=r'outside of the name: sd.layouts\["bcsr"\]\(2, 3\)'):
        asarray(matrix(), "bcsr(2, 3)")
    with pytest.raises(LayoutError, match="holds tensors of 2 modes"):
        asarray(np.ones(3), "csr")
    blocked = asarray(matrix(), layouts["bcsr"](2, 3))
    assert blocked.to_scipy().format == "bsr"
    uneven = asarray(matrix((5, 5)), layouts["bcsr"](2, 3))
    assert (uneven.to_scipy().toarray() == matrix((5, 5)).toarray()).all()


def test_from_arrays_takes_what_users_have():
    tensor = from_arrays(
        "csr", (2, 3), {"indptr": [0, 1, 2], "indices": [2, 0], "data": [1.0, 2.0]}
    )
    assert (tensor.to_numpy() == [[0, 0, 1], [2, 0, 0]]).all()
    small = {"indptr": np.array([0, 1], "u1"), "indices": np.array([1], "i2"), "data": [True]}
    assert from_arrays("csr", (1, 2), small).arrays["indices"].dtype == np.int32
    empty = {"indptr": [0, 0], "indices": [], "data": []}
    assert from_arrays("csr", (1, 2), empty).nnz == 0
    with pytest.raises(TensorTypeError, match="expected indices to hold integers"):
        from_arrays("csr", (1, 2), {**small, "indices": np.array([1.0])})
    with pytest.raises(InvalidTensorError, match="too large for int64"):
        from_arrays("csr", (1, 2), {**small, "indices": np.array([2**63], "u8")})
    with pytest.raises(InvalidTensorError, match="expected arrays to be a dict"):
        from_arrays("csr", (1, 2), [1, 2, 3])
    with pytest.raises(InvalidTensorError, match="expected shape to be a tuple"):
        from_arrays("csr", 5, small)


class Foreign:
    """Looks like an array of another library."""

    def __init__(self, **parts):
        self.__dict__.update(parts)


def of_library(name, **parts):
    module = types.ModuleType(name)
    kind = type("Foreign", (Foreign,), {"__module__": name})
    assert module.__name__ not in sys.modules
    return kind(**parts)


def test_pydata_sparse(monkeypatch):
    monkeypatch.delitem(sys.modules, "sparse", raising=False)
    coords = np.array([[1, 0], [0, 2]])
    given_ = of_library(
        "sparse", coords=coords, data=np.array([1.0, 2.0]), shape=(2, 3), ndim=2, fill_value=np.inf
    )
    tensor = asarray(given_)
    assert tensor.fill_value == np.inf
    assert tensor.to_numpy().tolist() == [[np.inf, np.inf, 2.0], [1.0, np.inf, np.inf]]


class FakeTorch:
    """The part of torch's tensor interface that is read."""

    __module__ = "torch"

    def __init__(self, kind, shape, device="cpu", dtype="torch.float64", **parts):
        self.layout, self.shape, self.device = f"torch.{kind}", shape, device
        self.lazy = parts.pop("lazy", False)
        self.dtype = dtype
        self.ndim = len(shape)
        self.parts = parts

    def detach(self):
        return self

    def coalesce(self):
        return self

    def numpy(self, *, force=False):
        if self.lazy and not force:
            raise RuntimeError("Can't call numpy() on Tensor that has conjugate bit set.")
        return self.parts["dense"].conj() if self.lazy else self.parts["dense"]

    def __getattr__(self, name):
        if name in self.__dict__.get("parts", {}):
            array = self.parts[name]
            return lambda: types.SimpleNamespace(numpy=lambda force=False: array)
        raise AttributeError(name)


def test_torch():
    want = matrix((2, 3), 0.7)
    rows = FakeTorch(
        *("sparse_csr", (2, 3)),
        crow_indices=want.indptr,
        col_indices=want.indices,
        values=want.data,
    )
    assert (asarray(rows).to_numpy() == want.toarray()).all()
    points = FakeTorch("sparse_coo", (2, 3), indices=np.array(want.nonzero()), values=want.data)
    assert (asarray(points).to_numpy() == want.toarray()).all()
    assert (asarray(FakeTorch("strided", (2, 3), dense=want.toarray())).to_numpy() == want).all()
    lazy = FakeTorch("strided", (2,), dense=np.array([1j, 2]), lazy=True)
    assert asarray(lazy).to_numpy().tolist() == [-1j, 2]
    with pytest.raises(TensorTypeError, match=r"use x\.cpu\(\)"):
        asarray(FakeTorch("strided", (2, 3), device="cuda:0"))
    with pytest.raises(TensorTypeError, match=r"convert it: x\.float\(\)"):
        asarray(FakeTorch("strided", (2, 3), dtype="torch.bfloat16"))
    with pytest.raises(TensorTypeError, match=r"found torch\.sparse_bsr"):
        asarray(FakeTorch("sparse_bsr", (2, 3)))
