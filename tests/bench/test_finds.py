import pytest

from sparsedsl.bench import finds
from sparsedsl.bench.finds import Cell, measure, summary, sweep, table
from sparsedsl.bench.measure import Spent


def cells():
    fixed = {"table": 2.0, "merge": 1.0}
    return [
        Cell("product", 1, 4, "table", 2.0, fixed),
        Cell("product", 2, 4, "merge", 1.0, {**fixed, "linear": 20.0}),
    ]


def test_summary():
    found = summary(cells())
    assert found["mean"] == pytest.approx(2**0.5)
    assert found["worst"] == 2.0
    assert found["within"] == 0.5
    assert found["gain"] == pytest.approx(20**0.5)
    assert found["tenfold"] == 0.5


def test_table_begins_with_the_worst():
    lines = table(cells()).splitlines()
    assert "50% are within" in lines[4]
    assert table(cells(), "beside other work").splitlines()[4] == "beside other work"
    start = "| product | 1 | 4 | table | 2e+03 | merge | 1e+03 | 2.00 | table | 2e+03 | 1.0 |"
    assert lines[8] == start


def test_a_cell_times_what_is_legal(monkeypatch):
    few = [a for a in finds.ALGORITHMS if a.name in ("merge", "table")]
    monkeypatch.setattr(finds, "ALGORITHMS", few)
    cell = measure("products of rows", 2, 4, Spent(0.0, 1, 1))
    assert set(cell.fixed) == {"merge", "table"}
    assert cell.chosen
    assert cell.ratio > 0


def test_the_whole_grid_is_swept(monkeypatch):
    monkeypatch.setattr(finds, "measure", lambda *cell: cell[:3])
    found = set(sweep())
    assert len(found) == 4 * 5 * 6
    assert max(2 * length * skew for _, length, skew in found) == finds.COLUMNS
