"""A compiled kernel inside one's own @njit function: a power iteration without Python."""

import numpy as np
import scipy.sparse as sp
from numba import njit

import sparsedsl as sd


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def main() -> None:
    rng = np.random.default_rng(0)
    A = sp.random_array((100, 100), density=0.1, rng=rng, format="csr")
    A = sp.csr_array(A + A.T + 10 * sp.eye_array(100))
    kernel = spmv.compile(A, np.ones(100)).njit
    # what the function takes is in its own signature: arrays by tensor and name, then extents
    print(kernel.py_func.__code__.co_varnames[: kernel.py_func.__code__.co_argcount])

    @njit
    def largest(indptr, data, indices, steps):
        x = np.ones(len(indptr) - 1)
        y = x.copy()
        for _ in range(steps):
            y[:] = 0
            kernel(indptr, data, indices, x, y, len(x))
            x = y / np.linalg.norm(y)
        return np.linalg.norm(y)

    found = largest(A.indptr, A.data, A.indices, 200)
    assert np.isclose(found, np.linalg.eigvalsh(A.toarray()).max())
    print(f"largest eigenvalue {found:.6f}")


if __name__ == "__main__":
    main()
