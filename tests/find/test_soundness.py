"""What a proof assumes is what validation checked: small models of every property, and holes."""

import itertools

import numpy as np
import pytest
import z3
from levels import check, interpreting
from small_models import holds, operand_of

import sparsedsl as sd
from sparsedsl.errors import InvalidTensorError, LayoutError
from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find import widths
from sparsedsl.find.smtlib import script
from sparsedsl.iteration.nodes import Find, Key
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.properties import KINDS, property_text
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF

LIST = (
    "[N, M, NNZ] -> { [p] -> [i, j] : 0 <= p < NNZ and i = f(p) and j = g(p) "
    "and 0 <= i < N and 0 <= j < M }"
)
ROWS = (
    "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and p < f(i + 1) and f(i) <= p and j = g(p) "
    "and 0 <= j < M }"
)
RUNS = (
    "[N, M, NR] -> { [r, j] -> [i, j] : 0 <= r < NR and i = r and f(r) <= j < g(r) "
    "and 0 <= j < M and 0 <= i < N }"
)

# relation, value, property: every kind, with and without a range
PROMISES = [
    (LIST, "data(p)", "increasing f"),
    (LIST, "data(p)", "nondecreasing f"),
    (LIST, "data(p)", "nonincreasing f"),
    (LIST, "data(p)", "injective f"),
    (LIST, "data(p)", "injective (f, g)"),
    (LIST, "data(p)", "permutation f"),
    (LIST, "data(p)", "range f in [0, N - 1)"),
    (LIST, "data(p)", "lexicographic (f, g)"),
    (LIST, "data(p)", "morton (f, g)"),
    (LIST, "data(p)", "repeated (f, g)"),
    (LIST, "data(p)", "f(0) = 1"),
    (LIST, "data(p)", "f(p) = g(p) - 1"),
    (LIST, "data(p)", "increasing f within 0 <= p < 2"),
    (LIST, "data(p)", "injective (f, g) within 1 <= p < NNZ"),
    (LIST, "data(p)", "lexicographic (f, g) within 1 <= p < NNZ"),
    (ROWS, "data(p)", "nondecreasing f"),
    (ROWS, "data(p)", "nondecreasing f within 0 <= i < N"),
    (ROWS, "data(p)", "increasing f within 0 <= i < N"),
    (ROWS, "data(p)", "nonincreasing f within 0 <= i < N"),
    (ROWS, "data(p)", "increasing g within f(i) <= p < f(i + 1)"),
    (ROWS, "data(p)", "nonincreasing g within f(i) <= p < f(i + 1)"),
    (RUNS, "data(r)", "disjoint (f, g)"),
    (RUNS, "data(r)", "disjoint (f, g) within 1 <= r < NR"),
]


def models(relation):
    """Every shape and pair of short arrays of a few small numbers, and some longer ones."""
    numbers = range(-1, 3)
    lengths = ((1, 0), (1, 1), (2, 2), (3, 2)) if relation == ROWS else ((0, 0), (1, 1), (2, 2))
    lengths = (*lengths, (3, 3))
    rng = np.random.default_rng(0)
    for first, second in lengths:
        shape = (first - 1 if relation == ROWS else 2, 2)
        data = np.ones(first if relation == RUNS else second)
        if first == 3:
            pairs = [(rng.integers(-1, 3, 3), rng.integers(-1, 3, second)) for _ in range(50)]
            pairs += [(np.sort(f), g) for f, g in pairs]
        else:
            every = [itertools.product(numbers, repeat=n) for n in (first, second)]
            pairs = itertools.product(*every)
        for f, g in pairs:
            yield shape, {"f": np.array(f, int), "g": np.array(g, int), "data": data}


def accepted(layout, relation):
    for shape, arrays in models(relation):
        try:
            yield shape, arrays, validate(layout, shape, arrays, distinct=False)
        except InvalidTensorError:
            continue


def test_every_kind_of_property_is_modelled():
    kinds = {text.split()[0] for _, _, text in PROMISES}
    assert kinds - {"f(0)", "f(p)"} == set(KINDS)


@pytest.mark.parametrize(("relation", "value", "text"), PROMISES)
def test_whatever_validation_accepts_satisfies_the_axioms(relation, value, text):
    layout = sd.Layout("small", relation, value=value, properties=[text])
    operand = operand_of(layout)
    axioms = fa.axioms([operand])
    (item,) = layout.properties
    assert property_text(item) == text
    count = 0
    for _, arrays, sizes in accepted(layout, relation):
        named = {f"B_{name}": array for name, array in arrays.items()}
        env = {used: sizes[own] for own, used in operand.parameters}
        for axiom in axioms:
            assert holds(axiom, env, named, range(-1, 4)), (fo.text(axiom), arrays)
        count += 1
    assert count >= 3


@pytest.mark.parametrize(("relation", "value", "text"), PROMISES)
def test_axioms_have_a_model_for_empty_data(relation, value, text):
    """Arrays are functions of all integers to the solver, so that it sees more than is stored."""
    layout = sd.Layout("small", relation, value=value, properties=[text])
    operand = operand_of(layout)
    for extent in (0, 1):
        sizes = [fo.equal(terms.var(q), terms.const(extent)) for _, q in operand.parameters]
        if "f(0)" in text and extent == 0:
            continue
        solver = z3.Solver()
        solver.set(timeout=500)
        solver.from_string(script([*fa.axioms([operand]), *sizes], fo.Any(())))
        assert solver.check() != z3.unsat


# ---- holes that were found ---------------------------------------------------------------


def product(A, B):
    (i,) = sd.indices("i")
    y = sd.output()
    y[i] = A[i] * B[i]
    return y


@pytest.mark.parametrize("padding", [10**7, -5])
def test_keys_of_padding_are_not_stored_in_a_table(padding):
    """A filter that comes after the find: what the slots it skips hold was never validated."""
    layout = sd.Layout(
        "flagged",
        "[N, NNZ] -> { [p] -> [i] : 0 <= p < NNZ and i = crd(p) and flag(p) >= 1 and 0 <= i < N }",
        value="data(p)",
        properties=["injective crd"],
    )
    n = 200
    crd, flag = np.arange(n), np.ones(n, int)
    crd[5], flag[5] = padding, 0
    A = sd.from_arrays(layout, (n,), {"crd": crd, "flag": flag, "data": np.ones(n)})
    dense = np.zeros(n)
    dense[[3, 5, 7]] = 2.0
    B = sd.asarray(dense, "coo")
    truth = {"A": np.where(np.arange(n) == 5, 0.0, 1.0), "B": dense}
    special = sd.kernel(product).engine.specialise([A, B])
    with interpreting():
        check(special, {"A": A, "B": B}, truth)
    (unit,) = [ready.unit for ready in special.ready.values()]
    for variable, algorithm, rejected in unit.choices:
        if variable.startswith("A_"):
            assert algorithm not in ("table", "bitmap", "spread")
            assert "table: not proved: extent" in rejected


def test_neither_are_those_of_an_operand_that_is_probed():
    layout = sd.Layout(
        "flagged",
        "[N, NNZ] -> { [p] -> [i] : 0 <= p < NNZ and i = crd(p) and flag(p) >= 1 and 0 <= i < N }",
        value="data(p)",
        properties=["injective crd"],
    )
    arrays = {"crd": np.array([2, 10**7]), "flag": np.array([1, 0]), "data": np.ones(2)}
    A, x = sd.from_arrays(layout, (4,), arrays), np.array([-1.0, 0.5, 0.5, 2])

    def greater(A, x):
        (i,) = sd.indices("i")
        y = sd.output()
        y[i] = sd.maximum(A[i], x[i])
        return y

    special = sd.kernel(greater).engine.specialise([A, sd.asarray(x)])
    with interpreting():
        check(special, {"A": A, "x": sd.asarray(x)}, {"A": np.array([0.0, 0, 1, 0]), "x": x})
    (unit,) = [ready.unit for ready in special.ready.values()]
    assert [algorithm for _, algorithm, _ in unit.choices] != ["table"]
    assert all("table: not proved: extent" in rejected for *_, rejected in unit.choices)


def test_a_filter_is_not_dropped_for_what_holds_behind_it():
    """Entries promise coordinates below ``N``, and so what the filter asks; padding does not."""
    layout = sd.Layout(
        "capped",
        "[N, NNZ] -> { [p] -> [i] : 0 <= p < NNZ and i = crd(p) and crd(p) <= N and 0 <= i < N }",
        value="data(p)",
        properties=["injective crd"],
    )
    arrays = {"crd": np.array([2, 10**7, 0]), "data": np.array([1.0, 2.0, 3.0])}
    A = sd.from_arrays(layout, (4,), arrays)

    def same(A):
        (i,) = sd.indices("i")
        y = sd.output()
        y[i] = 2 * A[i]
        return y

    special = sd.kernel(same, out="dense").engine.specialise([A])
    with interpreting():
        check(special, {"A": A}, {"A": np.array([3.0, 0, 1, 0])})


def test_windows_may_be_cut_short_by_the_end():
    layout = sd.layouts["sell_sigma"](2, 4)
    dense = np.array([[1.0, 0, 2], [0, 0, 3], [4, 5, 6], [0, 0, 0], [7, 0, 0]])
    assert np.array_equal(sd.convert(dense, layout).validate().to_numpy(), dense)


def test_what_is_sought_is_part_of_the_width():
    i = terms.var("i")
    sought = terms.add(terms.scale(1000, i), terms.const(-7))
    key = Key(UF("f", (terms.var("p"),)), sought)
    find = Find("p", (terms.ZERO,), (terms.const(5),), (key,), "A")
    size = widths._Size({"i": 50}, 100, {})
    size.steps((find,))
    assert size.most == 50_007


def test_a_property_along_which_nothing_is_read_is_refused():
    with pytest.raises(LayoutError, match="'increasing f within 0 <= p < M' says nothing"):
        sd.Layout(
            "odd",
            "[N, M, NR] -> { [q, p] -> [i, p] : 0 <= q < NR and i = f(q) and 0 <= i < N "
            "and 0 <= p < M }",
            value="data(q, p)",
            properties=["increasing f within 0 <= p < M"],
        )


def test_a_size_below_0_is_refused():
    layout = sd.Layout(
        "segments",
        "[N, NR] -> { [q, p] -> [i] : 0 <= q < NR and ptr(q) <= p < ptr(q + 1) and i = crd(p) "
        "and 0 <= i < N }",
        value="data(p)",
        properties=["increasing crd within ptr(q) <= p < ptr(q + 1)"],
    )
    none = np.zeros(0, int)
    with pytest.raises(InvalidTensorError, match=r"ptr.shape\[0\] = 0 gives NR = -1"):
        sd.from_arrays(layout, (4,), {"ptr": none, "crd": none, "data": np.zeros(0)})


def test_numbers_along_the_morton_curve_are_not_negative():
    """Interleaved bits order numbers from 0 on; below, neighbours in order may go in circles."""
    layout = sd.Layout("curve", LIST, value="data(p)", properties=["morton (f, g)"])
    arrays = {"f": np.array([-1, 0]), "g": np.array([0, 0]), "data": np.ones(2)}
    with pytest.raises(InvalidTensorError, match="does not hold: f\\(0\\) = -1"):
        validate(layout, (2, 2), arrays)


@pytest.mark.parametrize("value", [2**49, -(2**49)])
def test_index_values_are_no_larger_than_widths_assume(value):
    layout = sd.layouts["dia"]
    arrays = {"offsets": np.array([value]), "data": np.ones((1, 3))}
    with pytest.raises(InvalidTensorError, match="outside what index arithmetic holds"):
        validate(layout, (3, 3), arrays)


def test_names_that_mean_something_to_the_solver():
    def rows(A, x):
        i, j = sd.indices("abs true")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    lowered = sd.kernel(rows).lower(sd.asarray(np.eye(3), "csr"), np.ones(3))
    assert lowered.proofs
    assert all(p.verdict == "proved" for p in lowered.proofs)
    assert any("abs'" in p.smtlib or "true'" in p.smtlib for p in lowered.proofs)
