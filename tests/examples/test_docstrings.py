"""Examples in docstrings give what they show."""

import doctest
import importlib

import pytest
from pages import ROOT

from sparsedsl.options import config

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("sparsedsl", "rdu")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    try:
        done = doctest.testmod(importlib.import_module(name))
    finally:
        config.reset()
    assert done.attempted
    assert not done.failed
