"""Attention over the stored entries of a mask: scores, softmax and values as one kernel."""

import time

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def attention(mask, queries, keys, values):
    """Each token attends to the tokens that its row of the mask stores."""
    i, j, k, m = sd.indices("i j k m")
    scores, peak, weights, total, mixed = (sd.output() for _ in range(5))
    scores[i, j] = mask[i, j] * queries[i, k] * keys[j, k]
    kept = sd.pattern(mask)[i, j]
    peak[i] = sd.max(sd.where(kept, scores[i, j], -np.inf), over=j)
    weights[i, j] = sd.where(kept, sd.exp(scores[i, j] - peak[i]), 0)
    total[i] = sd.sum(weights[i, j], over=j)
    mixed[i, m] = sd.sum(weights[i, j] * values[j, m], over=j)
    out = sd.output()
    out[i, m] = sd.where(total[i] > 0, mixed[i, m] / total[i], 0)
    return out


def with_numpy(mask, queries, keys, values):
    """The same row by row; a token that attends to nothing gets zeros."""
    out = np.zeros((mask.shape[0], values.shape[1]))
    for i in range(mask.shape[0]):
        here = mask.indices[mask.indptr[i] : mask.indptr[i + 1]]
        if len(here):
            scores = mask.data[mask.indptr[i] : mask.indptr[i + 1]] * (keys[here] @ queries[i])
            weights = np.exp(scores - scores.max())
            out[i] = weights @ values[here] / weights.sum()
    return out


def window(tokens, width, reach, rng):
    """A mask of the tokens nearby and a few anywhere, its values the scale of the scores."""
    near = sp.diags_array(
        np.ones(2 * reach + 1), offsets=range(-reach, reach + 1), shape=(tokens,) * 2
    )
    far = sp.random_array((tokens, tokens), density=8 / tokens, rng=rng)
    mask = sp.csr_array(near + far)
    mask.data[:] = 1 / np.sqrt(width)
    return mask


def main():
    rng = np.random.default_rng(0)
    tokens, width = 2000, 64
    mask = window(tokens, width, 16, rng)
    queries, keys, values = rng.standard_normal((3, tokens, width))

    out = attention(mask, queries, keys, values)
    expected = with_numpy(mask, queries, keys, values)
    print(f"{tokens} tokens, {mask.nnz / tokens:.0f} others for each: {out.shape} {out.dtype}")
    print(f"largest difference from NumPy: {abs(out - expected).max():.0e}")
    assert np.allclose(out, expected)

    groups = attention.lower(mask, queries, keys, values).units
    print("loop nests:", "; ".join(unit.nest.output.name for unit in groups))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        attention(mask, queries, keys, values)
        times.append(time.perf_counter() - start)
    print(f"{min(times) * 1e3:.1f} ms a call")


if __name__ == "__main__":
    main()
