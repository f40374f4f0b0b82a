"""A layer of routed experts, one kernel: compiled here, and mapped to an emulated RDU."""

import numpy as np
import scipy.sparse as sp

import rdu
import sparsedsl as sd


@sd.kernel
def expert_layer(R, x, W1, W3, W2):
    t, e, d, h, o = sd.indices("t e d h o")
    gate, up, hidden = sd.output("csf"), sd.output("csf"), sd.output("csf")
    y = sd.output()
    gate[t, e, h] = sd.pattern(R)[t, e] * x[t, d] * W1[e, d, h]
    up[t, e, h] = sd.pattern(R)[t, e] * x[t, d] * W3[e, d, h]
    hidden[t, e, h] = sd.silu(gate[t, e, h]) * up[t, e, h]
    y[t, o] = R[t, e] * hidden[t, e, h] * W2[e, h, o]
    return y


def main() -> None:
    tokens, experts, model, width = 16, 4, 16, 32
    rng = np.random.default_rng(0)
    routes = rng.random((tokens, experts))
    routes[routes < np.sort(routes)[:, [-2]]] = 0  # the two best experts of each token
    R = sp.csr_array((routes / routes.sum(axis=1, keepdims=True)).astype("float32"))
    x = rng.standard_normal((tokens, model)).astype("float32")
    W1, W3 = rng.standard_normal((2, experts, model, width)).astype("float32") / 4
    W2 = rng.standard_normal((experts, width, model)).astype("float32") / 6
    arguments = (R, x, W1, W3, W2)

    compiled = expert_layer(*arguments)
    graph = rdu.trace(expert_layer, *arguments)
    node = rdu.sn40l_node(sockets=1)
    results = []
    for fusion in ("none", "spatial"):
        y, report = rdu.run(rdu.compile(graph, node, fusion=fusion), *arguments)
        results.append(y)
        print(f"{fusion:8} {report}")
    assert np.array_equal(*results)  # fusion changes no bit
    # the unit computes in bfloat16: 8 bits of mantissa
    assert np.abs(results[0] - compiled).max() < 8 * 2**-8 * np.abs(compiled).max()


if __name__ == "__main__":
    main()
