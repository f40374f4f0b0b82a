from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.contraction.extent import check_shapes
from sparsedsl.contraction.interpret import interpret
from sparsedsl.contraction.text import program_text
from sparsedsl.errors import NotationError, NotationTypeError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.einsum import einsum_program

SIZES = {"a": 2, "b": 3, "c": 2, "D": 4}


def infos_of(arrays):
    return [ArgumentInfo(a.shape, a.dtype.name) for a in arrays]


def run(spec, *arrays, **options):
    program = einsum_program(spec, infos_of(arrays), **options)
    return interpret(program, {f"op{n}": a for n, a in enumerate(arrays)})["out"]


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        ("ik,kj->ij", [(3, 4), (4, 2)]),
        ("ik,kj", [(3, 4), (4, 2)]),
        ("ba", [(2, 3)]),
        ("ii", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("iij->j", [(3, 3, 2)]),
        ("ij->", [(2, 3)]),
        ("i,j,k->kji", [(2,), (3,), (4,)]),
        (",i->i", [(), (3,)]),
        (" i j , j -> i ", [(3, 4), (4,)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (1, 3, 4)]),
        ("...ij,...jk", [(5, 2, 3), (3, 4)]),
        ("i...,i...->...", [(3, 4), (3, 1)]),
        ("ij...,jk...", [(2, 3, 4, 5), (3, 6, 5)]),
        ("...,...", [(2, 3), (3,)]),
        ("...i->i...", [(2, 3, 4)]),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "int32", "bool", "complex64"])
def test_agrees_with_numpy(spec, shapes, dtype):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 3, shape).astype(dtype) for shape in shapes]
    expected = np.einsum(spec, *arrays)
    found = run(spec, *arrays)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_random_specifications(data):
    terms = data.draw(st.lists(st.text("abcD", max_size=3), min_size=1, max_size=3))
    letters = sorted(set("".join(terms)))
    output = data.draw(st.permutations(letters))[: data.draw(st.integers(0, len(letters)))]
    spec = ",".join(terms) + data.draw(st.sampled_from(["", "->" + "".join(output)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    arrays = [rng.integers(-3, 4, [SIZES[c] for c in term]) for term in terms]
    np.testing.assert_array_equal(run(spec, *arrays), np.einsum(spec, *arrays))


def test_partial_products_do_not_wrap():
    arrays = [np.full(2, 100, np.int8), np.full(2, 100, np.int8), np.ones(2, np.int64)]
    found = run("i,i,i->i", *arrays)
    np.testing.assert_array_equal(found, np.einsum("i,i,i->i", *arrays))
    np.testing.assert_array_equal(found, [10000, 10000])


@pytest.mark.parametrize(
    ("combine", "reduce", "oracle"),
    [
        ("add", "min", lambda a, b: (a[:, :, None] + b).min(1)),
        ("minimum", "max", lambda a, b: np.minimum(a[:, :, None], b).max(1)),
        ("mul", "max", lambda a, b: (a[:, :, None] * b).max(1)),
        ("sub", "sum", lambda a, b: (a[:, :, None] - b).sum(1)),
        ("eq", "any", lambda a, b: (a[:, :, None] == b).any(1)),
    ],
)
def test_other_products_and_reductions(combine, reduce, oracle):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (3, 4)).astype(float), rng.integers(0, 5, (4, 2)).astype(float)
    found = run("ik,kj->ij", a, b, combine=combine, reduce=reduce)
    np.testing.assert_allclose(found, oracle(a, b))


def test_the_result_has_the_fill_of_the_expression():
    inf = float("inf")
    infos = [ArgumentInfo((3, 4), "float64", inf), ArgumentInfo((4, 2), "float64", inf)]
    program = einsum_program("ik,kj->ij", infos, combine="add", reduce="min")
    assert program.outputs[0].fill == inf
    assert program_text(program) == "out[i, j] = min(k, op0[i, k] + op1[k, j])"


TWO = [ArgumentInfo((3, 4), "float64"), ArgumentInfo((4, 5), "float64")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "ij,jk->iz",
            "output subscript 'z' is not in any operand\n  ij,jk->iz\n          ^",
        ),
        ("ij,jk->ikk", "output subscript 'k' stands there twice\n  ij,jk->ikk\n           ^"),
        (
            "ij,j1->i",
            "expected a letter, ',', '->' or one '...' a term, found '1'\n  ij,j1->i\n      ^",
        ),
        ("ij,jk->i->k", None),
        ("ij", "expected 1 operand, found 2\n  ij\n  ^^"),
        ("ij,jk,kl", "expected 3 operands, found 2\n  ij,jk,kl\n  ^^^^^^^^"),
        (
            "i,jk",
            "operand 0 has 2 modes, its subscripts need 1\n  i,jk\n  ^\n"
            "hint: one letter a mode of shape (3, 4); '...' stands for further leading modes",
        ),
        (
            "ijk...,jk",
            "operand 0 has 2 modes, its subscripts need at least 3\n  ijk...,jk\n  ^^^^^^\n"
            "hint: one letter a mode of shape (3, 4)",
        ),
        (
            "...j,jk->k",
            "the operands' '...' stands for modes that the output leaves out\n"
            "  ...j,jk->k\n           ^\nhint: write '...' in the output too",
        ),
        ("i..j,jk", None),
        ("......ij,jk", None),
    ],
)
def test_mistakes_are_marked(spec, message):
    with pytest.raises(NotationError) as caught:
        einsum_program(spec, TWO)
    assert message is None or str(caught.value) == message


def test_names_of_product_and_reduction_are_checked():
    with pytest.raises(NotationError, match="reduce: expected one of sum, prod"):
        einsum_program("ij,jk", TWO, reduce="mean")
    with pytest.raises(NotationError, match="combine: expected one of add, sub"):
        einsum_program("ij,jk", TWO, combine="exp")
    with pytest.raises(NotationTypeError, match="'&' is not defined for float64"):
        einsum_program("ij,jk", TWO, combine="and")
    with pytest.raises(NotationTypeError, match="expected einsum subscripts"):
        einsum_program(3, TWO)


def test_extents_that_disagree():
    program = einsum_program("ij,jk", TWO)
    with pytest.raises(NotationError) as caught:
        check_shapes(program, {"op0": (3, 4), "op1": (5, 5)})
    assert str(caught.value).startswith(
        "index j: expected 4 (op0, mode 1), found 5 (op1, mode 0)\n  ij,jk\n     ^^\n"
        "hint: op0 has shape (3, 4) and op1 has shape (5, 5); "
    )
