"""The generated page is current, and results come in every layout it lists."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import sparsedsl as sd

PAGE = runpy.run_path(str(Path(__file__).with_name("page.py")))


def test_the_page_is_current():
    assert PAGE["PAGE"].read_text() == PAGE["page"](), "run python tests/layouts/page.py"


@pytest.mark.parametrize("name", ["csr", "csc", "morton", "bitmap", "hash", "jad", "bcsr", "csf"])
def test_results_are_valid_in_the_layout_asked_for(name):
    rng = np.random.default_rng(3)
    x = np.where(rng.random((9, 7)) < 0.5, rng.integers(1, 5, (9, 7)), 0).astype(float)
    y = np.where(rng.random((9, 7)) < 0.7, 2.0, 0.0)
    made = sd.evaluate(
        "C[i,j] = A[i,j] * B[i,j]",
        out=PAGE["member"](name),
        A=sd.convert(x, "csr"),
        B=sd.convert(y, "csr"),
    )
    made.validate()
    assert made.layout == PAGE["member"](name)
    assert (made.to_numpy() == x * y).all()
