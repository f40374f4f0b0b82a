from __future__ import annotations

from sparsedsl.contraction.bindings import bound_indices, distinct, free_indices, rename
from sparsedsl.contraction.nodes import Access, Affine, Call, IndexValue, Reduce
from sparsedsl.contraction.text import expression_text


def at(tensor, *indices):
    return Access(tensor, tuple(Affine.of(n) for n in indices))


SUM = Reduce("add", ("k",), at("A", "i", "k"))


def test_free_and_bound():
    both = Call("mul", (SUM, IndexValue(Affine((("j", 2),)))))
    assert free_indices(both) == ("i", "j")
    assert bound_indices(both) == {"k"}


def test_factors_get_names_of_their_own():
    found = distinct(Call("mul", (SUM, SUM)))
    assert expression_text(found) == "sum(k, A[i, k]) * sum(k_2, A[i, k_2])"


def test_terms_share_names():
    found = distinct(Call("add", (SUM, Call("neg", (SUM,)))))
    assert expression_text(found) == "sum(k, A[i, k]) + -sum(k, A[i, k])"


def test_a_bound_name_that_is_free_outside_is_renamed():
    found = distinct(Call("mul", (at("x", "k"), SUM)))
    assert expression_text(found) == "x[k] * sum(k_2, A[i, k_2])"
    assert expression_text(distinct(SUM, frozenset("k"))) == "sum(k_2, A[i, k_2])"


def test_nested_sums_of_one_name():
    inner = Reduce("add", ("k",), at("B", "k"))
    found = distinct(Reduce("add", ("k",), Call("mul", (at("A", "i", "k"), inner))))
    assert expression_text(found) == "sum(k, A[i, k] * sum(k_2, B[k_2]))"


def test_a_fresh_name_avoids_those_inside():
    body = Call("mul", (at("A", "k", "k_2"), at("x", "k")))
    found = distinct(Call("mul", (at("y", "k"), Reduce("add", ("k", "k_2"), body))))
    assert expression_text(found) == "y[k] * sum((k_3, k_2), A[k_3, k_2] * x[k_3])"


def test_renaming_leaves_bound_indices_alone():
    found = rename(Call("mul", (at("x", "k"), SUM)), {"k": "m", "i": "n"})
    assert expression_text(found) == "x[m] * sum(k, A[n, k])"
