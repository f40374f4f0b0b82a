import numpy as np

from rdu.models.experts import expert_layer, expert_layer_reference
from rdu.models.monarch import monarch_fft


def test_monarch_operators_and_shapes():
    graph = monarch_fft()
    assert [op.name for op in graph.operators] == ["Gemm0", "Mul", "Transpose", "Gemm1"]
    assert graph.tensor("T").shape == (1024, 1024)
    assert graph.tensor("Out").shape == (128, 1024)
    assert graph.inputs == ("I0", "W0", "Scale", "W1")


def test_expert_layer_counts_only_routed_work():
    routing = np.array([[0, 1], [1, 1], [2, 0]])
    graph = expert_layer(4, 3, 8, 16, routing=routing)
    products = 2 * 3 * 8 * 16
    scale = 3 * 16
    assert graph.flops == 2 * products + scale + 3 * 8 * 16 * 4
    assert graph.tensor("R").structure.stored == 3
    assert expert_layer(4, 3, 8, 16).assumed == ("R",)


def test_reference_is_the_sum_over_experts():
    rng = np.random.default_rng(0)
    x, w1, w3, w2 = (rng.standard_normal(s) for s in ((5, 3), (2, 3, 4), (2, 3, 4), (2, 4, 3)))
    r = np.array([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5], [0.0, 0.0], [1.0, 1.0]])
    expected = np.zeros((5, 3))
    for t in range(5):
        for e in range(2):
            u = x[t] @ w1[e]
            expected[t] += r[t, e] * ((u / (1 + np.exp(-u)) * (x[t] @ w3[e])) @ w2[e])
    np.testing.assert_allclose(expert_layer_reference(r, x, w1, w3, w2), expected)
