"""Conversions are compared with their peers before they are timed."""

from dataclasses import replace

import numpy as np
import pytest

from sparsedsl.bench import conversions as m


@pytest.fixture(scope="module")
def made():
    return {case.name: case for case in m.cases(quick=True)}


def test_results_are_those_of_the_peers(made):
    for case in made.values():
        case.check()
        assert case.scipy is not None or case.hand is not None


@pytest.mark.parametrize("name", ["CSR to CSC", "CSR to ELL"])
def test_a_result_that_differs_is_told(made, name):
    case = made[name]
    wrong = tuple(np.zeros_like(x) for x in case.hand())
    with pytest.raises(ValueError, match="differs from the hand-written"):
        replace(case, hand=lambda: wrong).check()
    with pytest.raises(ValueError, match="values differ from scipy"):
        replace(case, hand=None, scipy=lambda: 2 * case().to_scipy()).check()


def test_the_fastest_peer_is_named():
    found = m.Conversion("a", (1.0, 1.0), {"scipy": (3.0, 3.0), "hand": (0.5, 0.7)})
    assert found.ratio("hand") == pytest.approx(0.6)
    assert found.best == "hand"
