"""Memory that there is not is refused before it is taken, with the sizes and what to do."""

import re

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.runtime import outputs

ROOM = 20_000


@pytest.fixture(autouse=True)
def little(monkeypatch):
    monkeypatch.setattr(outputs, "memory_bytes", lambda: ROOM)


def outer(layout, **choices):
    @sd.kernel(out=layout, **choices)
    def product(x, y):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = x[i] * y[j]
        return C

    return product


def vector(entries):
    return sd.convert(np.arange(1.0, entries + 1), "csf")


@pytest.mark.parametrize("layout", ["csr", "coo"])
def test_a_bound_on_entries_of_a_sparse_result(layout):
    kernel = outer(layout)
    with pytest.raises(sd.PlanError) as caught:
        kernel(vector(60), vector(60))
    stated = re.search(r"may hold (\d+) entries", caught.value.message)
    assert stated is not None
    assert int(stated[1]) >= 3600
    assert "more than the" in caught.value.message
    assert caught.value.hint is not None
    small = kernel(vector(5), vector(6))
    assert (small.to_numpy() == np.outer(np.arange(1.0, 6), np.arange(1.0, 7))).all()


def test_threads_that_count_first():
    kernel = outer("csr", parallel=True)
    with sd.options(threads=2), pytest.raises(sd.PlanError, match="may hold 3600 entries"):
        kernel(vector(60), vector(60))


def test_a_plain_result():
    with pytest.raises(sd.PlanError, match="would be a dense array"):
        outer("dense")(vector(60), vector(60))


@sd.kernel(workspace="sort")
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, j] = A[i, k] * B[k, j]
    return C


def test_the_sort_of_a_stream_is_part_of_it_and_announced():
    small, A, B = (sd.convert(np.ones(shape), "csr") for shape in ((2, 2), (14, 2), (2, 14)))
    (unit,) = product.lower(small, small).units
    each = outputs.entry_bytes(unit.recipe)
    # two coordinates three times, the value twice, a number
    assert each == 3 * 16 + 2 * 8 + 8
    told = product.explain(small, small)
    assert f"sort of the entries of C: {each} bytes for each delivered" in told
    # there is room for 392 products of 24 bytes each, not for what puts them in order
    with pytest.raises(sd.PlanError, match="may hold 392 entries"):
        product(A, B)
