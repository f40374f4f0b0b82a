"""The most experts within a latency, against serving every number of them."""

import json
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from rdu.coe import dgx_a100, dgx_h100, sn40l_node
from rdu.coe.capacity import most_experts, within
from rdu.coe.cli import app
from rdu.coe.planning import _apart, sweep
from rdu.errors import SpecError

LOAD = {"weight_bytes": 14e9, "requests": 60, "exponent": 0.0}


def served(platform, **more):
    return lambda count: sweep([count], platform, **LOAD, **more)[0]


@pytest.mark.parametrize("limit", [0.1, 0.3, 0.5, 0.72, 5.0])
def test_bisection_finds_what_trying_all_finds(limit):
    serve = served(dgx_a100())
    found = most_experts(serve, dgx_a100(), 14e9, limit, share=50)
    best = 0 if found.best is None else found.best.experts
    assert best == 0 or within(serve(best), limit, 50)
    assert not within(serve(best + 1), limit, 50)
    counts = [plan.experts for plan in found.tried]
    assert counts == sorted(set(counts))


def test_a_generous_limit_leaves_what_the_node_holds():
    for platform, held in ((dgx_h100(), 191), (sn40l_node(), 876)):
        found = most_experts(served(platform), platform, 14e9, 10.0)
        assert found.best is not None
        assert found.best.experts == held


def test_a_node_that_does_not_keep_up_serves_none():
    found = most_experts(served(sn40l_node(), rate=100.0), sn40l_node(), 14e9, 1000.0)
    assert found.best is None
    assert not found.tried[0].stable


@pytest.mark.parametrize(
    ("limit", "share"), [(0, 99), (-1, 99), (float("nan"), 99), (1, 0), (1, 101)]
)
def test_senseless_limits(limit, share):
    with pytest.raises(SpecError):
        most_experts(served(sn40l_node()), sn40l_node(), 14e9, limit, share=share)


def call(*arguments):
    return CliRunner().invoke(app, ["most", "--requests", "60", *arguments])


def test_the_command_answers_with_a_plot(tmp_path):
    picture = tmp_path / "most.svg"
    nodes = ["--node", "dgx_a100", "--node", "sn40l_node"]
    text = call("--within-ms", "200", *nodes, "--plot", str(picture)).output
    assert "within 200 ms" in text
    assert "dgx_a100, lru: one expert takes" in text
    assert "<svg" in picture.read_text()
    rows = json.loads(call("--within-ms", "200", *nodes, "--json").output)
    assert [(row["platform"], row["experts"]) for row in rows] == [
        ("dgx_a100", 0),
        ("sn40l_node", 876),
    ]
    late = call("--within-ms", "9", "--rate", "100").output
    assert "faster than they are served" in late
    assert "bytes too many" in call("--within-ms", "9", "--expert-gb", "900").output


def test_labels_of_a_plot_do_not_overlap():
    counts = [1, 2, 90, 95, 96, 97, 200, 439, 440, 870]
    kept = _apart(counts)
    assert kept[0] == 1
    assert set(kept) < set(counts)
    assert min(b / a for a, b in pairwise(kept)) > 870 ** (1 / 20) - 1e-9
    assert _apart([]) == []
    assert _apart([7]) == [7]
