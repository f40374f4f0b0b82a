"""What is assumed after the steps of a plan holds wherever a walk over data has passed them."""

import numpy as np
import pytest
from expressions import EXPRESSIONS, draw
from levels import interpreting, remembering_proofs
from small_models import OutsideError, holds, operand_of, value_of

import sparsedsl as sd
from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find import prove
from sparsedsl.find.context import Context
from sparsedsl.find.queries import Prover
from sparsedsl.iteration.nodes import Exclude, Find, Guard, Key, Let, Merge, Probe, Scan
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Constraint


class Walk:
    """Goes through the steps of a chain by their definition, and tests facts at every point."""

    def __init__(self, steps, operands, arrays):
        self.steps, self.operands, self.arrays = steps, operands, arrays
        self.points = 0

    def value(self, term, env):
        return value_of(term, env, self.arrays)

    def range(self, step, env):
        lows, highs = ([self.value(t, env) for t in side] for side in (step.lows, step.highs))
        return range(max(lows), min(highs))

    def assumed(self, place, env):
        """Every fact of the steps before ``place`` holds, those still to come being pending."""
        pending = tuple(s for s in self.steps[place:] if isinstance(s, Guard))
        for formula in fa.facts(self.steps[:place], self.operands, pending):
            assert holds(formula, env, self.arrays, ()), (fo.text(formula), env)
        self.points += 1

    def go(self, place, env):
        self.assumed(place, env)
        if place == len(self.steps):
            return
        for after in self.step(self.steps[place], env):
            self.go(place + 1, after)

    def hits(self, find, env):
        for at in self.range(find, env):
            here = env | {find.variable: at}
            if all(holds(fa.matched(key), here, self.arrays, ()) for key in find.keys):
                yield here

    def step(self, step, env):
        match step:
            case Scan(variable):
                yield from (env | {variable: at} for at in self.range(step, env))
            case Let(variable, value):
                yield env | {variable: self.value(value, env)}
            case Guard(constraint):
                if holds(fo.holds(constraint), env, self.arrays, ()):
                    yield env
            case Find():
                yield from self.hits(step, env)
            case Probe() | Exclude():
                yield env
            case Merge(variable, parts):
                yield from self.merged(variable, parts, env)

    def merged(self, variable, parts, env):
        """Cursors stand at the first entry that is not before the coordinate."""
        ranges = {p.variable: (p, self.range(p, env)) for p in parts}
        keys = {
            name: {self.value(p.key, env | {name: at}): at for at in places}
            for name, (p, places) in ranges.items()
        }
        for coordinate in sorted({key for found in keys.values() for key in found}):
            here = env | {variable: coordinate}
            for name, (_, places) in ranges.items():
                ahead = [at for key, at in keys[name].items() if key >= coordinate]
                here[name] = min(ahead, default=max(places.stop, places.start))
            yield here


CASES = [
    ("product", "csr"),
    ("product", "coo_unsorted"),
    ("product", "dia"),
    ("product", "hash"),
    ("product", "sell"),
    ("product", "vbl"),
    ("product", "hicoo"),
    ("add", "csr"),
    ("add", "bitmap"),
    ("spmv", "ell"),
    ("spmv", "skyline"),
    ("spmv", "jad"),
    ("spgemm", "bcsr"),
]
BLOCKS = {"sell": (2,), "hicoo": (2,), "bcsr": (2, 3), "hash": (4,)}


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_facts_hold_at_every_point_that_is_reached(name, layout):
    rng = np.random.default_rng(4)
    expr = EXPRESSIONS[name]
    chosen = sd.layouts[layout]
    layouts = {n: "csr" if r == 2 else "csf" for n, r in expr.sparse()}
    layouts["A"] = chosen(*BLOCKS[layout]) if layout in BLOCKS else chosen
    points = 0
    for least, most in ((0, 2), (3, 5)):
        tensors, _ = draw(expr, layouts, rng, least=least, most=most)
        with remembering_proofs():
            units = sd.kernel(expr.body).lower(*tensors.values()).units
        for unit in units:
            nest = unit.nest
            for chain in nest.chains:
                operands = {o.name: o for o in chain.operands}
                if any(n not in tensors for o in operands.values() for n in (o.tensor.name,)):
                    continue  # a copy that is made before
                arrays, env = bindings(operands.values(), tensors)
                walk = Walk(nest.prefix + chain.steps, operands, arrays)
                walk.go(0, env | extents(expr, tensors))
                points += walk.points
    assert points > 5


def bindings(operands, tensors):
    arrays, env = {}, {}
    for operand in operands:
        tensor, pattern = tensors[operand.tensor.name], tensors[operand.pattern]
        for own, used in operand.functions:
            source = tensor if own == operand.layout.value.function else pattern
            arrays[used] = source.arrays[own]
        env |= {used: tensor.sizes[own] for own, used in operand.parameters if own in tensor.sizes}
    return arrays, env


def extents(expr, tensors):
    found = {}
    for name, modes in expr.operands:
        for index, extent in zip(modes, tensors[name].shape, strict=True):
            found[f"n_{index}"] = extent
    return found


FLAGGED = sd.Layout(
    "flagged",
    "[N, M, NNZ] -> { [p] -> [i, j] : 0 <= p < NNZ and i = crd(p) and j = cols(p) "
    "and flag(p) >= 1 and 0 <= i < N and 0 <= j < M }",
    value="data(p)",
    properties=["injective (crd, cols)"],
)


def test_padding_promises_nothing_until_its_guard_is_passed():
    operand = operand_of(FLAGGED)
    p = Scan("B_p", (terms.ZERO,), (terms.var("B_NNZ"),), "B")
    i = Let("i", terms.uf("B_crd", terms.var("B_p")), "load", "B")
    guard = Guard(next(c for c in operand.constraints if "flag" in str(c)), "B")
    goal = fo.less(terms.var("i"), terms.var("n_i"))
    operands, prover = {"B": operand}, Prover(2000)
    for steps, pending, follows in [
        ((p, i), (guard,), False),
        ((p, i, guard), (), True),
        ((p, guard, i), (), True),
    ]:
        assert prover.follows("", Context(steps, operands), goal, "", pending) is follows
    held = fo.less(terms.uf("B_crd", terms.var("B_p")), terms.var("n_i"))
    assert not prover.follows("", Context((), operands), held, "")


def test_a_cursor_needs_queries_that_rise_in_every_loop():
    """Rows rise with the outer loop; columns fall with the inner one."""
    operand = operand_of(sd.layouts["coo"].of(2))
    n = terms.var("n_j")
    i, j = (Scan(x, (terms.ZERO,), (terms.var(f"n_{x}"),), None) for x in "ij")
    at = (terms.var("B_p"),)
    for column, rising in [
        (terms.var("j"), True),
        (terms.subtract(n, terms.add(terms.var("j"), terms.ONE)), False),
    ]:
        keys = (Key(UF("B_crd0", at), terms.var("i")), Key(UF("B_crd1", at), column))
        find = Find("B_p", (terms.ZERO,), (terms.var("B_NNZ"),), keys, "B")
        steps, operands = (i, j, find), {"B": operand}
        found = Prover(2000).find_facts(
            Context(steps[:2], operands), Context(steps, operands), find, 2, 0
        )
        assert ("rising" in found) is rising


def test_a_sign_that_a_guard_ensures_counts_after_it():
    """Nothing may be loaded at a variable before the guard that keeps it from falling below 0."""
    operand = operand_of(sd.layouts["csr"])
    k = Scan("k", (terms.ZERO,), (terms.var("n_k"),), None)
    row = terms.subtract(terms.var("k"), terms.ONE)
    i = Let("i", row, "determined", "B")
    load = Let("q", terms.uf("B_indptr", terms.var("i")), "load", "B")
    guard = Guard(Constraint(terms.var("i"), equality=False), "B")
    for steps, signed in (((k, i, guard, load), True), ((k, i, load, guard), False)):
        signs = prove.nonnegative(Prover(2000), Context(steps, {"B": operand}))
        assert ("i" in signs) is signed


def test_values_laid_out_have_no_position_that_others_follow():
    """``v`` stands where ``u`` does: then ``u`` must be found at a position, not as a value."""

    def weighted(A, u, v):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * u[j] * v[j]
        return y

    rng = np.random.default_rng(0)
    A = rng.integers(0, 3, (6, 8)) * (rng.random((6, 8)) < 0.5)
    w = np.array([0, 1, 0, 2, 3, 0, 0, 1.0])
    u = sd.asarray(w, "csf")
    v = sd.from_arrays(u.layout, (8,), {**u.arrays, "data": u.arrays["data"] * 2})
    tensors = [sd.asarray(A.astype(float), "csr"), u, v]
    with interpreting():
        assert np.array_equal(sd.kernel(weighted)(*tensors), A @ (2 * w * w))
        for name in ("u", "v"):
            try:
                found = sd.kernel(find={name: "spread"})(weighted)(*tensors)
            except sd.PlanError as error:
                assert "neutral" in error.message  # noqa: PT017
            else:
                assert np.array_equal(found, A @ (2 * w * w))


def test_the_walk_would_notice_a_wrong_fact(monkeypatch):
    right = fa.in_range

    def off_by_one(variable, lows, highs):
        return right(terms.subtract(variable, terms.ONE), lows, highs)

    monkeypatch.setattr(fa, "in_range", off_by_one)
    with pytest.raises((AssertionError, OutsideError, sd.PlanError)):
        test_facts_hold_at_every_point_that_is_reached("product", "csr")
