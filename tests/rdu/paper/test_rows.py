import pytest

from rdu.paper.rows import render, row


def test_error_is_relative():
    assert row("a", "b", 2.0, 2.5, "predicted").error == pytest.approx(0.25)
    assert row("a", "b", None, 2.5, "predicted").error is None
    assert row("a", "b", 0.0, 0.5, "predicted").error == 0.5


def test_render_aligns_and_marks_what_is_missing():
    text = render(
        [row("a", "b", None, 2.5, "predicted"), row("long name", "b", 2, 2, "arithmetic")]
    )
    head, first, second = text.splitlines()
    assert head.index("quantity") == first.index("b") == second.index("b")
    assert " - " in first
    assert "+0.0%" in second
