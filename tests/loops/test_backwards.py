"""Rows read from their ends to where the one begins that they are looked up in."""

import numpy as np
import pytest
from row_kernels import k, looked_up, p, q, run_by

from sparsedsl.loops.backwards import TERMS, backwards
from sparsedsl.loops.nodes import Apply, Load, While
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements

NEAR = ("A_indices", "B_indices")
ROWS, COLUMNS = 40, 30


def rows(rng, count, dtype, index, values):
    """Rows of any length from none to all columns, in order, from any column on."""
    found = []
    for _ in range(count):
        free = np.arange(rng.integers(0, COLUMNS + 1), COLUMNS)
        found.append(np.sort(rng.choice(free, rng.integers(0, free.size + 1), replace=False)))
    pointer = np.r_[0, np.cumsum([row.size for row in found])].astype(index)
    data = rng.choice(np.array(values, dtype), pointer[-1])
    return pointer, np.concatenate(found).astype(index), data


def given(seed, dtype="float64", index="int32", values=(-2, -1, 0, 0.5, 3)):
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, count in (("A", ROWS), ("M", ROWS), ("B", COLUMNS)):
        parts = rows(rng, count, dtype, index, values)
        named = zip(("indptr", "indices", "data"), parts, strict=True)
        arrays |= {f"{name}_{what}": array for what, array in named}
    y = np.full(arrays["M_data"].size, 77, dtype)
    return {**arrays, "y": y, "begin": 0, "end": ROWS, "n": COLUMNS}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("dtype", "index"), [("float64", "int32"), ("float64", "int64"), ("float32", "int32")]
)
def test_sums_have_every_term_that_is_not_zero(dtype, index, seed):
    plain = verify(looked_up(dtype, index, start=2.5))
    kernel = verify(backwards(plain, NEAR))
    assert kernel != plain
    arguments = given(seed, dtype, index)
    # numbers whose sums and products are exact, in any order
    expected = run_by(plain, arguments, "interpreter")
    for how in ("interpreter", "python", "llvm", "numba"):
        np.testing.assert_array_equal(run_by(kernel, arguments, how), expected, how)


def test_machine_code_of_both_kinds_has_the_same_bits():
    rng = np.random.default_rng(9)
    kernel, arguments = backwards(looked_up(), NEAR), given(3, values=rng.standard_normal(40))
    found = run_by(kernel, arguments, "llvm")
    assert run_by(kernel, arguments, "numba").tobytes() == found.tobytes()
    plain = run_by(looked_up(), arguments, "interpreter")
    np.testing.assert_allclose(found, plain, 1e-12, 1e-12)


def test_entries_left_of_a_row_are_not_read_but_with_others():
    arguments, begins = given(5), 10
    counts = np.diff(arguments["A_indptr"])
    right = [np.sort(np.arange(begins, COLUMNS)[:count]) for count in counts]
    arguments["A_indptr"] = np.r_[0, np.cumsum([row.size for row in right])].astype("int32")
    arguments["A_indices"] = np.concatenate(right).astype("int32")
    arguments["A_data"] = arguments["A_data"][: arguments["A_indices"].size]
    arguments["B_indptr"] = (COLUMNS * np.arange(COLUMNS + 1)).astype("int32")
    arguments["B_indices"] = np.tile(np.arange(COLUMNS), COLUMNS).astype("int32")
    full = np.ones((COLUMNS, COLUMNS))
    expected = run_by(looked_up(), {**arguments, "B_data": full.ravel()}, "interpreter")
    assert expected.any()
    full[:, : begins - TERMS + 1] = np.nan
    kernel = backwards(looked_up(), NEAR)
    found = run_by(kernel, {**arguments, "B_data": full.ravel()}, "interpreter")
    np.testing.assert_array_equal(found, expected)


def test_other_forms_are_left_alone():
    table, b = Load("table", (k,), "float64"), Load("B_data", (q,), "float64")
    plain = looked_up()
    for kernel in (
        looked_up(operator="maximum"),
        looked_up(term=b),
        looked_up(term=Apply("add", (table, b), "float64")),  # zeros count
        looked_up(term=Apply("mul", (table, table), "float64")),
        looked_up(term=Apply("mul", (Load("table", (p,), "float64"), b), "float64")),
    ):
        verify(kernel)
        assert backwards(kernel, NEAR) == kernel
    for near in ((), ("A_indices",), ("B_indices", "M_indices")):
        assert backwards(plain, near) == plain
    reversed_ = backwards(plain, NEAR)
    assert backwards(reversed_, NEAR) == reversed_
    assert [type(s) for s in statements(reversed_.body)].count(While) == 1
