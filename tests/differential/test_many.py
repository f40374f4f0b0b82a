"""Tensors of up to eight modes, statements of up to six operands and einsum of more: as NumPy."""

import numpy as np
import pytest
from levels import interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.find import ordering

LAYOUTS = ("csf", "coo", "coo_unsorted", "csf", "bitmap", "csf")


def drawn(shape, rng, layout):
    mask = rng.random(shape) < (0.5 if len(shape) < 4 else 0.1)
    dense = np.where(mask, rng.integers(-3, 4, shape), 0).astype(float)
    return dense, store(dense, mask, layout)


@pytest.mark.parametrize("rank", [6, 7, 8])
@pytest.mark.parametrize("form", ["{0}->{1}", "{0},{2}->{3}", "{0},{0}->{0}", "{0},{1}->{2}"])
def test_order(rank, form):
    letters = "abcdefgh"[:rank]
    spec = form.format(letters, letters[::-1], letters[-1], letters[:-1])
    rng = np.random.default_rng(rank)
    terms, _, _ = spec.partition("->")
    layouts = iter(LAYOUTS[rank - 6 :])
    given = [drawn((2, 3, 2, 2, 3, 2, 2, 2)[:rank], rng, next(layouts))]
    for term in terms.split(",")[1:]:
        shape = tuple(given[0][0].shape[letters.index(c)] for c in term)
        given.append(drawn(shape, rng, next(layouts)))
    with interpreting(), remembering_proofs():
        found = sd.einsum(spec, *(tensor for _, tensor in given), out="csf")
    np.testing.assert_array_equal(found.to_numpy(), np.einsum(spec, *(d for d, _ in given)))


STATEMENTS = {
    "product": "R[i,j] = " + " * ".join(f"{n}[i,j]" for n in "ABCDEF"),
    "union": "R[i,j] = " + " + ".join(f"{n}[i,j]" for n in "ABCDEF"),
    "both": "R[i,j] = A[i,j] * B[i,j] + C[i,j] * D[j,i] - E[i,j] * F[j,i]",
    "chain": "R[i,o] = A[i,j] * B[j,k] * C[k,l] * D[l,m] * E[m,n] * F[n,o]",
    "star": "R[j,k] = A[i,j] * B[i,k] * C[i,l] * D[i,m] * E[i,n] * F[i,i]",
    "cycle": "R[()] = A[i,j] * B[j,k] * C[k,l] * D[l,m] * E[m,n] * F[n,i]",
    "least": "R[i,j] = minimum(A[i,j], minimum(B[i,j], minimum(C[j,i], D[i,j]))) + E[i,j] * F[i,j]",
}
ORACLES = {
    "product": lambda A, B, C, D, E, F: A * B * C * D * E * F,
    "union": lambda A, B, C, D, E, F: A + B + C + D + E + F,
    "both": lambda A, B, C, D, E, F: A * B + C * D.T - E * F.T,
    "chain": lambda A, B, C, D, E, F: A @ B @ C @ D @ E @ F,
    "star": lambda A, B, C, D, E, F: (A.T * (C.sum(1) * D.sum(1) * E.sum(1) * np.diag(F))) @ B,
    "cycle": lambda A, B, C, D, E, F: np.trace(A @ B @ C @ D @ E @ F),
    "least": lambda A, B, C, D, E, F: np.minimum(A, np.minimum(B, np.minimum(C.T, D))) + E * F,
}


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("turn", range(3))
def test_six_operands(name, turn):
    rng = np.random.default_rng(turn)
    names = ("csr", "csc", "coo", "dcsr", "bitmap", "ell", "coo_unsorted", "csf", "dia", "morton")
    n = (4, 3, 1)[turn]
    given = [drawn((n, n), rng, str(rng.choice(names))) for _ in range(6)]
    tensors = {letter: tensor for letter, (_, tensor) in zip("ABCDEF", given, strict=True)}
    with interpreting(), remembering_proofs():
        found = sd.evaluate(STATEMENTS[name], **tensors)
    found = found.to_numpy() if isinstance(found, sd.Tensor) else found
    np.testing.assert_array_equal(found, ORACLES[name](*(dense for dense, _ in given)))


@pytest.mark.parametrize("turn", range(3))
def test_six_operands_in_a_wide_workspace(monkeypatch, turn):
    """Of rows in several loops, one after another, no loop tells how full they are."""
    monkeypatch.setattr(ordering, "NARROW", 0.0)
    # other names: a kernel that was planned before would serve
    wide = STATEMENTS["least"].replace("i", "x").replace("mxnxmum", "minimum").replace("j", "y")
    monkeypatch.setitem(STATEMENTS, "wide", wide)
    monkeypatch.setitem(ORACLES, "wide", ORACLES["least"])
    test_six_operands("wide", turn)


@pytest.mark.parametrize("spec", ["ab,bc,cd,de,ef,fg,gh,hi->ai", "ab,ac,ad,ae,af,ag,ah->bch"])
def test_more_operands_take_a_path(spec):
    rng = np.random.default_rng(0)
    given = [drawn((3, 3), rng, "csr") for _ in range(spec.count(",") + 1)]
    with interpreting(), remembering_proofs():
        found = sd.einsum(spec, *(tensor for _, tensor in given))
    expected = np.einsum(spec, *(dense for dense, _ in given), optimize=True)
    np.testing.assert_array_equal(found.to_numpy(), expected)
