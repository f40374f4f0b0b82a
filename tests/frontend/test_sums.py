"""Where sums go: the table of the rule."""

from __future__ import annotations

import re

import pytest

from sparsedsl.contraction.text import statement_text
from sparsedsl.errors import NotationError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.string import parse_statement

RANKS = {"A": 2, "B": 2, "S": 2, "x": 1, "y": 1, "a": 0}
INFOS = {name: ArgumentInfo((4,) * rank, "float64") for name, rank in RANKS.items()}


def placed(text):
    used = set(re.findall(r"\b\w+\b", text.partition("=")[2]))
    infos = {name: known for name, known in INFOS.items() if name in used}
    return statement_text(parse_statement(text, infos).statements[0]).partition(" = ")[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A product is summed as a whole, however it is parenthesised.
        ("C[i,j] = S[i,j]*A[i,k]*B[k,j]", "sum(k, S[i, j] * A[i, k] * B[k, j])"),
        ("C[i,j] = S[i,j]*(A[i,k]*B[k,j])", "sum(k, S[i, j] * (A[i, k] * B[k, j]))"),
        ("C[i] = -A[i,k]*x[k]/y[i]", "sum(k, -A[i, k] * x[k] / y[i])"),
        ("C[i] = x[i]/A[i,k]", "sum(k, x[i] / A[i, k])"),
        ("C[()] = A[i,j]", "sum((i, j), A[i, j])"),
        # Each term sums its own indices.
        ("C[i] = x[i] + A[i,k]", "x[i] + sum(k, A[i, k])"),
        ("C[i] = x[i] - (A[i,k] - B[i,l])", "x[i] - (sum(k, A[i, k]) - sum(l, B[i, l]))"),
        ("C[i] = -(x[i] + A[i,k])", "-(x[i] + sum(k, A[i, k]))"),
        # An index of one factor that is a sum stays inside it.
        ("C[i] = 2*(x[i] + A[i,k])", "2.0 * (x[i] + sum(k, A[i, k]))"),
        ("C[i] = (x[i] + A[i,k])/y[i]", "(x[i] + sum(k, A[i, k])) / y[i]"),
        ("C[i] = x[k]*(y[i] + A[i,k])", "sum(k, x[k] * (y[i] + A[i, k]))"),
        # Functions: around, unless the argument contracts the index.
        ("C[i] = exp(A[i,k])", "sum(k, exp(A[i, k]))"),
        ("C[i] = abs(A[i,k])*2", "sum(k, abs(A[i, k]) * 2.0)"),
        ("C[i] = (A[i,k] - B[i,k])**2", "sum(k, (A[i, k] - B[i, k]) ** 2.0)"),
        ("C[i] = exp(A[i,k]*a)", "sum(k, exp(A[i, k] * a[()]))"),
        ("C[i] = relu(A[i,k]*x[k] + y[i])", "relu(sum(k, A[i, k] * x[k]) + y[i])"),
        ("C[i,j] = S[i,j]*tanh(A[i,k]*B[k,j])", "S[i, j] * tanh(sum(k, A[i, k] * B[k, j]))"),
        ("C[i] = sqrt(A[i,k]*A[i,k])", "sqrt(sum(k, A[i, k] * A[i, k]))"),
        (
            "C[i,l] = exp(A[i,k]*B[j,k])*S[j,l]",
            "sum(j, exp(sum(k, A[i, k] * B[j, k])) * S[j, l])",
        ),
        ("C[i,j] = minimum(A[i,k], B[k,j])", "sum(k, minimum(A[i, k], B[k, j]))"),
        # where: the branches are terms; a condition keeps the sum around.
        ("C[i] = where(i < k, A[i,k], 0)*x[k]", "sum(k, where(i < k, A[i, k], 0.0) * x[k])"),
        ("C[i] = where(y[i] > 0, A[i,k]*x[k], y[i])",
         "where(y[i] > 0.0, sum(k, A[i, k] * x[k]), y[i])"),
        # Explicit sums are kept.
        ("C[i] = exp(sum(k, A[i,k]))", "exp(sum(k, A[i, k]))"),
        ("C[i] = sum(k, exp(A[i,k]*x[k]))", "sum(k, exp(A[i, k] * x[k]))"),
        ("C[i] = min(j, A[i,j] + B[j,k])", "sum(k, min(j, A[i, j] + B[j, k]))"),
        ("C[i] = sum(k, A[i,k])*sum(k, B[i,k])", "sum(k, A[i, k]) * sum(k_2, B[i, k_2])"),
    ],
)  # fmt: skip
def test_placement(text, expected):
    assert placed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "C[i] = exp(A[i,k]*x[k])*x[k]",
        "C[i] = relu(A[i,k]*x[k] + x[k])",
        "C[i] = y[i]*(2*(exp(A[i,k]*x[k])*x[k]))",
    ],
)
def test_what_reads_both_ways_is_refused(text):
    with pytest.raises(NotationError) as caught:
        placed(text)
    assert caught.value.message == "the sum over k could be inside the function or around it"
    assert caught.value.hint == "say which with sd.sum(..., over=k)"
