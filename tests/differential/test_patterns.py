"""Operands of one pattern: the version without searches, at each level, against the oracle."""

import itertools
import zlib

import numpy as np
import pytest
import scipy.sparse as sp
from expressions import EXPRESSIONS, draw, small_integers
from levels import check, compiling, dense_of, interpreting, remembering_proofs

import sparsedsl as sd
from sparsedsl.runtime import patterns
from sparsedsl.runtime.tensor import bound

LAYOUTS = ("csr", "csc", "coo", "coo_unsorted", "dcsr", "bcsr", "dia", "ell", "sell", "hicoo")
BLOCKS = {"bcsr": (2, 3), "sell": (2,), "hicoo": (2,)}
PAIRS = [("product", n) for n in LAYOUTS] + [("add", "csr"), ("add", "bcsr"), ("add", "ell")]
OTHERS = ("product3", "add3", "times_sum", "subtract", "maximum", "inner3", "where", "mask")


@pytest.fixture(autouse=True)
def _proofs():
    with remembering_proofs():
        yield


def layout_for(name, rank):
    layout = sd.layouts["csf" if rank != 2 and name == "csr" else name]
    return layout(*BLOCKS[name]) if name in BLOCKS else layout


def twin(tensor, rng):
    """A tensor with the index arrays of another, copied, and values of its own."""
    name = tensor.layout.value.function
    values = small_integers(rng, tensor.values.shape, tensor.dtype)
    arrays = {n: a.copy() for n, a in tensor.arrays.items()}
    return bound(tensor.layout, tensor.shape, {**arrays, name: values}, 0)


def given(expr, layouts, rng, least, most):
    tensors, truth = draw(expr, layouts, rng, least=least, most=most)
    tensors["B"] = twin(tensors["A"], rng)
    truth["B"] = dense_of(tensors["B"])
    return tensors, truth


def version(name, layout):
    """Check an expression whose first two operands have one pattern; return what was run."""
    expr = EXPRESSIONS[name]
    layouts = {n: layout_for(layout, rank) for n, rank in expr.sparse()}
    rng = np.random.default_rng(zlib.crc32(f"{name} {layout}".encode()))
    arguments = [given(expr, layouts, rng, *ends) for ends in ((3, 7), (0, 2), (6, 9))]
    general = sd.kernel(expr.body).engine.specialise(list(arguments[0][0].values()))
    for tensors, truth in arguments:
        special = general.matching(tensors)
        assert {"A", "B"} in map(set, special.patterns)
        with interpreting():
            check(special, tensors, truth)
        if layout in ("csr", "bcsr"):
            with compiling():
                check(special, tensors, truth)
    return special


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_layouts(name, layout):
    version(name, layout)


@pytest.mark.parametrize("name", OTHERS)
def test_expressions(name):
    version(name, "csr")


@pytest.mark.parametrize("name", ["product", "add", "inner3"])
def test_nothing_is_searched_or_merged(name):
    special = version(name, "csf" if name == "inner3" else "csr")
    unit = special.ready[-1].unit
    assert unit.choices == ()
    assert "B has the pattern of A" in unit.source
    assert "while" not in unit.source


def test_a_pattern_with_repeats_is_not_followed():
    """Where a coordinate has several entries, all of both operands meet: not place by place."""
    A = sd.from_arrays(
        "coo_repeated",
        (2, 3),
        {"crd0": np.array([0, 0, 1]), "crd1": np.array([1, 1, 2]), "data": np.arange(1.0, 4)},
    )
    B = sd.from_arrays("coo_repeated", (2, 3), {**A.arrays, "data": np.array([4.0, 5.0, 6.0])})
    tensors = {"A": A, "B": B}
    special = sd.kernel(EXPRESSIONS["product"].body).engine.specialise([A, B]).matching(tensors)
    truth = {"A": np.array([[0, 3.0, 0], [0, 0, 3]]), "B": np.array([[0, 9.0, 0], [0, 0, 6]])}
    with interpreting():
        check(special, tensors, truth)


def scipy_pair():
    A = sp.random_array((60, 50), density=0.2, format="csr", rng=0)
    A.sort_indices()
    return A, sp.csr_array((np.arange(A.nnz) + 1.0, A.indices, A.indptr), shape=A.shape)


@pytest.mark.parametrize("copies", [False, True])
def test_calls_take_the_version_for_their_arguments(copies):
    """Each call looks at its own arguments, also when calls before had others."""

    @sd.kernel
    def product(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] * B[i, j]
        return C

    A, B = scipy_pair()
    if copies:
        B = B.copy()
    other = sp.random_array(A.shape, density=0.2, format="csr", rng=1)
    for X, Y in itertools.chain([(A, B)] * 3, [(A, other)] * 3, [(A, B)], [(other, B)] * 2):
        assert abs(product(X, Y) - X.multiply(Y)).max() == 0
    compiled = product.compile(A, B)
    assert abs(compiled(A, other) - A.multiply(other)).max() == 0
    assert abs(compiled(A, B) - A.multiply(B)).max() == 0


def test_tensors_of_one_length_and_another_pattern():
    arrays = {"indptr": np.array([0, 1, 2]), "indices": np.array([0, 1]), "data": np.ones(2)}
    A = sd.from_arrays("csr", (2, 2), arrays)
    same = sd.from_arrays("csr", (2, 2), {**arrays, "indices": np.array([0, 1])})
    other = sd.from_arrays("csr", (2, 2), {**arrays, "indices": np.array([1, 0])})
    tensors = {"A": A, "B": same, "C": other}
    pairs = (("B", "A"), ("C", "A"), ("C", "B"))
    assert patterns.shared(pairs, tensors) == (("B", "A"),)
    # a name that leads follows no other
    assert patterns.shared((("B", "A"), ("A", "B")), {"A": A, "B": same}) == (("B", "A"),)
