from __future__ import annotations

import pytest

from sparsedsl.errors import NotationError, Span
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.outputs import output
from sparsedsl.frontend.spans import at, here
from sparsedsl.frontend.surface import indices
from sparsedsl.frontend.trace import trace

i, j = indices("i j")


def caught_from(kernel):
    with pytest.raises(NotationError) as caught:
        trace(kernel, [ArgumentInfo((2, 2), "float64")])
    span = caught.value.span
    return span.text[span.column : span.end_column]


def test_columns_count_characters_not_bytes():
    def kernel(A):
        größe = output()
        größe[i, j] = A[i, j] + A[i, j, j]

    assert caught_from(kernel) == "A[i, j, j]"


def test_an_expression_over_several_lines_is_marked_to_the_end_of_its_first():
    def kernel(A):
        C = output()
        C[i, j] = 1 + A[
            i, j, j
        ]  # fmt: skip

    assert caught_from(kernel) == "A["


def test_helpers_of_the_user_are_the_place():
    def helper(A):
        return A[i, j, i]

    def kernel(A):
        C = output()
        C[i, j] = helper(A)

    assert caught_from(kernel) == "A[i, j, i]"


def test_code_without_source_has_its_line():
    names = {"output": output, "i": i}
    exec("def kernel(A):\n    C = output()\n    C[i] = A[i]\n", names)
    with pytest.raises(NotationError) as caught:
        trace(names["kernel"], [ArgumentInfo((2, 2), "float64")])
    assert str(caught.value) == (
        "A has 2 modes, found 1 subscript\n"
        '  File "<string>", line 3\n'
        "hint: give one for each mode: A[i, j]"
    )


def test_a_parser_sets_the_place():
    span = Span("text", 1, 2)
    with at(span):
        assert here() is span
    assert here().file == __file__
