"""PageRank, and shortest paths from one node: the same loops over two semirings."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import shortest_path

import sparsedsl as sd


def pagerank(A, damping=0.85):
    links = np.maximum(sd.einsum("ij->i", A), 1e-300)
    rank = np.full(A.shape[0], 1 / A.shape[0])
    while True:
        fresh = damping * sd.einsum("ij,i->j", A, rank / links) + (1 - damping) / A.shape[0]
        if np.abs(fresh - rank).max() < 1e-12:
            return fresh
        rank = fresh


@sd.kernel
def relax(A, distance):
    i, j = sd.indices("i j")
    better = sd.output(fill_value=np.inf)
    better[j] = sd.min(A[i, j] + distance[i], over=i)
    return better


def shortest(A, start):
    """Bellman and Ford: edges that are not there are infinitely long."""
    entries = A.tocoo()
    arrays = {"crd0": entries.row, "crd1": entries.col, "data": entries.data}
    lengths = sd.from_arrays("coo", A.shape, arrays, fill_value=np.inf).convert("csr")
    distance = np.full(A.shape[0], np.inf)
    distance[start] = 0
    while True:
        better = np.minimum(distance, relax(lengths, distance))
        if (better == distance).all():
            return distance
        distance = better


def main() -> None:
    rng = np.random.default_rng(0)
    A = sp.random_array((80, 80), density=0.08, rng=rng, format="csr")
    A.sort_indices()
    rank = pagerank(A)
    print("highest rank:", rank.argmax(), f"{rank.max():.4f}")
    distance = shortest(A, 0)
    assert np.allclose(distance, shortest_path(A, indices=0))
    print("farthest node:", distance.argmax(), f"at {distance.max():.3f}")


if __name__ == "__main__":
    main()
