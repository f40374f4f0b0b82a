"""Kernels ahead of time: the module runs without the package, the object file in C."""

import ctypes
import os
import shutil
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.aot import module_text, native
from sparsedsl.cli import main

A = sp.random_array((9, 7), density=0.4, format="csr", rng=np.random.default_rng(0))


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def run(text, folder, code):
    """Run code beside the module in a process that cannot import the package."""
    (folder / "made.py").write_text(text)
    guard = "import sys; sys.modules['sparsedsl'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", guard + code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_module_computes_without_the_package(tmp_path):
    sp.save_npz(tmp_path / "A.npz", A)
    code = """
import numpy as np, scipy.sparse as sp
from made import compute
A = sp.csr_array(sp.load_npz("A.npz"))
B = sp.csr_array(A.T)
C = compute(A, B)
C = sp.csr_array((C["data"], C["indices"], C["indptr"]), shape=C["shape"])
assert abs(C - A @ B).max() < 1e-12
"""
    run(module_text(product.lower(A, A.T.tocsr())), tmp_path, code)


def test_a_module_brings_the_vectors_it_uses(tmp_path):
    sp.save_npz(tmp_path / "A.npz", A)
    code = """
import numpy as np, scipy.sparse as sp
from made import compute
A = sp.csr_array(sp.load_npz("A.npz"))
B = np.arange(7.0 * 45).reshape(7, 45)
assert abs(compute(A, B) - A @ B).max() < 1e-9
"""
    text = module_text(product.lower(A, np.ones((7, 45))))
    assert "store_vector(" in text
    run(text, tmp_path, code)


def test_an_object_file_computes_from_c():
    x = np.arange(7.0)
    made = native(spmv.lower(A, x), "spmv")
    assert "void spmv(" in made.header
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(made.code))
    engine.finalize_object()
    arrays = {"A_indptr": A.indptr, "A_indices": A.indices, "A_data": A.data, "x_data": x}
    y = np.zeros(9)
    given = []
    inside = made.header[made.header.index("spmv(") + 5 : made.header.index(");")]
    for parameter in inside.split(", "):
        name = parameter.split()[-1].lstrip("*")
        if "*" in parameter:
            array = y if name == "y_data" else arrays[name]
            given.append(ctypes.c_void_p(array.ctypes.data))
        else:
            stem = name.removesuffix("_0")
            sizes = {"n_i": 9, "i_begin": 0, "i_end": 9, "n_j": 7, "y_data": 9}
            given.append(ctypes.c_int64(sizes.get(stem, len(arrays.get(stem, ())))))
    ctypes.CFUNCTYPE(None)(engine.get_function_address("spmv"))
    function = ctypes.CFUNCTYPE(None, *(type(g) for g in given))(
        engine.get_function_address("spmv")
    )
    function(*given)
    np.testing.assert_allclose(y, A @ x)


MAIN = """
#include <stdio.h>
#include "spmv.h"
int main(void) {
  %s indptr[] = {0, 2, 3, 5}, indices[] = {0, 2, 2, 0, 1};
  double data[] = {1, 2, 3, 4, 5}, x[] = {1, 10, 100}, y[3] = {0};
  spmv(%s);
  printf("%%g %%g %%g\\n", y[0], y[1], y[2]);
  return 0;
}
"""


def test_a_program_in_c_is_linked_without_python(tmp_path):
    compiler = shutil.which("cc")
    small = sp.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [4.0, 5.0, 0.0]]))
    made = native(spmv.lower(small, np.ones(3)), "spmv")
    if compiler is None:
        return
    inside = made.header[made.header.index("spmv(") + 5 : made.header.index(");")]
    names = [parameter.split()[-1].lstrip("*") for parameter in inside.split(", ")]
    shown = {"A_indptr": "indptr", "A_indices": "indices", "A_data": "data"}
    shown |= {"x_data": "x", "y_data": "y", "i_begin": "0", "i_end": "3", "n_i": "3", "n_j": "3"}
    shown |= {"A_indptr_0": "4", "A_indices_0": "5", "A_data_0": "5"}
    shown |= {"x_data_0": "3", "y_data_0": "3"}
    (tmp_path / "spmv.h").write_text(made.header)
    (tmp_path / "spmv.o").write_bytes(made.code)
    index = "int32_t" if "int32_t *A_indptr" in made.header else "int64_t"
    (tmp_path / "main.c").write_text(MAIN % (index, ", ".join(shown[name] for name in names)))
    words = [compiler, "main.c", "spmv.o", "-o", "main", "-lm"]
    subprocess.run(words, cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    assert out == "201 300 54\n"


def test_kernels_that_need_the_library_are_refused():
    with pytest.raises(sd.PlanError, match="allocates"):
        native(product.lower(A, A.T.tocsr()), "product")


def test_the_command_writes_the_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv",
        [
            *("sparsedsl", "compile", "y[i] = A[i,j] * x[j]"),
            *("--layouts", "A=csr", "-o", str(tmp_path / "spmv")),
        ],
    )
    with pytest.raises(SystemExit) as done:
        main()
    assert not done.value.code, capsys.readouterr()
    assert {p.name for p in tmp_path.iterdir()} == {"spmv.py", "spmv.h", "spmv.o"}
