"""Hubs and authorities (HITS): two sparse products a step until nothing moves."""

import timeit

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
    A = sp.random_array((800, 800), density=0.05, rng=rng, format="csr")
    hubs = np.full(800, 1 / np.sqrt(800))
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

    assert np.allclose(step(A, hubs)[1], A @ (A.T @ hubs))
    ours = min(timeit.repeat(lambda: step(A, hubs), number=1, repeat=5))
    theirs = min(timeit.repeat(lambda: A @ (A.T @ hubs), number=1, repeat=5))
    print(f"a step in {1e3 * ours:.2f} ms, scipy {1e3 * theirs:.2f} ms")


if __name__ == "__main__":
    main()
