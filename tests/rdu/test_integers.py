"""INT32 programs: exact modulo 2**32, at a rate of their own, refused where results are real."""

import zlib

import numpy as np
import pytest
import scipy.sparse as sp
from expressions import EXPRESSIONS, draw
from levels import pattern_of

import rdu
import sparsedsl as sd
from rdu.models.decoder_layer import LayerShape, decoder_layer
from sparsedsl.contraction.interpret import interpret

NODE = rdu.sn40l_node(1)


@sd.kernel
def matmul(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


@sd.kernel
def shortest(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = sd.min(A[i, k] + B[k, j], over=k)
    return C


def whole(rng, *shape, top=2**20):
    return rng.integers(-top, top, shape)


def scattered(rng, *shape):
    return sp.csr_array(whole(rng, *shape) * (rng.random(shape) < 0.2))


def run(kernel, *args, chip=NODE, **options):
    graph = rdu.trace(kernel, *args, **options)
    found, report = rdu.run(rdu.compile(graph, chip, moves=10), *args)
    return graph, found.toarray() if sp.issparse(found) else found, report


# The one with an infinite fill value has no integers; `shortest` stands in for it.
@pytest.mark.parametrize("name", sorted(set(EXPRESSIONS) - {"min_plus"}))
def test_expressions_equal_the_oracle(name):
    expression = EXPRESSIONS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    layouts = {n: "csr" if rank == 2 else "csf" for n, rank in expression.sparse()}
    tensors, truth = draw(expression, layouts, rng, least=3, most=7, dtype="int64")
    arguments = list(tensors.values())
    kernel = sd.kernel(expression.body)
    program = kernel.contraction(*arguments).program
    graph = rdu.trace(kernel, *arguments)
    real = any(np.dtype(t.dtype).kind == "f" for t in program.outputs)
    assert (graph.precision is rdu.Precision.INT32) != real
    if real:
        return
    found, _ = rdu.run(rdu.compile(graph, NODE, moves=10), *arguments)
    names = [tensor.name for tensor in program.inputs]
    expected = interpret(
        program,
        dict(zip(names, truth.values(), strict=True)),
        {n: pattern_of(t) for n, t in zip(names, tensors.values(), strict=True)},
    )
    found = found if isinstance(found, tuple) else (found,)
    for result, value in zip(program.results, found, strict=True):
        assert value.dtype == np.int32
        dense = value.toarray() if sp.issparse(value) else value
        np.testing.assert_array_equal(dense, np.asarray(expected[result]).astype(np.int32))


@pytest.mark.parametrize("left", ["dense", "sparse"])
@pytest.mark.parametrize("right", ["dense", "sparse"])
def test_products_wrap_like_the_oracle(left, right):
    rng = np.random.default_rng(5)
    make = {"dense": whole, "sparse": scattered}
    a, b = make[left](rng, 24, 40), make[right](rng, 40, 8)
    graph, found, _ = run(matmul, a, b)
    plain = [x.toarray() if sp.issparse(x) else x for x in (a, b)]
    assert graph.precision is rdu.Precision.INT32
    np.testing.assert_array_equal(found, (plain[0] @ plain[1]).astype(np.int32))


def test_minimum_beyond_what_float32_holds():
    rng = np.random.default_rng(1)
    a, b = whole(rng, 5, 6, top=2**30), whole(rng, 6, 7, top=2**30)
    _, found, _ = run(shortest, a, b)
    np.testing.assert_array_equal(found, (a[:, :, None] + b[None]).min(axis=1))


def test_fused_is_unfused_is_split():
    rng = np.random.default_rng(2)
    a, b = whole(rng, 16, 32).astype(np.int32), whole(rng, 32, 8).astype(np.uint16)
    graph = rdu.trace(matmul, a, b)
    node = rdu.sn40l_node(2)
    summed = next(n for n in graph.extents if graph.extents[n] == 32)
    programs = [
        rdu.compile(graph, NODE, fusion="none"),
        rdu.compile(graph, NODE),
        rdu.compile(graph, node, split=summed),
    ]
    for program in programs:
        np.testing.assert_array_equal(
            rdu.run(program, a, b)[0], (a.astype(np.int64) @ b).astype(np.int32)
        )


@pytest.mark.parametrize("make", [whole, scattered])
def test_the_rate_is_a_parameter(make):
    rng = np.random.default_rng(3)
    a, b = make(rng, 64, 64), whole(rng, 64, 96)
    busy = {}
    for every in (1, 2, 16):
        chip = NODE.chip.with_changes(int32_interval_cycles=every, pcus=8)
        graph = rdu.trace(matmul, a, b)
        report = rdu.estimate(rdu.compile(graph, chip, moves=10))
        busy[every] = report.stages[-1].busy
    if make is whole:
        # One unit after the other, nothing but vectors: the closed form of an array.
        assert busy[2] == 2 * busy[1]
        assert busy[16] == 16 * busy[1]
    # Values of a sparse product are fetched meanwhile, and only a slower unit is waited for.
    assert busy[1] <= busy[2] < busy[16]
    same = {
        every: rdu.estimate(
            rdu.compile(
                rdu.trace(matmul, a, b, precision="fp32"),
                NODE.chip.with_changes(int32_interval_cycles=every, pcus=8),
                moves=10,
            )
        ).cycles
        for every in (1, 4)
    }
    assert same[1] == same[4]


def test_numbers_that_do_not_fit_are_refused():
    a, b = np.full((4, 4), 2**31), np.ones((4, 4), dtype=np.int8)
    program = rdu.compile(rdu.trace(matmul, a, b), NODE, moves=10)
    with pytest.raises(rdu.RDUError, match=r"A: 2147483648 does not fit .*32-bit"):
        rdu.run(program, a, b)
    with pytest.raises(rdu.RDUError, match="takes integers, found float64"):
        rdu.run(program, a * 1.0, b)
    rdu.run(program, sp.csr_array(-a), b)


def test_real_results_are_refused_or_computed_in_bf16():
    @sd.kernel
    def halves(A):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] / 2
        return C

    a = np.arange(12).reshape(3, 4)
    assert rdu.trace(halves, a).precision is rdu.Precision.BF16
    with pytest.raises(rdu.RDUError, match="of integers is real"):
        rdu.trace(halves, a, precision="int32")
    with pytest.raises(rdu.RDUError, match="is real"):
        decoder_layer(LayerShape(4, 0, 16, 4, 2, 4, 24), rdu.Precision.INT32)
    assert rdu.trace(matmul, a, np.ones((4, 2))).precision is rdu.Precision.BF16
