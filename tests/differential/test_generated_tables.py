"""The generated table of semantics is current, and its IEEE rows are NumPy's."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import sparsedsl as sd

PAGE = runpy.run_path(str(Path(__file__).with_name("semantics.py")))


def test_the_page_is_current():
    assert PAGE["PAGE"].read_text() == PAGE["page"](), "run python tests/differential/semantics.py"


@pytest.mark.parametrize("name", PAGE["EXPRESSIONS"])
def test_ieee_is_what_numpy_gives(name):
    values = PAGE["VALUES"]
    with np.errstate(all="ignore"):
        expected = PAGE["NUMPY"][name](np.zeros(len(values)), values)
    for stored in (False, True):
        np.testing.assert_array_equal(PAGE["results"](name, stored, "ieee"), expected)


@pytest.mark.parametrize("name", ["A * b", "A / b"])
def test_an_annihilator_is_zero_whatever_it_meets(name):
    assert (PAGE["results"](name, False, "annihilator") == 0).all()


SUPPORT = runpy.run_path(str(Path(__file__).with_name("support.py")))


@pytest.mark.parametrize("name", ["csr", "coo", "ell"])
def test_rows_of_the_table_of_support_are_current(name):
    with sd.options(solver_timeout_ms=10_000):
        assert SUPPORT["row"](name) in SUPPORT["PAGE"].read_text().splitlines()


def test_the_table_of_support_has_every_layout():
    text = SUPPORT["PAGE"].read_text()
    assert all(f"| `{SUPPORT['member'](name).label}` |" in text for name in SUPPORT["layouts"])
