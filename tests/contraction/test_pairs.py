"""Products of many operands: the tree of pairs, and its results against NumPy's einsum."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import dense_of, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.calls.choices import Choices
from sparsedsl.contraction.lift import lift
from sparsedsl.contraction.pairs import paired
from sparsedsl.contraction.path import Factor, best_tree
from sparsedsl.contraction.text import program_text
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.einsum import einsum_program
from sparsedsl.frontend.trace import Traced, trace
from sparsedsl.kernel import Engine


def leaves(tree):
    return [tree] if isinstance(tree, int) else [n for part in tree for n in leaves(part)]


def program_of(spec, shape=(1000, 1000), dtypes=None, fill=0):
    operands = spec.count(",") + 1
    infos = [ArgumentInfo(shape, dtype, fill=fill) for dtype in dtypes or ("float64",) * operands]
    return lift(einsum_program(spec, infos))


def split(program, entries=50_000.0, known=3):
    extents = dict.fromkeys("ijkl", 1000)
    stored = {t.name: entries for t in program.inputs[:known]}
    return program_text(paired(program, stored, extents)[0]).splitlines()


def test_a_chain_is_summed_pair_by_pair():
    assert split(program_of("ij,jk,kl->il")) == [
        "part0[j, l] = sum(k, op1[j, k] * op2[k, l])",
        "out[i, l] = sum(j, op0[i, j] * part0[j, l])",
    ]


def test_a_sum_that_a_factor_has_other_indices_than_stays_apart():
    def step(A, x):
        i, j, k = sd.indices("i j k")
        y = sd.output()
        y[k] = A[i, k] * sd.sum(A[i, j] * x[j], over=j)
        return y

    infos = [ArgumentInfo((1000, 1000), "float64"), ArgumentInfo((1000,), "float64")]
    program = lift(trace(step, infos).program)
    found, _ = paired(program, {"A": 50_000.0, "x": 1000.0}, dict.fromkeys("ijk", 1000))
    assert program_text(found).splitlines() == [
        "t0[i] = sum(j, A[i, j] * x[j])",
        "y[k] = sum(i, A[i, k] * t0[i])",
    ]


def test_what_one_factor_alone_has_is_summed_first():
    assert split(program_of("ij,jk->i")) == [
        "part0[j] = sum(k, op1[j, k])",
        "out[i] = sum(j, op0[i, j] * part0[j])",
    ]
    assert split(program_of("ij,jk->k")) == [
        "part0[j] = sum(i, op0[i, j])",
        "out[k] = sum(j, part0[j] * op1[j, k])",
    ]
    assert split(program_of("ij,kl->")) == [
        "part0[()] = sum((i, j), op0[i, j])",
        "part1[()] = sum((k, l), op1[k, l])",
        "out[()] = part0[()] * part1[()]",
    ]
    assert len(split(program_of("ij,jk->ik"))) == 1
    assert len(split(program_of("ij,ij->i"))) == 1


def test_few_entries_are_not_summed_first():
    assert len(split(program_of("ij,jk->i"), entries=900.0)) == 1


def test_the_narrow_side_comes_first():
    counts = (50_000.0, 50_000.0, 10_000.0)
    factors = [Factor(frozenset(p), n) for p, n in zip(("ij", "jk", "kl"), counts, strict=True)]
    extents = {"i": 1000, "j": 1000, "k": 1000, "l": 10}
    assert best_tree(factors, frozenset("il"), extents) == (0, (1, 2))
    assert best_tree(factors[::-1], frozenset("il"), extents) == ((0, 1), 2)


def test_products_stay_whole_where_parts_would_differ():
    mixed = program_of("ij,jk,kl->il", dtypes=("float64", "float64", "int32"))
    assert len(split(mixed)) == 1
    assert len(split(program_of("ij,jk,kl->il", fill=1))) == 1
    assert len(split(program_of("ij,jk,kl->il"), known=2)) == 1


def test_products_stay_whole_where_parts_save_nothing():
    assert len(split(program_of("ij,ik,jk->ij"), entries=5000.0)) == 1


def test_many_operands_are_joined_greedily():
    names = "abcdefghijkl"
    factors = [Factor(frozenset(names[n : n + 2]), 300.0) for n in range(11)]
    tree = best_tree(factors, frozenset("al"), dict.fromkeys(names, 100))
    assert sorted(leaves(tree)) == list(range(11))


SPECS = (
    "ab,bc->a",
    "ab,bc->",
    "ab,cd->",
    "abc,cd->c",
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


def test_a_kernel_multiplies_with_a_vector_as_often_as_it_says():
    rng = np.random.default_rng(0)
    A = sp.random_array((300, 300), density=0.1, format="csr", rng=rng)
    x = rng.random(300)

    @sd.kernel
    def cube(A, x):
        i, j, k, l = sd.indices("i j k l")  # noqa: E741
        z = sd.output()
        z[i] = A[i, j] * A[j, k] * A[k, l] * x[l]
        return z

    np.testing.assert_allclose(cube(A, x), A @ (A @ (A @ x)), rtol=1e-12)
    parts = [line for line in cube.lower(A, x).explain().splitlines() if line.startswith("output")]
    assert [line.split()[1] for line in parts] == ["part0:", "part1:", "z:"]
    whole = sd.kernel(cube.function, order="i j k l")
    assert "part0" not in whole.lower(A, x).explain()


def test_a_sum_of_which_a_part_overflows_stays_whole():
    rng = np.random.default_rng(0)
    A, B = (sp.random_array((60, 60), density=0.3, format="csr", rng=rng) for _ in "AB")
    x = np.ones(60)
    small, large = A * 1e-200, B.copy()
    large.data[:] = 1e308
    expected = A @ (large * 1e-200 @ x)
    assert np.isinf(large @ x).any()
    for given in ((small, large, x), (small.toarray(), large, x), (small, large.toarray(), x)):
        np.testing.assert_allclose(sd.einsum("ij,jk,k->i", *given), expected, rtol=1e-12)
    # stored zeros meet no infinity that is not there, and those that are there are kept
    small.data[:] = 0
    np.testing.assert_array_equal(sd.einsum("ij,jk,k->i", small, large, x), np.zeros(60))
    large.data[0] = np.inf
    assert np.isnan(sd.einsum("ij,jk,k->i", small, large, x)).all()


def test_a_part_that_may_overflow_is_looked_at_and_no_other():
    program = program_of("ij,jk,kl->il")
    stored, extents = dict.fromkeys(("op0", "op1", "op2"), 50_000.0), dict.fromkeys("ijkl", 1000)
    assert paired(program, stored, extents)[1] == {"part0"}
    assert paired(program, stored, extents, frozenset({"part0"})) == (program, frozenset())
    assert paired(program, stored, extents, frozenset({"part0", "op0"}))[1] == {"part0"}
    whole = program_of("ij,jk,kl->il", dtypes=("int64",) * 3)
    apart, watched = paired(whole, stored, extents)
    assert apart != whole
    assert not watched
