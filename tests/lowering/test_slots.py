"""Products under a mask whose entries have slots in the workspace, tested for or not."""

import numpy as np
import pytest
from levels import check_result, interpreting, store

import sparsedsl as sd
from sparsedsl.find import slots

ROWS, INNER, COLUMNS, FEW = 65, 100, 400, 16


def masked(A, B, M):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[k, j]
    return C


def _rows(count, width, rng):
    """A matrix with a few entries a row."""
    made = np.zeros((count, width))
    for row in made:
        row[rng.choice(width, FEW, replace=False)] = rng.integers(1, 4, FEW) * rng.choice([-1, 1])
    return made


def _mask(kind, rng):
    """A mask of as many columns a row: among those of terms, in a run, beside them, or both."""
    mask = np.zeros((ROWS, COLUMNS))
    for place, row in enumerate(mask):
        match kind:
            case "alternating":
                columns = 2 * rng.choice(COLUMNS // 4, FEW, replace=False)
            case "run":
                columns = rng.integers(0, COLUMNS // 2 - FEW) + np.arange(FEW)
            case "missed":
                columns = COLUMNS // 2 + rng.choice(COLUMNS // 2, FEW, replace=False)
            case _:
                columns = rng.choice(COLUMNS, place % 3 * FEW, replace=False)
        row[columns] = rng.integers(1, 4, len(columns))
    return mask


def _operands(kind, seed=0):
    rng = np.random.default_rng(seed)
    b = np.zeros((INNER, COLUMNS))
    b[:, : COLUMNS // 2] = _rows(INNER, COLUMNS // 2, rng)
    return {"A": _rows(ROWS, INNER, rng), "B": b, "M": _mask(kind, rng)}


KINDS = ["alternating", "run", "missed", "mixed"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guessed", [None, 0, 10**6])
def test_what_a_mask_lets_through_is_all_there_is(kind, guessed, monkeypatch):
    """However often a mask is met, tested where it pays, never, or wherever it is not counted."""
    if guessed is not None:
        monkeypatch.setattr(slots, "GUESSED", guessed)
        monkeypatch.setattr(slots, "SHORT", max(guessed, 1))
    dense = _operands(kind)
    given = {name: store(x, x != 0, "csr") for name, x in dense.items()}
    kernel = sd.kernel(masked, out="csr", order="i k j")
    assert "M_p by slots" in kernel.lower(**given).source
    expected = dense["M"] * (dense["A"] @ dense["B"])
    with interpreting():
        check_result(kernel(**given), expected)
    check_result(sd.kernel(masked, out="csr", order="i k j")(**given), expected)


def test_terms_beside_the_mask_leave_nothing_for_later_rows():
    """An overflow or a NaN beside the mask is in no row's result, nor in that of a later one."""
    dense = _operands("alternating")
    dense["A"][:, 0], dense["B"][0, 1 : COLUMNS // 2 : 2] = 1e200, 1e200
    given = {name: store(x, x != 0, "csr") for name, x in dense.items()}
    found = sd.kernel(masked, out="csr", order="i k j")(**given)
    with np.errstate(over="ignore"):
        product = np.where(dense["M"] != 0, dense["A"] @ dense["B"], 0)
    assert np.isfinite(product).all()
    np.testing.assert_allclose(found.to_numpy(), dense["M"] * product, rtol=1e-12)


def test_a_table_that_was_asked_for_stays_one():
    given = {name: store(x, x != 0, "csr") for name, x in _operands("run").items()}
    kernel = sd.kernel(masked, out="csr", order="i k j", find={"M": "table"})
    assert "M_p by table" in kernel.lower(**given).source


def test_short_rows_are_not_taken_out_again():
    """Few terms for each entry of the mask: what the next row's table does by itself is enough."""
    dense = _operands("run")
    dense["A"][:, 2:] = 0
    given = {name: store(x, x != 0, "csr") for name, x in dense.items()}
    kernel = sd.kernel(masked, out="csr", order="i k j")
    assert "slots" not in kernel.lower(**given).source
    check_result(kernel(**given), dense["M"] * (dense["A"] @ dense["B"]))
