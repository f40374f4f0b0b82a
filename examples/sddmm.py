"""Sampled dense-dense product: the similarity of two embeddings where a graph has edges."""

import timeit

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def sddmm(S, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = S[i, j] * A[i, k] * B[k, j]
    return C


def main() -> None:
    rng = np.random.default_rng(0)
    S = sp.random_array((1500, 1200), density=0.02, rng=rng, format="csr")
    A, B = rng.random((1500, 32)), rng.random((32, 1200))

    C = sddmm(S, A, B)
    assert isinstance(C, sp.csr_array)
    assert C.nnz == S.nnz
    assert np.allclose(C.toarray(), S.toarray() * (A @ B))

    # the dense 1500 x 1200 product is never formed: the loops visit the entries of S
    print(sddmm.lower(S, A, B).plan)

    ours = min(timeit.repeat(lambda: sddmm(S, A, B), number=1, repeat=5))
    theirs = min(timeit.repeat(lambda: S.multiply(A @ B), number=1, repeat=5))
    print(f"{1e3 * ours:.2f} ms, scipy with the dense product {1e3 * theirs:.2f} ms")


if __name__ == "__main__":
    main()
