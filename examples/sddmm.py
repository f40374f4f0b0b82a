"""Sampled dense-dense product: the similarity of two embeddings where a graph has edges."""

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
    S = sp.random_array((500, 400), density=0.02, rng=rng, format="csr")
    A, B = rng.random((500, 16)), rng.random((16, 400))

    C = sddmm(S, A, B)
    assert isinstance(C, sp.csr_array)
    assert C.nnz == S.nnz
    assert np.allclose(C.toarray(), S.toarray() * (A @ B))

    # the dense 500 x 400 product is never formed: the loops visit the entries of S
    print(sddmm.lower(S, A, B).plan)


if __name__ == "__main__":
    main()
