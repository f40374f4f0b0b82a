"""Layouts that no catalogue has: everything follows from their specification.

Each is written here as a user would write it, and nothing outside this module knows of it.
"""

import numpy as np
import pytest
from levels import interpreting, remembering_proofs

import sparsedsl as sd
from sparsedsl.conversion import run
from sparsedsl.layouts.catalogue import layouts
from sparsedsl.layouts.convert import convert as plainly
from sparsedsl.layouts.describe import picture, text
from sparsedsl.pictures.storage import storage

POINTERS = ("ptr(0) = 0", "nondecreasing ptr")
ANY = np.asarray

# Name -> block sizes, what part of a matrix it holds, relation, value, properties.
INVENTED = {
    "block-diagonals": (
        (2,),
        ANY,
        "[N, M, ND, B] -> { [d, u, r, c] -> [i, j] : 0 <= d < ND and 0 <= B*u < N "
        "and i = B*u + r and 0 <= r < B and j = B*u + B*offsets(d) + c and 0 <= c < B "
        "and 0 <= i < N and 0 <= j < M }",
        "data(d, u, r, c)",
        ("injective offsets",),
    ),
    "block-columns-padded": (
        (2, 3),
        ANY,
        "[N, M, W, R, C] -> { [s, u, c, r] -> [i, j] : 0 <= s < W and 0 <= R*u < N "
        "and s < counts(u) and i = R*u + r and 0 <= r < R and 0 <= i < N "
        "and j = C*cols(s, u) + c and 0 <= c < C and 0 <= j < M }",
        "data(s, u, c, r)",
        (
            "range counts in [0, W + 1)",
            "increasing cols within 0 <= s < counts(u)",
            "range cols in [0, (M + C - 1)//C)",
        ),
    ),
    "masked-blocks": (
        (2,),
        ANY,
        "[N, M, NB, B] -> { [q, r, c] -> [i, j] : 0 <= q < NB and 0 <= r < B and 0 <= c < B "
        "and i = B*bi(q) + r and j = B*bj(q) + c and mask(q, r, c) = 1 "
        "and 0 <= i < N and 0 <= j < M }",
        "data(q, r, c)",
        (
            "lexicographic (bi, bj)",
            "range mask in [0, 2)",
            "range bi in [0, (N + B - 1)//B)",
            "range bj in [0, (M + B - 1)//B)",
        ),
    ),
    "column-runs": (
        (),
        ANY,
        "[N, M] -> { [j, r, i] -> [i, j] : 0 <= j < M and ptr(j) <= r < ptr(j + 1) "
        "and start(r) <= i < stop(r) and 0 <= i < N }",
        "data(r)",
        (*POINTERS, "disjoint (start, stop) within ptr(j) <= r < ptr(j + 1)"),
    ),
    "upper-bidiagonal": (
        (),
        lambda dense: np.triu(np.tril(dense, 1)),
        "[N, M] -> { [i, k] -> [i, j] : 0 <= k < 2 and 0 <= i < N and j = i + k and 0 <= j < M }",
        "data(2*i + k)",
        (),
    ),
    "even-columns": (
        (),
        lambda dense: np.where(np.arange(dense.shape[1]) % 2 == 0, dense, 0),
        "[N, M] -> { [i, p] -> [i, j] : exists (e : 0 <= i < N and ptr(i) <= p < ptr(i + 1) "
        "and e = half(p) and j = 2*e and 0 <= j < M) }",
        "data(p)",
        (*POINTERS, "increasing half within ptr(i) <= p < ptr(i + 1)"),
    ),
    "cells-by-remainder": (
        (3,),
        ANY,
        "[N, M, B] -> { [b, p] -> [i, j] : 0 <= b < B and ptr(b) <= p < ptr(b + 1) "
        "and i = rows(p) and j = cols(p) and b = (i + j) mod B and 0 <= i < N and 0 <= j < M }",
        "data(p)",
        (*POINTERS, "lexicographic (rows, cols) within ptr(b) <= p < ptr(b + 1)"),
    ),
    "rows-of-tiles": (
        (),
        ANY,
        "[N, M] -> { [i, r, p] -> [i, j] : 0 <= i < N and first(i) <= r < first(i + 1) "
        "and ptr(r) <= p < ptr(r + 1) and tile(r) = j//4 and j = 4*tile(r) + offs(p) "
        "and 0 <= offs(p) < 4 and 0 <= j < M }",
        "data(p)",
        (
            "first(0) = 0",
            "nondecreasing first",
            *POINTERS,
            "increasing tile within first(i) <= r < first(i + 1)",
            "increasing offs within ptr(r) <= p < ptr(r + 1)",
        ),
    ),
    "from-one": (
        (),
        ANY,
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and ptr(i) - 1 <= p < ptr(i + 1) - 1 "
        "and j = cols(p) - 1 and 0 <= j < M }",
        "data(p)",
        (
            "ptr(0) = 1",
            "nondecreasing ptr",
            "increasing cols within ptr(i) - 1 <= p < ptr(i + 1) - 1",
        ),
    ),
    "diagonal-then-rows": (
        (),
        np.tril,
        "[N, M] -> { [u, p] -> [i, j] : 0 <= u < N and u < M and p = u and i = u and j = u; "
        "[u, p] -> [i, j] : 0 <= u < N and N + ptr(u) <= p < N + ptr(u + 1) and i = u "
        "and j = cols(p - N) and 0 <= j < u and j < M }",
        "data(p)",
        (*POINTERS, "increasing cols within N + ptr(u) <= p < N + ptr(u + 1)"),
    ),
    "lower-then-upper": (
        (),
        ANY,
        "[N, M, NL, NU] -> { [u, q] -> [i, j] : 0 <= u < NL and q = u and i = l0(u) "
        "and j = l1(u) and 0 <= j <= i and i < N and j < M; [u, q] -> [i, j] : 0 <= u < NU "
        "and q = NL + u and i = u0(u) and j = u1(u) and 0 <= i < j and i < N and j < M }",
        "data(q)",
        ("lexicographic (l0, l1)", "lexicographic (u0, u1)"),
    ),
    # modified sparse rows: the diagonal first, pointers and columns in one array
    "diagonal-apart": (
        (),
        ANY,
        "[N, M] -> { [u, p] -> [i, j] : 0 <= u < N and u < M and p = u and i = u and j = u; "
        "[u, p] -> [i, j] : 0 <= u < N and ind(u) <= p < ind(u + 1) and i = u and j = ind(p) "
        "and 0 <= j < M }",
        "data(p)",
        ("ind(0) = N + 1",),
    ),
    "rows-at-places": (
        (),
        ANY,
        "[N, M] -> { [i, s, p] -> [i, j] : 0 <= i < N and s = place(i) "
        "and ptr(s) <= p < ptr(s + 1) and j = cols(p) and 0 <= j < M }",
        "data(p)",
        (*POINTERS, "permutation place", "increasing cols within ptr(s) <= p < ptr(s + 1)"),
    ),
    "rows-by-lengths": (
        (),
        ANY,
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and start(i) <= p < start(i) + len(i) "
        "and j = cols(p) and 0 <= j < M }",
        "data(p)",
        (
            "start(0) = 0",
            "start(i + 1) = start(i) + len(i)",
            "increasing cols within start(i) <= p < start(i) + len(i)",
        ),
    ),
    "blocks-of-rows": (
        (3,),
        ANY,
        "[N, M, B] -> { [u, q, r, p] -> [i, j] : 0 <= B*u < N and first(u) <= q < first(u + 1) "
        "and i = B*u + r and 0 <= r < B and 0 <= i < N and ptr(B*q + r) <= p < ptr(B*q + r + 1) "
        "and j = B*tile(q) + offs(p) and 0 <= offs(p) < B and 0 <= j < M }",
        "data(p)",
        (
            "first(0) = 0",
            "nondecreasing first",
            *POINTERS,
            "increasing tile within first(u) <= q < first(u + 1)",
            "increasing offs within ptr(B*q + r) <= p < ptr(B*q + r + 1)",
        ),
    ),
    "pairs": (
        (),
        ANY,
        "[N, M, NNZ] -> { [p] -> [i, j] : 0 <= p < NNZ and i = pair(2*p) and j = pair(2*p + 1) "
        "and 0 <= i < N and 0 <= j < M }",
        "data(p)",
        (),
    ),
}
SHAPES = ((7, 7), (4, 6), (1, 7), (7, 1), (0, 3), (3, 0))


def layout_of(name):
    sizes, holds, relation, value, properties = INVENTED[name]
    made = sd.Layout(name, relation, value=value, properties=properties)
    return (made(*sizes) if sizes else made), holds


def matrix(shape, holds):
    rng = np.random.default_rng(3)
    return holds(np.where(rng.random(shape) < 0.45, rng.integers(1, 9, shape), 0).astype(float))


@pytest.fixture(params=INVENTED)
def invented(request):
    return layout_of(request.param)


def test_they_are_printed_and_drawn(invented):
    layout, _ = invented
    for name in layout.arrays:
        assert name in text(layout)
        assert name in picture(layout)
        assert name in storage(layout)


def test_they_are_built_checked_and_converted(invented, cases):
    layout, holds = invented
    for shape in SHAPES:
        dense = matrix(shape, holds)
        tensor = sd.convert(dense, layout)
        tensor.validate()
        assert (tensor.to_numpy() == dense).all()
        size = sum(array.nbytes for array in tensor.arrays.values())
        assert size == cases.predicted(layout, shape, np.count_nonzero(dense), tensor.arrays)
        for other in ("csr", "csc", "coo", "dia", layouts["bcsr"](2, 3)):
            there = tensor.convert(other)
            assert (there.to_numpy() == dense).all()
            assert (there.convert(layout).to_numpy() == dense).all()


def test_they_are_operands(invented):
    layout, holds = invented
    dense = matrix((6, 7), holds)
    rng = np.random.default_rng(4)
    x, X = rng.integers(1, 9, 7) * 1.0, rng.integers(1, 9, (7, 3)) * 1.0
    other = np.where(rng.random((6, 7)) < 0.5, 2.0, 0.0)
    A, B = sd.convert(dense, layout), sd.convert(other, "csr")
    with interpreting(), remembering_proofs():
        assert (sd.einsum("ij,j->i", A, x) == dense @ x).all()
        assert (sd.einsum("ij,jk->ik", A, X) == dense @ X).all()
        assert (sd.convert(sd.einsum("ij,ij->ij", B, A), "dense").values == dense * other).all()
        assert (sd.convert(A + B, "dense").values == dense + other).all()


def test_rows_padded_to_a_width_that_nothing_names():
    """The last row is empty, and is stored all the same."""
    relation = (
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and 0 <= p < len(i) and j = cols(i, p) "
        "and 0 <= j < M }"
    )
    properties = ["increasing cols within 0 <= p < len(i)"]
    layout = sd.Layout("rows", relation, value="data(i, p)", properties=properties)
    dense = np.array([[1.0, 0, 2], [0, 3, 0], [0, 0, 0]])
    rows = sd.convert(dense, layout)
    assert rows.validate().arrays["cols"].shape == (3, 2)
    with interpreting():
        assert (sd.einsum("ij,j->i", rows, np.ones(3)) == dense.sum(1)).all()
    assert (rows.convert("csc").convert(layout).to_numpy() == dense).all()


def test_pointers_and_columns_share_an_array():
    layout, _ = layout_of("diagonal-apart")
    dense = np.array([[4.0, 1, 0], [0, 0, 2], [3, 0, 5]])
    arrays = sd.convert(dense, layout).arrays
    assert arrays["ind"].tolist() == [4, 5, 6, 7, 1, 2, 0]
    assert arrays["data"].tolist() == [4, 0, 5, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("relation", "value", "told"),
    [
        (
            "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and ptr(i) <= p < ptr(i + 1) "
            "and j = before(p) + step(p) and 0 <= j < M }",
            "data(p)",
            "nothing tells what before, step holds",
        ),
        (
            "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j <= i and j < M }",
            "data(i*(i + 1)//2 + j)",
            "a product needs a constant or a parameter on one side",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_with_a_hint(relation, value, told):
    with pytest.raises(sd.LayoutError, match=told) as caught:
        sd.convert(np.eye(3), sd.Layout("mine", relation, value=value))
    assert "hint: re" in str(caught.value)


@pytest.mark.parametrize("name", INVENTED)
def test_they_are_filled_by_compiled_passes(name):
    layout, holds = layout_of(name)
    for shape in ((90, 70), (70, 90), (1, 4)):
        rows = sd.convert(matrix(shape, holds), "csr")
        made = run.convert(rows.layout, layout, rows.shape, rows.arrays)
        assert made is not None
        wanted = plainly(rows.layout, layout, shape, rows.arrays, fill=0.0)
        assert [*made] == [*layout.arrays]
        for array in layout.arrays:
            assert made[array].dtype == wanted[array].dtype, array
            np.testing.assert_array_equal(made[array], wanted[array], err_msg=array)
