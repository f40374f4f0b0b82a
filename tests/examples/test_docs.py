"""The pages under docs: code and shell lines run, code prints what is shown, links lead on."""

import contextlib
import io
import linecache
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rdu.cli import app as rdu_app
from sparsedsl.cli.app import app as sparsedsl_app

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = ["tutorial", "kernel", "slow", "errors", "pictures", "rdu"]


@pytest.mark.parametrize("name", CODE)
def test_blocks_run_and_print_what_is_shown(name):
    blocks = FENCE.findall((ROOT / "docs" / f"{name}.md").read_text())
    names = {"__name__": name}
    ran = 0
    for place, (language, text) in enumerate(blocks):
        if language != "python":
            continue
        out, place_of = io.StringIO(), f"{name}.md block {place}"
        # as a file has it: the source of a function can be read
        linecache.cache[place_of] = (len(text), None, text.splitlines(keepends=True), place_of)
        with contextlib.redirect_stdout(out):
            exec(compile(text, place_of, "exec"), names)
        following = blocks[place + 1] if place + 1 < len(blocks) else ("", "")
        if following[0] == "text":
            assert out.getvalue().split() == following[1].split(), text
        ran += 1
    assert ran


def shell_lines():
    """Every line of a shell on a page, without its prompt."""
    for path in PAGES:
        for language, text in FENCE.findall(path.read_text()):
            if language in ("sh", "console"):
                lines = (
                    text.splitlines() if language == "sh" else re.findall(r"^\$ (.*)", text, re.M)
                )
                yield from ((path.stem, line) for line in lines if line)


@pytest.mark.parametrize(("page", "line"), list(shell_lines()))
def test_shell_lines_run(page, line, tmp_path, monkeypatch):
    """Commands of the packages, in a folder with a file for each one they read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.mtx").write_text(
        "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 3\n"
    )
    command, *arguments = shlex.split(line)
    before = set(tmp_path.iterdir())
    done = CliRunner().invoke({"sparsedsl": sparsedsl_app, "rdu": rdu_app}[command], arguments)
    assert done.exit_code == 0, done.output
    made = {path.name for path in set(tmp_path.iterdir()) - before}
    named = {word for word in arguments if word.endswith(".svg")}
    assert named <= made


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    prose = re.sub(r"`[^`]*`", "", FENCE.sub("", path.read_text()))
    for target in re.findall(r"\]\(([^)#:]+)\)", prose):
        assert (path.parent / target).exists(), target


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    assert all(p.name in index for p in PAGES if p.stem != "README")
