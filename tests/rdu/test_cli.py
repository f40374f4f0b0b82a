import json
import re
import sys

import pytest
from typer.testing import CliRunner

import rdu
from rdu.cli import app, main
from rdu.user_graph import load

RUNNER = CliRunner()


def call(*arguments):
    result = RUNNER.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_demo_shows_table_one_and_the_expert_layer():
    data = json.loads(call("demo", "--tokens", "16", "--json"))
    assert [row["as NumPy"] for row in data["composition"]] == ["yes"] * 3
    assert [row["paper"] for row in data["monarch_fft"]] == [39.5, 102.6, 410.4]
    assert data["equal_results"] is True
    kernels = [row["kernels"] for row in data["expert_layer"]]
    assert kernels[0] > kernels[-1] == 1
    text = call("demo", "--tokens", "16")
    assert "410.4" in text
    assert "results equal bit for bit: yes" in text


def test_estimate_writes_files(tmp_path):
    paths = [tmp_path / name for name in ("t.json", "r.svg", "p.svg", "m.svg")]
    text = call(
        "estimate",
        "monarch",
        "--fusion",
        "none",
        "--trace",
        str(paths[0]),
        "--plot",
        str(paths[1]),
        "--draw",
        str(paths[2]),
        "--memory",
        str(paths[3]),
    )
    assert all(path.exists() for path in paths)
    assert "4 kernels" in text


def test_estimate_a_language_model(tmp_path):
    picture = tmp_path / "memory.svg"
    text = call("estimate", "llama2-7b", "--sequence", "2048", "--memory", str(picture))
    assert "tokens per second" in text
    assert "<svg" in picture.read_text()
    shape = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    shape |= {"num_attention_heads": 4, "intermediate_size": 128}
    (tmp_path / "config.json").write_text(json.dumps(shape))
    options = ["--phase", "prefill", "--batch", "2", "--sockets", "4", "--json"]
    found = json.loads(call("estimate", str(tmp_path / "config.json"), *options))
    assert (found["phase"], found["batch"], found["sockets"]) == ("prefill", 2, 4)
    assert found["milliseconds"] > 0
    assert found == json.loads(call("estimate", str(tmp_path), *options))


def test_run_a_users_kernel(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np, sparsedsl as sd\n"
        "@sd.kernel\n"
        "def mv(A, x):\n"
        "    i, j = sd.indices('i j')\n"
        "    y = sd.output()\n"
        "    y[i] = A[i, j] * x[j]\n"
        "    return y\n"
        "def make():\n"
        "    return mv, (np.ones((4, 6)), np.ones(6))\n"
    )
    data = json.loads(call("run", f"{file}:make", "--json"))
    assert data["flops"] == 48
    assert "Contract" in call("trace", f"{file}:make")


def test_packets_are_counted():
    text = call("run", "experts", "--network", "packets")
    assert re.search(r"network: [\d,]+ hops of packets, [\d,]+ cycles waiting", text)
    data = json.loads(call("estimate", "experts", "--network", "packets", "--json"))
    assert data["kernels"][0]["network"]["hops"] > 0
    static = json.loads(call("estimate", "experts", "--json"))
    assert static["kernels"][0]["network"] == {}
    assert data["cycles"] > static["cycles"]


def test_several_sockets():
    one = json.loads(call("estimate", "--json"))
    split = json.loads(call("estimate", "--split", "j", "--sockets", "4", "--json"))
    assert "p2p" not in one["bytes"]
    assert split["bytes"]["p2p"] > 0
    line = json.loads(call("estimate", "--pipeline", "--sockets", "2", "--json"))
    assert len(line["kernels"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "experts", "--network", "flits"], "network must be 'streams' or 'packets'"),
        (["estimate", "--split", "zz"], "axis 'zz'"),
        (["estimate", "llama2-8b"], "did you mean 'llama2-7b'?"),
        (["run", "nothing"], "unknown graph 'nothing'"),
        (["run", "absent.py:make"], "no such file"),
        (["estimate", "--fusion", "Gemm7"], "Gemm7"),
        (["estimate", "--chip", "absent.toml"], "cannot read"),
        (["estimate", "--orchestration", "manual"], "orchestration"),
        (["estimate", "--precision", "fp8"], "fp8"),
        (["estimate", "llama2-7b", "--plot", "x.svg"], "--plot is an option of a graph"),
        (["estimate", "--batch", "2"], "--batch is an option of a whole model"),
    ],
)
def test_mistakes_exit_with_two_and_one_message(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rdu", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make():\n    raise KeyError('x')\n", ":2: KeyError: 'x'"),
        ("def make():\n    return 3\n", r"must return \(kernel, arguments\), found int"),
        ("def make():\n    return 3, 4\n", "the arguments must be a tuple, found int"),
        ("import absent_module\n", ":1: ModuleNotFoundError"),
        ("def make(\n", ":1: '\\(' was never closed"),
        ("make = 3\n", "has no function 'make'"),
    ],
)
def test_errors_in_a_users_file_are_told_with_their_line(tmp_path, text, message):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(rdu.RDUError, match=message):
        load(f"{file}:make", "")


@pytest.mark.parametrize(
    ("body", "name", "message", "hint"),
    [
        ("def f(): return 1, np.ones(3)", "f", "must be a tuple, found ndarray", "kernel, (A,)"),
        ("def f(): pass\ndef g(): pass", "h", "no function 'h'", "it has f, g"),
        ("", "h", "no function 'h'", "it has none at all"),
    ],
)
def test_what_a_users_file_lacks_is_told(tmp_path, body, name, message, hint):
    path = tmp_path / "mine.py"
    path.write_text(f"import numpy as np\n{body}\n")
    with pytest.raises(rdu.RDUError, match=re.escape(message)) as caught:
        load(f"{path}:{name}", "")
    assert hint in caught.value.hint


def test_sockets_that_are_not_used_are_told():
    wanted = ["estimate", "monarch", "--sockets", "2", "--json"]
    result = RUNNER.invoke(app, wanted, catch_exceptions=False)
    assert "of 2 sockets 1 in use" in result.stderr
    assert "--split" in result.stderr
    assert json.loads(result.stdout)["cycles"]
    for fine in (["--sockets", "1"], ["--sockets", "2", "--split", "j"]):
        result = RUNNER.invoke(app, [*wanted[:2], *fine], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert not result.stderr


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (lambda g, n: rdu.compile(n, n), "a graph, found Node", "rdu.trace"),
        (lambda g, n: rdu.compile(g, g), "a node or a chip, found Graph", "rdu.sn40l_node"),
        (lambda g, n: rdu.run(g), "a compiled program, found Graph", "rdu.compile"),
        (lambda g, n: rdu.estimate(g), "a compiled program, found Graph", "rdu.compile"),
        (
            lambda g, n: rdu.coe.serve(
                rdu.coe.Composition.uniform(2), n, rdu.coe.Trace.distinct(3, 2)
            ),
            "a Platform, found Node",
            "rdu.coe.sn40l_node()",
        ),
    ],
)
def test_one_thing_given_for_another_is_told(call, message, hint):
    graph, node = rdu.models.monarch_fft(), rdu.sn40l_node(sockets=1)
    with pytest.raises(rdu.RDUError, match=message) as caught:
        call(graph, node)
    assert hint in caught.value.hint
