import itertools

import numpy as np
import pytest

from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.parse import parse_relation

NAMES = "i j k b r c x y N M p q"


def constraints(text):
    head = ", ".join(NAMES.split())
    return parse_relation(f"{{ [{head}] -> [] : {text} }}").conjuncts[0].constraints


@pytest.mark.parametrize(
    ("text", "known", "target", "expected"),
    [
        ("i = 4*b + r and 0 <= r < 4", "i", "b", "floor(i/4)"),
        ("i = 4*b + r and 0 <= r < 4", "i b", "r", "i - 4*b"),
        ("i = 4*b + r and 0 <= r < 5", "i", "r", None),
        ("j = f(p)", "p", "j", "f(p)"),
        ("j = f(p)", "j", "p", None),
        ("j = 4*f(p) + r and 0 <= r < 4", "j p", "r", "j - 4*f(p)"),
        ("2*i = k", "k", "i", "floor(k/2)"),
        ("i <= k < i + 1", "i", "k", "i"),
        ("floor(i/3) = k and i mod 3 = r", "k r", "i", "3*k + r"),
        ("j = i - f(b) and 0 <= j < N", "i b", "j", "i - f(b)"),
        ("i = 5 and i = 6 and k <= i and i <= k", "j", "k", None),
        ("0 <= i < N", "N", "i", None),
        ("f(i) = 3", "j", "i", None),
        ("j = f(f(p) + 1)", "p", "j", "f(f(p) + 1)"),
    ],
)
def test_closed_forms(text, known, target, expected):
    found = isl.closed_form(constraints(text), known.split(), target)
    assert (None if found is None else t.text(found)) == expected


def test_closed_forms_agree_with_enumeration():
    cases = [
        ("x = 6*b + 2*r + y and 0 <= r < 3 and 0 <= y < 2", "x", ["b", "r", "y"]),
        ("i = 3*k + j and 0 <= j <= 2", "i", ["k", "j"]),
    ]
    for text, known, targets in cases:
        found = {name: isl.closed_form(constraints(text), [known], name) for name in targets}
        relation = constraints(text)
        names = sorted(t.variables(t.add(*(c.term for c in relation))) | {known, *targets})
        for point in itertools.product(range(-3, 8), repeat=len(names)):
            env = dict(zip(names, point, strict=True))
            values = [(t.evaluate(c.term, env, {}), c.equality) for c in relation]
            if all(v == 0 if equality else v >= 0 for v, equality in values):
                for name, term in found.items():
                    assert term is not None
                    assert t.evaluate(term, env, {}) == env[name]


def test_emptiness():
    assert isl.is_empty(constraints("i < 3 and i > 3"))
    assert isl.is_empty(constraints("f(p) < 3 and f(p) > 4"))
    assert isl.is_empty(constraints("2*i = 2*j + 1"))
    assert isl.is_empty(constraints("1 = 0"))
    assert not isl.is_empty(constraints("i < j and f(i) > f(j)"))
    assert not isl.is_empty(())


def test_implication():
    assert isl.implied(constraints("i < N")[0], constraints("i + 1 <= j and j <= N - 1"))
    assert isl.implied(constraints("f(i) <= f(i) + 1")[0], ())
    assert isl.implied(constraints("i = 4")[0], constraints("3 < i < 5"))
    assert not isl.implied(constraints("f(i) <= f(i + 1)")[0], constraints("0 <= i"))
    assert isl.implied(
        constraints("f(i) <= f(j)")[0], constraints("f(i) <= f(i + 1) and f(i + 1) <= f(j)")
    )


def test_a_question_too_hard_is_left_open(monkeypatch):
    monkeypatch.setattr(isl, "MAX_OPERATIONS", 1)
    monkeypatch.setattr(isl, "_local", type(isl._local)())
    isl._by_isl.cache_clear()
    hard = constraints("i = 4*b + 2*r and 0 <= r < 2 and 3*x + 5*y = 7*i and 0 <= x < y")
    assert isl.closed_form(hard, ["i"], "b") is None
    assert not isl.is_empty(constraints("2*i = 2*j + 1 and 3*x = i + 7*y and x < 3*y"))
    isl._by_isl.cache_clear()


def test_what_does_not_reach_a_name_by_unknown_ones_is_left_out():
    near = constraints("i = 4*b + r and 0 <= r < 4 and 0 <= i < N")
    apart = constraints("3*x + 5*y = 7*i and 0 <= x < y and j = f(i) and 0 <= j")
    kept = isl._connected((*near, *apart), frozenset({"i", "N"}), "b")
    assert set(kept) == set(near) - set(constraints("i < N"))
    assert isl.closed_form((*near, *apart), ["i", "N"], "b") == isl.closed_form(near, ["i"], "b")


def test_names_that_isl_reserves_are_harmless():
    relation = parse_relation("{ [exists_, min, max] -> [] : min = 2*max + 1 and max >= 0 }")
    found = isl.closed_form(relation.conjuncts[0].constraints, ["max"], "min")
    assert found is not None
    assert t.text(found) == "2*max + 1"


@pytest.mark.parametrize("divisor", [2, 3, 16])
@pytest.mark.parametrize("value", ["i", "i + 5", "2*i - n", "f(i)", "floor(i/2)"])
@pytest.mark.parametrize("order", ["{0}*q + r = {1}", "{1} - r = {0}*q", "r = {1} - {0}*q"])
def test_quotients_and_remainders_are_those_that_isl_gives(divisor, value, order):
    text = order.format(divisor, value)
    relation = parse_relation(f"[n] -> {{ [q, r] -> [i] : {text} and 0 <= r < {divisor} }}")
    constraints = relation.conjuncts[0].constraints
    names = frozenset({"i", "n"})
    for target in "qr":
        ours, theirs = (ask(constraints, names, target) for ask in (isl._divided, isl._by_isl))
        assert ours is not None
        assert theirs is not None
        for i, n in itertools.product(range(9), range(5)):
            env, arrays = {"i": i, "n": n}, {"f": np.arange(9) ** 2}
            assert t.evaluate(ours, env, arrays) == t.evaluate(theirs, env, arrays)


@pytest.mark.parametrize(
    "text",
    [
        "i = 3*q + r and 0 <= r < 4",
        "i = 4*q + r and 1 <= r < 4",
        "i = 4*q + 2*r and 0 <= r < 4",
        "i = 4*q - r and 0 <= r < 4",
        "i = 4*q + r and 0 <= q < 4",
        "i + f(q) = 4*q + r and 0 <= r < 4",
    ],
)
def test_what_is_no_division_is_not_taken_for_one(text):
    (found,) = parse_relation(f"{{ [q, r] -> [i] : {text} }}").conjuncts
    for target in "qr":
        assert isl._divided(found.constraints, frozenset({"i"}), target) is None
