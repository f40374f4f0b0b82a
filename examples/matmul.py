"""A sparse product in three layouts, each with times beside scipy's."""

import timeit

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def matmul(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def main() -> None:
    rng = np.random.default_rng(0)
    A = sp.random_array((2000, 2000), density=0.005, rng=rng, format="csr")
    for name in ("csr", "csc"):
        X = A.asformat(name)
        assert abs(matmul(X, X) - X @ X).max() < 1e-12
        ours = min(timeit.repeat(lambda X=X: matmul(X, X), number=1, repeat=5))
        theirs = min(timeit.repeat(lambda X=X: X @ X, number=1, repeat=5))
        print(f"{name}: {1e3 * ours:.2f} ms, scipy {1e3 * theirs:.2f} ms")
    mixed = matmul(A, sd.convert(A, "dcsr"))
    assert abs(mixed.to_scipy() - A @ A).max() < 1e-12
    print("csr times dcsr:", mixed)


if __name__ == "__main__":
    main()
