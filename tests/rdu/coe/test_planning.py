import json

import pytest
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from rdu.coe import POLICIES, Composition, Trace, dgx_a100, sn40l_node
from rdu.coe.cli import app
from rdu.coe.planning import draw_sweep, nodes_needed, plan, sweep
from rdu.errors import SpecError


def test_nineteen_dgx_against_one():
    experts = Composition.uniform(850)
    assert nodes_needed(experts, dgx_a100()) == 19
    assert nodes_needed(experts, sn40l_node()) == 1
    assert nodes_needed(experts, dgx_a100(), "node") == 5
    assert nodes_needed(experts, sn40l_node(), "hbm") == 24


def test_every_policy_once_and_belady_best():
    rows = plan(Composition.uniform(100), sn40l_node(), requests=500)
    assert [row.policy for row in rows] == list(POLICIES)
    rates = {row.policy: row.report.hit_rate for row in rows if row.report}
    assert max(rates, key=rates.__getitem__) == "belady"
    assert {row.resident for row in rows} == {35}


def test_too_many_requests_are_not_stable():
    def stable(rate):
        return plan(
            Composition.uniform(50), sn40l_node(), rate=rate, requests=400, policies=["lru"]
        )[0].stable

    assert stable(2.0)
    assert not stable(20.0)


def test_sweep_reports_what_does_not_fit(tmp_path):
    rows = sweep([10, 100, 200], dgx_a100(), weight_bytes=14e9, requests=300)
    assert [row.refusal is None for row in rows] == [True, True, False]
    assert not rows[2].stable
    first, second, _ = rows
    assert first.report is not None
    assert second.report is not None
    assert first.report.hit_rate > second.report.hit_rate
    draw_sweep(rows, tmp_path / "sweep.svg")
    assert "<svg" in (tmp_path / "sweep.svg").read_text()


def switches(rows):
    return [(row.platform, row.policy, row.experts, row.report.switches) for row in rows]


def test_processes_and_a_cluster_give_what_one_process_gives():
    nodes = [dgx_a100(), sn40l_node()]
    options = {"weight_bytes": 14e9, "requests": 60, "policy": ["lru", "fifo"]}
    alone = switches(sweep([10, 100], nodes, **options))
    assert len(alone) == 8
    assert switches(sweep([10, 100], nodes, **options, processes=2)) == alone
    quiet = {"dashboard_address": ":0", "silence_logs": 50}
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **quiet) as cluster:
        with Client(cluster) as client:
            assert switches(sweep([10, 100], nodes, **options, client=client)) == alone
        # The same from the command line, by the scheduler's address.
        address = ["--dask", cluster.scheduler_address, "--requests", "60", "--json"]
        counts = ["--node", "dgx_a100", "--node", "sn40l_node", "--counts", "10,100"]
        found = CliRunner().invoke(app, ["sweep", *counts, *address])
        rows = [(r["platform"], r["experts"], r["switches"]) for r in json.loads(found.output)]
        assert rows == [(p, n, count) for p, policy, n, count in alone if policy == "lru"]


def test_a_sweep_takes_the_modes_of_serving():
    options = {"weight_bytes": 14e9, "requests": 200, "exponent": 0.0, "batch": 8}
    plain, ahead = (
        sweep([100], dgx_a100(), **options, prefetch=ahead, overlap=ahead)[0].report
        for ahead in (False, True)
    )
    assert plain is not None
    assert ahead is not None
    assert ahead.time["stall"] < 0.8 * plain.time["stall"]
    grouped = sweep([100], dgx_a100(), **options, group_by_expert=True)[0].report
    assert grouped is not None
    assert grouped.switches < plain.switches


def test_a_sweep_of_nonsense_is_refused():
    with pytest.raises(SpecError, match="unknown cache policy 'mru'"):
        sweep([10], sn40l_node(), weight_bytes=14e9, policy="mru")
    with pytest.raises(SpecError, match="processes"):
        sweep([10], sn40l_node(), weight_bytes=14e9, processes=0)


def test_a_plan_takes_a_trace_of_ones_own():
    trace = Trace.bursts(300, 60, length=30)
    (row,) = plan(Composition.uniform(60), sn40l_node(), trace=trace, policies=["lru"])
    assert row.report.hit_rate > 0.9
