"""The page of tables is current."""

import runpy
from pathlib import Path

PAGE = runpy.run_path(str(Path(__file__).with_name("page.py")))


def test_the_page_is_current():
    assert PAGE["PAGE"].read_text() == PAGE["page"](), "run python tests/rdu/paper/page.py"
