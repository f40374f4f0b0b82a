import math

import pytest

from rdu import paper
from rdu.errors import SpecError
from rdu.paper.experts import slide_switch


def by_name(rows, quantity):
    return {row.name: row for row in rows if row.quantity == quantity}


def test_figure_1_switching_within_half_a_percent():
    rows = by_name(paper.figure(1), "switching ms")
    assert set(rows) == {"dgx_a100", "dgx_h100", "sn40l_node"}
    assert all(abs(row.error) < 0.005 for row in rows.values())


def test_table_5_at_20_tokens_within_printed_rounding():
    rows = [row for row in paper.table("V") if row.paper is not None and "20 tokens" in row.name]
    assert len(rows) == 6
    for row in rows:
        assert abs(row.ours - row.paper) <= 0.05, row
        assert row.kind == "arithmetic"


def test_table_5_at_200_tokens_is_labelled_calibrated():
    rows = [row for row in paper.table("V") if row.paper is not None and "200 tokens" in row.name]
    assert len(rows) == 6
    for row in rows:
        assert abs(row.ours - row.paper) <= 0.05, row
        assert row.kind == "calibrated"


def test_eight_links_take_most_of_the_advantage():
    one = by_name(paper.table("V"), "speedup over dgx_a100")
    eight = by_name(paper.table("V"), "speedup over dgx_a100 with 8 links")
    assert eight["switching"].ours == pytest.approx(one["switching"].ours / 8)
    assert eight["overall bs8 20 tokens"].ours < 0.4 * one["overall bs8 20 tokens"].ours
    assert all(row.paper is None for row in eight.values())


def test_figure_12_within_one_percent_with_exact_steps():
    rows = paper.figure(12)
    latency = [row for row in rows if row.quantity == "latency ms"]
    assert len(latency) == 2 * (2 * 20 + 22)
    assert all(abs(row.error) < 0.01 for row in latency)
    missing = [row for row in rows if row.quantity == "out of memory"]
    assert {row.name.split()[-2] for row in missing} == {"200", "400"}
    assert all(row.paper == row.ours == 1 for row in missing)


def test_figure_12_by_one_rule_departs_where_the_docstring_says():
    rows = paper.figure(12)
    latency, strict = by_name(rows, "latency ms"), by_name(rows, "latency ms, one rule")
    differ = {n for n, row in latency.items() if abs(row.ours - strict[n].ours) > 1e-6}
    expected = {f"{name} bs1 45 experts" for name in ("dgx_a100", "dgx_h100")}
    expected |= {f"sn40l_node bs8 {n} experts" for n in range(10, 40, 5)}
    assert differ == expected


def test_figure_13_all_points():
    rows = paper.figure(13)
    assert len(rows) == 180
    assert all(row.ours == row.paper for row in rows)
    at = {row.name: row.ours for row in rows}
    assert at["dgx 850 experts"] == 19
    assert at["sn40l_node 850 experts"] == 1
    # The formula once more, independently.
    for n in range(10, 901, 10):
        assert at[f"dgx {n} experts"] == math.ceil((n + 1) * 14 / 640)


def test_the_slide_within_five_percent():
    assert abs(slide_switch().error) < 0.05


def test_unknown_numbers_are_refused():
    with pytest.raises(SpecError, match="no table 'II'"):
        paper.table("II")
    with pytest.raises(SpecError, match="no figure 2"):
        paper.figure(2)
