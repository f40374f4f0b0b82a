"""Semirings, masks and complemented masks against loops over stored entries, and csgraph."""

import itertools
import operator

import numpy as np
import pytest
import scipy.sparse as sp
from levels import interpreting, pattern_of, remembering_proofs, store
from scipy.sparse import csgraph

import sparsedsl as sd

PLUS, TIMES = operator.add, operator.mul

# combine, reduce, what they do to two values, the identity of the sum, dtypes
SEMIRINGS = {
    "plus_times": ("mul", "sum", TIMES, PLUS, 0, ("float64", "int32")),
    "min_plus": ("add", "min", PLUS, min, np.inf, ("float64",)),
    "max_plus": ("add", "max", PLUS, max, -np.inf, ("float64",)),
    "min_max": ("maximum", "min", max, min, np.inf, ("float64",)),
    "max_min": ("minimum", "max", min, max, -np.inf, ("float64",)),
    "max_times": ("mul", "max", TIMES, max, -np.inf, ("float64",)),
    "or_and": ("and", "any", lambda a, b: a and b, operator.or_, False, ("bool",)),
    "any_pair": ("pair", "any", lambda a, b: True, operator.or_, False, ("float64", "int32")),
    "plus_pair": ("pair", "sum", lambda a, b: 1, PLUS, 0, ("float64", "bool")),
    "min_first": ("first", "min", lambda a, b: a, min, np.inf, ("float64",)),
    "max_second": ("second", "max", lambda a, b: b, max, -np.inf, ("float64",)),
    "plus_first": ("first", "sum", lambda a, b: a, PLUS, 0, ("float64", "int32")),
}

LAYOUTS = [("csr", "csr"), ("csr", "csc"), ("csc", "csr"), ("coo", "dcsr"), ("dia", "csr")]


def entries(rng, shape, dtype):
    """Values and where they are stored, stored zeros among them."""
    values = rng.integers(-3, 4, shape).astype(dtype)
    return values, rng.random(shape) < 0.4


def by_loops(a, b, combine, reduce, identity, keep=None):
    """The product of ``(values, stored)`` pairs, entry by entry; ``keep`` is a mask."""
    (x, there), (y, also) = a, b
    found = {}
    for i, k, j in itertools.product(range(x.shape[0]), range(x.shape[1]), range(y.shape[1])):
        if there[i, k] and also[k, j] and (keep is None or keep[i, j]):
            value = combine(x[i, k].item(), y[k, j].item())
            found[i, j] = reduce(found[i, j], value) if (i, j) in found else value
    result = np.full((x.shape[0], y.shape[1]), identity)
    for place, value in found.items():
        result[place] = value
    return result


@pytest.mark.parametrize("name", SEMIRINGS)
def test_semirings_are_over_stored_entries(name):
    combine, reduce, times, plus, identity, dtypes = SEMIRINGS[name]
    rng = np.random.default_rng(0)
    with interpreting(), remembering_proofs():
        for place, dtype in enumerate(dtypes, list(SEMIRINGS).index(name)):
            layouts = LAYOUTS[place % len(LAYOUTS)]
            for n, m, o in ((4, 5, 3), (0, 3, 2)):
                a, b = entries(rng, (n, m), dtype), entries(rng, (m, o), dtype)
                A, B = (store(*x, layout) for x, layout in zip((a, b), layouts, strict=True))
                found = sd.einsum(
                    "ik,kj->ij", A, B, combine=combine, reduce=reduce, semantics="annihilator"
                )
                assert found.fill_value == identity
                x, y = ((T.to_numpy(), pattern_of(T)) for T in (A, B))  # padding is stored
                expected = by_loops(x, y, times, plus, identity)
                np.testing.assert_array_equal(found.to_numpy(), expected)


@pytest.mark.parametrize("mask", ["csr", "csc", "coo"])
@pytest.mark.parametrize("complemented", [False, True])
def test_masks(mask, complemented):
    """The reachable of a step: C<M> = A min.plus B, and C<not M>."""

    @sd.kernel
    def step(M, A, B):
        i, j, k = sd.indices("i j k")
        C = sd.output(fill_value=np.inf)
        wanted = ~sd.pattern(M)[i, j] if complemented else sd.pattern(M)[i, j]
        stored = wanted & sd.pattern(A)[i, k] & sd.pattern(B)[k, j]
        C[i, j] = sd.min(sd.where(stored, A[i, k] + B[k, j], np.inf), over=k)
        return C

    rng = np.random.default_rng(1)
    with interpreting(), remembering_proofs():
        for n in (6, 0):
            a, b = (entries(rng, (n, n), "float64") for _ in range(2))
            keep = rng.random((n, n)) < 0.5
            given = store(np.ones((n, n)), keep, mask), store(*a, "csr"), store(*b, "csr")
            found = step(*given)
            expected = by_loops(a, b, PLUS, min, np.inf, keep ^ complemented)
            np.testing.assert_array_equal(found.to_numpy(), expected)


def random_graph(n, seed, density=0.12):
    graph = sp.random_array((n, n), density=density, format="csr", rng=seed)
    graph.data = np.ceil(graph.data * 9)
    return graph


def test_shortest_paths():
    graph = random_graph(40, 0)
    reached = sd.convert(graph, "csr")
    loops = sp.eye_array(40, format="csr")
    loops.data[:] = 0  # a stored zero: a way of no length to oneself
    loops = sd.convert(loops, "csr")
    distances = loops
    for _ in range(12):  # no shortest way has more edges
        distances = sd.einsum(
            "ik,kj->ij", distances, _or_stay(reached, loops), combine="add", reduce="min",
            semantics="annihilator", out="csr",
        )  # fmt: skip
    np.testing.assert_array_equal(distances.to_numpy(), csgraph.shortest_path(graph))


def _or_stay(graph, loops):
    """The edges of a graph and those of no length."""
    dense = np.where(pattern_of(graph), graph.to_numpy(), np.inf)
    np.fill_diagonal(dense, 0)
    return store(dense, pattern_of(graph) | pattern_of(loops), "csr")


def test_components_by_any_pair():
    graph = random_graph(30, 3, density=0.05)
    graph = sp.csr_array(graph + graph.T + sp.eye_array(30))
    reached = graph
    for _ in range(5):
        reached = sd.einsum("ik,kj->ij", reached, reached, combine="pair", reduce="any")
    _, labels = csgraph.connected_components(graph)
    np.testing.assert_array_equal(reached.toarray(), labels[:, None] == labels[None, :])


def test_triangles_by_plus_pair():
    graph = random_graph(30, 4, density=0.2)
    graph = sp.csr_array(((graph + graph.T) > 0).astype(float))
    graph.setdiag(0)
    graph.eliminate_zeros()
    found = sd.einsum("ij,jk,ki->", graph, graph, graph, combine="pair")
    dense = graph.toarray()
    assert found == np.trace(dense @ dense @ dense)
