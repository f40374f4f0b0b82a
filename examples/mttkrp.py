"""One step of a CP decomposition: an order-3 sparse tensor times a Khatri-Rao product."""

import timeit

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def mttkrp(T, B, C):
    i, j, k, r = sd.indices("i j k r")
    M = sd.output()
    M[i, r] = T[i, j, k] * B[j, r] * C[k, r]
    return M


def main() -> None:
    rng = np.random.default_rng(0)
    shape, entries, rank = (60, 50, 40), 20_000, 8
    places = np.unique(rng.integers(0, shape, (entries, 3)), axis=0).T
    coordinates = {f"crd{mode}": places[mode] for mode in range(3)}
    values = rng.standard_normal(places.shape[1])
    T = sd.from_arrays("coo", shape, {**coordinates, "data": values})
    B, C = rng.standard_normal((50, rank)), rng.standard_normal((40, rank))

    expected = np.einsum("ijk,jr,kr->ir", T.to_numpy(), B, C)
    assert np.allclose(mttkrp(T, B, C), expected)
    # a tree of compressed levels, in logical mode order and in another one
    assert np.allclose(mttkrp(sd.convert(T, "csf"), B, C), expected)
    rotated = sd.convert(T, sd.layouts["csf"](order=(0, 2, 1)))
    assert np.allclose(mttkrp(rotated, B, C), expected)
    assert np.allclose(sd.einsum("ijk,jr,kr->ir", T, B, C), expected)
    print(mttkrp.lower(sd.convert(T, "csf"), B, C).plan)

    # scipy multiplies by matrices alone: the Khatri-Rao product is formed, and T is unfolded
    places, values = T.coordinates()
    columns = places[1] * 40 + places[2]
    unfolded = sp.csr_array((values, (places[0], columns)), shape=(60, 50 * 40))

    def scipys():
        return unfolded @ (B[:, None] * C).reshape(-1, rank)

    assert np.allclose(scipys(), expected)
    ours = min(timeit.repeat(lambda: mttkrp(T, B, C), number=1, repeat=5))
    theirs = min(timeit.repeat(scipys, number=1, repeat=5))
    print(f"{1e3 * ours:.2f} ms, scipy {1e3 * theirs:.2f} ms")


if __name__ == "__main__":
    main()
