import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Term
from sparsedsl.spf.parse import parse_term

ARRAYS = {"f": np.array([3, 1, 4, 1, 5, 9, 2, 6]), "g": np.arange(64).reshape(8, 8) % 7}


def leaves():
    return st.one_of(st.sampled_from("ijk").map(t.var), st.integers(-5, 5).map(t.const))


def grow(inner):
    divisor = st.integers(1, 5)
    return st.one_of(
        st.tuples(inner, inner).map(lambda pair: t.add(*pair)),
        st.tuples(st.integers(-4, 4), inner).map(lambda pair: t.scale(*pair)),
        st.tuples(inner, divisor).map(lambda pair: t.floordiv(*pair)),
        st.tuples(inner, divisor).map(lambda pair: t.mod(*pair)),
        inner.map(lambda x: t.uf("f", t.mod(x, 8))),
        st.tuples(inner, inner).map(lambda p: t.uf("g", t.mod(p[0], 8), t.mod(p[1], 8))),
        st.tuples(inner, inner).map(lambda pair: t.multiply(*pair)),
    )


TERMS = st.recursive(leaves(), grow, max_leaves=6)
ENV = st.fixed_dictionaries({name: st.integers(-9, 9) for name in "ijk"})


@settings(deadline=None, max_examples=60)
@given(TERMS, TERMS, ENV, st.integers(1, 6))
def test_builders_mean_what_python_means(a, b, env, d):
    def value(term):
        return t.evaluate(term, env, ARRAYS)

    assert value(t.add(a, b)) == value(a) + value(b)
    assert value(t.subtract(a, b)) == value(a) - value(b)
    assert value(t.multiply(a, b)) == value(a) * value(b)
    assert value(t.floordiv(a, d)) == value(a) // d
    assert value(t.mod(a, d)) == value(a) % d


@settings(deadline=None, max_examples=60)
@given(TERMS, ENV)
def test_text_reads_back(term, env):
    again = parse_term(t.text(term), parameters="ijk")
    assert again == term
    assert t.evaluate(again, env, ARRAYS) == t.evaluate(term, env, ARRAYS)


@settings(deadline=None, max_examples=60)
@given(TERMS, TERMS, ENV)
def test_substitution_is_evaluation_in_two_steps(term, inner, env):
    changed = t.substitute(term, {"i": inner})
    outer = {**env, "i": t.evaluate(inner, env, ARRAYS)}
    assert t.evaluate(changed, env, ARRAYS) == t.evaluate(term, outer, ARRAYS)


@settings(deadline=None, max_examples=40)
@given(TERMS, st.lists(ENV, min_size=1, max_size=4))
def test_evaluation_over_arrays_is_elementwise(term, envs):
    columns = {name: np.array([env[name] for env in envs]) for name in "ijk"}
    got = np.broadcast_to(t.evaluate(term, columns, ARRAYS), len(envs))
    assert got.tolist() == [t.evaluate(term, env, ARRAYS) for env in envs]


def test_equal_sums_are_equal_terms():
    i, j = t.var("i"), t.var("j")
    assert t.add(i, j, i) == t.add(t.scale(2, i), j)
    assert t.subtract(i, i) == Term((), 0)
    assert t.floordiv(t.add(t.scale(4, i), j), 4) == t.add(i, t.floordiv(j, 4))
    assert t.mod(t.scale(4, i), 4) == t.ZERO
    assert t.floordiv(i, 1) == i


def test_a_divisor_is_positive():
    with pytest.raises(ValueError, match="must be positive, found 0"):
        t.floordiv(t.var("i"), 0)
    with pytest.raises(ValueError, match="must be positive, found -2"):
        t.mod(t.var("i"), -2)


def test_variables_and_calls_are_found_inside_calls():
    term = parse_term("row(col(k) + 1) + N")
    assert t.variables(term) == {"k", "N"}
    assert [t.text(t.atom(call)) for call in t.ufs(term)] == ["row(col(k) + 1)", "col(k)"]


def test_a_call_without_arguments_reads_one_element():
    assert t.evaluate(t.uf("x"), {}, {"x": np.array(7)}) == 7
