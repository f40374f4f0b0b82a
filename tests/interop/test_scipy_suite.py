"""scipy's own tests of products, sums and differences, with those computed by sparsedsl.

The tests are scipy's classes as they are; ``scipy_operators`` puts our operators into the
classes that they test.  ``EXCEPTIONS`` are the tests that do not hold, each with its reason.  The
checks run a part of the others, ``HYPOTHESIS_PROFILE=search`` runs them all: some minutes, for
every pair of dtypes.  Kernels run in the loop interpreter, since the matrices have a few elements.
"""

import os
import warnings
from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from levels import interpreting, remembering_proofs
from scipy_operators import OPERATORS, USED, replaced

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # marks that only scipy's own configuration knows
    from scipy.sparse.tests import test_base

# newer versions of scipy keep results of diagonals as diagonals, and test that
EYE = sp.dia_array(np.eye(2))
EXCEPTIONS = (
    {}
    if EYE.multiply(EYE).format != "dia"
    else {
        ("TestDIA", "test_matmul_dia"): "scipy keeps the product of two bands as diagonals",
        (
            "TestDIA",
            "test_elementwise_multiply",
        ): "scipy keeps the product of diagonals as diagonals",
        ("TestDIA", "test_add_sparse"): "scipy keeps the sum of diagonals as diagonals",
        ("TestDIA", "test_sub_sparse"): "scipy keeps the difference of diagonals as diagonals",
    }
)

# every test of scipy's that has to do with these operators
ABOUT = ("matmul", "add", "sub_", "rsub", "radd", "mult", "mul_", "arithmetic")
NOT_ABOUT = ("submatrix", "subscriptable", "imul", "iadd", "isub")

# in the checks: one class whole, of the others what their storage has to do with
QUICK = {
    "TestCSR": ("test_matmul", "test_add", "test_rsub", "test_sub", "test_small_mul", "test_el"),
    "TestCSC": (
        "test_matmul",
        "test_add0",
        "test_sub_dense",
        "test_small_mul",
        "test_elementwise_multiply",
    ),
    "TestCOO": ("test_matmul", "test_sub_dense", "test_elementwise_multiply"),
    "TestBSR": ("test_matmul", "test_small_mul", "test_elementwise_multiply"),
    "TestDIA": ("test_matmul", "test_small_mul"),
}
# all pairs of fifteen dtypes
LONG = ("test_add_sub", "test_mu", "test_mul_nonscalar")
WHOLE = os.environ.get("HYPOTHESIS_PROFILE") == "search"


def chosen(owner, name):
    about = any(word in name for word in ABOUT) and not any(word in name for word in NOT_ABOUT)
    if not about or (owner, name) in EXCEPTIONS:
        return False
    return WHOLE or (name.startswith(QUICK[owner]) and name not in LONG)


def part_of(owner):
    """scipy's class with the tests that are not chosen left out."""
    usual = getattr(test_base, owner)
    tests = [name for name in dir(usual) if name.startswith("test")]
    left_out = {name: None for name in tests if not chosen(owner, name)}
    return type(owner, (usual,), {**left_out, "__module__": __name__})


TestCSR, TestCSC, TestCOO, TestBSR, TestDIA = map(part_of, QUICK)


@pytest.fixture(autouse=True)
def _ours():
    with interpreting(), remembering_proofs(), replaced():
        yield


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_array, sp.coo_array, sp.bsr_array])
def test_the_operators_are_ours(kind):
    A, D, before = kind(np.eye(2)), np.ones((2, 2)), Counter(USED)
    for found in (A @ A, D @ A, A + A, A - A, D + A, D - A, A.multiply(A)):
        assert found.shape == (2, 2)
    assert {*(USED - before)} == {*OPERATORS}


@pytest.mark.parametrize(("owner", "name"), EXCEPTIONS)
def test_exceptions_do_not_hold(owner, name):
    """An exception that holds by now is to be taken off the list."""
    tested = getattr(test_base, owner)()
    with pytest.raises(AssertionError):
        getattr(tested, name)()
