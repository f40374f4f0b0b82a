"""Rows with equal indices taken together: what they come to, their bits, what is left alone."""

from dataclasses import replace

import numpy as np
import pytest
from row_kernels import (
    begin,
    e,
    end,
    entry,
    i,
    j,
    k,
    key,
    looked_up,
    n,
    over,
    p,
    params,
    product,
    q,
    run_by,
    slot,
)

from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.loops import alike, rowlanes
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    BOOL,
    Allocate,
    Apply,
    Assign,
    Const,
    For,
    If,
    Kernel,
    Load,
    Store,
    Var,
)
from sparsedsl.loops.supernodes import supernodes
from sparsedsl.loops.verify import verify

ALIKE = (frozenset(("A_indptr", "A_indices")), frozenset(("M_indptr", "M_indices")))


def added(dtype="float64", index="int32", *, limit=n):
    """y[e] = sum(M[i, j] * A[i, k] * B[k, j]) for each entry e of M, each with a slot."""
    low, counted, untested = lb.ivar("low"), lb.ivar("counted"), Var("untested", BOOL)
    a, m, zero = Var("a", dtype), Var("m", dtype), Const(0.0, dtype)
    place, own = lb.ivar("place"), lb.sub(e, low)
    beyond = lb.add(n, lb.bit_and(key, 7))
    tested = lb.disj(untested, lb.lt(slot, limit))
    add = Store(
        "sums", (lb.sub(place, low),), product(dtype, m, a, Load("B_data", (q,), dtype)), "add"
    )
    met = (Assign(counted, lb.add(counted, 1)), Assign(m, Load("values", (slot,), dtype)), add)
    inner = over(
        *("B", k, q, Assign(j, entry("B", q)), Assign(slot, lb.load("slots", j))),
        *(Assign(place, lb.add(low, slot)), If(tested, met)),
    )
    value = Var("value", dtype)
    body = (
        Assign(low, lb.load("M_indptr", i)),
        Assign(untested, lb.lt(50, counted)),
        over(
            *("M", i, e, lb.store("slots", (entry("M", e),), lb.cast(own, "uint32"))),
            Store("values", (own,), Load("M_data", (e,), dtype)),
        ),
        over(*("A", i, p, Assign(a, Load("A_data", (p,), dtype)), Assign(k, entry("A", p)), inner)),
        over(
            *("M", i, e, Assign(key, entry("M", e))),
            lb.store("slots", (key,), lb.cast(beyond, "uint32")),
        ),
        over(
            *("M", i, e, Assign(value, Load("sums", (own,), dtype))),
            *(Store("sums", (own,), zero), Store("y", (e,), value)),
        ),
    )
    made = (
        *(Allocate(name, dtype, (lb.add(n, 8),), zero) for name in ("sums", "values")),
        Allocate("slots", "uint32", (n,), None),
        For(key, lb.i(0), n, (lb.store("slots", (key,), lb.cast(beyond, "uint32")),)),
        Assign(counted, lb.i(0)),
    )
    return Kernel("rows", params(dtype, index), (*made, For(i, begin, end, body)), ())


def runs(rng, rows, columns, dtype, index, *, values=(-2, -1, 0, 0.5, 3)):
    """A matrix of rows that often have the indices of the one before, in any order."""
    found = []
    while len(found) < rows:
        several = rng.choice(columns, rng.choice([0, 1, 3, 7, columns]), replace=False)
        found += [several] * int(rng.integers(1, 10))
        if several.size and several.size < columns and rng.random() < 0.5:
            other = several.copy()  # as long as the one before, one index is another one
            other[-1] = rng.choice(np.setdiff1d(np.arange(columns), several))
            found.append(other)
    found = found[:rows]
    pointer = np.r_[0, np.cumsum([len(row) for row in found])].astype(index)
    data = rng.choice(np.array(values, dtype), pointer[-1])
    return pointer, np.concatenate(found).astype(index), data


ROWS, COLUMNS = 50, 12


def given(seed=0, dtype="float64", index="int32", **values):
    rng = np.random.default_rng(seed)
    shapes = {"A": (ROWS, COLUMNS), "M": (ROWS, COLUMNS), "B": (COLUMNS, COLUMNS)}
    made = {x: runs(rng, *shape, dtype, index, **values) for x, shape in shapes.items()}
    if seed % 2:
        made["M"] = (*made["A"][:2], rng.permutation(made["A"][2]))
    arrays = {
        f"{x}_{what}": array
        for x, parts in made.items()
        for what, array in zip(("indptr", "indices", "data"), parts, strict=True)
    }
    y = np.full(arrays["M_data"].size, 77, dtype)
    return {**arrays, "y": y, "begin": 0, "end": ROWS, "n": COLUMNS}


KERNELS = {"looked up": looked_up, "added": added}
KINDS = [("float64", "int32"), ("float64", "int64"), ("float32", "int32")]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("dtype", "index"), KINDS)
@pytest.mark.parametrize("form", KERNELS)
def test_rows_in_runs_of_any_length(form, dtype, index, seed):
    plain = verify(KERNELS[form](dtype, index))
    kernel = verify(supernodes(plain, ALIKE))
    assert kernel != plain
    arguments = given(seed, dtype, index)
    # numbers whose sums and products are exact, in any order
    expected = run_by(plain, arguments, "interpreter")
    for how in ("interpreter", "python"):
        np.testing.assert_array_equal(run_by(kernel, arguments, how), expected, how)


@pytest.mark.parametrize("form", KERNELS)
def test_machine_code_of_both_kinds_has_the_same_bits(form):
    rng = np.random.default_rng(9)
    kernel = supernodes(KERNELS[form](), ALIKE)
    arguments = given(3, values=rng.standard_normal(40))
    found = run_by(kernel, arguments, "llvm")
    assert run_by(kernel, arguments, "numba").tobytes() == found.tobytes()
    plain = run_by(KERNELS[form](), arguments, "interpreter")
    np.testing.assert_allclose(found, plain, 1e-12, 1e-12)


@pytest.mark.parametrize("form", KERNELS)
def test_parts_have_the_bits_of_the_whole_wherever_they_begin(form):
    rng = np.random.default_rng(4)
    arguments = given(1, values=rng.standard_normal(40))
    kernel = supernodes(KERNELS[form](), ALIKE)
    values = list(arguments.values())
    function = linked(direct_code(kernel, kinds(values), "rows_parts", fastmath=True))
    whole = run_by(kernel, arguments, "llvm")
    starts = arguments["M_indptr"]
    for first in range(ROWS):
        for past in (first, first + 1, first + 3, ROWS):
            own = {**arguments, "y": arguments["y"].copy(), "begin": first, "end": min(past, ROWS)}
            function(*own.values())
            low, high = starts[first], starts[own["end"]]
            assert own["y"][low:high].tobytes() == whole[low:high].tobytes()
            assert (np.delete(own["y"], np.s_[low:high]) == 77).all()


@pytest.mark.parametrize("form", KERNELS)
@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("operand", ["A", "M", "B"])
def test_what_one_row_holds_is_in_no_other(form, odd, operand):
    arguments = given(1)
    arguments[f"{operand}_data"][::17] = odd
    expected = run_by(KERNELS[form](), arguments, "interpreter")
    found = run_by(supernodes(KERNELS[form](), ALIKE), arguments, "llvm")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", KERNELS)
def test_rows_longer_than_there_is_room_for_are_taken_one_by_one(form, monkeypatch):
    arguments = given(1)
    expected = run_by(KERNELS[form](), arguments, "interpreter")
    for room in (1, 3, 7):
        monkeypatch.setattr(alike, "ROOM", room)
        monkeypatch.setattr(rowlanes, "ROOM", room)
        kernel = verify(supernodes(KERNELS[form](), ALIKE))
        np.testing.assert_array_equal(run_by(kernel, arguments, "interpreter"), expected)


def test_sums_may_begin_with_another_number():
    arguments, plain = given(1), looked_up(start=2.5)
    kernel = supernodes(plain, ALIKE)
    assert kernel != plain
    expected = run_by(plain, arguments, "interpreter")
    np.testing.assert_array_equal(run_by(kernel, arguments, "interpreter"), expected)


def with_body(kernel, change):
    """A kernel whose loop over rows has another body."""
    *rest, loop = kernel.body
    return replace(kernel, body=(*rest, replace(loop, body=change(loop.body))))


def test_other_forms_are_left_alone():
    table, b = Load("table", (k,), "float64"), Load("B_data", (q,), "float64")
    stored = Store("table", (lb.i(0),), Const(1.0, "float64"))
    own = Store("M_data", (p,), Const(1.0, "float64"))
    for kernel in (
        looked_up(operator="maximum"),
        looked_up(term=b),  # the same in all rows
        looked_up(term=Apply("div", (table, b), "float64")),
        looked_up(term=Apply("mul", (Load("A_data", (i,), "float64"), table), "float64")),
        looked_up(term=Apply("mul", (Load("table", (p,), "float64"), b), "float64")),
        looked_up(after=(stored,)),  # the table changes on the way
        looked_up(after=(own,)),  # so does what is walked over
        with_body(looked_up(), lambda body: (*body[:2], body[0])),
        with_body(looked_up(), lambda body: (body[0], *body)),
        with_body(looked_up(), lambda body: (*body, stored)),
        added(limit=lb.add(n, 1)),  # of slots where others are added
        with_body(added(), lambda body: (*body, Assign(lb.ivar("later"), lb.ivar("counted")))),
    ):
        verify(kernel)
        assert supernodes(kernel, ALIKE) == kernel
    others = frozenset(("B_indptr", "B_indices"))
    for arrays in ((), (others,), (others, ALIKE[0]), (others, ALIKE[1])):
        for kernel in (looked_up(), added()):
            assert supernodes(kernel, arrays) == kernel
