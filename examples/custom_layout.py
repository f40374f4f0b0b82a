"""A layout that is not in the catalogue: rows stored in an order of their own.

Rows are sorted by length, longest first, so that neighbours have the same amount of work.
The specification is all there is: multiplying, checking and converting follow from it.
"""

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd

SORTED_ROWS = sd.Layout(
    "sorted_rows",
    "[N, M] -> { [q, p] -> [i, j] : 0 <= q < N and i = row(q) and 0 <= i < N "
    "and indptr(q) <= p < indptr(q+1) and j = indices(p) and 0 <= j < M }",
    value="data(p)",
    properties=[
        "permutation row",
        "indptr(0) = 0",
        "nondecreasing indptr",
        "increasing indices within indptr(q) <= p < indptr(q+1)",
    ],
)


def sorted_rows(A: sp.csr_array) -> sd.Tensor:
    """Store a matrix with its longest rows first."""
    row = np.argsort(-np.diff(A.indptr), kind="stable")
    moved = A[row]
    arrays = {"indptr": moved.indptr, "indices": moved.indices, "data": moved.data, "row": row}
    return sd.from_arrays(SORTED_ROWS, A.shape, arrays)


@sd.kernel
def spmm(A, X):
    i, j, k = sd.indices("i j k")
    Y = sd.output()
    Y[i, k] = A[i, j] * X[j, k]
    return Y


def main() -> None:
    rng = np.random.default_rng(0)
    A = sp.random_array((300, 200), density=0.05, rng=rng, format="csr")
    A.sort_indices()
    X = rng.random((200, 4))

    stored = sorted_rows(A)
    assert np.allclose(spmm(stored, X), A @ X)
    print(spmm.lower(stored, X).plan)

    # converting to it follows from the specification too; rows then keep their order
    assert np.allclose(spmm(sd.convert(A, SORTED_ROWS), X), A @ X)
    back = stored.convert("csr").to_scipy()
    assert (back != A).nnz == 0

    # data that breaks what the layout promises is refused by name
    try:
        arrays = {**stored.arrays, "row": np.zeros(300, dtype="int64")}
        sd.from_arrays(SORTED_ROWS, A.shape, arrays)
    except sd.InvalidTensorError as error:
        print(error)


if __name__ == "__main__":
    main()
