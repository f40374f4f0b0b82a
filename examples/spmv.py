"""A matrix times a vector and another one added, in any layout, with times beside scipy's."""

import timeit

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def spmv_add(A, x, z):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.sum(A[i, j] * x[j], over=j) + z[i]
    return y


def main() -> None:
    rng = np.random.default_rng(0)
    A = sp.random_array((10_000, 8000), density=0.01, rng=rng, format="csr")
    x, z = rng.random(8000), rng.random(10_000)

    assert np.allclose(spmv_add(A, x, z), A @ x + z)
    # the same kernel takes any layout; each is compiled when first seen
    for layout in ("csc", "coo", "dcsr", "ell"):
        assert np.allclose(spmv_add(sd.convert(A, layout), x, z), A @ x + z)
    assert np.allclose(spmv_add(A.tobsr((2, 2)), x, z), A @ x + z)

    # a sparse vector gives another loop nest
    s = sp.coo_array(([1.0, 2.0], ([3, 500],)), shape=(8000,))
    assert np.allclose(spmv_add(A, s, z), A @ s.toarray() + z)
    print(spmv_add.lower(A, s, z).plan)

    ours = min(timeit.repeat(lambda: spmv_add(A, x, z), number=1, repeat=5))
    theirs = min(timeit.repeat(lambda: A @ x + z, number=1, repeat=5))
    print(f"{1e3 * ours:.2f} ms, scipy {1e3 * theirs:.2f} ms")


if __name__ == "__main__":
    main()
