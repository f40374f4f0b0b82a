"""What is proved of finds and what is not, and that the axioms are true of data."""

import numpy as np
import pytest
import scipy.sparse as sp
from expressions import EXPRESSIONS, draw
from expressions.draw import structured
from levels import check, interpreting, remembering_proofs, store
from small_models import holds, operand_of

import sparsedsl as sd
from sparsedsl.find import algorithms as al
from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find import site as si
from sparsedsl.find.context import Context
from sparsedsl.find.queries import Prover
from sparsedsl.find.smt import Question, prove
from sparsedsl.iteration import classify
from sparsedsl.iteration.nodes import Find, Guard, Key, Let, Scan
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Term

BLOCKS = {
    "bcsr": (2, 3),
    "bcsc": (3, 2),
    "sell": (2,),
    "sell_sigma": (2, 4),
    "csb": (3,),
    "nm": (2, 4),
    "hicoo": (2,),
    "banded": (2, 1),
}


def layout_named(name):
    layout = sd.layouts[name]
    layout = layout(*BLOCKS[name]) if name in BLOCKS else layout
    return layout.of(2) if hasattr(layout, "of") else layout


def reached(operand):
    """Bind every dimension of an operand, i and j given: closed forms and finds."""
    steps = [
        Scan(index, (terms.const(0),), (terms.var(f"n_{index}"),), None) for index in ("i", "j")
    ]
    bound = frozenset({"i", "j"})
    waiting = list(operand.dims)
    while waiting:
        values = {d: classify.closed_form(operand, d, bound) for d in waiting}
        limits = {d: classify.bounds(operand, d, bound) for d in waiting}
        sought = {d: classify.keys(operand, d, bound) for d in waiting}
        ready = [d for d in waiting if values[d] is not None]
        ready += [d for d in waiting if sought[d].complete and limits[d] is not None]
        dim = [*ready, *(d for d in waiting if limits[d] is not None)][0]
        if values[dim] is not None:
            steps.append(Let(dim, values[dim], "determined", operand.name))
        else:
            lows, highs = limits[dim].lows, limits[dim].highs
            scan = Scan(dim, lows, highs, operand.name)
            find = Find(dim, lows, highs, sought[dim].keys, operand.name)
            steps.append(find if dim in ready else scan)
        waiting.remove(dim)
        bound |= {dim}
    return tuple(steps)


def facts_of(operand, steps, find, depth):
    place = steps.index(find)
    context = {operand.name: operand}
    before, whole = Context(steps[:place], context), Context(steps, context)
    return Prover(4000).find_facts(before, whole, find, place, depth)


ALL = {si.UNIQUE, si.SORTED, si.RISING}

# layout, dimension found, after how many steps its range is known, what is proved
VERDICTS = [
    ("csr", "B_p", 1, ALL),
    ("csc", "B_p", 2, ALL),
    ("coo", "B_p", 0, ALL),
    ("coo_unsorted", "B_p", 0, {si.UNIQUE}),
    ("dcsr", "B_q", 0, ALL),
    ("bcsr", "B_p", 1, ALL),
    ("bcsc", "B_p", 2, ALL),
    ("dia", "B_d", 0, {si.UNIQUE}),
    ("ell", "B_s", 1, ALL),
    ("sell", "B_k", 1, ALL),
    ("sell_sigma", "B_s", 1, {si.UNIQUE}),
    ("morton", "B_p", 0, {si.UNIQUE, si.CURVED}),
    ("hicoo", "B_b", 0, {si.UNIQUE, si.CURVED}),
    ("hicoo", "B_e", 3, ALL),
    ("coo_repeated", "B_p", 0, set()),
    ("vbl", "B_b", 1, ALL),
    ("rle", "B_r", 1, ALL),
]


@pytest.mark.parametrize(("name", "dim", "depth", "expected"), VERDICTS)
def test_verdicts(name, dim, depth, expected):
    operand = operand_of(layout_named(name))
    steps = reached(operand)
    find = next(s for s in steps if isinstance(s, Find) and s.variable == dim)
    assert facts_of(operand, steps, find, depth) == expected


@pytest.mark.parametrize("name", ["csr", "coo_unsorted", "bcsr", "dia", "ell", "hicoo"])
def test_a_coordinate_has_one_place(name):
    assert Prover(4000).one_place(operand_of(layout_named(name)))


def without(name, *kinds):
    """A catalogue layout without some of its properties."""
    layout = layout_named(name)
    from sparsedsl.layouts.properties import property_text
    from sparsedsl.spf.text import relation_text

    kept = [t for t in map(property_text, layout.properties) if not t.startswith(kinds)]
    value = terms.text(Term(((1, layout.value),)))
    return sd.Layout(f"loose_{name}", relation_text(layout.relation), value=value, properties=kept)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("csr", "increasing"),
        ("coo", "lexicographic"),
        ("dia", "injective"),
        ("morton", "morton"),
    ],
)
def test_nothing_follows_without_the_property(name, kinds):
    operand = operand_of(without(name, kinds))
    assert not Prover(400).one_place(operand)
    steps = reached(operand)
    find = next(s for s in steps if isinstance(s, Find))
    assert facts_of(operand, steps, find, 0) == frozenset()


@pytest.mark.parametrize(
    ("layout", "proved"),
    [
        (layout_named("csr"), True),
        (layout_named("bcsr"), True),
        (without("csr", "nondecreasing"), False),
    ],
)
def test_a_range_runs_forward_where_its_pointers_never_fall(layout, proved):
    operand = operand_of(layout)
    steps = reached(operand)
    place, find = next((p, s) for p, s in enumerate(steps) if isinstance(s, Find))
    assert Prover(4000).forward(Context(steps[:place], {"B": operand}), find) is proved


def test_columns_are_not_ordered_across_rows():
    operand = operand_of(layout_named("csr"))
    steps = reached(operand)
    find = next(s for s in steps if isinstance(s, Find))
    end = terms.uf("B_indptr", terms.var("n_i"))
    across = Find(find.variable, (terms.const(0),), (end,), find.keys, "B")
    assert facts_of(operand, (*steps[:-1], across), across, 0) == frozenset()


def test_columns_of_coordinates_alone_are_not_ordered():
    operand = operand_of(layout_named("coo"))
    steps = reached(operand)
    find = next(s for s in steps if isinstance(s, Find))
    key = Key(UF("B_crd1", (terms.var("B_p"),)), terms.var("j"))
    alone = Find(find.variable, find.lows, find.highs, (key,), "B")
    assert facts_of(operand, (*steps[:-1], alone), alone, 0) == frozenset()


def test_rows_of_sorted_coordinates_are_ordered_but_repeat():
    operand = operand_of(layout_named("coo"))
    steps = reached(operand)
    find = next(s for s in steps if isinstance(s, Find))
    key = Key(UF("B_crd0", (terms.var("B_p"),)), terms.var("i"))
    rows = Find(find.variable, find.lows, find.highs, (key,), "B")
    assert facts_of(operand, (*steps[:-1], rows), rows, 0) == frozenset()


def test_cursor_needs_queries_that_rise():
    """Sought rows of CSC fall back to 0 with each new column when columns are outermost."""
    operand = operand_of(layout_named("coo"))
    i, j, *rest = reached(operand)
    steps = (j, i, *rest)
    find = next(s for s in steps if isinstance(s, Find))
    assert facts_of(operand, steps, find, 0) == {si.UNIQUE, si.SORTED}


def test_cursor_is_set_up_again_where_its_range_moves():
    rng = np.random.default_rng(1)
    with interpreting(), remembering_proofs():
        expr = EXPRESSIONS["product"]
        tensors, truth = draw(expr, {"A": "csr", "B": "csc"}, rng)
        kernel = sd.kernel(find={"B": "merge"})(expr.body)
        special = kernel.engine.specialise(list(tensors.values()))
        check(special, tensors, truth)


@pytest.mark.parametrize(("name", "dim"), [("morton", "p"), ("hicoo", "b")])
def test_entries_along_the_morton_curve_are_searched(name, dim):
    rng = np.random.default_rng(5)
    few, many = (sp.random_array((90, 70), density=d, rng=rng, format="csr") for d in (0.01, 0.4))
    operand = sd.convert(many, layout_named(name))
    kernel = sd.kernel(order="i j")(EXPRESSIONS["product"].body)
    assert f"find in B by binary: B_{dim} " in kernel.explain(few, operand)
    assert np.array_equal(kernel(few, operand).to_numpy(), (few * many).toarray())


# ---- axioms hold of data ---------------------------------------------------------------

CATALOGUE = (
    *("csr", "csc", "coo", "coo_unsorted", "csf", "morton", "hicoo", "dcsr", "dcsc", "bcsr"),
    *(
        "bcsc",
        "vbl",
        "dia",
        "ell",
        "sell",
        "sell_sigma",
        "csb",
        "rle",
        "banded",
        "skyline",
        "triangular",
    ),
    *("ragged", "nm", "pattern", "bitmap"),
)


def model(name, tensor):
    operand = operand_of(layout_named(name))
    arrays = {f"B_{a}": x for a, x in tensor.arrays.items()}
    env = {used: int(tensor.sizes[own]) for own, used in operand.parameters if own in tensor.sizes}
    return operand, env, arrays


def random_tensor(name, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(0, 5, 2))
    mask = structured(layout_named(name), shape, rng)
    return store(np.ones(shape), mask, layout_named(name))


@pytest.mark.parametrize("name", CATALOGUE)
def test_axioms_hold_of_data(name):
    for seed in range(12):
        tensor = random_tensor(name, seed)
        operand, env, arrays = model(name, tensor)
        for axiom in fa.axioms([operand]):
            assert holds(axiom, env, arrays, range(6)), (fo.text(axiom), tensor.arrays)


def test_a_wrong_axiom_is_seen():
    """The check above would notice: these do not hold of a matrix with two full rows."""
    tensor = store(np.ones((2, 3)), np.ones((2, 3), bool), layout_named("csr"))
    _, env, arrays = model("csr", tensor)
    a, b = terms.var("a'"), terms.var("b'")
    for function in ("B_indices", "B_indptr"):
        calls = [UF(function, (x,)) for x in (a, b)]
        left, right = (Term(((1, c),)) for c in calls)
        falling = fo.Implies(fo.less(a, b), fo.less(right, left))
        assert not holds(fo.Forall(("a'", "b'"), falling, tuple(calls)), env, arrays, range(7))
    across = fo.Implies(fo.less(a, b), fo.less(terms.uf("B_indices", a), terms.uf("B_indices", b)))
    assert not holds(fo.Forall(("a'", "b'"), across, ()), env, arrays, range(7))


@pytest.mark.parametrize("name", CATALOGUE)
def test_axioms_are_not_contradictory(name):
    operand = operand_of(layout_named(name))
    steps = reached(operand)
    hypotheses = list(fa.facts(steps, {"B": operand}))
    for dim in operand.dims:
        hypotheses += fa.instances(operand, dim, [used for _, used in operand.functions])
        hypotheses.append(fo.less(terms.var(dim), terms.var(f"{dim}__2")))
        break
    question = Question("false", fa.axioms([operand]), tuple(hypotheses), fo.Any(()), "")
    assert not prove(question, 1500).proved


def test_false_follows_from_a_contradiction():
    x = terms.var("x")
    question = Question("false", (), (fo.less(x, x),), fo.Any(()), "")
    assert prove(question, 1500).proved


# ---- forced finds ----------------------------------------------------------------------


@pytest.mark.parametrize("find", [a.name for a in al.ALGORITHMS])
@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "coo_unsorted", "dcsr", "dia", "ell"])
@pytest.mark.parametrize("name", ["product", "spmspv", "maximum"])
def test_forced_finds(name, layout, find):
    rng = np.random.default_rng(2)
    expr = EXPRESSIONS[name]
    layouts = {n: layout if r == 2 else "csf" for n, r in expr.sparse()}
    layouts["A"] = "csr"
    tensors, truth = draw(expr, layouts, rng)
    with interpreting(), remembering_proofs():
        kernel = sd.kernel(find=find)(expr.body)
        special = kernel.engine.specialise(list(tensors.values()))
        try:
            check(special, tensors, truth, expr.rtol)
        except sd.PlanError as error:
            reasons = ("not proved", "range is known only inside the probe")
            assert any(r in error.message for r in reasons)  # noqa: PT017
            assert "use find=" in error.hint  # noqa: PT017
            return
        chosen = [c for unit in special.ready.values() for c in unit.unit.choices]
        assert all(algorithm == find for _, algorithm, _ in chosen)
        for least, most in ((0, 2), (2, 6)):
            check(special, *draw(expr, layouts, rng, least=least, most=most), expr.rtol)


def test_unknown_find():
    a = sd.asarray(np.eye(3), "csr")
    for find in ("bisect", {"B": "bisect"}):
        with pytest.raises(sd.PlanError, match="expected find to be one of"):
            sd.kernel(find=find)(EXPRESSIONS["product"].body)
    kernel = sd.kernel(find={"Z": "merge"})(EXPRESSIONS["product"].body)
    with pytest.raises(sd.PlanError, match="'Z', which is no operand"):
        kernel.lower(a, a).plan


def test_guards_are_part_of_contexts():
    """A fact behind a guard is not assumed before it."""
    operand = operand_of(layout_named("bitmap"))
    steps = reached(operand)
    mask = Term(((1, UF("B_mask", (terms.var("B_i"), terms.var("B_j")))),))
    goal = fo.equal(mask, terms.const(1))
    prover = Prover(2000)
    context = Context(steps, {"B": operand})
    assert not prover.follows("mask", context, goal, "nothing")
    guard = next(c for c in operand.constraints if terms.ufs(c.term))
    passed = Context((*steps, Guard(guard, "B")), {"B": operand})
    assert prover.follows("mask", passed, goal, "nothing")
