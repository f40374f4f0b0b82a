"""Means over cells, and targets beside what was reached."""

from dataclasses import replace

import pytest
import scipy.sparse as sp

from sparsedsl.bench.cases import KERNELS, case
from sparsedsl.bench.inputs import Fibers
from sparsedsl.bench.measure import Measured, Timed, geometric_mean
from sparsedsl.bench.record import record
from sparsedsl.bench.report import markdown
from sparsedsl.bench.run import Run
from sparsedsl.bench.speedup import Speedup
from sparsedsl.bench.summary import CACHE, coiterating, summary, targets


def _cell(coiterates, size=1000, **ratios):
    ours = Timed("sparsedsl", "", (1.0, 1.0))
    peers = tuple(
        Timed(name.replace("_", " "), "", (r, r), (r, r), r) for name, r in ratios.items()
    )
    kernel = "SpGEMM" if coiterates else "SpMV CSR"
    return Measured(kernel, "a", not coiterates, coiterates, size, ours, 0.1, peers)


def _run(*cells, **more):
    return Run(
        quick=False,
        machine={},
        inputs={},
        bandwidth={"read": 2.0 * CACHE, "copy": 2.0 * CACHE},
        versions=dict.fromkeys(("scipy", "hand", "TACO", "TACO default"), "1"),
        absent={},
        cells=cells,
        firsts=(),
        **more,
    )


TWO = _run(
    _cell(True, hand=0.5, TACO=5.0, TACO_default=8.0),
    _cell(False, size=CACHE, scipy=2.0, hand=4.0),
)


def test_summary_takes_geometric_means():
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    rows = {row.peer: (row.cells, pytest.approx(row.mean), row.under) for row in summary(TWO)}
    assert rows["hand"] == (2, 2**0.5, 1)
    assert rows["fastest of all"] == (2, 1.0, 1)
    assert rows["fastest but hand"] == (2, 10**0.5, 0)


def test_summary_of_some_cells():
    rows = {row.peer: row for row in summary(TWO, coiterating(TWO))}
    assert (rows["fastest but hand"].cells, rows["fastest but hand"].mean) == (
        1,
        pytest.approx(5.0),
    )
    assert rows["scipy"].cells == 0


def test_targets_say_what_is_met():
    found = {t.about: (t.cells, pytest.approx(t.reached), t.met) for t in targets(TWO)}
    assert found == {
        "co-iteration, over TACO": (1, 5.0, True),
        "co-iteration, over TACO default": (1, 8.0, False),
        "co-iteration, over fastest but hand": (1, 5.0, True),
        "every kernel, over fastest but hand": (2, 10**0.5, True),
        "least of any cell, over fastest of all": (2, 0.5, False),
        "least of streams out of cache": (1, 0.5, False),
    }


def test_speed_up_by_threads_is_a_target_where_it_was_measured():
    pair = Speedup("SpGEMM", "a", 2, (2.0, 2.0), (1.0, 1.0), True)
    short = Speedup("SpMV CSR", "a", 2, (1e-4, 1e-4), (1e-3, 1e-3), True)
    *_, last = targets(replace(TWO, speedups=(pair, short)))
    assert (last.cells, last.reached, last.met) == (1, 2.0, True)


def test_what_was_not_measured_is_not_met():
    alone = _run(_cell(True, hand=2.0))
    text = markdown(alone)
    assert "| co-iteration, over fastest but hand | 0 | nan | 2.00 | not measured |" in text
    assert record(alone)["targets"][0]["reached"] is None
    assert not record(alone)["targets"][0]["met"]


def test_report_has_both_means_and_the_targets():
    text = markdown(TWO)
    assert "| hand | 2 | 1.41 | 1 | 1 | 0.50 | 1 |" in text
    assert "| scipy | 1 | 2.00 | 0 | 0 | - | 0 |" in text
    assert "| co-iteration, over TACO default | 1 | 8.00 | 10.00 | no, 80% of it |" in text
    assert "meet: SpGEMM." in text
    found = record(TWO)
    assert found["coiteration"][1] == {
        "peer": "hand",
        "cells": 1,
        "mean_ratio": 0.5,
        "under_par": 1,
    }


@pytest.mark.parametrize("kernel", KERNELS)
def test_co_iteration_is_where_several_sparse_factors_or_terms_are(kernel):
    chosen = KERNELS[kernel]
    operands = case(kernel, chosen.inputs[0], quick=True).operands
    sparse = [n for n, x in operands.items() if sp.issparse(x) or isinstance(x, Fibers)]
    times = max(
        sum(statement.count(f"{name}[") for name in sparse)
        for statement in chosen.statement.split(";")
    )
    assert chosen.coiterates == (times > 1)
