"""The README's code runs, and the output it shows is what comes out."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from sparsedsl.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def plain(text):
    """Lines without their times, which differ from run to run."""
    timeless = re.sub(r"\d+(?:\.\d+)? (?:ns|us|ms|s)\b", "TIME", text)
    timeless = re.sub(r"\[\s*TIME\]", "[TIME]", timeless)
    return [line.rstrip() for line in timeless.strip().splitlines()]


def test_python_blocks_print_what_is_shown():
    names = {"__name__": "readme"}
    shown = 0
    for place, (language, text) in enumerate(BLOCKS):
        if language != "python":
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(text, f"README.md block {place}", "exec"), names)
        following = BLOCKS[place + 1] if place + 1 < len(BLOCKS) else ("", "")
        expected = following[1] if following[0] == "text" else ""
        assert plain(out.getvalue()) == plain(expected), text
        shown += bool(expected)
    assert shown >= 3


def commands():
    for language, text in BLOCKS:
        if language == "console":
            first, _, rest = text.partition("\n")
            if first.startswith("$ sparsedsl"):
                yield pytest.param(first.removeprefix("$ "), rest, id=first)


@pytest.mark.parametrize(("command", "expected"), commands())
def test_commands_print_what_is_shown(command, expected, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as done:
        main()
    assert not done.value.code
    assert plain(capsys.readouterr().out) == plain(expected)


def test_there_are_commands():
    assert any(language == "console" and "$ sparsedsl" in text for language, text in BLOCKS)


def test_installing_is_two_commands():
    makes = {line for language, text in BLOCKS if language == "sh" for line in text.splitlines()}
    assert makes == {"make demo", "make test"}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
