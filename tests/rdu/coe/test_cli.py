import json

import pytest
from typer.testing import CliRunner

from rdu.coe.cli import app, load_platform
from rdu.errors import CapacityError, RDUError, SpecError

runner = CliRunner()


def run(*arguments):
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_plan_shows_every_policy():
    rows = json.loads(run("--experts", "40", "--requests", "200", "--rate", "3", "--json"))
    assert {row["policy"] for row in rows} == {"lru", "fifo", "lfu", "probability", "belady"}
    assert rows[0]["footprint_gb"] == pytest.approx(41 * 14)
    text = run("--experts", "40", "--requests", "50", "--overlap", "--prefetch")
    assert "belady" in text


def test_sweep_names_what_does_not_fit(tmp_path):
    picture = tmp_path / "sweep.svg"
    options = ["--counts", "10,200", "--requests", "50", "--plot", str(picture)]
    text = run("sweep", "--node", "dgx_a100", *options)
    assert "experts 200" in text
    assert "bytes too many" in text
    assert picture.exists()


def test_sweep_compares_nodes_and_policies():
    options = ["--node", "dgx_h100", "--node", "sn40l_node", "--policy", "lru", "--policy", "lfu"]
    rows = json.loads(run("sweep", *options, "--counts", "60", "--requests", "40", "--json"))
    assert [(row["platform"], row["policy"]) for row in rows] == [
        (node, policy) for node in ("dgx_h100", "sn40l_node") for policy in ("lru", "lfu")
    ]


def test_plan_takes_other_traces(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("expert\n0\n1\n0\n")
    for name, switches in (("distinct", 40), ("bursts", None), (str(trace), 2)):
        options = ["--experts", "40", "--trace", name, "--json"]
        options += [] if switches == 2 else ["--requests", "40"]
        row = json.loads(run(*options))[0]
        assert switches is None or row["switches"] == switches


def test_a_refusal_of_all_policies_is_told_once():
    for options in (["--experts", "900"], ["sweep", "--counts", "900"]):
        result = runner.invoke(app, [*options, "--requests", "10"])
        assert "12,614.000" in result.output
        assert isinstance(result.exception, CapacityError)
        assert "326,000,000,000 bytes too many" in str(result.exception)
        assert "use 2 nodes, or fewer experts" in str(result.exception)
    # Beside a number that is served it is a note.
    text = run("sweep", "--counts", "10,900", "--requests", "10")
    assert text.count("bytes too many") == 1


def test_serve_reads_a_file(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("expert\n0\n1\nexpert0\n")
    line = tmp_path / "line.json"
    text = run("serve", str(trace), "--experts", "2", "--chrome-trace", str(line), "--json")
    assert json.loads(text)["switches"] == 2
    assert json.loads(line.read_text())["traceEvents"]
    told = run("serve", str(trace), "--experts", "2", "--chrome-trace", str(line))
    assert told.endswith(f"wrote {line}\n")


def test_a_window_chooses_batches(tmp_path):
    options = ["--experts", "60", "--requests", "400", "--batch", "8", "--json"]
    plain, wide = (json.loads(run(*options, *more)) for more in ([], ["--window", "64"]))
    assert wide[0]["switches"] < plain[0]["switches"]
    rows = json.loads(run("sweep", "--counts", "60", *options[2:], "--window", "64"))
    assert rows[0]["switches"] == wide[0]["switches"]
    trace = tmp_path / "trace.csv"
    trace.write_text("expert,conversation\n0,a\n1,a\n0,b\n1,b\n")
    report = json.loads(run("serve", str(trace), "--batch", "4", "--window", "9", "--json"))
    # Two batches, as each conversation's second request needs the answer to its first.
    assert report["time_s"]["router"] == pytest.approx(2 * 20 / 300)


def test_options_that_would_be_ignored_are_refused(tmp_path):
    trace, mine = tmp_path / "trace.csv", tmp_path / "mine.toml"
    trace.write_text("expert\n0\n")
    mine.write_text('[[expert]]\nname = "a"\nweight_gb = 1.0\n')
    for arguments, name in (
        (["--composition", str(mine), "--experts", "5"], "--experts"),
        (["serve", str(trace), "--composition", str(mine), "--expert-gb", "5"], "--expert-gb"),
        (["--trace", "bursts", "--exponent", "2"], "--exponent"),
        (["--trace", str(trace), "--requests", "7"], "--requests"),
    ):
        error = runner.invoke(app, arguments).exception
        assert isinstance(error, RDUError)
        assert f"{name} is an option of" in str(error)
    assert json.loads(run("--composition", str(mine), "--requests", "5", "--json"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--expert-gb", "0"), "'--expert-gb': expected a finite number above 0, found 0"),
        (("--rate", "nan"), "'--rate': expected a finite number above 0, found nan"),
        (("--exponent", "-1"), "'--exponent': expected a finite number of at least 0, found -1"),
        (("most", "--within-ms", "-5"), "'--within-ms': expected a finite number above 0"),
        (("most", "--within-ms", "5", "--share", "101"), "'--share': expected a percentage"),
    ],
)
def test_numbers_are_refused_under_the_name_of_their_option(arguments, told):
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 2
    words = [word for word in result.output.split() if word != "│"]  # of the box around it
    assert told in " ".join(words)


def test_a_users_mistake_is_a_spec_error():
    for arguments in (["--node", "dgx"], ["sweep", "--counts", "ten"], ["--trace", "x"]):
        error = runner.invoke(app, arguments).exception
        assert isinstance(error, SpecError)
    with pytest.raises(SpecError, match="unknown node"):
        load_platform("dgx")
    assert load_platform("dgx_a100", 8).switch.lanes == 8
