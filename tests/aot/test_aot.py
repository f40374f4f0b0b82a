"""Kernels ahead of time: the module runs without the package, the object file in C."""

import ctypes
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.aot import module_text, native
from sparsedsl.aot.module import only_unit
from sparsedsl.aot.regimes import regimes
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


@sd.kernel
def elementwise(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


def rows(length, seed):
    return sp.random_array(
        (200, 20_000), density=length / 20_000, format="csr", rng=np.random.default_rng(seed)
    )


def test_a_module_takes_the_kernel_for_the_lengths_of_its_operands(tmp_path):
    short, other, long = rows(8, 1), rows(8, 2), rows(1000, 3)
    for name, matrix in (("short", short), ("other", other), ("long", long)):
        sp.save_npz(tmp_path / f"{name}.npz", matrix)
    text = module_text(elementwise.lower(short, other))
    code = """
import scipy.sparse as sp
import made
def number(name):
    return lambda *given, own=getattr(made, name): (taken.append(name), own(*given))[1]
for name in [name for name in vars(made) if name.startswith("_compute")]:
    setattr(made, name, number(name))
short, other, long = (sp.csr_array(sp.load_npz(f"{n}.npz")) for n in ("short", "other", "long"))
taken = []
for A, B in ((short, other), (short, long), (long, short)):
    C = made.compute(A, B)
    C = sp.csr_array((C["data"], C["indices"], C["indptr"]), shape=C["shape"])
    expected = A * B
    assert C.nnz == expected.nnz
    assert abs(C - expected).sum() < 1e-12
print(*taken)
"""
    even, above, below = run(text, tmp_path, code).split()
    assert len({even, above, below}) == 3
    assert "finds: A_p by" in text.partition("def kernel(")[2].partition("def kernel1(")[0]


def test_a_module_of_one_plan_has_one_kernel():
    text = module_text(spmv.lower(A, np.ones(7)))
    assert text.count("def kernel") == 1
    assert "ratio" not in text


@pytest.mark.parametrize("ratio", [1 / 64, 1.0, 64.0])
def test_kernels_of_a_module_are_those_of_such_operands(ratio):
    unit = only_unit(elementwise.lower(rows(16, 1), rows(16, 2)))
    every = regimes(unit, replace(elementwise.lower(A, A).settings, portable=True, turn=False))
    taken = next(r for r in every if r.below is None or ratio < r.below)
    pair = rows(16, 1), rows(16 * max(ratio, 1), 2)
    if ratio < 1:
        pair = rows(16 / ratio, 1), rows(16, 2)
    (own,) = elementwise.lower(*pair).units
    assert [c[:2] for c in taken.unit.choices] == [c[:2] for c in own.choices]


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


def test_a_module_refuses_what_its_integers_do_not_hold(tmp_path):
    sp.save_npz(tmp_path / "A.npz", A)
    code = """
import numpy as np, scipy.sparse as sp
from made import compute

def refused(x, error, words):
    try:
        compute(x)
    except error as found:
        assert words in str(found), found
    else:
        raise AssertionError(words)

A = sp.csr_array(sp.load_npz("A.npz"))
parts = {"shape": A.shape, "indptr": A.indptr, "indices": A.indices, "data": A.data}
long = A.indices.astype("int64")
assert abs(compute({**parts, "indices": long})["data"] - 2 * A.data).max() == 0
long[0] = 2**31
refused({**parts, "indices": long}, ValueError, "found int64 with larger values")
refused({**parts, "indices": A.indices * 1.0}, TypeError, "expected indices of dtype int32")
refused({**parts, "data": A.data * 1j}, TypeError, "expected data of dtype float64")
refused({**parts, "shape": (9, 2**31)}, ValueError, "expected less than 2147483648 of j")
"""

    @sd.kernel
    def doubled(A):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = 2 * A[i, j]
        return C

    run(module_text(doubled.lower(A)), tmp_path, code)
    assert "j less than 2147483648." in native(doubled.lower(A), "doubled").header


def called(made, name, given):
    """Link the object file, and call its function with what ``given`` has for each parameter."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(made.code))
    engine.finalize_object()
    values = []
    for parameter in made.header[made.header.index(f"{name}(") + len(name) + 1 :].split(", "):
        word = parameter.split()[-1].removesuffix(");").lstrip("*")
        if "*" in parameter:
            values.append(ctypes.c_void_p(given[word].ctypes.data))
        else:
            stem, _, axis = word.rpartition("_")
            length = axis.isdigit() and given[stem].shape[int(axis)]
            values.append(ctypes.c_int64(length or given.get(word, 0)))
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, *(type(v) for v in values))
    return kind(engine.get_function_address(name))(*values)


def parts(name, matrix):
    return {f"{name}_{part}": getattr(matrix, part) for part in ("indptr", "indices", "data")}


def test_an_object_file_computes_from_c():
    x, y = np.arange(7.0), np.full(9, 5.0)
    made = native(spmv.lower(A, x), "spmv")
    assert "y_data: starts at" not in made.header
    given = {**parts("A", A), "x_data": x, "y_data": y, "i_end": 9}
    assert called(made, "spmv", given) == 0
    np.testing.assert_allclose(y, A @ x)


def test_an_object_file_scatters_from_c():
    columns, x, y = A.tocsc(), np.arange(7.0), np.zeros(9)
    made = native(spmv.lower(columns, x), "spmv")
    assert "A_indptr_low, A_indptr_high: indptr of A, both.  i_split: 0." in made.header
    given = {**parts("A", columns), "x_data": x, "y_data": y, "n_j": 7, "i_split": 0}
    given |= {"A_indptr_low": columns.indptr, "A_indptr_high": columns.indptr}
    assert called(made, "spmv", given) == 0
    np.testing.assert_allclose(y, A @ x)


def test_a_module_scatters(tmp_path):
    sp.save_npz(tmp_path / "A.npz", A)
    code = """
import numpy as np, scipy.sparse as sp
from made import compute
A = sp.csc_array(sp.load_npz("A.npz"))
x = np.arange(7.0)
assert abs(compute(A, x) - A @ x).max() < 1e-12
"""
    run(module_text(spmv.lower(A.tocsc(), np.ones(7))), tmp_path, code)


@pytest.mark.parametrize("room", [1, 100])
def test_an_object_file_gives_sparse_results(room):
    B = A.T.tocsr()
    made = native(product.lower(A, B), "product")
    assert "extents of indices: n_i of i, n_j of j, n_k of k." in made.header
    counts = np.zeros(2, np.int64)
    given = {**parts("A", A), **parts("B", B), "counts": counts}
    given |= {"n_i": 9, "n_j": 9, "n_k": 7, "i_end": 9, "C_from": 0, "C_counted": 0}

    def run(room):
        C = {"indptr": np.zeros(10, np.int32), "data": np.zeros(room)}
        C["indices"] = np.zeros(room, np.int32)
        arrays = {f"C_{n}": a for n, a in C.items()}
        assert called(made, "product", {**given, **arrays, "C_until": room}) == 0
        return C

    C = run(room)
    assert (counts.max() <= room) == (room == 100)
    if counts.max() > room:
        C = run(counts.max())
    used = counts[1]
    found = sp.csr_array((C["data"][:used], C["indices"][:used], C["indptr"]), shape=(9, 9))
    assert abs(found - A @ B).max() < 1e-12


MAIN = """
#include <stdio.h>
#include "{name}.h"
int main(void) {{
  {index} indptr[] = {{0, 2, 3, 5}}, indices[] = {{0, 2, 2, 0, 1}};
  double data[] = {{1, 2, 3, 4, 5}}, x[] = {{1, 10, 100}}, y[3] = {{0}};
  {index} C_indptr[4] = {{0}}, C_indices[9];
  double C_data[9];
  int64_t counts[2];
  if ({name}({given})) return 1;
  {shown}
  return 0;
}}
"""


@pytest.mark.parametrize(
    ("kernel", "shown", "out"),
    [
        (spmv, r'printf("%g %g %g\n", y[0], y[1], y[2]);', "201 300 54\n"),
        (
            product,
            r'printf("%d %g %g\n", (int)C_indptr[3], C_data[0], C_data[C_indptr[3] - 1]);',
            "7 9 23\n",
        ),
    ],
)
def test_a_program_in_c_is_linked_without_python(tmp_path, kernel, shown, out):
    compiler = shutil.which("cc")
    small = sp.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [4.0, 5.0, 0.0]]))
    name = kernel.__name__
    made = native(kernel.lower(small, np.ones(3) if kernel is spmv else small), name)
    if compiler is None:
        return
    known = {"i_begin": "0", "i_end": "3", "n_i": "3", "n_j": "3", "n_k": "3"}
    known |= {"C_from": "0", "C_until": "9", "C_counted": "0"}
    known |= {"x_data": "x", "y_data": "y", "x_data_0": "3", "y_data_0": "3"}
    for operand in ("A", "B"):
        for part, length in (("indptr", "4"), ("indices", "5"), ("data", "5")):
            known |= {f"{operand}_{part}": part, f"{operand}_{part}_0": length}
    known |= {"C_indptr_0": "4", "C_indices_0": "9", "C_data_0": "9"}
    inside = made.header[made.header.index(f"{name}(") + len(name) + 1 : made.header.index(");")]
    names = [parameter.split()[-1].lstrip("*") for parameter in inside.split(", ")]
    given = ", ".join(known.get(word, word) for word in names)
    index = "int32_t" if "int32_t *A_indptr" in made.header else "int64_t"
    (tmp_path / f"{name}.h").write_text(made.header)
    (tmp_path / f"{name}.o").write_bytes(made.code)
    included = "".join(f'#include "{name}.h"\n' for _ in range(2))
    (tmp_path / "twice.c").write_text(included)
    subprocess.run([compiler, "-fsyntax-only", "twice.c"], cwd=tmp_path, check=True)
    assert 'extern "C"\n#endif\nint32_t ' in made.header
    text = MAIN.format(name=name, index=index, given=given, shown=shown)
    (tmp_path / "main.c").write_text(text)
    words = [compiler, "-Wall", "-Werror=incompatible-pointer-types", "main.c", f"{name}.o"]
    subprocess.run([*words, "-o", "main", "-lm"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    assert done.stdout == out


def test_kernels_that_need_the_library_are_refused():
    @sd.function
    @numba.njit
    def halved(v):
        return v / 2

    @sd.kernel
    def mapped(A):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = halved(A[i, j])
        return C

    with pytest.raises(sd.PlanError, match="Numba compiles"):
        native(mapped.lower(A), "mapped")


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
