"""Reductions whose implicit values are combined once, against the dense interpreter."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.contraction.algebra import EVERYWHERE, fill_of, support
from sparsedsl.contraction.expressions import dtype_of
from sparsedsl.contraction.implicit import restated
from sparsedsl.contraction.interpret import interpret
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Tensor,
)
from sparsedsl.contraction.operators import MONOIDS

AIJ = Access("A", (Affine.of("i"), Affine.of("j")))
BIJ = Access("B", (Affine.of("i"), Affine.of("j")))
BODIES = {
    "value": AIJ,
    "negated": Call("neg", (AIJ,)),
    "shifted": Call("add", (AIJ, Literal(2, "int8"))),
    "union": Call("maximum", (AIJ, BIJ)),
    "intersection": Call("add", (Call("mul", (AIJ, BIJ)), Literal(1, "int8"))),
    "position": Call("mul", (AIJ, IndexValue(Affine.of("j")))),
    "compared": Call("ge", (AIJ, BIJ)),
}
FILLS = {
    "float64": (0.0, 1.0, -1.0, 0.5, math.inf, -math.inf, math.nan),
    "int32": (0, 1, -2),
    "int8": (0, 3, -128),
    "uint64": (0, 1, 2**63),
    "bool": (False, True),
}


def program(monoid, body, fill, dtype, indices=("j",)):
    tensors = tuple(Tensor(name, 2, dtype, fill) for name in "AB")
    left = tuple(Affine.of(i) for i in "ij" if i not in indices)
    reduced = Reduce(monoid, indices, body)
    draft = Program(tensors, (), (), ())
    target = Tensor("y", len(left), MONOIDS[monoid].result(dtype_of(body, draft)))
    return Program(tensors, (target,), (Assign("y", left, reduced),), ("y",))


def arrays(rng, shape, fill, dtype):
    """Values of each kind, fills stored explicitly among them; a full row and an empty one."""
    values, patterns = {}, {}
    for name in "AB":
        stored = rng.random(shape) < 0.4
        stored[:1], stored[-1:] = True, False
        drawn = rng.integers(0 if np.dtype(dtype).kind in "bu" else -3, 4, shape).astype(dtype)
        if dtype == "float64":
            odd = rng.choice([math.nan, math.inf, -math.inf, -0.0, fill], shape)
            drawn = np.where(rng.random(shape) < 0.2, odd, drawn)
        values[name] = np.where(stored, drawn, np.asarray(fill, dtype))
        patterns[name] = stored
    return values, patterns


@pytest.mark.parametrize("dtype", FILLS)
@pytest.mark.parametrize("monoid", MONOIDS)
def test_values_are_those_of_every_point(monoid, dtype):
    rng, changed = np.random.default_rng(list(MONOIDS).index(monoid)), 0
    for body in BODIES.values():
        for fill in FILLS[dtype]:
            if dtype == "bool" and body is BODIES["negated"]:
                continue  # NumPy has no negative of bools
            for indices in (("j",), ("i", "j")):
                given = program(monoid, body, fill, dtype, indices)
                # what annihilates is exact for the values that are checked, not for all
                found = restated(given.statements, given, annihilating=False)
                if found is None:
                    continue
                changed += 1
                more, statements = found
                instead = replace(more, statements=statements)
                for shape in ((3, 4), (1, 1), (2, 0), (0, 3)):
                    values, patterns = arrays(rng, shape, fill, dtype)
                    with np.errstate(all="ignore"):
                        wanted = interpret(given, values, patterns)["y"]
                        result = interpret(instead, values, patterns)["y"]
                    np.testing.assert_allclose(result, wanted, rtol=1e-12)
                    assert result.dtype == wanted.dtype
    assert changed > (0 if dtype in ("uint64", "bool") else 4)


def test_what_remains_is_reduced_over_stored_entries_alone():
    for monoid, body in (("max", AIJ), ("mul", AIJ), ("all", AIJ), ("add", BODIES["shifted"])):
        given = program(monoid, body, 0, "float64")
        more, statements = restated(given.statements, given, annihilating=True)
        *before, last = statements
        for statement in before:
            conjunctions = support(statement.expression, more)
            assert conjunctions not in (EVERYWHERE, ()), monoid
            assert fill_of(statement.expression, more) == more.tensor(statement.target).fill
        assert not any(isinstance(e, Reduce) for e in (last.expression,))


@pytest.mark.parametrize(
    ("monoid", "body", "dtype"),
    [
        ("add", AIJ, "float64"),  # the fill is the identity
        ("any", AIJ, "float64"),
        ("max", IndexValue(Affine.of("j")), "float64"),  # no fill
        (
            "add",
            Call("add", (AIJ, Literal(2, "uint64"))),
            "uint64",
        ),  # NumPy would multiply in floating point
    ],
)
def test_what_has_nothing_to_combine_is_left(monoid, body, dtype):
    given = program(monoid, body, 0, dtype)
    assert restated(given.statements, given, annihilating=True) is None


def test_names_of_users_are_kept_apart():
    given = program("max", AIJ, 0, "float64")
    given = replace(given, inputs=(*given.inputs, Tensor("y_stored", 2, "float64")))
    more, _ = restated(given.statements, given, annihilating=True)
    names = [t.name for t in (*more.inputs, *more.outputs)]
    assert len(set(names)) == len(names)


REDUCTIONS = {"min": np.min, "max": np.max, "prod": np.prod, "all": np.all, "sum": np.sum}


@pytest.mark.parametrize("layout", ["csr", "csc", "coo_unsorted", "dcsr", "bcsr", "dia", "ell"])
def test_rows_and_columns_of_layouts(layout):
    rng = np.random.default_rng(4)
    dense = rng.integers(-3, 4, (5, 6)) * 1.0
    mask = rng.random((5, 6)) < 0.5
    mask[2], mask[3] = True, False
    target = sd.layouts[layout](2, 3) if layout == "bcsr" else sd.layouts[layout]

    for name, axis in zip(REDUCTIONS, (1, 0, 1, 1, 0), strict=True):

        def body(A, name=name, axis=axis):
            i, j = sd.indices("i j")
            y = sd.output()
            value = A[i, j] + 1 if name == "sum" else A[i, j]
            y[j if axis == 0 else i] = getattr(sd, name)(value, over=i if axis == 0 else j)
            return y

        stored = np.where(mask, dense, 0)
        A = store(stored, mask, target)
        with interpreting(), remembering_proofs():
            check(sd.kernel(body).engine.specialise([A]), {"A": A}, {"A": stored})


def test_a_row_of_very_many_columns_is_reduced_at_once():
    arrays = {
        "indptr": np.array([0, 2, 3, 3]),
        "indices": np.array([5, 2**35, 7]),
        "data": np.array([-1.0, -2.0, -4.0]),
    }
    A = sd.from_arrays("csr", (3, 2**40), arrays)

    @sd.kernel
    def rows(A):
        i, j = sd.indices("i j")
        low, high, total = sd.output(), sd.output(), sd.output()
        low[i] = sd.min(A[i, j], over=j)
        high[i] = sd.max(A[i, j], over=j)
        total[i] = sd.sum(sd.exp(A[i, j]), over=j)
        return low, high, total

    low, high, total = rows(A)
    assert low.tolist() == [-2, -4, 0]
    assert high.tolist() == [0, 0, 0]
    stored = [math.exp(-1) + math.exp(-2) - 2, math.exp(-4) - 1, 0]
    np.testing.assert_allclose(total - 2.0**40, stored, atol=1e-3)


def test_infinite_values_that_meet_implicit_zeros_are_not_skipped():
    @sd.kernel
    def largest(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = sd.max(A[i, j] * x[j], over=j)
        return y

    A = sd.convert(np.array([[0.0, 2.0, 0.0], [0.0, 0.0, -1.0]]), "csr")
    for x in (np.array([1.0, 2.0, 3.0]), np.array([np.inf, 2.0, 3.0])):
        with np.errstate(invalid="ignore"):
            wanted = (A.to_numpy() * x).max(axis=1)
        np.testing.assert_array_equal(largest(A, x), wanted)


@pytest.mark.parametrize("order", ["i j", "j i"])
def test_a_forced_order_visits_what_is_stored_alone_too(order):
    @sd.kernel(order=order)
    def largest(A):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = sd.max(A[i, j], over=j)
        return y

    dense = np.array([[0.0, -2.0], [-1.0, -3.0]])
    A = sd.convert(dense, "csr" if order == "i j" else "csc")
    assert largest(A).tolist() == [0, -1]
    stored, counted, _ = largest.lower(A).plan.split("deliver to")[:3]
    for plan in stored, counted:
        assert "scan A: A_p in A_indptr" in plan
        assert "find in A" not in plan


def test_a_forced_order_of_several_statements_names_all_their_indices():
    def chained(A, B, C):
        i, j, k, m = sd.indices("i j k m")
        T, D = sd.output("csr"), sd.output()
        T[i, j] = A[i, k] * B[k, j]
        D[i, m] = T[i, j] * C[j, m]
        return D

    rng = np.random.default_rng(0)
    A, B, C = (rng.integers(0, 3, (4, 4)).astype(float) for _ in range(3))
    given = sd.convert(A, "csr"), sd.convert(B, "csr"), C
    for order in ("i k j m", "i j k m", "m j k i"):
        np.testing.assert_array_equal(sd.kernel(chained, order=order)(*given), A @ B @ C)
    with pytest.raises(sd.PlanError, match="the indices i j k m, found 'i k j'"):
        sd.kernel(chained, order="i k j")(*given)


def test_a_compiled_kernel_reduces_nothing_to_the_identity():
    """It is called with any extents, whatever those were that it was compiled for."""

    @sd.kernel
    def largest(A):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = sd.max(A[i, j], over=j)
        return y

    compiled = largest.compile(sp.csr_array((5, 4)))
    for columns, value in ((4, 0.0), (0, -np.inf), (1, 0.0)):
        found = compiled(sp.csr_array((5, columns)))
        np.testing.assert_array_equal(found, np.full(5, value))
