"""Values mapped where they lie, against NumPy on plain arrays and the kernels that they replace."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import dense_of, interpreting, store

import sparsedsl as sd
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.levels import packed

FUNCTIONS = {
    "2 * A[i,j]": lambda x: 2 * x,
    "-A[i,j]": lambda x: -x,
    "abs(A[i,j]) - A[i,j] * A[i,j]": lambda x: abs(x) - x * x,
    "A[i,j] ** 2": np.square,
    "tanh(A[i,j]) * 3": lambda x: np.tanh(x) * 3,
    "A[i,j] > 1": lambda x: x > 1,
    "where(A[i,j] > 2, A[i,j], 0)": lambda x: np.where(x > 2, x, 0),
}

LAYOUTS = (
    *(
        "dia",
        "csr",
        "csc",
        "coo",
        "dcsr",
        "csf",
        "ell",
        "jad",
        "bitmap",
        "rle",
        "morton",
        "hash(7)",
    ),
    *("bcsr(2, 3)", "bcsc(3, 2)", "sell(3)", "csb(2)", "hyb(2)", "vbl", "hicoo(2)", "banded(6, 6)"),
)


def layout_of(name):
    stem, _, sizes = name.partition("(")
    found = layouts[stem]
    return resolve(found(*map(int, sizes.rstrip(")").split(","))) if sizes else found, 2)


def matrix(shape=(5, 7), dtype=float, seed=1):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.5, rng.integers(-4, 5, shape), 0).astype(dtype)


def computed(right, **tensors):
    return sd.evaluate(f"C[i,j] = {right}", **tensors)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "complex128"])
def test_the_result_is_in_the_layout_of_the_operand(layout, dtype):
    dense = matrix(dtype=dtype)
    A = store(dense, dense != 0, layout_of(layout))
    for right, function in FUNCTIONS.items():
        if dtype == "complex128" and ">" in right:
            continue
        found, expected = computed(right, A=A), function(dense)
        assert found.layout == A.layout, right
        assert found.dtype == expected.dtype, right
        found.validate()
        np.testing.assert_allclose(dense_of(found), expected, rtol=1e-6, err_msg=right)
        if packed(A.layout):
            assert found.nnz == np.count_nonzero(expected), right


@pytest.mark.parametrize("layout", ["bcsr(2, 3)", "dia", "ell", "hyb(2)", "csr"])
def test_what_is_no_place_of_the_shape_does_not_matter(layout):
    dense = matrix()
    A = store(dense, dense != 0, layout_of(layout))
    numbers = np.arange(A.values.size).reshape(A.values.shape)
    numbered = sd.Tensor(A.layout, A.shape, {**A.arrays, "data": numbers}, 0, A.sizes)
    outside = np.where(np.isin(numbers, numbered.coordinates()[1]), A.values, np.nan)
    B = sd.Tensor(A.layout, A.shape, {**A.arrays, "data": outside}, 0, A.sizes)
    for right in ("-2 * A[i,j]", "tanh(A[i,j])"):
        found, expected = (computed(right, A=x) for x in (B, A))
        np.testing.assert_array_equal(dense_of(found), dense_of(expected))
        assert found.convert("csr").nnz == np.count_nonzero(dense)


@pytest.mark.parametrize("layout", ["bcsr(2, 3)", "dia"])
def test_padding_is_no_entry_of_what_it_is_mapped_to(layout):
    dense = matrix()
    A = store(dense, dense != 0, layout_of(layout))
    negative = computed("-A[i,j]", A=A)
    assert negative.convert("coo").nnz == np.count_nonzero(dense)
    endless = sd.evaluate("C[i,j] = s * A[i,j]", s=np.inf, A=A, semantics="annihilator")
    assert endless.layout == A.layout
    with np.errstate(invalid="ignore"):
        products = np.inf * dense
    np.testing.assert_array_equal(dense_of(endless), np.where(dense == 0, 0, products))
    np.testing.assert_array_equal(computed("s * A[i,j]", s=np.inf, A=A).to_numpy(), products)


def test_entries_that_become_the_fill_are_not_stored():
    given = sp.csr_array(([0.0, 1.0, 1e-320], [0, 2, 1], [0, 2, 3]), shape=(2, 3))
    for right, count in (("tanh(A[i,j])", 2), ("expm1(A[i,j]) * 1e-10", 1)):
        for _ in range(3):
            found = computed(right, A=given)
            assert (found.format, found.nnz) == ("csr", count)


@pytest.mark.parametrize("layout", ["csr", "bitmap", "ell", "sell", "jad", "hash", "vbl", "rle"])
def test_entries_stored_as_the_fill_are_not_stored_again(layout):
    """Slots that no entry has hold the fill, too."""

    @sd.kernel
    def twice(A):
        i, j = sd.indices("i j")
        T, P = sd.output(), sd.output()
        T[i, j] = 2 * A[i, j]
        P[i, j] = 1 * sd.pattern(T)[i, j]
        return T, P

    dense = np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]])
    for stored, made in ((dense != 0, True), ((dense != 0) | (np.arange(3) == 0), False)):
        target = sd.layouts[layout](2) if layout in ("sell", "hash") else layout
        given = store(dense, stored, target)
        for A in (given, store(dense, stored, "csr").convert(target)):
            T, P = twice(A)
            assert (T.layout == A.layout, T.nnz, P.nnz) == (True, 3, 3)
            np.testing.assert_array_equal(T.to_numpy(), 2 * dense)
            np.testing.assert_array_equal(P.to_numpy(), dense != 0)
            assert (T.nnz == A.nnz) == made


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "dia", "bsr", "lil", "dok"])
def test_results_of_scipy_have_the_format_of_the_operand(form):
    dense = matrix((6, 8))
    A = sp.csr_array(dense).asformat(form)
    kept = {"lil": "csr", "dok": "coo"}.get(form, form)
    for right, function in FUNCTIONS.items():
        for _ in range(3):
            found = computed(right, A=A)
            assert found.format == kept, right
            np.testing.assert_allclose(found.toarray(), function(dense), rtol=1e-15)
            found.data[...] = 7  # nobody else's
    np.testing.assert_array_equal(A.toarray(), dense)
    assert computed("2 * A[i,j]", A=A).tocsr().nnz >= np.count_nonzero(dense)


def test_a_layout_that_is_asked_for_is_given():
    A = sp.csr_array(matrix((6, 8))).tobsr((2, 2))
    for out, form in (("csr", "csr"), ("dia", "dia"), (layouts["bcsr"](2, 2), "bsr")):
        found = sd.evaluate("C[i,j] = 2 * A[i,j]", A=A, out=out)
        assert found.format == form
        np.testing.assert_array_equal(found.toarray(), 2 * A.toarray())


def test_values_are_read_anew_at_each_call():
    A = sp.csr_array(matrix((6, 8))).tobsr((2, 2))
    for factor in (1.0, 2.0, np.inf, np.nan, -1.0):
        A.data[0, 0, 0] = factor
        for scale in (2.0, np.float64(-3.0)):
            with np.errstate(invalid="ignore"):
                found = computed("s * A[i,j]", A=A, s=scale)
                np.testing.assert_array_equal(found.toarray(), scale * A.toarray())


@pytest.mark.parametrize("count", [0, 1, 65_536, 65_537, 200_000])
def test_threads_and_parts_change_nothing(count):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((1, count))
    A = sp.dia_array((data, [0]), shape=(count, count))
    B = sp.csr_array((data[0], np.arange(count), np.arange(count + 1)), shape=(count, count))
    for right, function in (("2 * A[i,j]", lambda x: 2 * x), ("tanh(A[i,j]) + A[i,j]", None)):
        expected = np.tanh(data) + data if function is None else function(data)
        for threads in (1, 3):
            with sd.options(threads=threads, parallel_threshold=1):
                for x in (A, B):
                    found = computed(right, A=x)
                    np.testing.assert_allclose(found.data.reshape(1, -1), expected, rtol=1e-15)


def test_plain_arrays_are_mapped_by_the_functions_of_numpy():
    x = np.random.default_rng(0).standard_normal((30, 40))
    for given in (x, np.asfortranarray(x), x[::2, 1::3]):
        np.testing.assert_allclose(computed("exp(A[i,j])", A=given), np.exp(given), rtol=1e-15)
    out = np.empty_like(x)
    made = sd.kernel(exponential).compile(x)
    assert made.compute(x, out=out) is out
    np.testing.assert_allclose(out, np.exp(x), rtol=1e-15)


def exponential(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.exp(A[i, j])
    return C


@pytest.mark.parametrize("layout", ["bcsr(2, 3)", "dia", "csr", "dense"])
def test_the_kernel_gives_the_same(layout):
    dense = matrix()
    A = store(dense, dense != 0 if layout != "dense" else dense == dense, layout_of(layout))
    special = sd.kernel(sine).engine.specialise([A])
    mapped = special.run({"A": A})["C"]
    assert special.groups[0].mapped == ("A",)
    with interpreting():
        kernel = special.run({"A": A})["C"]
    assert kernel.layout == mapped.layout
    np.testing.assert_allclose(dense_of(kernel), dense_of(mapped), rtol=1e-15)


def sine(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.sin(A[i, j]) * 2
    return C


def test_explanations_say_so():
    A = sp.csr_array(matrix((6, 8)))
    for given, runs in ((A, "where an entry becomes the fill"), (A.tobsr((2, 2)), "for .njit")):
        text = sd.kernel(sine).explain(given)
        assert "the values of A are mapped as they lie" in text
        assert runs in text


BOTH = {
    "A[i,j] + B[i,j]": lambda a, b: a + b,
    "2 * A[i,j] - B[i,j]": lambda a, b: 2 * a - b,
    "A[i,j] * B[i,j]": lambda a, b: a * b,
    "maximum(A[i,j], B[i,j])": np.maximum,
    "A[i,j] * (A[i,j] > 1) - B[i,j] * A[i,j]": lambda a, b: a * (a > 1) - b * a,
    "where(B[i,j] > 0, A[i,j], 0)": lambda a, b: np.where(b > 0, a, 0),
}


@pytest.mark.parametrize("layout", ["dia", "bcsr(2, 3)", "bcsc(3, 2)"])
@pytest.mark.parametrize("shape", [(6, 9), (5, 7), (1, 1), (0, 3)])
def test_operands_in_rows_told_by_keys(layout, shape):
    dense = [
        np.where(abs(np.subtract.outer(*map(np.arange, shape)) - k) < 3, matrix(shape, seed=k), 0)
        for k in range(3)
    ]
    A, B, D = (store(x, x != 0, layout_of(layout)) for x in dense)
    for right, function in BOTH.items():
        for second, plain in ((B, dense[1]), (A, dense[0])):
            for _ in range(3):
                found = computed(right, A=A, B=second)
                assert found.layout == A.layout, right
                found.validate()
                np.testing.assert_array_equal(dense_of(found), function(dense[0], plain), right)
    for _ in range(2):
        found = computed("A[i,j] * B[i,j] + D[i,j]", A=A, B=B, D=D)
        np.testing.assert_array_equal(dense_of(found), dense[0] * dense[1] + dense[2])


def test_diagonals_in_any_order():
    rng = np.random.default_rng(0)
    A = sp.dia_array((rng.random((4, 5)), [2, -1, 1, 0]), shape=(5, 5))
    B = sp.dia_array((rng.random((3, 5)), [0, -1, -3]), shape=(5, 5))
    for left, right in ((A, B), (B, A), (A, A.copy())):
        for _ in range(3):
            total = computed("A[i,j] + B[i,j]", A=left, B=right)
            both = computed("A[i,j] * B[i,j]", A=left, B=right)
            assert (total.format, both.format) == ("dia", "dia")
            np.testing.assert_array_equal(total.toarray(), left.toarray() + right.toarray())
            np.testing.assert_array_equal(both.toarray(), left.toarray() * right.toarray())


def test_an_infinity_meets_what_is_not_stored():
    A = sp.csr_array(matrix((6, 8))).tobsr((2, 2))
    B = sp.csr_array(matrix((6, 8), seed=5)).tobsr((2, 2))
    for value in (1.0, np.inf, np.nan, 2.0):
        A.data[0, 1, 0] = value
        for right, function in (("A[i,j] * B[i,j]", np.multiply), ("A[i,j] + B[i,j]", np.add)):
            with np.errstate(invalid="ignore"):
                expected = function(A.toarray(), B.toarray())
            found = computed(right, A=A, B=B)
            np.testing.assert_array_equal(found.toarray(), expected)


def test_index_arrays_written_to_are_read_anew():
    rng = np.random.default_rng(0)
    A = sp.dia_array((rng.random((2, 5)), [0, 1]), shape=(5, 5))
    B = sp.dia_array((rng.random((2, 5)), [0, 2]), shape=(5, 5))
    for offset in (2, 3, 1, -1):
        B.offsets[1] = offset
        for _ in range(3):
            found = computed("A[i,j] + B[i,j]", A=A, B=B)
            np.testing.assert_array_equal(found.toarray(), A.toarray() + B.toarray())
            found.offsets[...] = 0  # nobody else's


def test_many_blocks_are_put_together():
    rng = np.random.default_rng(0)
    pair = [sp.random_array((3000, 2000), density=0.0005, rng=rng).tobsr((4, 4)) for _ in range(2)]
    for threads in (1, 2):
        with sd.options(threads=threads, parallel_threshold=1):
            for right, function in BOTH.items():
                found = computed(right, A=pair[0], B=pair[1])
                assert found.format == "bsr"
                expected = function(*(x.toarray() for x in pair))
                np.testing.assert_array_equal(found.toarray(), expected)


def test_other_statements_are_left_to_kernels():
    A = sd.asarray(matrix(), "dia")
    for right in ("A[i,j] + i * A[i,j]", "A[i,j] * A[i,j] * x[j]", "A[i,j] * pattern(A)[i,j]"):
        given = {"x": np.arange(7.0)} if "x" in right else {}
        assert computed(right, A=A, **given).layout.name != "dia"
    square = sd.asarray(matrix((5, 5)), "dia")
    assert computed("A[j,i] * 2", A=square).layout.name == "csr"
