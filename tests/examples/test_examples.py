import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
TIMED = {"spmv", "sddmm", "mttkrp", "triangles", "hits", "matmul", "elementwise"}
"""What pydata/sparse shows too, with times beside scipy's."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    out = capsys.readouterr().out
    assert out
    if path.stem in TIMED:
        assert re.search(r"[0-9.]+ ms, .*scipy.* [0-9.]+ ms\n", out)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_is_short_and_says_what_it_is(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 80
    assert lines[0].startswith('"""')


def test_there_are_examples():
    assert {p.stem for p in EXAMPLES} >= {
        *TIMED,
        "custom_layout",
        "expert_layer",
        "composition",
        "serving",
    }
