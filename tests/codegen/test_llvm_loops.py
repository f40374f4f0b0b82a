"""Loops that read at scattered places, left without vectors where gathers are slow."""

from dataclasses import replace

import numpy as np
import pytest
from llvmlite import binding, ir

from sparsedsl.codegen import llvm_loops, llvm_target
from sparsedsl.codegen.llvm_kernel import kernel_function
from sparsedsl.codegen.llvm_object import direct_code, sums_as_told
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import ArrayParam, Assign, For, If, IntParam, Kernel, Var


def summing(place):
    """A kernel that adds up products of values and what lies at ``place(index)``."""
    p, total = lb.ivar("p"), Var("total", "float64")
    index = lb.load("crd", p)
    factors = lb.load("val", p, type="float64"), lb.load("x", place(index), type="float64")
    value = lb.apply("mul", *factors, type="float64")
    body = (
        Assign(total, lb.const(0.0, "float64")),
        For(
            p,
            lb.i(0),
            lb.ivar("n"),
            (Assign(total, lb.apply("add", total, value, type="float64")),),
        ),
        lb.store("y", [lb.i(0)], total),
    )
    arrays = (("crd", "int32"), ("val", "float64"), ("x", "float64"), ("y", "float64"))
    params = (*(ArrayParam(name, dtype, 1) for name, dtype in arrays), IntParam("n"))
    return Kernel("summing", params, body, ())


def text(kernel):
    module = ir.Module("summing")
    kernel_function(module, kernel, ("contract", "reassoc"))
    return llvm_loops.told(str(module))


@pytest.mark.parametrize("fast", [True, False])
def test_a_loop_through_an_index_array_is_marked_where_gathers_are_slow(fast, monkeypatch):
    monkeypatch.setattr(llvm_loops, "gathers", lambda: fast)
    found = text(summing(lambda index: index))
    assert ("llvm.loop.vectorize.width" in found) == (not fast)
    binding.parse_assembly(found).verify()


def test_a_loop_that_sums_is_written_for_few_turns_and_for_many(monkeypatch):
    monkeypatch.setattr(llvm_loops, "gathers", lambda: False)
    found = text(summing(lambda index: index))
    # few turns, several at a time, and those left over
    assert found.count("llvm.loop.unroll.disable") == 3
    assert "reassoc" not in found


def test_a_loop_that_does_more_is_written_once(monkeypatch):
    monkeypatch.setattr(llvm_loops, "gathers", lambda: False)
    kernel = summing(lambda index: index)
    assign, loop, store = kernel.body
    guarded = replace(loop, body=(If(lb.lt(loop.variable, lb.ivar("m")), loop.body, ()),))
    params = (*kernel.params, IntParam("m"))
    found = text(replace(kernel, params=params, body=(assign, guarded, store)))
    assert "llvm.loop.unroll.disable" not in found


def test_a_loop_over_blocks_is_not(monkeypatch):
    monkeypatch.setattr(llvm_loops, "gathers", lambda: False)
    assert "llvm.loop" not in text(summing(lambda index: lb.mul(index, 3)))


def test_a_loop_that_reads_a_block_in_each_turn_reads_no_other(monkeypatch):
    monkeypatch.setattr(llvm_loops, "gathers", lambda: False)
    kernel = summing(lambda index: lb.mul(index, 3))
    start, loop, store = kernel.body
    place = [loop.variable, lb.i(0), lb.i(0)]
    block = lb.load("blocks", *place, type="float64")
    total = Var("total", "float64")
    body = (*loop.body, Assign(total, lb.apply("add", total, block, type="float64")))
    params = (*kernel.params, ArrayParam("blocks", "float64", 3))
    kernel = replace(kernel, params=params, body=(start, replace(loop, body=body), store))
    assert text(kernel).count("llvm.loop.unroll.disable") == 1


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 7, 8, 9, 17, 1000])
@pytest.mark.parametrize("fast", [True, False])
def test_sums_are_right_either_way(n, fast, monkeypatch):
    monkeypatch.setattr(llvm_loops, "gathers", lambda: fast)
    monkeypatch.setattr(llvm_target, "gathers", lambda: fast)
    rng = np.random.default_rng(n)
    crd = rng.integers(0, 50, n).astype(np.int32)
    val, x, y = rng.integers(-4, 5, n).astype(float), rng.integers(-4, 5, 50) * 1.0, np.zeros(1)
    arguments = [crd, val, x, y, n]
    kernel = summing(lambda index: index)
    code = direct_code(kernel, kinds(arguments), f"summing_{n}_{fast}", fastmath=True)
    assert code is not None
    function = linked(code)
    assert function is not None
    function(*arguments)
    assert y[0] == val @ x[crd]


def run(kernel, arguments, name):
    code = direct_code(kernel, kinds(arguments), name, fastmath=True)
    assert code is not None
    function = linked(code)
    assert function is not None
    function(*arguments)


@pytest.mark.parametrize("n", [0, 1, 5, 7, 8, 9, 10, 11, 12, 50])
@pytest.mark.parametrize("beside", [False, True])
def test_sums_are_taken_in_the_order_that_is_told(n, beside, monkeypatch):
    """Alone and beside another output: products are exact, so that the additions decide."""
    monkeypatch.setattr(llvm_loops, "gathers", lambda: False)
    kernel = summing(lambda index: index)
    if beside:
        start, loop, store = kernel.body
        p = loop.variable
        other = lb.store("z", [lb.load("crd", p)], lb.load("val", p, type="float64"), "add")
        loop = replace(loop, body=(other, *loop.body))
        params = (*kernel.params, ArrayParam("z", "float64", 1))
        kernel = replace(kernel, params=params, body=(start, loop, store))
    rng = np.random.default_rng(n)
    crd, val = rng.integers(0, 50, n).astype(np.int32), rng.standard_normal(n)
    y, z = np.full(1, np.nan), np.zeros(50)
    arguments = [crd, val, np.ones(50), y, n] + [z] * beside
    run(kernel, arguments, f"told_{n}_{beside}")
    whole = n // 4 * 4 if n >= 8 else 0
    a, b, c, d = (np.cumsum(val[k:whole:4])[-1] if whole else 0.0 for k in range(4))
    total = (a + b) + (c + d)
    for more in val[whole:]:
        total += more
    assert y[0] == total
    expected = np.zeros(50)
    for k, value in zip(crd, val, strict=True):
        expected[k] += value
    assert z.tobytes() == (expected if beside else np.zeros(50)).tobytes()


@pytest.mark.parametrize("fast", [True, False])
def test_whether_sums_have_a_told_order(fast, monkeypatch):
    monkeypatch.setattr(llvm_loops, "gathers", lambda: fast)
    kernel = summing(lambda index: index)
    assert sums_as_told(kernel) == (not fast)
    start, loop, store = kernel.body
    p = loop.variable
    plain = Assign(
        Var("total", "float64"),
        lb.apply("add", Var("total", "float64"), lb.load("val", p, type="float64"), type="float64"),
    )
    assert not sums_as_told(replace(kernel, body=(start, replace(loop, body=(plain,)), store)))
    value = lb.load("val", p, type="float64")
    anywhere = lb.store("y", [lb.load("crd", p)], value, "add")
    fixed = lb.store("y", [lb.i(0)], value, "add")
    for stored, told in ((anywhere, True), (fixed, False)):
        assert sums_as_told(replace(kernel, body=(replace(loop, body=(stored,)),))) == told
    power = Assign(plain.variable, lb.apply("power", value, value, type="float64"))
    assert not sums_as_told(replace(kernel, body=(start, replace(loop, body=(power,)), store)))
