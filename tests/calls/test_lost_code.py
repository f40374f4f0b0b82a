"""Kernels on disk whose object code is lost are compiled as new ones are: by LLVM, if they were."""

import os
import subprocess
import sys

import pytest

PRELUDE = """
import sys
import numpy as np, scipy.sparse as sp, sparsedsl as sd
from sparsedsl.runtime import checked, conversions

conversions.FEW = conversions.MANY = 0  # without waiting until it pays
checked.LOOK, checked.COMPILE = 1e-9, 2e-9
A = sp.random_array((300, 300), density=0.05, format="csr", rng=np.random.default_rng(0))
"""
USES = {
    "kernel": "assert abs(sd.einsum('ij,jk->ik', A, A) - A @ A).max() < 1e-12",
    "measured kernel": """
with sd.options(tune=True, tune_budget_ms=1500):
    assert abs(sd.einsum('ij,jk->ik', A, A) - A @ A).max() < 1e-12
""",
    "conversion": "assert (sd.convert(A, 'csc').to_numpy() == A.toarray()).all()",
    "check": """
arrays = {'indptr': A.indptr, 'indices': A.indices, 'data': A.data}
for _ in range(3):
    assert sd.from_arrays('csr', A.shape, arrays).nnz == A.nnz
""",
}


def loads_numba(code, cache):
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code + "\nprint('numba' in sys.modules)"],
        env={**os.environ, "SPARSEDSL_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() == "True"


@pytest.mark.parametrize("use", USES)
def test_lost_object_code_is_made_anew_without_numba(use, tmp_path):
    first = loads_numba(USES[use], tmp_path)
    codes = {path: path.read_bytes() for path in tmp_path.rglob("k_*.o")}
    assert codes
    for path in codes:
        path.unlink()
    assert loads_numba(USES[use], tmp_path) == first is False
    found = {path: path.read_bytes() for path in tmp_path.rglob("k_*.o")}
    assert found
    assert found.items() <= codes.items()


def test_what_needs_numba_gets_it_again(tmp_path):
    code = "assert np.allclose(sd.evaluate('y[i] = A[i,j] ** 2.5', A=A), (A**2.5).sum(axis=1))"
    assert loads_numba(code, tmp_path)
    assert not loads_numba(code, tmp_path)
    for path in tmp_path.rglob("k_*.o"):
        path.unlink()
    assert loads_numba(code, tmp_path)
