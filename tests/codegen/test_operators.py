"""Every operator, compiled, against NumPy on every dtype it takes."""

import numpy as np
import pytest

from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.operators import SPELLINGS
from sparsedsl.codegen.python import source
from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.errors import NotationTypeError
from sparsedsl.loops.build import i, ivar, length, store
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import Apply, ArrayParam, Cast, For, Kernel, Load
from sparsedsl.loops.verify import verify

DTYPES = ["bool", "int8", "int64", "uint8", "uint64", "float32", "float64", "complex64",
          "complex128"]  # fmt: skip
MIXED = [("int32", "int64"), ("float32", "int32"), ("bool", "float32"), ("int64", "uint64"),
         ("float32", "float64"), ("complex64", "float64"), ("int8", "uint8")]  # fmt: skip
FLOATING = ["int8", "uint64", "float32", "float64", "complex64", "complex128"]
MIXING = ["add", "div", "pow", "maximum", "lt", "eq"]
POSITIONS = ivar("p")


def samples(dtype):
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.array([False, True])
    if kind == "i":
        info = np.iinfo(dtype)
        return np.array([info.min, -7, -1, 0, 1, 2, 7, info.max], dtype)
    if kind == "u":
        return np.array([0, 1, 2, 7, np.iinfo(dtype).max], dtype)
    floats = np.array([-np.inf, -2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 7.5, np.inf, np.nan])
    if kind == "f":
        return floats.astype(dtype)
    return np.array([0, 1, -1.5, 2j, 1 - 2j, 0.3 + 0.7j, -2 - 1j], dtype)


def grid(dtypes):
    axes = np.meshgrid(*(samples(d) for d in dtypes), indexing="ij")
    return [np.ascontiguousarray(axis.ravel()) for axis in axes]


def defined(name, columns):
    """Keep the arguments NumPy defines the operator on."""
    if name == "pow" and columns[1].dtype.kind == "i" and columns[0].dtype.kind in "iu":
        keep = columns[1] >= 0
        return [column[keep] for column in columns]
    if name == "pow" and any(column.dtype.kind == "c" for column in columns):
        # powers of infinities differ between C libraries
        keep = np.all([np.isfinite(column) for column in columns], axis=0)
        return [column[keep] for column in columns]
    return columns


def elementwise(name, cases):
    """Return a kernel with one loop per case of argument dtypes and result dtype."""
    body, params, results = [], [], []
    for c, (dtypes, result) in enumerate(cases):
        names = [f"x{c}_{k}" for k in range(len(dtypes))]
        loads = tuple(Load(n, (POSITIONS,), d) for n, d in zip(names, dtypes, strict=True))
        value = Apply(name, loads, result)
        body.append(For(POSITIONS, i(0), length(f"y{c}"), (store(f"y{c}", (POSITIONS,), value),)))
        params += [ArrayParam(n, d, 1) for n, d in zip(names, dtypes, strict=True)]
        params.append(ArrayParam(f"y{c}", result, 1))
        results.append(f"y{c}")
    return verify(Kernel("op", tuple(params), tuple(body), tuple(results)))


def close(found, expected):
    assert found.dtype == expected.dtype
    if found.dtype.kind in "fc":
        tolerance = 2e-5 if found.dtype.name in ("float32", "complex64") else 1e-12
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-37)
    else:
        np.testing.assert_array_equal(found, expected)


def combinations(name):
    arity = OPERATORS[name].arity
    if name == "where":
        return [("bool", d, d) for d in DTYPES] + [("float64", "int32", "float32")]
    if arity == 2:
        return [(d, d) for d in DTYPES] + (MIXED if name in MIXING else [])
    # functions of one argument compute in floating point: few integers tell all
    floating = OPERATORS[name].result(("int64",)) == "float64"
    return [(d,) for d in (FLOATING if floating else DTYPES)]


def reference(name, columns, result):
    if result == "float32" and all(column.dtype.kind in "biu" for column in columns):
        # NumPy would compute in half precision
        columns = [column.astype(result) for column in columns]
    with np.errstate(all="ignore"):
        return np.asarray(OPERATORS[name].numpy(*columns)).astype(result)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operator_is_numpys(name):
    cases, expected, arguments = [], [], {}
    for dtypes in combinations(name):
        try:
            result = OPERATORS[name].result(dtypes)
        except NotationTypeError:
            continue
        columns = defined(name, grid(dtypes))
        for k, column in enumerate(columns):
            arguments[f"x{len(cases)}_{k}"] = column
        arguments[f"y{len(cases)}"] = np.zeros(len(columns[0]), result)
        expected.append(reference(name, columns, result))
        cases.append((dtypes, result))
    kernel = elementwise(name, cases)
    for found, wanted in zip(load(source(kernel))(*arguments.values()), expected, strict=True):
        close(found, wanted)
    for found, wanted in zip(interpret(kernel, arguments), expected, strict=True):
        close(found, wanted)


def test_every_operator_is_spelled():
    assert set(SPELLINGS) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(MONOIDS))
def test_stores_combine_as_numpy_reduces(name):
    for dtype in DTYPES:
        if name in ("any", "all") and dtype != "bool":
            continue
        if name in ("min", "max") and dtype.startswith("complex"):
            continue
        x, start = grid((dtype, dtype))
        value = Load("x", (POSITIONS,), dtype)
        body = (For(POSITIONS, i(0), length("y"), (store("y", (POSITIONS,), value, name),)),)
        params = (ArrayParam("x", dtype, 1), ArrayParam("y", dtype, 1))
        kernel = verify(Kernel("fold", params, body, ("y",)))
        with np.errstate(all="ignore"):
            expected = MONOIDS[name].ufunc(start, x)
        (found,) = load(source(kernel, fastmath=False))(x, start.copy())
        close(found, expected)
        (stepped,) = interpret(kernel, {"x": x, "y": start.copy()})
        close(stepped, expected)


@pytest.mark.parametrize("source_dtype", DTYPES)
def test_casts_are_numpys(source_dtype):
    for target in DTYPES:
        x = samples(source_dtype)
        if np.dtype(source_dtype).kind in "fc" and np.dtype(target).kind in "iu":
            # out of range is undefined in NumPy too
            x = np.array([0, 1, 2.5, 7], source_dtype)
        value = Cast(Load("x", (POSITIONS,), source_dtype), target)
        body = (For(POSITIONS, i(0), length("y"), (store("y", (POSITIONS,), value),)),)
        params = (ArrayParam("x", source_dtype, 1), ArrayParam("y", target, 1))
        kernel = verify(Kernel("convert", params, body, ("y",)))
        with np.errstate(all="ignore"):
            narrowed = x.real if np.dtype(target).kind not in "bc" else x
            expected = narrowed.astype(target)
        (found,) = load(source(kernel))(x, np.zeros(len(x), target))
        np.testing.assert_array_equal(found, expected)
