"""Every expression that the compiler is tested with, on the emulator, against the dense oracle.

The oracle is that of the kernels for the CPU, which `tests/differential` compares with it.
"""

import zlib

import numpy as np
import pytest
from expressions import EXPRESSIONS, draw
from levels import pattern_of

import rdu
import sparsedsl as sd
from sparsedsl.contraction.interpret import interpret

NODE = rdu.sn40l_node(1)


def dense(x):
    return x.toarray() if hasattr(x, "toarray") else np.asarray(x)


@pytest.mark.parametrize("matrices", ["csr", "csc"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression(name, matrices):
    expression = EXPRESSIONS[name]
    rng = np.random.default_rng(zlib.crc32(f"{name} {matrices}".encode()))
    layouts = {n: matrices if rank == 2 else "csf" for n, rank in expression.sparse()}
    tensors, truth = draw(expression, layouts, rng, least=3, most=7, dtype="float32")
    arguments = list(tensors.values())
    kernel = sd.kernel(expression.body)
    graph = rdu.trace(kernel, *arguments, precision="fp32")
    found, report = rdu.run(rdu.compile(graph, NODE, moves=10), *arguments)
    program = kernel.contraction(*arguments).program
    patterns = {n: pattern_of(t) for n, t in tensors.items()}
    names = [tensor.name for tensor in program.inputs]
    expected = interpret(
        program,
        dict(zip(names, truth.values(), strict=True)),
        dict(zip(names, patterns.values(), strict=True)),
    )
    found = found if isinstance(found, tuple) else (found,)
    for result, value in zip(program.results, found, strict=True):
        np.testing.assert_allclose(dense(value), expected[result], rtol=1e-5, atol=1e-5)
    assert report.cycles > 0
