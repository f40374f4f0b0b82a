"""What is loaded when: the heavy libraries only where they are used."""

import os
import subprocess
import sys

import pytest

from sparsedsl.codegen.shared_objects import linker

HEAVY = ("numba", "islpy", "z3", "llvmlite", "scipy.sparse", "matplotlib", "typer", "rich")

KERNEL = """
import sys
import numpy as np
import scipy.sparse as sp
import sparsedsl as sd
A = sp.csr_array(np.array([[1.0, 0.0], [2.0, 3.0]]))
for call in range(10):  # the last ones look at the operands in one step
    C = sd.evaluate("C[i,j] = A[i,k] * B[k,j]", A=A, B=A)
assert (C.toarray() == (A @ A).toarray()).all()
print(*(name for name in ("numba", "llvmlite", "islpy", "z3") if name in sys.modules))
"""


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("module", ["sparsedsl", "rdu"])
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    assert python(code) == []


def test_importing_loads_no_stage_that_a_kernel_on_disk_does_without():
    stages = ("find", "loops", "lowering", "codegen", "pipeline.stages")
    names = tuple(f"sparsedsl.{stage}" for stage in stages)
    code = f"import sys, sparsedsl; print(*(m for m in sys.modules if m.startswith({names!r})))"
    assert python(code) == []


def test_help_loads_no_compiler():
    code = (
        "import sys, runpy; sys.argv = ['sparsedsl', '--help']\n"
        "try:\n    runpy.run_module('sparsedsl', run_name='__main__')\n"
        "except SystemExit as done:\n    assert not done.code\n"
        "heavy = ('numba', 'islpy', 'z3', 'llvmlite')\n"
        "print('LOADED', *(m for m in heavy if m in sys.modules))"
    )
    words = python(code)
    assert words[words.index("LOADED") + 1 :] == []


def test_a_kernel_is_compiled_without_numba_and_a_cached_one_runs_without_any(tmp_path):
    place = {"SPARSEDSL_CACHE_DIR": str(tmp_path), "SPARSEDSL_NO_CACHE": "0"}
    assert {*python(KERNEL, **place)} == {"llvmlite", "islpy", "z3"}
    assert python(KERNEL, **place) == ([] if linker() else ["llvmlite"])
