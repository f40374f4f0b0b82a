"""Hubs and authorities (HITS): two sparse products a step until nothing moves."""

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def step(A, hubs):
    i, j = sd.indices("i j")
    authorities, better = sd.output(), sd.output()
    authorities[j] = A[i, j] * hubs[i]
    better[i] = A[i, j] * authorities[j]
    return authorities, better


def main() -> None:
    rng = np.random.default_rng(0)
    A = sp.random_array((200, 200), density=0.05, rng=rng, format="csr")
    hubs = np.full(200, 1 / np.sqrt(200))
    steps, moved = 0, np.inf
    while moved > 1e-12:
        steps += 1
        authorities, better = step(A, hubs)
        better /= np.linalg.norm(better)
        moved, hubs = np.abs(better - hubs).max(), better
    largest = np.linalg.svd(A.toarray())[0][:, 0]
    assert np.allclose(hubs, np.abs(largest), atol=1e-8)
    best = np.argsort(authorities)[-3:][::-1]
    print(f"{steps} steps; the best authorities are {', '.join(map(str, best))}")


if __name__ == "__main__":
    main()
