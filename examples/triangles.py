"""Triangles of a graph: its lower half times itself, only where the half has edges."""

import timeit

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
    drawn = sp.random_array((2000, 2000), density=0.01, rng=rng, format="csr")
    graph = (drawn + drawn.T).astype(bool).astype("int64")
    lower = sp.csr_array(sp.tril(graph, -1))
    found = triangles(lower)
    assert found == ((lower @ lower) * lower).sum()
    print(found, "triangles in a graph of", lower.nnz, "edges")
    print(triangles.lower(lower).plan)

    ours = min(timeit.repeat(lambda: triangles(lower), number=1, repeat=5))
    theirs = min(timeit.repeat(lambda: ((lower @ lower) * lower).sum(), number=1, repeat=5))
    print(f"{1e3 * ours:.2f} ms, scipy {1e3 * theirs:.2f} ms")


if __name__ == "__main__":
    main()
