"""A graph network layer and its training: messages over edges, gradients as kernels."""

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def loss(A, X, W, target):
    """Half the squared error of tanh(A X W)."""
    i, j, k, h = sd.indices("i j k h")
    mixed, error = sd.output(), sd.output()
    mixed[i, h] = A[i, j] * sd.sum(X[j, k] * W[k, h], over=k)
    error[()] = 0.5 * sd.square(sd.tanh(mixed[i, h]) - target[i, h])
    return error


def main() -> None:
    rng = np.random.default_rng(0)
    nodes, features, hidden = 60, 8, 4
    edges = sp.random_array((nodes, nodes), density=0.1, rng=rng, format="csr")
    A = sp.csr_array(edges + sp.eye_array(nodes))
    X, true = rng.standard_normal((nodes, features)), rng.standard_normal((features, hidden))
    target = np.tanh(A @ X @ true)
    gradient = sd.grad(loss, ("W", "A"))
    W = np.zeros_like(true)
    first = loss(A, X, W, target)
    for _ in range(100):
        by_weights, by_edges = gradient(A, X, W, target)
        W -= 0.005 * by_weights
    last = loss(A, X, W, target)
    assert last < 0.2 * first
    assert by_edges.nnz == A.nnz  # one number for each edge, no dense matrix
    print(f"squared error {first:.2f} before, {last:.2f} after 100 steps")


if __name__ == "__main__":
    main()
