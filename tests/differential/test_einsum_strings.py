"""The einsum strings of opt_einsum's own tests, over twelve layouts, against NumPy.

Each runs with its operands in layouts drawn for it.  The checks take every other string of less
than five operands; the nightly mode (``HYPOTHESIS_PROFILE=search``) takes all of them, and draws
other layouts, shapes and values each time.
"""

import os
import zlib

import numpy as np
import pytest
from levels import interpreting, remembering_proofs, store
from opt_einsum.tests.test_contract import tests as strings

import sparsedsl as sd

MATRICES = ("csr", "csc", "coo", "coo_unsorted", "dcsr", "dcsc", "csf", "bcsr", "dia", "ell")
MATRICES += ("bitmap", "morton", "dense")
ANY_RANK = ("csf", "coo", "coo_unsorted", "bitmap", "morton", "dense")
SEARCH = os.environ.get("HYPOTHESIS_PROFILE") == "search"


ALL = sorted(set(strings))
CHOSEN = ALL if SEARCH else [s for s in ALL if s.count(",") < 4][1::2]


def drawn(spec, rng):
    """Operands of a specification as plain arrays and as tensors in layouts."""
    terms = spec.partition("->")[0].split(",")
    letters = sorted(set(spec) & set("abcdefghijklmnopqrstuvwxyz"))
    extents = {letter: int(rng.integers(1, 4)) for letter in letters}
    plain, tensors = [], []
    for term in terms:
        shape = tuple(extents[letter] for letter in term)
        mask = rng.random(shape) < 0.6
        dense = np.where(mask, rng.integers(-2, 3, shape), 0).astype(float)
        plain.append(dense)
        name = str(rng.choice(MATRICES if len(shape) == 2 else ANY_RANK))
        layout = sd.layouts[name](2, 2) if name == "bcsr" else sd.layouts[name]
        tensors.append(store(dense, mask, layout) if shape else dense[()])
    return plain, tensors


@pytest.mark.parametrize("spec", CHOSEN)
def test_strings(spec):
    seed = int.from_bytes(os.urandom(4), "big") if SEARCH else zlib.crc32(spec.encode())
    plain, tensors = drawn(spec, np.random.default_rng(seed))
    expected = np.einsum(spec, *plain)
    with interpreting(), remembering_proofs():
        found = sd.einsum(spec, *tensors)
    dense = found.to_numpy() if isinstance(found, sd.Tensor) else found
    np.testing.assert_array_equal(dense, expected, err_msg=f"seed {seed}")


def test_the_layouts_are_all_met():
    met = set()
    for spec in CHOSEN:
        _, tensors = drawn(spec, np.random.default_rng(zlib.crc32(spec.encode())))
        met |= {t.layout.name for t in tensors if isinstance(t, sd.Tensor)}
    assert len(met) >= 12
    assert len(ALL) >= 60
    assert len(CHOSEN) >= 25
