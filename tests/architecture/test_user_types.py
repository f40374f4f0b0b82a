"""Types from a user's side: a strict checker knows every public name, and sees mistakes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import rdu
import sparsedsl

PROGRAM = Path(__file__).with_name("user_program.py")


def test_a_strict_program_has_the_mistakes_that_were_put_in_and_no_other(tmp_path):
    root = Path(sparsedsl.__file__).parents[1]
    shutil.copy(PROGRAM, tmp_path / "program.py")
    settings = {"typeCheckingMode": "strict", "reportMissingTypeStubs": False}
    settings |= {"pythonVersion": "3.11", "extraPaths": [str(root)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "-p", str(tmp_path)], capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = PROGRAM.read_text().splitlines()
    marked = {number for number, line in enumerate(lines) if line.startswith(("wrong", "missing"))}
    assert {item["range"]["start"]["line"] for item in found} == marked, found


def test_the_packages_say_that_they_are_typed():
    for package in (sparsedsl, rdu):
        assert (Path(package.__file__).parent / "py.typed").exists()
