"""Sweeps over strips taken at once: the same bits, whatever they reach; what is left alone."""

from dataclasses import replace

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.interior import MOST, interior
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import Apply, ArrayParam, Assign, For, IntParam, Kernel, Load, Store
from sparsedsl.loops.strip import strip
from sparsedsl.loops.verify import verify

d, i, j, n, count, offset = (lb.ivar(name) for name in ("d", "i", "j", "n", "count", "offset"))


def sweeps(dtype="float64", value=None, combine="add"):
    """y[i] += A[d, i + offsets[d]] * x[i + offsets[d]], for all diagonals, strip by strip."""
    product = Apply("mul", (Load("A", (d, j), dtype), Load("x", (j,), dtype)), dtype)
    body = (
        Assign(j, lb.add(offset, i)),
        Store("y", (i,), product if value is None else value, combine),
    )
    low, high = lb.max_(lb.sub(lb.i(0), offset), 0), lb.min_(n, lb.sub(n, offset))
    each = For(d, lb.i(0), count, (Assign(offset, lb.load("offsets", d)), For(i, low, high, body)))
    arrays = ("offsets", "int32", 1), ("A", dtype, 2), ("x", dtype, 1), ("y", dtype, 1)
    params = (*(ArrayParam(*a) for a in arrays), IntParam("n"), IntParam("count"))
    return strip(Kernel("sweeps", params, (each,), ()))


def given(size, offsets, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((len(offsets), size)).astype(dtype)
    x, y = rng.standard_normal((2, size)).astype(dtype)
    told = np.array(offsets, np.int32)
    return {"offsets": told, "A": A, "x": x, "y": y, "n": size, "count": len(offsets)}


def run_by(kernel, arguments, how):
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            interpret(kernel, own)
        case "python":
            load(source(kernel, cache=False)).py_func(*values)
        case _:
            name = f"interior_{len(kernel.body[0].body)}"
            linked(direct_code(kernel, kinds(values), name, fastmath=True))(*values)
    return own["y"]


REACHES = [
    [0],
    [-1, 0, 1],
    [-40, -3, 0, 3, 41],
    [150, -150],  # no element that both reach
    [199, 0, -199],
    [],
    list(range(-MOST // 2, MOST // 2 + 1)),  # too many
]


@pytest.mark.parametrize("offsets", REACHES, ids=len)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("how", ["interpreter", "python", "llvm"])
def test_results_have_the_same_bits(how, dtype, offsets, monkeypatch):
    """Strips of 64 elements, so that there are several, and the last one is cut short."""
    if how == "interpreter":
        for module in ("strip", "interior"):
            monkeypatch.setattr(f"sparsedsl.loops.{module}.STRIP", 64)
    plain = verify(sweeps(dtype))
    kernel = verify(interior(plain))
    assert kernel != plain
    for size in (1, 31, 200):
        arguments = given(size, [k for k in offsets if abs(k) < size], dtype)
        found = run_by(kernel, arguments, how)
        assert found.tobytes() == run_by(plain, arguments, how).tobytes(), size


def test_other_sweeps_are_left_alone():
    plain = sweeps()
    (strips,) = plain.body
    unlike = Load("A", (i, d), "float64")
    params = [ArrayParam("y", "float32", 1) if p.name == "y" else p for p in plain.params]
    for kernel in (
        sweeps(value=unlike),
        sweeps(value=Load("x", (lb.mul(i, 2),), "float64")),
        sweeps(value=lb.const(1.0, "float64")),
        sweeps(combine="max"),
        replace(plain, body=(replace(strips, step=1),)),
        replace(plain, params=tuple(params)),
    ):
        assert interior(kernel) == kernel


@pytest.mark.parametrize("threads", [1, 2])
def test_products_of_diagonals(threads):
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    offsets = [-700, -31, -1, 0, 1, 8, 900]
    A = sp.dia_array((rng.integers(-4, 5, (7, 20_000)) * 1.0, offsets), shape=(19_000, 20_000))
    x = rng.integers(-4, 5, 20_000) * 1.0

    @sd.kernel
    def product(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    with sd.options(threads=threads, parallel_threshold=0):
        assert np.array_equal(product(A, x), A @ x)
        assert "y_data_lanes" in "".join(u.source for u in product.lower(A, x).units)
