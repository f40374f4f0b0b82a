"""Kernels where NUMBA_DISABLE_JIT is set, as users do who debug functions of their own."""

import os
import subprocess
import sys

PROGRAM = """
import numba, scipy.sparse as sp, sparsedsl as sd

assert numba.config.DISABLE_JIT

try:
    sd.function(numba.njit(lambda x: 2 * x))
except sd.NotationError as error:
    assert "unset NUMBA_DISABLE_JIT" in str(error)
else:
    raise AssertionError("a function that Numba left as it is was taken")

A = sp.random_array((30, 20), density=0.2, format="csr", rng=0)
C = sd.einsum("ij,kj->ik", A, A)
assert abs(C - A @ A.T).max() < 1e-12
with sd.options(cache=False):
    assert abs(sd.evaluate("C[i,j] = A[i,j] * A[i,j] + A[i,j]", A=A) - (A * A + A)).max() < 1e-12
print("agree")
"""


def test_kernels_are_compiled_where_numba_is_told_not_to(tmp_path):
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "SPARSEDSL_CACHE_DIR": str(tmp_path)}
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert made.stdout == "agree\n", made.stderr
