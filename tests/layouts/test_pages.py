"""The code on the page about layouts of one's own runs as it stands."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "custom_layout.md"


def test_the_code_on_the_page_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 6
    scope = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), scope)
    shown = capsys.readouterr().out
    assert "'permutation row' does not hold: row(0) = 0, then row(1) = 0" in shown
    assert "^" in shown
    assert "indices[indptr(N)]" in shown
