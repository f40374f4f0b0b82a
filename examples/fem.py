"""Finite elements: a matrix made by a kernel, solved by pyamg (extra `data`) through a tensor."""

import numpy as np
import pyamg
import scipy.sparse as sp
from scipy.sparse.linalg import cg

import sparsedsl as sd


@sd.kernel
def assemble(Gt, w, G):
    """A = G' W G: the gradient at each quadrature point, weighted."""
    i, j, q = sd.indices("i j q")
    A = sd.output("csr")
    A[i, j] = Gt[i, q] * w[q] * G[q, j]
    return A


def gradients(n):
    """Gradients of bilinear shape functions on n x n squares, at the middle of each."""
    corner = np.arange(n * (n + 1)).reshape(n, n + 1)[:, :n].ravel()
    nodes = np.stack([corner, corner + 1, corner + n + 2, corner + n + 1], axis=1)
    parts = []
    for slopes in ((-0.5, 0.5, 0.5, -0.5), (-0.5, -0.5, 0.5, 0.5)):
        rows = np.repeat(np.arange(len(nodes)), 4)
        values = np.tile(np.array(slopes) * n, len(nodes))
        parts.append(sp.coo_array((values, (rows, nodes.ravel())), (len(nodes), (n + 1) ** 2)))
    return sp.vstack(parts, format="csr")


def main() -> None:
    n = 30
    G = gradients(n)
    w = np.full(G.shape[0], 1 / n**2)
    A = assemble(G.T.tocsr(), w, G)
    assert abs(A - G.T @ sp.diags_array(w) @ G).max() < 1e-12

    x, y = (z.ravel() for z in np.indices((n + 1, n + 1)))
    inside = np.flatnonzero((x > 0) & (x < n) & (y > 0) & (y < n))
    inner = sp.csr_array(A[inside][:, inside] + 1e-3 * sp.eye_array(len(inside)))
    load = np.full(len(inside), 1 / n**2)
    multigrid = pyamg.smoothed_aggregation_solver(sp.csr_matrix(inner)).aspreconditioner()
    u, failed = cg(sd.asarray(inner), load, M=multigrid, rtol=1e-10)
    assert not failed
    assert np.allclose(inner @ u, load)
    print(f"{A.nnz} entries of stiffness; the plate gives way by {u.max():.4f}")


if __name__ == "__main__":
    main()
