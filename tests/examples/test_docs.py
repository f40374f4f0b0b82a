"""The pages under docs: each block of code runs, shows what it prints, and links lead on."""

import contextlib
import io
import linecache
import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    prose = re.sub(r"`[^`]*`", "", FENCE.sub("", path.read_text()))
    for target in re.findall(r"\]\(([^)#:]+)\)", prose):
        assert (path.parent / target).exists(), target


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    assert all(p.name in index for p in PAGES if p.stem != "README")
