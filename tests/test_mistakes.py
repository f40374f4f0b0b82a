"""Mistakes of users end in an error of the tree that names the operand, the place or the choice."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

import sparsedsl as sd

A = sp.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
X = np.arange(3.0)


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def row_sums(**output):
    @sd.kernel
    def kernel(A):
        i, j = sd.indices("i j")
        y = sd.output(**output)
        y[i] = A[i, j]
        return y

    return kernel


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (X.astype("float16"), "float16"),
        (X.astype(object), "dtype object (of float)"),
        (np.array([], object), "dtype object (of nothing)"),
        ([1, [2]], "list"),
        ("x", "str"),
        (None, "NoneType"),
        (2**70, "int of more than 64 bits"),
    ],
    ids=repr,
)
def test_an_argument_of_no_dtype_is_named(x, found):
    for call in (spmv, spmv.lower, spmv.compile(A, X)):
        with pytest.raises(sd.InvalidTensorError, match=f"^x: .*{re.escape(found)}") as caught:
            call(A, x)
        assert isinstance(caught.value, TypeError)
    with pytest.raises(sd.InvalidTensorError, match=r"^x: "):
        sd.evaluate("y[i] = A[i,j] * x[j]", A=A, x=x)
    with pytest.raises(sd.InvalidTensorError, match=r"^operand 1: "):
        sd.einsum("ij,j->i", A, x)


@pytest.mark.parametrize(("x", "found"), [(2.0, "0 modes"), (3, "0 modes"), (np.ones((3, 3)), "2")])
def test_a_compiled_kernel_says_how_many_modes_it_takes(x, found):
    with pytest.raises(sd.InvalidTensorError, match=f"expected x with 1 mode, found {found}"):
        spmv.compile(A, X)(A, x)


@pytest.mark.parametrize("dtype", ["float16", np.longdouble, "S3", "M8[s]", object, "nonsense", 3])
def test_results_have_the_dtypes_that_values_have(dtype):
    with pytest.raises(sd.NotationError, match="one of the dtypes bool") as caught:
        row_sums(dtype=dtype)(A)
    assert isinstance(caught.value, TypeError)
    assert "sd.output(**output)" in str(caught.value)
    with pytest.raises(sd.NotationError, match="one of the dtypes bool"):
        sd.evaluate("y[i] = A[i,j]", A=A, dtype=dtype)


@pytest.mark.parametrize("fill", ["a", [1], None, np.zeros(2)], ids=repr)
def test_fill_values_are_numbers(fill):
    with pytest.raises(sd.NotationError, match="number as fill_value"):
        sd.evaluate("y[i] = A[i,j]", A=A, fill_value=fill)
    with pytest.raises(sd.NotationError, match="number as fill_value"):
        row_sums(fill_value=fill)(A)


@pytest.mark.parametrize(
    "call",
    [
        lambda: sd.einsum("ij,j->i", A, X, combine=["mul"]),
        lambda: sd.einsum("ij,j->i", A, X, reduce={}),
        lambda: sd.einsum(3, A),
        lambda: sd.evaluate(3),
        lambda: sd.evaluate(None, A=A),
    ],
)
def test_notation_is_text(call):
    with pytest.raises(sd.NotationError, match="as text, found"):
        call()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"deterministic": "yes"}, "deterministic to be True or False, found 'yes'"),
        ({"out": {"D": "csr"}}, "out names 'D', which is no result; results are y"),
        ({"find": {"D": "merge"}}, "find names 'D'"),
    ],
)
def test_choices_that_mean_nothing_are_refused(choices, message):
    with pytest.raises(sd.PlanError, match=message):
        sd.kernel(**choices)(spmv.function)(A, X)


def test_a_scipy_matrix_without_its_parts_is_refused():
    for part in ("data", "indices", "indptr"):
        broken = A.copy()
        setattr(broken, part, None)
        with pytest.raises(sd.InvalidTensorError, match="csr_array"):
            sd.asarray(broken)


def test_a_tensor_has_no_subscripts():
    with pytest.raises(sd.InvalidTensorError, match="no subscripts outside a kernel"):
        sd.asarray(A)[0, 1]


def test_extents_that_are_too_long_are_refused():
    with pytest.raises(sd.InvalidTensorError, match=r"at most 2\*\*56"):
        sd.from_arrays("coo", (2**57,), {"crd0": [1], "data": [1.0]})


def _held():
    @sd.kernel
    def kernel(y):
        i, j = sd.indices("i j")
        z = sd.output()
        z[i] = sd.asarray(A)[i, j] * y[j]
        return z

    return kernel


@pytest.mark.parametrize(
    "inner",
    [
        lambda A, x: spmv(A, x),
        lambda A, x: sd.einsum("ij,j->i", A, x),
        lambda A, x: sd.evaluate("y[i] = A[i,j] * x[j]", A=A, x=x),
        lambda A, x: sd.convert(A, "csc"),
    ],
)
def test_kernels_take_data_and_no_placeholders(inner):
    with pytest.raises(sd.InvalidTensorError, match="expected data, found <argument A: ") as caught:
        sd.kernel(inner)(A, X)
    assert "outside of it" in caught.value.hint


def test_a_tensor_from_outside_of_a_kernel_is_to_be_an_argument():
    with pytest.raises(sd.InvalidTensorError, match="give it to a kernel as an argument"):
        _held()(X)


def test_a_kernel_in_a_class_takes_no_self():
    class Model:
        @sd.kernel
        def product(self, A, x):
            return None

    with pytest.raises(sd.NotationError, match=r"write @staticmethod above @sd\.kernel"):
        Model().product(A, X)


def test_tensors_are_made_by_functions_that_check():
    with pytest.raises(sd.InvalidTensorError, match=r"expected a layout, found str\n.*sd.asarray"):
        sd.Tensor("csr", (2, 3), {})


def test_arrays_that_the_layout_does_not_have_are_named():
    arrays = {"indptr": A.indptr, "indices": A.indices, "data": A.data, "extra": X}
    with pytest.raises(sd.InvalidTensorError, match="unknown extra"):
        sd.from_arrays("csr", A.shape, arrays)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("toarray", ".to_numpy()"),
        ("tocsc", '.convert("csc")'),
        ("data", ".values"),
        ("format", "x.layout"),
        ("conver", "did you mean .convert?"),
    ],
)
def test_names_of_scipy_lead_to_those_of_tensors(name, instead):
    tensor = sd.asarray(A)
    assert not hasattr(tensor, name)
    with pytest.raises(AttributeError, match=f"no attribute '{name}'") as caught:
        getattr(tensor, name)
    assert isinstance(caught.value, sd.SparseDSLError)
    assert instead in caught.value.hint


def test_a_tensor_keeps_what_it_has():
    tensor = sd.asarray(A)
    with pytest.raises(sd.InvalidTensorError, match="keeps its entries"):
        tensor[0, 1] = 3.0
    for change in (lambda: setattr(tensor, "shape", (3,)), lambda: delattr(tensor, "form")):
        with pytest.raises(AttributeError, match="immutable") as caught:
            change()
        assert isinstance(caught.value, sd.SparseDSLError)


def test_subscripts_in_parentheses():
    with pytest.raises(sd.NotationError, match=r"subscripts stand in brackets(.|\n)*y\[i\] ="):
        sd.evaluate("y(i) = A(i, j)", A=A)


def test_what_a_gradient_is_taken_by_is_a_name():
    with pytest.raises(sd.NotationError, match="expected wrt to be the name of an argument"):
        sd.grad(spmv, 0)


def test_a_distributed_kernel_needs_a_client():
    with pytest.raises(sd.PlanError, match=r"distributed.Client, found NoneType"):
        sd.distributed.compute(spmv, A, X, client=None, split="i")


@pytest.fixture(scope="module")
def long():
    """A matrix of one entry whose rows and columns no array could hold."""
    arrays = {"crd0": [2**54], "crd1": [2**53], "data": [2.0]}
    return sd.from_arrays("coo", (2**55, 2**55), arrays)


def test_products_of_long_matrices_make_no_long_array(long):
    x = sd.convert(long, "dcsr")
    product = sd.einsum("ik,jk->ij", x, x, out="dcsr")
    coordinates, values = product.coordinates()
    assert coordinates.tolist() == [[2**54], [2**54]]
    assert values.tolist() == [4.0]


@pytest.mark.parametrize("spec", ["ik,jk->ij", "ij,ij->ij", "ij,kj->ik"])
def test_long_matrices_of_scipy_give_ones_by_coordinates(spec):
    """scipy has no other format that holds them."""
    long = sp.coo_array(([2.0, 3.0], ([2**54, 5], [2**53, 7])), shape=(2**55, 2**55))
    found = sd.einsum(spec, long, long)
    assert isinstance(found, sp.coo_array)
    columns = [7, 2**53] if spec == "ij,ij->ij" else [5, 2**54]
    assert [c.tolist() for c in found.coords] == [[5, 2**54], columns]
    assert found.data.tolist() == [9.0, 4.0]


@pytest.mark.filterwarnings("ignore:c takes :scipy.sparse.SparseEfficiencyWarning")
def test_a_kernel_that_does_not_fit_into_memory_is_refused(long):
    x = sd.convert(long, "dcsr")
    product = sd.kernel(out="dcsr", workspace="dense")(lambda a, b: _product(a, b))
    with pytest.raises(sd.PlanError, match="fit into memory"):
        product(x, x)


def _product(a, b):
    i, j, k = sd.indices("i j k")
    c = sd.output()
    c[i, j] = a[i, k] * b[j, k]
    return c


@pytest.mark.parametrize("ending", [".mtx", ".tns", ".npz"])
def test_long_matrices_are_kept_in_files(tmp_path, long, ending):
    sd.write(tmp_path / f"long{ending}", long)
    found = sd.read(tmp_path / f"long{ending}")
    assert found.shape == long.shape
    assert [part.tolist() for part in found.coordinates()] == [[[2**54], [2**53]], [2.0]]


def test_tns_refuses_what_it_would_lose(tmp_path):
    for x, why in ((sd.asarray(A) + 1, "fill value"), (3.0, "one mode"), (A * 1j, "complex")):
        with pytest.raises(sd.InvalidTensorError, match=why):
            sd.write(tmp_path / "x.tns", x)
    assert not list(tmp_path.iterdir())


def test_paths(tmp_path):
    for path in (3, None, sd.asarray(A), [b"x"]):
        with pytest.raises(sd.InvalidTensorError, match=r"path of a file.*\n.*sd.read\(path\)"):
            sd.read(path)
        with pytest.raises(sd.InvalidTensorError, match=r"path of a file.*\n.*sd.write\(path, x\)"):
            sd.write(path, A)
    missing = tmp_path / "none" / "x.mtx"
    with pytest.raises(
        FileNotFoundError, match=re.escape(f"no such directory: '{missing.parent}'")
    ):
        sd.write(missing, A)
    for name in ("X.MTX", "x.Mtx.GZ", "X.TNS"):
        sd.write(tmp_path / name, A)
        assert np.array_equal(sd.read(str(tmp_path / name).encode()).to_numpy(), A.toarray())
        assert (Path(tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith("GZ")


def test_more_modes_than_numpy_has_are_refused_at_once(tmp_path):
    path = tmp_path / "x.tns"
    path.write_text(f"{'1 ' * 5000}2.5\n")
    with pytest.raises(sd.LayoutError, match="at most 64 modes, found 5000"):
        sd.read(path)
    with pytest.raises(sd.LayoutError, match="at most 64 modes, found 65"):
        sd.from_arrays("csf", (1,) * 65, {})


def _kernel(write, **choices):
    @sd.kernel(**choices)
    def kernel(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        write(i, j, A, x, y)
        return y

    return lambda: kernel(A, X)


def _set(y, key, value):
    y[key] = value


SHAPES = "A has shape (2, 3) and x has shape (3,); an index has one extent in the whole kernel"


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (_kernel(lambda i, j, A, x, y: _set(y, j, A[i, j] * x[i])), "index i: expected 2", SHAPES),
        (
            lambda: sd.einsum("ij,i->j", A, X),
            "found 3 (op1, mode 0)\n  ij,i->j\n     ^\n",
            "op0 has shape (2, 3) and op1 has shape (3,); an index",
        ),
        (lambda: sd.evaluate("y[j] = A[i,j] * x[i]", A=A, x=X), "found 3 (x, mode 0)", SHAPES),
        (lambda: sd.asarray(A) @ A, "(2, 3) and (2, 3)", "x @ y.T and x.T @ y would fit"),
        (lambda: sd.asarray(A) @ X[:2], "found 2: shapes (2, 3) and (2,)", "x.T @ y would fit"),
        (lambda: sd.asarray(A) @ np.ones(5), "(2, 3) and (5,)", "must be the same"),
        (lambda: np.ones(5) @ sd.asarray(A), "(5,) and (2, 3)", "must be the same"),
        (lambda: sd.asarray(A) + A.T, "one shape, found (2, 3) and (3, 2)", "transpose one"),
        (lambda: sd.asarray(A) * np.ones((1, 1)), "found (2, 3) and (1, 1)", "C[i, j] = A[i, j]"),
        (lambda: sd.asarray(A).sum(axis=2), "2 modes, found 2", "from 0 to 1"),
        (_kernel(lambda i, j, A, x, y: _set(y, 0, A[0, j])), "left of '='", "without a loop"),
        (_kernel(lambda i, j, A, x, y: _set(y, i, A[i, x[j]])), "found 'x[j]'", "the product P"),
        (
            _kernel(lambda i, j, A, x, y: _set(y, i, np.dot(A, x))),
            "np.dot has no meaning",
            "A[i, k] * B[k, j]",
        ),
        (_kernel(lambda i, j, A, x, y: _set(y, i, A[i, j]), order="i q"), "'i q'", "outermost"),
        (lambda: sd.kernel(find="merg")(spmv.function), "'merg'", "'merge'?"),
        (lambda: sd.einsum("ijk->i", A), "operand 0 has 2 modes", "a mode of shape (2, 3)"),
        (lambda: sd.Layout("v", "[N] -> { [p] -> [p] : 0 <= p < N }", value="data"), "", "data(p)"),
    ],
)
def test_a_message_says_what_to_do(call, message, hint):
    with pytest.raises(sd.SparseDSLError) as caught:
        call()
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "call", [lambda T: T @ T, lambda T: T + np.ones((1, 1)), lambda T: T.sum(axis=7)]
)
def test_a_mistake_with_an_operator_is_shown_in_the_users_line(call):
    with pytest.raises(sd.NotationError) as caught:
        call(sd.asarray(A))
    assert caught.value.span.file == __file__
    assert "lambda T" in caught.value.span.text


@pytest.mark.parametrize("path", ["a.mtx", b"a.mtx", Path("a.mtx")])
def test_a_path_is_no_tensor(path):
    with pytest.raises(sd.InvalidTensorError) as caught:
        sd.asarray(path)
    assert caught.value.hint == "a file is read with sd.read(path)"


FORMATS = [f"{name}_{kind}" for name in ("csr", "csc", "coo") for kind in ("array", "matrix")]


@pytest.mark.parametrize("name", [*FORMATS, "vstack", "spsolve"])
def test_scipy_makes_no_matrix_of_a_tensor_by_itself_and_says_what_to_call(name):
    T = sd.asarray(sp.csr_array(np.eye(3)))
    make = {"vstack": lambda T: sp.vstack([T, T]), "spsolve": lambda T: spsolve(T, X)}
    with pytest.raises(ValueError, match=r"csr tensor(.|\n)*call \.to_scipy\(\)") as caught:
        make.get(name, getattr(sp, name, None))(T)
    # some of scipy's classes raise their own error from it
    ours = caught.value.__cause__ or caught.value
    assert isinstance(ours, sd.InvalidTensorError)
    assert ours.hint.startswith("call .to_scipy() for a scipy array")
    assert "to_scipy" not in f"{T}"


@pytest.mark.parametrize("form", ["bsr", "dia", "lil", "dok"])
def test_others_of_scipy_s_classes_raise_theirs_from_ours(form):
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(sp, f"{form}_array")(sd.asarray(A))
    assert isinstance(caught.value.__cause__, sd.InvalidTensorError)
    assert "call .to_scipy()" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3,), {}, "expected shape to be a tuple of integers, found 3"),
        (((3, 1.5),), {}, "expected shape to be a tuple"),
        (((3, -1),), {}, "at least 0"),
        (((3, 3), "float99"), {}, "expected one of the dtypes"),
        (((3, 3),), {"nnz": 10}, "expected nnz from 0 to 9"),
        (((3, 3),), {"nnz": -1}, "expected nnz from 0 to 9"),
        (((3, 3),), {"nnz": 1.5}, "expected nnz to be an integer"),
    ],
)
def test_descriptions_that_no_tensor_has(arguments, options, message):
    with pytest.raises(sd.InvalidTensorError, match=message):
        sd.ShapeOf(*arguments, **options)


def test_brackets_in_a_layout_are_told_what_to_write():
    text = "[N] -> { [p] -> [i] : 0 <= p < N and i = rows[p] and 0 <= i < N }"
    with pytest.raises(sd.LayoutError, match=r"write rows\(i\) instead of rows\[i\]"):
        sd.Layout("bracketed", text, value="data(p)")


@pytest.mark.parametrize("method", ["multiply", "maximum", "minimum"])
def test_methods_of_scipy_do_not_take_a_tensor_for_an_unknown_object(method):
    S = sp.csr_array(np.eye(3))
    # scipy 1.15 refuses everything here that is not its own
    with pytest.raises(ValueError, match=r"call \.to_scipy\(\)|^Operands not compatible\.$"):
        getattr(S, method)(sd.asarray(S))
