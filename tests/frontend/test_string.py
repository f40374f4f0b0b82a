from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.contraction.interpret import interpret
from sparsedsl.contraction.text import program_text
from sparsedsl.errors import NotationError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.string import parse_statement

SIZES = {"i": 2, "j": 3, "k": 4}
RANKS = {"A": 2, "B": 2, "x": 1, "T": 3, "a": 0}
INFOS = {"A": ArgumentInfo((2, 4), "float64"), "B": ArgumentInfo((4, 3), "float64")}


def infos_of(arrays):
    return {name: ArgumentInfo(a.shape, a.dtype.name) for name, a in arrays.items()}


@st.composite
def sums_of_products(draw):
    """A statement, its operands and its value by numpy.einsum, term by term."""
    left = draw(st.lists(st.sampled_from("ijk"), unique=True, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    arrays, texts, expected = {}, [], np.zeros(tuple(SIZES[n] for n in left))
    for term in range(draw(st.integers(1, 3))):
        factors = []
        for factor in range(draw(st.integers(1, 3))):
            name = f"T{term}{factor}"
            labels = draw(st.lists(st.sampled_from("ijk"), max_size=3))
            arrays[name] = rng.integers(-3, 4, [SIZES[n] for n in labels]).astype(float)
            factors.append((name, labels))
        # Every index on the left must have an extent in each term for numpy.einsum.
        arrays[f"U{term}"] = rng.integers(-3, 4, expected.shape).astype(float)
        factors.append((f"U{term}", left))
        coefficient = draw(st.integers(-2, 2))
        texts.append(
            f"{coefficient} * " + " * ".join(f"{n}[{', '.join(ls) or '()'}]" for n, ls in factors)
        )
        spec = ",".join("".join(ls) for _, ls in factors) + "->" + "".join(left)
        expected = expected + coefficient * np.einsum(spec, *(arrays[n] for n, _ in factors))
    return f"C[{', '.join(left) or '()'}] = {' + '.join(texts)}", arrays, expected


@settings(deadline=None, max_examples=150)
@given(sums_of_products())
def test_sums_of_products_against_einsum(case):
    text, arrays, expected = case
    program = parse_statement(text, infos_of(arrays))
    np.testing.assert_allclose(interpret(program, arrays)["C"], expected, rtol=1e-12, atol=1e-9)


ATOMS = ["x[i]", "y[i]", "2", "0.5", "i", "a"]


def expressions():
    def extend(inner):
        return (
            st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner)
            | st.builds("{}({})".format, st.sampled_from(["tanh", "abs", "-", "sin"]), inner)
            | st.builds("where({} < {}, {}, {})".format, inner, inner, inner, inner)
            | st.builds("minimum({}, {})".format, inner, inner)
        )

    return st.recursive(st.sampled_from(ATOMS), extend, max_leaves=10)


@settings(deadline=None, max_examples=150)
@given(expressions(), st.integers(0, 100))
def test_elementwise_expressions_against_numpy(text, seed):
    rng = np.random.default_rng(seed)
    arrays = {"x": rng.normal(size=3), "y": rng.normal(size=3), "a": np.array(1.5)}
    index = np.arange(3)
    names = {
        "x": arrays["x"], "y": arrays["y"], "a": arrays["a"], "i": index, "tanh": np.tanh,
        "abs": np.abs, "sin": np.sin, "where": np.where, "minimum": np.minimum,
    }  # fmt: skip
    expected = eval(text.replace("[i]", ""), names)
    text = f"C[i] = {text} + 0*x[i] + 0*y[i] + 0*a"
    program = parse_statement(text, infos_of(arrays))
    found = interpret(program, arrays)["C"]
    np.testing.assert_allclose(found, np.broadcast_to(expected, 3), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C[i,j] = A[i,k] * B[k,j]", "C[i, j] = sum(k, A[i, k] * B[k, j])"),
        ("C[i] = max(A[i,k] + B[k,0], k)", "C[i] = max(k, A[i, k] + B[k, 0])"),
        ("C[i] += sum(k, A[i,k]*B[k,0])", "C[i] = sum(k, A[i, k] * B[k, 0])"),
        ("C[i] = max(A[i,k]*B[k,j], over=(j, k))", "C[i] = max((j, k), A[i, k] * B[k, j])"),
        ("C[i] = min((j, k), A[i,k]+B[k,j])", "C[i] = min((j, k), A[i, k] + B[k, j])"),
        (
            "C[i,k] = where(0 < i < k, A[i,k], -1/2) * pattern(B)[k,2*i+1]",
            "C[i, k] = where((0 < i) & (i < k), A[i, k], -0.5) * pattern(B)[k, 2*i+1]",
        ),
        ("C[j, i] = A[i, k+1] - ~(B[k, j] > inf)", None),
        (" C [ i , j ]\t= A[i,k]*B[k,j]", "C[i, j] = sum(k, A[i, k] * B[k, j])"),
        ("C[i,j] = A[i,k]*B[k,j]*2**3", "C[i, j] = sum(k, A[i, k] * B[k, j] * 8.0)"),
    ],
)
def test_what_is_read(text, expected):
    found = program_text(parse_statement(text, INFOS))
    assert expected is None or found == expected


def message(text, infos=INFOS):
    with pytest.raises(NotationError) as caught:
        parse_statement(text, infos)
    return str(caught.value)


def test_whole_message():
    assert message("C[i,j] = A[i,k] * D[k,j]") == (
        "no tensor is called 'D'; given are A, B\n"
        "  C[i,j] = A[i,k] * D[k,j]\n"
        "                    ^\n"
        "hint: give it: D=..."
    )


@pytest.mark.parametrize(
    ("text", "start", "place"),
    [
        ("C[i,j] = A[i,k * B[k,j]", "the statement cannot be read: '[' was never closed", "["),
        ("C[i,j] = A[i,k] and B[k,j]", "this has no meaning here", "A[i,k] and B[k,j]"),
        ("C[i,j] = A[i,k] if i else B[k,j]", "this has no meaning here", "A[i,k] if i else B[k,j]"),
        ("C[i,j] = A[i,k] @ B[k,j]", "this has no meaning here", "A[i,k] @ B[k,j]"),
        ("C[i,j] = A[i,:] * B[k,j]", "this has no meaning here", ":"),
        ("C[i,j] = A.T[k,i] * B[k,j]", "this has no meaning here", "A.T[k,i]"),
        ("C[i,j] = A['i',k] * B[k,j]", "this has no meaning here", "'i'"),
        ("C[i,j] = A[i,k,j] * B[k,j]", "A has 2 modes, found 3 subscripts", "A[i,k,j]"),
        ("C[i,j] = A[i,B[k,j]]", "A: expected an index or an integer", "A[i,B[k,j]]"),
        ("C[i,j] = A[i,k*j] * B[k,j]", "A: expected an index or an integer", "A[i,k*j]"),
        ("C[i,j] = expp(A[i,k]) * B[k,j]", "no function is called 'expp'", "expp(A[i,k])"),
        ("C[i,j] = exp(A[i,k], 2) * B[k,j]", "exp takes 1 argument, found 2", "exp(A[i,k], 2)"),
        ("C[i,j] = max(A[i,j], B[i,j])", "max: expected an index", "max(A[i,j], B[i,j])"),
        ("C[i,j] = sum(A[i,k]) * B[k,j]", "expected sum(k, expression)", "sum(A[i,k])"),
        ("C[i,j] = A[i,k] * B[k,j] * 9**9**9", "this number cannot be computed", "9**9**9"),
        ("C[i,j] = A[i,k] * B[k,j] / (1/0)", "this number cannot be computed", "1/0"),
        ("C[i,j] = ~A[i,k] * B[k,j]", "'~' is not defined for float64", "~A[i,k]"),
        ("C[i,j] = A * B[k,j]", "A is used without subscripts", "A * B[k,j]"),
        ("C[i,i] = A[i,k] * B[k,j]", "index i stands twice", "C[i,i]"),
        ("C[i+1] = A[i,k] * B[k,j]", "expected a plain index on the left", "C[i+1]"),
        ("A[i,j] = A[i,k] * B[k,j]", "expected the name of a new tensor on the left", "A"),
        ("C = A[i,k] * B[k,j]", "expected subscripts after 'C'", "C = A[i,k] * B[k,j]"),
        ("A[i,k] * B[k,j]", "expected an assignment", "A[i,k] * B[k,j]"),
        ("C[i,k] = A[i,k]", "'B' is given but does not occur in the statement", "C[i,k] = A[i,k]"),
        ("C[i,j] = A[i,k] * B[k,j] + C[i,j]", "no tensor is called 'C'", "C"),
        ("C[i] = 1; D[i] = 2", "expected one statement, found 2", "C[i] = 1; D[i] = 2"),
        ("C[i,j] = d * A[i,k] * B[k,j]", "'d' is neither an index of an operand nor", "d"),
        ("C[i,j] = A[i,k] * B[k,j] ** n", "'n' is neither an index of an operand nor", "n"),
    ],
)  # fmt: skip
def test_mistakes_are_marked_in_the_text(text, start, place):
    with pytest.raises(NotationError) as caught:
        parse_statement(text, INFOS)
    assert caught.value.message.startswith(start)
    span = caught.value.span
    assert text[span.column : span.end_column] == place


@pytest.mark.parametrize("text", ["", "   ", "\n", "C[i] = " + "(" * 5000, "C[i] = \0"])
def test_text_that_is_no_statement(text):
    assert message(text)


@settings(deadline=None, max_examples=300)
@given(st.text("CABik,j[]()=+-*/ 12.<&~expsumover'#:\n", max_size=40))
def test_any_text_gives_a_program_or_a_notation_error(text):
    for candidate in (text, "C[i,j] = " + text):
        with suppress(NotationError):
            assert parse_statement(candidate, INFOS).results


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("C[i,j] = d * A[i,k] * B[k,j]", "give it: d=...; an index stands in brackets"),
        ("C[i,j] = max(A[i,j], 0)", "the maximum of two values is maximum(a, b)"),
        ("C[i,j] = A(i,k) * B(k,j)", "subscripts stand in brackets: A[i]"),
        ("C[i,j] = A[i][j]", "all subscripts stand in one pair of brackets: A[i, j]"),
        ("C[i,j] = A.T[k,i]", "swap the subscripts"),
        ("C[i,j] = (A[i,j] + 1)[k]", "subscript the operands"),
        ("C[i,j] = A[*i,k]", "give one subscript for each mode"),
        ("C[i,j] = A[i,...]", "give one subscript for each mode"),
        ("C[i,j] = A[i,k] << 1", "multiply by a power of two"),
        ("C[i,j] = A[i,k] is 0", "compare with =="),
        ("C[i,j] = [A[i,k]]", "one expression stands for every element"),
        ("C[i,j], D[i] = A[i,k], B[k,j]", "a statement has one result"),
        ("C[i,j] -= A[i,k]", "= and += assign"),
        ("C[i,j] == A[i,k]", "one = assigns, two compare"),
    ],
)
def test_mistakes_are_told_what_to_write_instead(text, hint):
    assert f"\nhint: {hint}" in message(text)


def test_names_that_subscript_something_are_values_too():
    text = "C[i,j] = where(i < j, A[i,j], k * A[i,k])"
    assert parse_statement(text, {"A": INFOS["A"]}).results == ("C",)


def test_dtype_and_fill():
    program = parse_statement(
        "C[i,j] = min(k, A[i,k] + B[k,j])", INFOS, dtype="float32", fill_value=float("inf")
    )
    assert program.outputs[0].dtype == "float32"
    assert program.outputs[0].fill == float("inf")


def test_the_larger_of_two_values_has_another_name():
    with pytest.raises(NotationError, match=r"maximum of two values is maximum\(a, b\)"):
        parse_statement("C[i,j] = max(A[i,j], B[i,j])", INFOS)
