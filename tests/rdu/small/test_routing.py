"""Routing to experts as one sparse contraction, compiled and on the emulated unit."""

import numpy as np
import pytest
import scipy.sparse as sp

import rdu
import sparsedsl as sd

NODE = rdu.sn40l_node(sockets=1)


@sd.kernel
def routed(R, X, W):
    t, e, h, o = sd.indices("t e h o")
    Y = sd.output()
    Y[t, o] = R[t, e] * X[t, h] * W[e, h, o]
    return Y


def case(seed, tokens=6, experts=5, width=8, out=7):
    """Two experts a token."""
    rng = np.random.default_rng(seed)
    routes = np.zeros((tokens, experts), np.float32)
    for row in routes:
        chosen = rng.choice(experts, 2, replace=False)
        row[chosen] = rng.dirichlet((1, 1))
    x = rng.standard_normal((tokens, width)).astype(np.float32)
    w = rng.standard_normal((experts, width, out)).astype(np.float32)
    return sp.csr_array(routes), x, w


def dense(R, x, w):
    return np.einsum("te,th,eho->to", R.toarray().astype(float), x.astype(float), w.astype(float))


@pytest.mark.parametrize("seed", range(3))
def test_processor_and_unit_give_what_numpy_gives(seed):
    arguments = case(seed)
    expected = dense(*arguments)
    np.testing.assert_allclose(routed(*arguments), expected, atol=1e-5)
    for precision, tolerance in (("fp32", 1e-5), ("bf16", 2**-6 * np.abs(expected).max())):
        graph = rdu.trace(routed, *arguments, precision=precision)
        results = []
        for fusion in ("none", "spatial"):
            y, _ = rdu.run(rdu.compile(graph, NODE, fusion=fusion), *arguments)
            np.testing.assert_allclose(y, expected, atol=tolerance)
            results.append(y)
        np.testing.assert_array_equal(*results)
