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
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(README)


def plain(text):
    """Lines without their times, which differ from run to run."""
    timeless = re.sub(r"\d[\d.e+-]* (?:ns|us|ms|s)\b", "TIME", text)
    timeless = re.sub(r"estimated [\d.]+x", "estimated RATIO", timeless)
    timeless = re.sub(r"\[\s*TIME\]", "[TIME]", timeless)
    timeless = re.sub(r"[\d.e+-]+ times the estimate", "RATIO times the estimate", timeless)
    return [line.rstrip() for line in timeless.strip().splitlines()]


def printed():
    """(code, what it prints, what the README shows) of each python block, run in order."""
    names = {"__name__": "readme"}
    for place, (language, text) in enumerate(BLOCKS):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, f"README.md block {place}", "exec"), names)
            language, shown = BLOCKS[place + 1] if place + 1 < len(BLOCKS) else ("", "")
            yield text, out.getvalue(), shown if language == "text" else ""


def test_python_blocks_print_what_is_shown():
    shown = 0
    for code, out, expected in printed():
        assert plain(out) == plain(expected), code
        shown += bool(expected)
    assert shown >= 3


def commands():
    for language, text in BLOCKS:
        if language == "console":
            first, _, rest = text.partition("\n")
            if first.startswith("$ sparsedsl"):
                yield pytest.param(first.removeprefix("$ "), rest, id=first)


@pytest.mark.parametrize(("command", "expected"), list(commands()))
def test_commands_print_what_is_shown(command, expected):
    assert plain(output(command)) == plain(expected)


def test_there_are_commands():
    assert any(language == "console" and "$ sparsedsl" in text for language, text in BLOCKS)


def test_installing_is_two_commands():
    makes = {line for language, text in BLOCKS if language == "sh" for line in text.splitlines()}
    assert makes == {"make demo", "make test"}


def test_links_lead_somewhere():
    prose = FENCE.sub("", README)
    for target in re.findall(r"\]\(([^)#:]+)\)", re.sub(r"`[^`]*`", "", prose)):
        assert (ROOT / target).exists(), target


def output(command):
    """What a command prints."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr("sys.argv", shlex.split(command))
        with pytest.raises(SystemExit) as done:
            main()
    assert not done.value.code
    return out.getvalue()


def renewed():
    """The README with the output that its blocks have now."""
    outputs = [out for _, out, _ in printed()]
    assert sum(language == "text" for language, _ in BLOCKS) == len(outputs)
    codes = iter(outputs)

    def replace(found):
        if found[1] not in ("text", "console"):
            return found[0]
        if found[1] == "text":
            block = f"```text\n{next(codes)}```"
        else:
            command = found[2].partition("\n")[0]
            block = f"```console\n{command}\n{output(command.removeprefix('$ '))}```"
        return found[0] if plain(block) == plain(found[0]) else block

    return FENCE.sub(replace, README)


if __name__ == "__main__":
    (ROOT / "README.md").write_text(renewed())
