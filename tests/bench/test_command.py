import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from sparsedsl.bench import growth, overhead
from sparsedsl.bench.cases import KERNELS
from sparsedsl.bench.conversions import Conversion
from sparsedsl.bench.growth import Growth
from sparsedsl.bench.measure import Measured, Timed
from sparsedsl.bench.memory import Memory
from sparsedsl.bench.overhead import Overhead
from sparsedsl.bench.record import record
from sparsedsl.bench.report import markdown, slower
from sparsedsl.bench.run import Run, chosen
from sparsedsl.bench.speedup import Speedup
from sparsedsl.cli.app import app
from sparsedsl.errors import NotationError


def test_everything_is_chosen_by_default():
    assert len(chosen()) == sum(len(k.inputs) for k in KERNELS.values())


def test_names_may_be_beginnings():
    assert chosen("SPGEMM, spmv c", "a") == [
        ("SpMV CSR", "a"),
        ("SpMV CSC", "a"),
        ("SpGEMM", "a"),
    ]
    # a whole name is no beginning of others
    assert {kernel for kernel, _ in chosen("a + b")} == {"A + B"}


@pytest.mark.parametrize(
    ("kernels", "inputs", "said"),
    [
        ("gemv", "", "expected the name of a kernel"),
        ("", "z", "expected the name of an input"),
        ("ttv", "a", "no kernel of 'ttv' runs on 'a'"),
    ],
)
def test_unknown_names_say_what_there_is(kernels, inputs, said):
    with pytest.raises(NotationError, match=said) as caught:
        chosen(kernels, inputs)
    assert caught.value.hint


def _run():
    ours = Timed("sparsedsl", "", (1.0, 1.0))
    fast = Timed("hand", "table", (0.5, 0.5), (0.5, 0.5), 0.5)
    slow = Timed("scipy", "", (2.0, 2.0), (2.0, 2.0), 2.0)
    cell = Measured(
        "SpMV CSR", "a", True, False, 10**9, ours, 0.1, (slow, fast), {"MKL": "differs"}
    )
    failed = Measured("SpGEMM", "a", False, True, 1, None, 0.1, (), {"sparsedsl": "differs"})
    return Run(
        quick=False,
        machine={"cores": "2"},
        inputs={"a": "square"},
        bandwidth={"read": 2e9, "copy": 2e9},
        versions={"scipy": "1", "hand": "1"},
        absent={"torch": "not installed"},
        cells=(cell, failed),
        firsts=(),
        overheads=(
            Overhead("SpMV", 4e-6, 9e-6, 3e-6, 2.5e-6, (8e-6, 9e-6, 7e-6, 6e-6), (5e-6, 2e-5)),
        ),
    )


def test_report_holds_ratios_fractions_and_reasons():
    text = markdown(_run(), "beside other work")
    for part in (
        "beside other work",
        "| SpMV CSR | a | 1000 | 1000 | 2.00 (2.00-2.00) | 0.50 (0.50-0.50) table |",
        "| SpGEMM | a | failed |",
        "50%",
        "| SpMV CSR | a | hand | 0.50 (0.50-0.50) table | 0.50 |",
        "left out, torch: not installed",
        "| SpMV CSR | a | MKL | differs |",
    ):
        assert part in text


def test_report_holds_speedups_of_long_cells():
    cells = (
        Speedup("SpGEMM", "a", 2, (2.0, 4.0), (1.0, 2.0), True),
        Speedup("SpMV CSR", "a", 2, (1e-3, 1e-3), (2e-3, 2e-3), False),
    )
    run = replace(_run(), speedups=cells)
    text = markdown(run)
    assert "speed-up 2.00 over cells" in text
    assert "times the bytes" not in text
    measured = {**run.bandwidth, "read, 2 threads": 3e9, "copy, 2 threads": 2.2e9}
    text = markdown(replace(run, bandwidth=measured))
    assert "1.50 times the bytes a second to a read and 1.10 times" in text
    assert "- bandwidth, copy, 2 threads: 2.2 GB/s" in text
    assert "| SpGEMM | a | 3000 | 1500 | 2.00 (2.00-2.00) |" in text
    assert "0.50 (0.50-0.50), results differ" in text
    assert [cell["ratio"] for cell in record(run)["threads"]] == [2.0, 0.5]


def test_report_holds_tiny_calls():
    cells = "| SpMV | 4.0 | 9.0 | 3.0 | 2.5 | 8.0 | 9.0 | 7.0 | 6.0 | 5.0 | 20.0 |"
    assert cells in markdown(_run())
    assert record(_run())["tiny_calls"][0]["bound"] == 3e-6


def test_report_holds_growth():
    found = (Growth("sum", {2: 0.1, 3: 0.2}), Growth("product", {3: 0.3, 4: 0.5}))
    text = markdown(replace(_run(), growths=found))
    for part in ("| kernel | 2 | 3 | 4 |", "| sum | 0.10 | 0.20 | - |", "| product | - | 0.30 |"):
        assert part in text
    assert record(replace(_run(), growths=found))["growth"]["sum"] == {2: 0.1, 3: 0.2}


def test_first_calls_are_measured_by_order_and_operands(monkeypatch, capsys):
    few = {kind: (list(counts)[:1], make) for kind, (counts, make) in growth.KINDS.items()}
    monkeypatch.setattr(growth, "KINDS", few)
    growth.main()
    found = json.loads(capsys.readouterr().out)
    assert {kind: list(seconds) for kind, seconds in found.items()} == {kind: ["2"] for kind in few}
    assert min(seconds["2"] for seconds in found.values()) > 0


def test_report_holds_memory():
    megabytes = (100 << 20, 50 << 20, 10 << 20, 68 << 20, 60 << 20)
    run = replace(_run(), memories=(Memory("SpGEMM", "a", *megabytes),))
    text = markdown(run)
    assert "| SpGEMM | a | 100.0 | 50.0 | 10.0 | 68.0 | 60.0 | 1.05 |" in text
    assert "0 of 1 are above 1.3" in text
    assert record(run)["memory"][0]["ratio"] == pytest.approx(1.05)


def test_report_holds_conversions():
    peers = {"scipy": (3.0, 3.0), "hand": (0.8, 0.8)}
    found = (Conversion("CSR to CSC", (1.0, 1.0), peers), Conversion("A to B", error="differs"))
    run = replace(_run(), conversions=found)
    text = markdown(run)
    assert "| conversion | median ms | / scipy | / hand | over the fastest |" in text
    assert "| CSR to CSC | 1000 | 3.00 | 0.80 | 1.25 (hand) |" in text
    assert "| A to B | differs | - | - |" in text
    assert record(run)["conversions"][0]["peers"]["scipy"] == (3.0, 3.0)


def test_tiny_calls_are_measured(monkeypatch):
    monkeypatch.setattr(overhead, "BATCHES", 1)
    monkeypatch.setattr(overhead, "CALLS", 3)
    monkeypatch.setattr(overhead, "ROUNDS", 3)
    monkeypatch.setattr(overhead, "NEW", 2)
    found = overhead.overheads()
    assert [o.kernel for o in found] == ["SpMV", "A .* B", "SpGEMM"]
    for o in found:
        assert min(o.scipy, o.arguments, o.bound, o.compiled, *o.cold, *o.new) > 0
        assert (len(o.cold), len(o.new)) == (4, 2)


def test_slower_cells_are_listed():
    assert [(k, i, t.name) for k, i, t in slower(_run())] == [("SpMV CSR", "a", "hand")]


def test_record_is_json():
    again = json.loads(json.dumps(record(_run()), allow_nan=False))
    assert again["cells"][0]["peers"][0]["ratio"] == 2.0
    assert again["cells"][1]["sparsedsl"] is None


def test_command_measures_and_writes(tmp_path):
    report, picture = tmp_path / "r.md", tmp_path / "r.png"
    asked = ["bench", "--quick", "--kernels", "spmv csr,ttv", "--matrices", "a,t1", "--json"]
    result = CliRunner().invoke(app, [*asked, "-o", str(report), "--plot", str(picture)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(c["kernel"], c["input"]) for c in found["cells"]] == [("SpMV CSR", "a"), ("TTV", "t1")]
    assert all({"scipy", "hand"} <= {p["name"] for p in c["peers"]} for c in found["cells"])
    assert "## Kernels" in report.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_command_prints_a_table():
    result = CliRunner().invoke(app, ["bench", "--quick", "--kernels", "a + b,", "--matrices", "a"])
    assert result.exit_code == 0, result.output
    assert "/ scipy" in result.stdout
    assert "over 1 cells" in result.stdout


def test_threads_are_timed_beside_one(tmp_path):
    report = tmp_path / "report.md"
    command = ["bench", "--kernels", "spmv dia", "--quick", "--threads", "2", "-o", str(report)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "| kernel | input | 1 thread ms | 2 threads ms | speed-up |" in report.read_text()
