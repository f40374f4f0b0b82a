import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.errors import LayoutError
from sparsedsl.spf import terms as t
from sparsedsl.spf.parse import parse_relation, parse_term
from sparsedsl.spf.text import relation_text, space_text

CSR = (
    "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
    "and j = indices(p) and 0 <= j < M }"
)


def holds(relation, **env):
    """Whether some alternative holds; existential values are tried in a small box."""
    for conjunct in relation.conjuncts:
        for values in itertools.product(range(-3, 9), repeat=len(conjunct.exists)):
            inner = {**env, **dict(zip(conjunct.exists, values, strict=True))}
            checks = [(t.evaluate(c.term, inner, {}), c.equality) for c in conjunct.constraints]
            if all(value == 0 if equality else value >= 0 for value, equality in checks):
                return True
    return False


def test_a_relation_reads_and_prints_back():
    relation = parse_relation(CSR)
    assert relation.parameters == ("N", "M")
    assert relation.inputs == ("i", "p")
    assert relation.outputs == ("i", "j")
    assert relation_text(relation) == CSR


@pytest.mark.parametrize(
    "text",
    [
        CSR,
        "{ [] -> [] }",
        "{ [i] -> [i, i] }",
        "{ [i, k] -> [i] : k = 1; [a, b] -> [c] : c = b }",
        "[N, R] -> { [b, r] -> [R*b + r] : 0 <= r < R and 0 <= R*b + r < N }",
        "{ [i] -> [j] : exists a, b: i = 4a + b and j = floor((b + 1)/3) or j = i mod 5 }",
        "[N] -> { [i] -> [j] : (i + 1) % N = 2 and 2*(i - 1)//N <= 3 - N*(-1)*i and j != 3 }",
        "{ [i] -> [j] : j = f(g(i) + 1, 2) and f(0, 0) >= -1 }",
    ],
)
def test_printing_is_inverse_to_parsing(text):
    relation = parse_relation(text)
    assert parse_relation(relation_text(relation)) == relation


@settings(deadline=None, max_examples=60)
@given(st.integers(-4, 9), st.integers(-4, 9))
def test_formulas_mean_what_they_say(i, j):
    cases = {
        "0 <= i < j": 0 <= i < j,
        "i < 3 or j > 4 and i != j": i < 3 or (j > 4 and i != j),
        "(i < 3 or j > 4) and i != j": (i < 3 or j > 4) and i != j,
        "(i + 1)*2 > j": (i + 1) * 2 > j,
        "(i) < j and ((i)) >= 0": 0 <= i < j,
        "i, j >= 2": i >= 2 and j >= 2,
        "i mod 3 = j % 4": i % 3 == j % 4,
        "floor((i - 1)/3) = j // 2": (i - 1) // 3 == j // 2,
        "floor(i/2 ) + 1 >= 2j": i // 2 + 1 >= 2 * j,
        "exists k: i = 2k and 0 <= k": i % 2 == 0 and i >= 0,
        "(exists k: i = 2*k and k >= 0) && j = 1": i % 2 == 0 and i >= 0 and j == 1,
        "true": True,
        "-i + -(-2) <= --j": -i + 2 <= j,
    }
    for text, expected in cases.items():
        relation = parse_relation(f"{{ [i, j] -> [] : {text} }}")
        assert holds(relation, i=i, j=j) == expected, text


def test_output_expressions_get_names_and_equalities():
    relation = parse_relation("{ [i, p] -> [i, indices(p) + 1] }")
    assert relation.outputs == ("i", "o1")
    assert relation_text(relation) == "{ [i, p] -> [i, o1] : o1 = indices(p) + 1 }"


def test_alternatives_use_the_names_of_the_first():
    relation = parse_relation("{ [q, p] -> [q, j] : j = f(p); [a, b] -> [c, a] : c = f(b) }")
    assert relation.inputs == ("q", "p")
    assert relation.outputs == ("o0", "j")
    assert holds_text(relation, 1) == ["j = q", "o0 = f(p)"]


def holds_text(relation, alternative):
    from sparsedsl.spf.text import constraint_text

    return sorted(constraint_text(c) for c in relation.conjuncts[alternative].constraints)


@pytest.mark.parametrize(
    ("text", "message", "marked", "hint"),
    [
        ("{ [i] -> [j] : j = q }", "unknown name 'q'", "q", "exists q: ..."),
        ("{ [i] -> [j] : j = sum(q: d(q)) }", "a sum over a range", "q", "an index array"),
        ("{ [i] -> [j] : j = i*i }", "a product needs a constant", "i*i", "start(i) + j"),
        ("{ [i] -> [j] : j = i/2 }", "'/' stands only inside floor", "/", "e // d"),
        ("{ [i] -> [j] : j = floor(i/0) }", "positive, found 0", "0", None),
        ("{ [i] -> [j] : j = i // i }", "a divisor must be a constant", "i", "block size"),
        ("{ [i] -> [j] : j = (i + 2 }", "is never closed", "(", None),
        ("{ [i] -> [j] : j }", "expected a comparison, found '}'", "}", "chain"),
        ("{ [i] -> [j] : j = i", "expected '}', found the end", None, None),
        ("[N -> { [i] -> [i] }", "expected ',', found '->'", "->", None),
        ("{ [i, i] -> [i] }", "'i' is declared twice", "i", None),
        ("{ [i] -> [j] : j = i $ 2 }", "unexpected character '$'", "$", None),
        ("{ [i] -> [j] : i(3) = j }", "'i' is a variable and cannot be called", "i", "product"),
        ("{ [i] -> [j]; [i] -> [j, k] }", "found 1 and 2", None, None),
        ("[N] -> { [N] -> [N] }", "'N' is a parameter", "N", None),
        ("{ [i] -> [j] : j = i and }", "expected a number, a name or a call", "}", None),
        ("[N] -> [i] -> [j]", "expected '{', found '['", "[", "braces"),
    ],
)
def test_mistakes_are_marked_and_explained(text, message, marked, hint):
    with pytest.raises(LayoutError) as caught:
        parse_relation(text)
    error = caught.value
    assert message in error.message
    assert error.span is not None
    if marked is not None:
        assert error.span.text[error.span.column : error.span.end_column] == marked
    if hint is not None:
        assert hint in (error.hint or "")


def test_a_mistake_on_a_later_line_shows_that_line():
    with pytest.raises(LayoutError) as caught:
        parse_relation("{ [i] -> [j] :\n   0 <= i < 4 and\n   j = q }")
    assert str(caught.value).splitlines()[1:3] == ["  j = q }", "      ^"]


@pytest.mark.parametrize(
    "text",
    [
        "{ [i] -> [j] : j = " + "(" * 5000 + "i" + ")" * 5000 + " }",
        "{ [i] -> [j] : j = " + "9" * 5000 + " }",
        "{ [i] -> [j] : j = i " + "and i != 1 " * 100 + "}",
        "{ [i] -> [j] : j = " + "f(" * 500 + "i" + ")" * 500 + " }",
        "{ [i] -> [j] : j = " + "+ i " * 30000 + "}",
    ],
)
def test_huge_text_is_refused(text):
    with pytest.raises(LayoutError):
        parse_relation(text)


@settings(deadline=None, max_examples=150)
@given(st.text("ijpN[](){}<>=+-*/%:;,| 0123 and or exists mod floor->", max_size=40))
def test_any_text_gives_a_relation_or_a_layout_error(text):
    for candidate in (text, "[N] -> { [i, p] -> [j] : " + text + " }"):
        try:
            relation = parse_relation(candidate)
        except LayoutError:
            continue
        assert parse_relation(relation_text(relation)) == relation


def test_terms_allow_any_name_unless_told():
    assert t.variables(parse_term("a + b")) == {"a", "b"}
    with pytest.raises(LayoutError, match="unknown name 'b'; known are a"):
        parse_term("a + b", names=["a"])
    with pytest.raises(LayoutError, match="expected the end"):
        parse_term("a b")


def test_a_space_is_shown_with_chains():
    relation = parse_relation(CSR)
    shown = space_text(["i", "p"], relation.conjuncts[0].constraints[:4], ["N"])
    assert shown == "[N] -> { [i, p] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) }"
