import json

import pytest

from rdu.coe import Composition, Trace, dgx_a100, serve
from rdu.errors import SpecError


@pytest.fixture
def report():
    return serve(Composition.uniform(50), dgx_a100(), Trace.distinct(60, 50))


def test_chrome_trace_covers_the_run(report, tmp_path):
    path = tmp_path / "trace.json"
    report.chrome_trace(path)
    events = json.loads(path.read_text())["traceEvents"]
    assert {event["tid"] for event in events} == {"compute", "link"}
    assert max(e["ts"] + e["dur"] for e in events) == pytest.approx(report.seconds * 1e6)
    runs = sum(e["dur"] for e in events if e["cat"] == "run")
    assert runs == pytest.approx(report.time["run"] * 1e6)


def test_json_is_plain(report):
    data = json.loads(report.to_json())
    assert data["switches"] == report.switches
    assert data["bytes_moved"] == report.bytes_moved


def test_text_names_the_platform_and_the_bytes(report):
    assert "dgx_a100" in str(report)
    assert "host->hbm 840.0 GB" in str(report)


def test_picture(report, tmp_path):
    report.plot(tmp_path / "line.svg")
    assert "<svg" in (tmp_path / "line.svg").read_text()
    with pytest.raises(SpecError, match="cannot draw"):
        report.plot(tmp_path / "line.nonsense")
