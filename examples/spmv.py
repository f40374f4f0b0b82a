"""Sparse matrix times vector, on scipy's own matrices, and what was compiled for it."""

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def main() -> None:
    rng = np.random.default_rng(0)
    A = sp.random_array((1000, 800), density=0.01, rng=rng, format="csr")
    x = rng.random(800)

    assert np.allclose(spmv(A, x), A @ x)
    # the same kernel takes any layout; each is compiled when first seen
    for layout in ("csc", "coo", "dcsr", "ell"):
        assert np.allclose(spmv(sd.convert(A, layout), x), A @ x)
    assert np.allclose(spmv(A.tobsr((2, 2)), x), A @ x)

    # a sparse vector gives another loop nest
    s = sp.coo_array(([1.0, 2.0], ([3, 500],)), shape=(800,))
    assert np.allclose(spmv(A, s), A @ s.toarray())
    print(spmv.lower(A, s).plan)


if __name__ == "__main__":
    main()
