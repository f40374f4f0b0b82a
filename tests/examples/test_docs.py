"""The pages under docs: code and shell lines run, code prints what is shown, links lead on."""

import re
import shlex

import pytest
from pages import FENCE, ROOT, RUN, blocks, plain, printed
from typer.testing import CliRunner

import rdu
from rdu.cli import app as rdu_app
from sparsedsl.cli.app import app as sparsedsl_app

PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("name", RUN)
def test_blocks_print_what_is_shown(name):
    ran = 0
    for code, out, shown in printed(ROOT / "docs" / f"{name}.md"):
        assert plain(out) == plain(shown), code
        ran += 1
    assert ran


def shell_lines():
    """Every line of a shell on a page, without its prompt."""
    for path in PAGES:
        for language, text in blocks(path):
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


def test_every_page_with_code_is_run():
    written = {path.stem for path in PAGES if any(name == "python" for name, _ in blocks(path))}
    assert written == {*RUN}


def test_every_block_is_of_a_kind_that_is_checked():
    kinds = {kind for path in PAGES for kind, _ in blocks(path)}
    assert kinds == {"python", "text", "sh", "console", "toml"}


def test_compositions_on_the_pages_are_read(tmp_path):
    texts = [text for path in PAGES for kind, text in blocks(path) if kind == "toml"]
    assert texts
    for text in texts:
        (tmp_path / "mine.toml").write_text(text)
        assert len(rdu.coe.read_composition(tmp_path / "mine.toml").experts) == 21


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    assert all(p.name in index for p in PAGES if p.stem != "README")
