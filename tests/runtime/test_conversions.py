"""Conversions of few entries: interpreted at first, by compiled passes when asked for often."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.conversion import programs
from sparsedsl.runtime import conversions, operations


@pytest.fixture
def efforts(monkeypatch):
    """What each conversion was let do, from a process that converted nothing before."""
    found = []
    apply = operations.apply

    def watched(name, *arguments, **options):
        if name == "convert_arrays" and arguments[1].name != "dense":
            found.append(options["effort"])
        return apply(name, *arguments, **options)

    monkeypatch.setattr(operations, "apply", watched)
    monkeypatch.setattr(conversions, "_asked", {})
    monkeypatch.setattr(programs, "_met", set())
    monkeypatch.setattr(programs, "_programs", {})
    return found


def matrix(seed, columns=30):
    rng = np.random.default_rng(seed)
    return sp.random_array((40, columns), density=0.2, format="csr", rng=rng)


@pytest.mark.parametrize("layout", ["csc", "bcsr", "ell", "hicoo", "dia"])
def test_every_conversion_gives_the_same(efforts, monkeypatch, layout):
    monkeypatch.setattr(conversions, "LOADED", 2)
    monkeypatch.setattr(conversions, "COMPILED", 4)
    for seed in range(7):
        A = matrix(seed)
        np.testing.assert_array_equal(sd.convert(A, layout).to_numpy(), A.toarray())
    assert efforts == ["kept", "kept", "now", "now", "now"]


def test_passes_of_an_earlier_process_are_loaded(efforts, monkeypatch):
    monkeypatch.setattr(conversions, "LOADED", 0)
    monkeypatch.setattr(conversions, "COMPILED", 1)
    sd.convert(matrix(0), "jad")
    sd.convert(matrix(1), "jad")
    assert (efforts, len(programs._programs)) == (["kept", "now"], 1)
    programs._programs.clear()
    conversions._asked.clear()
    A = matrix(2)
    np.testing.assert_array_equal(sd.convert(A, "jad").to_numpy(), A.toarray())
    assert (efforts, len(programs._programs)) == (["kept", "now", "kept"], 1)


def test_passes_are_loaded_at_once_where_others_are(efforts, monkeypatch):
    monkeypatch.setattr(conversions, "COMPILED", 0)
    sd.convert(matrix(0), "hyb")
    programs._programs.clear()
    monkeypatch.setattr(conversions, "COMPILED", 100)
    size = matrix(1).nnz
    monkeypatch.setattr(conversions, "SOME", size + 1)
    sd.convert(matrix(1), "hyb")
    assert (efforts, programs._programs) == (["now"], {})
    monkeypatch.setattr(conversions, "SOME", size)
    A = matrix(2)
    np.testing.assert_array_equal(sd.convert(A, "hyb").to_numpy(), A.toarray())
    assert (efforts, bool(programs._programs)) == (["now", "kept"], True)


def test_many_entries_are_converted_by_passes_at_once(efforts, monkeypatch):
    monkeypatch.setattr(conversions, "FEW", 100)
    monkeypatch.setattr(conversions, "MANY", 300)
    sd.convert(matrix(0), "csc")
    sd.convert(matrix(1, columns=50), "csc")
    assert efforts == ["again", "now"]
