"""Text of the user's in generated code: names that mean something there, none becomes code."""

import ast

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd

A = sp.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [4.0, 5.0, 0.0]]))
x = np.array([1.0, 2.0, 3.0])
CSR = sd.layouts["csr"]
PROPERTIES = ["indptr(0) = 0", "nondecreasing indptr"]

NAMES = ['csr"""', "'", "csr\\", "{i}", '";import os;"', "# x", "\N{GREEK SMALL LETTER ALPHA}"]


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_layout_stays_text(name):
    layout = sd.Layout(name, CSR.text, value="data(p)", properties=PROPERTIES)
    tensor = sd.convert(A, layout)
    np.testing.assert_array_equal(spmv(tensor, x), A @ x)
    usual = ast.parse(spmv.lower(A, x).source).body
    found = ast.parse(spmv.lower(tensor, x).source).body
    assert [type(node) for node in found] == [type(node) for node in usual]
    assert isinstance(found[-1], ast.FunctionDef)
    assert name in spmv.explain(tensor, x)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\0", "\ud800", "\x1b[31m"], ids=ascii)
def test_names_of_layouts_are_printable(name):
    with pytest.raises(sd.LayoutError, match="can be printed"):
        sd.Layout(name, CSR.text, value="data(p)")


# what generated modules import, call or define
TAKEN = ["np", "njit", "i64", "u64", "range", "len", "max", "int", "kernel", "n_i", "i_begin", "y"]
TAKEN += ["C_n1", "x_data", "_", "print", "\N{GREEK SMALL LETTER ALPHA}"]


@pytest.mark.parametrize("name", TAKEN)
def test_parameters_may_have_names_that_generated_code_uses(name):
    text = f"""
def kernel({name}, x):
    i, j = sd.indices("i j")
    scaled, sums = sd.output(), sd.output()
    scaled[i, j] = {name}[i, j] * x[j]
    sums[i] = {name}[i, j] * x[j]
    return scaled, sums
"""
    names = {"sd": sd}
    exec(text, names)
    made = sd.kernel(names["kernel"])
    scaled, sums = made(A, x)
    np.testing.assert_array_equal(scaled.toarray(), A.toarray() * x)
    np.testing.assert_array_equal(sums, A @ x)
    ast.parse(made.lower(A, x).source)


@pytest.mark.parametrize("name", ["np", "range", "i64"])
def test_and_where_numba_compiles_them(name):
    names = {"sd": sd}
    text = f"""
def kernel({name}, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.sum({name}[i, j] ** x[j], over=j)
    return y
"""
    exec(text, names)
    np.testing.assert_allclose(sd.kernel(names["kernel"])(A, x), (A.toarray() ** x).sum(axis=1))
