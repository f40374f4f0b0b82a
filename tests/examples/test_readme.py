"""The README's code runs, and the output it shows is what comes out."""

import re

import pytest
from pages import FENCE, ROOT, blocks, output, plain, printed, shown_commands

README = ROOT / "README.md"


def test_python_blocks_print_what_is_shown():
    shown = 0
    for code, out, expected in printed(README):
        assert plain(out) == plain(expected), code
        shown += bool(expected)
    assert shown >= 3


@pytest.mark.parametrize(("command", "expected"), shown_commands(README))
def test_commands_print_what_is_shown(command, expected):
    assert plain(output(command)) == plain(expected)


def test_there_are_commands():
    assert shown_commands(README)


def test_installing_is_two_commands():
    makes = {t for language, text in blocks(README) if language == "sh" for t in text.splitlines()}
    assert makes == {"make demo", "make test"}


def test_links_lead_somewhere():
    prose = FENCE.sub("", README.read_text())
    for target in re.findall(r"\]\(([^)#:]+)\)", re.sub(r"`[^`]*`", "", prose)):
        assert (ROOT / target).exists(), target
