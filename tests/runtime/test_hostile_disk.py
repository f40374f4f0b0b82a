"""A cache on a disk that is full, or that cannot be written."""

import os
import subprocess
import sys
import textwrap

import pytest

KERNEL = """
import os, resource, sys, warnings
import numpy as np, scipy.sparse as sp, sparsedsl as sd
A = sp.random_array((20, 20), density=.3, format="csr", rng=np.random.default_rng(0))
def right():
    return bool(abs(sd.einsum("ij,jk->ik", A, A) - A @ A).max() < 1e-12)
"""


def start(code, cache):
    return subprocess.Popen(
        [sys.executable, "-c", KERNEL + textwrap.dedent(code)],
        env={**os.environ, "SPARSEDSL_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.split(), err


@pytest.mark.parametrize("size", [0, 2000])
def test_a_full_disk_costs_a_warning_and_no_result(tmp_path, size):
    """Files cannot grow beyond a size: none at all, or no kernel, but its index."""
    code = f"""
    resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
    print(right())
    """
    out, err = finish(start(code, tmp_path))
    assert out == ["True"]
    assert "cannot be written" in err
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".new-")]
    assert finish(start("print(right())", tmp_path)) == (["True"], "")


def test_a_directory_that_cannot_be_written_costs_a_warning_and_no_result(tmp_path):
    tmp_path.chmod(0o555)
    code = """
    with sd.options(cache=False):
        right()  # what is imported late is imported now
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)  # permissions do not hold root back
    print((sd.einsum("ij,ij->ij", A, A) != A * A).nnz == 0)
    """
    out, err = finish(start(code, tmp_path))
    assert out == ["True"]
    assert "cannot be used" in err
    assert not list(tmp_path.iterdir())
