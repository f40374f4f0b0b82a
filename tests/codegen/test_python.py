"""The generated text: kept beside the tests for people to read, and run against SciPy."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops.build import add, i, ivar, length, store, sub
from sparsedsl.loops.build import load as element
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Const,
    For,
    IntParam,
    Kernel,
    Prefetch,
    Resize,
    Var,
)
from sparsedsl.loops.promote import promote
from sparsedsl.loops.simplify import simplify
from sparsedsl.loops.verify import verify


class KernelFile(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "py"

    @classmethod
    def dirname(cls, *, test_location):
        return str(Path(test_location.filepath).parents[1] / "golden" / test_location.basename)


@pytest.mark.parametrize("name", ["spmv", "spgemm", "mixed"])
def test_golden(name, sample_kernels, snapshot):
    kernel = verify(simplify(promote(verify(sample_kernels[name]()))))
    assert source(kernel) == snapshot(extension_class=KernelFile)


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_spmv_is_scipys(index, dtype, sample_kernels):
    kernel = promote(sample_kernels["spmv"](index, dtype))
    a = sp.random(30, 20, 0.3, format="csr", random_state=2, dtype=np.float64).astype(dtype)
    x = np.linspace(-1, 1, 20).astype(dtype)
    arrays = (a.indptr.astype(index), a.indices.astype(index), a.data, x, np.zeros(30, dtype))
    (y,) = load(source(kernel))(*arrays, 30)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, a @ x, rtol=1e-5)


def test_spgemm_is_scipys(sample_kernels):
    kernel = verify(sample_kernels["spgemm"]())
    a = sp.random(40, 30, 0.2, format="csr", random_state=3)
    b = sp.random(30, 200, 0.2, format="csr", random_state=4)
    expected = (a @ b).tocsr()
    expected.sort_indices()
    arrays = (a.indptr, a.indices, a.data, b.indptr, b.indices, b.data, 40, 200)
    names = [param.name for param in kernel.params]
    for found in (
        load(source(kernel))(*arrays),
        load(source(simplify(promote(kernel)), safe=True))(*arrays),
        interpret(kernel, dict(zip(names, arrays, strict=True))),
    ):
        np.testing.assert_array_equal(found[0], expected.indptr)
        np.testing.assert_array_equal(found[1], expected.indices)
        np.testing.assert_allclose(found[2], expected.data)


def test_mixed_does_what_the_interpreter_does(sample_kernels):
    kernel = verify(sample_kernels["mixed"]())
    values = np.array([[0] * 7, [0.3, 1, -2.5, 4, np.nan, 6, -0.7]], np.float32)
    expected = interpret(kernel, {"np": values, "scale": 0.7, "len": 7})
    found = load(source(kernel))(values, 0.7, 7)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_array_equal(found[1], expected[1])


def total(dtype="float64"):
    """Sum an array."""
    acc, p = Var("acc", dtype), ivar("p")
    body = (
        Assign(acc, Const(0, dtype)),
        For(p, i(0), length("x"), (
            Assign(acc, Apply("add", (acc, element("x", p, type=dtype)), dtype)),)),
    )  # fmt: skip
    return Kernel("total", (ArrayParam("x", dtype, 1),), body, ("acc",))


def test_sums_of_floats_may_reassociate_and_nothing_else():
    assert "fastmath" in source(total())
    assert "fastmath" in source(total("complex64"))
    assert "fastmath" not in source(total(), fastmath=False)
    assert "fastmath" not in source(total("int64"))


@pytest.mark.parametrize(
    "values",
    [[np.nan, 1.0], [np.inf, 1.0], [np.inf, -np.inf], [-0.0], [-0.0, -0.0], [1e308, 1e308]],
)
def test_sums_keep_nan_infinities_and_zeros(values):
    found = load(source(total()))(np.array(values))[0]
    with np.errstate(all="ignore"):
        expected = np.sum(np.array([0.0, *values]))
    np.testing.assert_array_equal(found, expected)
    assert np.signbit(found) == np.signbit(expected) or np.isnan(expected)


def test_safe_kernels_refuse_places_outside():
    p = ivar("p")
    for proved in (True, False):
        kernel = Kernel(
            "poke",
            (ArrayParam("x", "int64", 1), IntParam("p")),
            (store("x", [p], 1, proved=proved),),
            ("x",),
        )
        compiled = load(source(kernel, safe=True))
        assert compiled(np.zeros(3, np.int64), 2)[0].tolist() == [0, 0, 1]
        for place in (-1, 3):
            with pytest.raises(IndexError):
                compiled(np.zeros(3, np.int64), place)


def test_unsigned_index_arrays_stay_integers():
    p = ivar("p")
    body = (
        Assign(p, sub(element("x", 0), 1)),
        Assign(ivar("q"), add(element("x", 1), p)),
        Assign(Var("less", "bool"), Binary("<", p, element("x", 1), "bool")),
    )
    kernel = verify(Kernel("k", (ArrayParam("x", "uint64", 1),), body, ("p", "q", "less")))
    assert load(source(kernel))(np.array([0, 5], np.uint64)) == (-1, 4, True)


def test_results_are_a_tuple_always():
    assert load(source(Kernel("nothing", (), (), ())))() == ()
    assert load(source(Kernel("one", (IntParam("n"),), (), ("n",))))(3) == (3,)


def test_notes_may_hold_any_text():
    notes = ('ends in a quote"', 'three """ of them', "a \\ backslash", 'last"')
    text = source(Kernel("k", (IntParam("n"),), (), ("n",), notes))
    assert load(text)(1) == (1,)
    assert "a \\ backslash" in load(text).py_func.__doc__


@pytest.mark.parametrize("place", [0, 2, 3, -1, -(2**40), 2**40])
def test_a_prefetch_changes_nothing_wherever_it_points(place):
    body = (Prefetch("x", (i(place),)), store("x", [1], 5))
    kernel = verify(Kernel("k", (ArrayParam("x", "int64", 1),), body, ("x",)))
    compiled = load(source(kernel))
    for run in (compiled, compiled.py_func):
        assert run(np.arange(3))[0].tolist() == [0, 5, 2]


def test_resizing_to_nothing_and_back():
    w = "w"
    body = (
        Allocate(w, "int32", (i(3),), Const(1, "int32")),
        Resize(w, i(0)),
        Resize(w, i(2)),
        store(w, [0], 4),
        store(w, [1], 5),
    )
    (found,) = load(source(verify(Kernel("k", (), body, (w,)))))()
    assert found.tolist() == [4, 5]
    assert found.dtype == np.int32


@pytest.mark.parametrize("name", ["np", "range", "u64", "njit", "int_power"])
def test_kernels_and_variables_may_have_any_name(name):
    p = ivar(name)
    body = (For(p, i(0), length("x"), (store("x", [p], add(element("x", p), p)),)),)
    kernel = verify(Kernel(name, (ArrayParam("x", "int64", 1),), body, ("x",)))
    assert load(source(kernel))(np.arange(3))[0].tolist() == [0, 2, 4]


def test_heavy_packages_are_imported_only_when_a_kernel_is_loaded():
    script = """
        import sys
        import sparsedsl.codegen.python, sparsedsl.codegen.numba_jit, sparsedsl.runtime.cache
        import sparsedsl.loops.interpret, sparsedsl.loops.simplify, sparsedsl.loops.promote
        print([name for name in ("numba", "llvmlite", "z3", "islpy") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float32", "complex128"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_allocated_arrays_hold_their_value(dtype, shape):
    value = {"bool": True, "int8": -3, "uint64": 2**64 - 1, "float32": 0.1, "complex128": 1 - 2j}
    extents = tuple(i(extent) for extent in shape)
    body = (Allocate("w", dtype, extents, Const(value[dtype], dtype)),)
    kernel = verify(Kernel("k", (), body, ("w",)))
    expected = np.full(shape, value[dtype], dtype)
    for (found,) in (load(source(kernel))(), interpret(kernel, {})):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_sum_into_an_array_without_axes():
    p = ivar("p")
    add_up = store("t", [], element("x", p, type="float64"), "add")
    body = (
        Allocate("t", "float64", (), Const(0.0, "float64")),
        For(p, i(0), length("x"), (add_up,)),
    )
    kernel = verify(Kernel("k", (ArrayParam("x", "float64", 1),), body, ("t",)))
    x = np.arange(5.0)
    for program in (kernel, verify(promote(kernel))):
        for (found,) in (load(source(program))(x), interpret(program, {"x": x})):
            assert found.shape == ()
            assert found[()] == 10
