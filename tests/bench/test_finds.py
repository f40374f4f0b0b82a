import pytest

from sparsedsl.bench import finds
from sparsedsl.bench.finds import Cell, measure, summary, sweep, table
from sparsedsl.bench.measure import Spent


def cells():
    fixed = {"table": 2.0, "merge": 1.0}
    return [Cell("product", 1, 4, "table", 2.0, fixed), Cell("product", 2, 4, "merge", 1.0, fixed)]


def test_summary():
    found = summary(cells())
    assert found["mean"] == pytest.approx(2**0.5)
    assert found["worst"] == 2.0
    assert found["within"] == 0.5


def test_table_begins_with_the_worst():
    lines = table(cells()).splitlines()
    assert "50%" in lines[0]
    assert lines[4] == "| product | 1 | 4 | table | 2e+03 | merge | 1e+03 | 2.00 |"


def test_a_cell_times_what_is_legal(monkeypatch):
    few = [a for a in finds.ALGORITHMS if a.name in ("merge", "table")]
    monkeypatch.setattr(finds, "ALGORITHMS", few)
    cell = measure("products of rows", 2, 4, Spent(0.0, 1, 1))
    assert set(cell.fixed) == {"merge", "table"}
    assert cell.chosen
    assert cell.ratio > 0


def test_rows_beyond_half_the_extent_are_left_out(monkeypatch):
    monkeypatch.setattr(finds, "measure", lambda *cell: cell[:3])
    found = list(sweep(kernels=("product",)))
    assert ("product", 1, 1024) in found
    assert all(2 * length * skew <= finds.COLUMNS for _, length, skew in found)
