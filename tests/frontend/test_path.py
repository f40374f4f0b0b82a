"""Products of many operands: the tree of pairs, and its results against NumPy's einsum."""

import numpy as np
import pytest
from levels import dense_of, interpreting, remembering_proofs, store

from sparsedsl.calls.choices import Choices
from sparsedsl.contraction.text import program_text
from sparsedsl.frontend.einsum import einsum_program
from sparsedsl.frontend.handles import ArgumentInfo
from sparsedsl.frontend.path import Factor, best_tree
from sparsedsl.frontend.trace import Traced
from sparsedsl.kernel import Engine


def leaves(tree):
    return [tree] if isinstance(tree, int) else [n for part in tree for n in leaves(part)]


def info(shape, entries, **other):
    return ArgumentInfo(shape, "float64", entries=entries, **other)


def test_a_chain_is_summed_pair_by_pair():
    infos = [info((1000, 1000), 50_000.0)] * 3
    program = einsum_program("ij,jk,kl->il", infos)
    assert program_text(program).splitlines() == [
        "part0[j, l] = sum(k, op1[j, k] * op2[k, l])",
        "out[i, l] = sum(j, op0[i, j] * part0[j, l])",
    ]


def test_the_narrow_side_comes_first():
    counts = (50_000.0, 50_000.0, 10_000.0)
    factors = [Factor(frozenset(p), n) for p, n in zip(("ij", "jk", "kl"), counts, strict=True)]
    extents = {"i": 1000, "j": 1000, "k": 1000, "l": 10}
    assert best_tree(factors, frozenset("il"), extents) == (0, (1, 2))
    assert best_tree(factors[::-1], frozenset("il"), extents) == ((0, 1), 2)


@pytest.mark.parametrize(
    "infos",
    [
        [info((9, 9), 9.0), info((9, 9), 9.0), ArgumentInfo((9, 9), "float64")],
        [info((9, 9), 9.0, fill=1)] * 3,
        [info((9, 9), 9.0), info((9, 9), 9.0), ArgumentInfo((9, 9), "int32", entries=9.0)],
    ],
)
def test_products_stay_whole_where_parts_would_differ(infos):
    assert len(einsum_program("ij,jk,kl->il", infos).statements) == 1


def test_many_operands_are_joined_greedily():
    names = "abcdefghijkl"
    factors = [Factor(frozenset(names[n : n + 2]), 300.0) for n in range(11)]
    tree = best_tree(factors, frozenset("al"), dict.fromkeys(names, 100))
    assert sorted(leaves(tree)) == list(range(11))


SPECS = (
    "ab,bc,cd->ad",
    "a,ab,abc->abc",
    "ea,fb,gc,abc->efg",
    "ab,cd,ef,bc,de->af",
    "aab,bc,cd->d",
    "ab,bc,ca->",
    "abcd,ad,bc->ab",
)


@pytest.mark.parametrize("layout", ["csf", "coo_unsorted", "bitmap"])
@pytest.mark.parametrize("spec", SPECS)
def test_results_are_those_of_numpy(spec, layout):
    rng = np.random.default_rng(len(spec))
    extents = {letter: 3 + place % 3 for place, letter in enumerate("abcdefg")}
    tensors, dense = [], []
    for labels in spec.partition("->")[0].split(","):
        values = rng.integers(-2, 3, [extents[x] for x in labels]).astype(float)
        mask = rng.random(values.shape) < 0.4
        dense.append(np.where(mask, values, 0.0))
        tensors.append(store(dense[-1], mask, layout))
    with interpreting(), remembering_proofs():
        engine = Engine(lambda infos: Traced(einsum_program(spec, infos)), Choices())
        special = engine.specialise(tensors)
        named = zip([t.name for t in special.traced.program.inputs], tensors, strict=True)
        found = special.run(dict(named))["out"]
    np.testing.assert_array_equal(dense_of(found), np.einsum(spec, *dense))
