from rdu.coe import POLICIES, Composition, dgx_a100, sn40l_node
from rdu.coe.planning import draw_sweep, nodes_needed, plan, sweep


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
