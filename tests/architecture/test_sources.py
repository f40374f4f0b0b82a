"""Sentences about the source that no linter checks."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "sparsedsl").rglob("*.py"), *(ROOT / "rdu").rglob("*.py")])
LONGEST = 500
FORBIDDEN_NAMES = {"utils", "base", "common", "helpers"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_are_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST


def test_no_module_is_a_drawer():
    for path in MODULES:
        parts = {*path.relative_to(ROOT).with_suffix("").parts}
        assert not parts & FORBIDDEN_NAMES, path


def test_tests_mirror_packages():
    """Each folder of tests is a package's or says what it is about."""
    others = {"architecture", "cli", "examples", "golden", "differential", "expressions", "rdu"}
    packages = {p.name for p in (ROOT / "sparsedsl").iterdir() if p.is_dir()}
    folders = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir()}
    assert folders <= packages | others | {"__pycache__"}


def test_no_machine_paths_in_the_project():
    unwanted = re.compile("/" + "(work|root|home|tmp)/")
    texts = [
        *MODULES,
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.py"),
        *ROOT.glob("*.md"),
        ROOT / "Makefile",
        ROOT / "pyproject.toml",
    ]
    assert [p for p in texts if unwanted.search(p.read_text())] == []
