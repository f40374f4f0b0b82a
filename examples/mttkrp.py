"""One step of a CP decomposition: an order-3 sparse tensor times a Khatri-Rao product."""

import numpy as np

import sparsedsl as sd


@sd.kernel
def mttkrp(T, B, C):
    i, j, k, r = sd.indices("i j k r")
    M = sd.output()
    M[i, r] = T[i, j, k] * B[j, r] * C[k, r]
    return M


def main() -> None:
    rng = np.random.default_rng(0)
    shape, entries, rank = (60, 50, 40), 2000, 8
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


if __name__ == "__main__":
    main()
