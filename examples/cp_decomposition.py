"""A CP decomposition of an order-3 tensor by alternating least squares."""

import numpy as np

import sparsedsl as sd


@sd.kernel
def mttkrp(T, B, C):
    i, j, k, r = sd.indices("i j k r")
    M = sd.output()
    M[i, r] = T[i, j, k] * B[j, r] * C[k, r]
    return M


def decompose(T, rank, steps, rng):
    """Factors whose sum of outer products is close to T, and the squared norm of it."""
    turns = [sd.convert(sd.transpose(T, p), "csf") for p in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]
    factors = [rng.random((n, rank)) for n in T.shape]
    for _ in range(steps):
        for mode, turned in enumerate(turns):
            B, C = (f for n, f in enumerate(factors) if n != mode)
            gram = (B.T @ B) * (C.T @ C)
            factors[mode] = np.linalg.solve(gram, mttkrp(turned, B, C).T).T
    return factors


def main() -> None:
    # ratings of users for films by day, as users of three tastes would give them
    rng = np.random.default_rng(1)
    shape, rank = (40, 30, 20), 3
    true = [rng.random((n, rank)) * (rng.random((n, rank)) < 0.4) for n in shape]
    T = sd.asarray(np.einsum("ir,jr,kr->ijk", *true), "coo")
    A, B, C = decompose(T, rank, 40, rng)
    found = np.einsum("ir,jr,kr->ijk", A, B, C)
    error = np.linalg.norm(found - T.to_numpy()) / np.linalg.norm(T.to_numpy())
    assert error < 0.05
    print(f"{T.nnz} ratings explained by {rank} tastes, relative error {error:.1e}")


if __name__ == "__main__":
    main()
