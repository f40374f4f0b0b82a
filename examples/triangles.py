"""Triangles of a graph: its lower half times itself, only where the half has edges."""

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def triangles(L):
    i, j, k = sd.indices("i j k")
    count = sd.output()
    count[()] = L[i, j] * L[i, k] * L[k, j]
    return count


def main() -> None:
    rng = np.random.default_rng(0)
    drawn = sp.random_array((300, 300), density=0.03, rng=rng, format="csr")
    graph = (drawn + drawn.T).astype(bool).astype("int64")
    lower = sp.csr_array(sp.tril(graph, -1))
    found = triangles(lower)
    assert found == ((lower @ lower) * lower).sum()
    print(found, "triangles in a graph of", lower.nnz, "edges")
    print(triangles.lower(lower).plan)


if __name__ == "__main__":
    main()
