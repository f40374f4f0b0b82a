import json

import pytest
from typer.testing import CliRunner

import rdu
from rdu import coe
from rdu.coe.cli import app

TEXT = """
[router]
weight_gb = 2.0
cache_gb = 0.5
run_ms = 5.0
output_tokens = 1

[[expert]]
name = "code"
weight_gb = 14.0
count = 3
probability = 0.9

[[expert]]
name = "translation"
weight_gb = 70.0
state_gb = 1.0
run_ms = 180.0
"""


def test_a_composition_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    found = coe.read_composition(path)
    assert [expert.name for expert in found.experts] == ["code0", "code1", "code2", "translation"]
    assert found.bytes == 2.5e9 + 3 * 14e9 + 71e9
    assert found.router == coe.Router("router", 2e9, 0.5e9, 5e-3, 1)
    assert [e.probability for e in found.experts] == [pytest.approx(0.3)] * 3 + [None]
    assert found.experts[3].run_seconds == pytest.approx(0.18)
    trace = coe.Trace.distinct(4, 4)
    report = coe.serve(found, coe.sn40l_node(), trace)
    runs = 3 * 20 / 300 + 0.18
    assert report.time["run"] == pytest.approx(runs)
    assert report.time["router"] == pytest.approx(4 * 5e-3)
    (tmp_path / "one.toml").write_text(TEXT[TEXT.index("[[expert]]") :])
    assert coe.read_composition(tmp_path / "one.toml").router == coe.Router()


def test_the_command_line_plans_for_it(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    options = ["--composition", str(path), "--requests", "20", "--json"]
    rows = json.loads(CliRunner().invoke(app, options).output)
    assert {row["experts"] for row in rows} == {4}
    assert rows[0]["footprint_gb"] == pytest.approx(2.5 + 3 * 14 + 71)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight_gb = 70.0", "weight_mb = 70.0", "unknown key 'weight_mb' in [expert]"),
        ("weight_gb = 70.0", "", "missing key 'weight_gb' in [expert]"),
        ("weight_gb = 70.0", "weight_gb = -1", "expert.weight_gb must be finite and above 0"),
        ("weight_gb = 70.0", "weight_gb = 1" + 30 * "0", "is too large"),
        ("weight_gb = 70.0", "weight_gb = true", "must be a number"),
        ("count = 3", "count = 0", "count must be a whole number from 1"),
        ("count = 3", "count = 1.5", "must be a whole number"),
        ("probability = 0.9", "probability = 9", "probability must lie in [0, 1]"),
        ('name = "translation"', 'name = "code0"', "'code0' more than once"),
        ('name = "translation"', "name = 3", "must be a string"),
        ("[[expert]]", "[expert]", "TOML"),
        ("[router]", "[routers]", "unknown key 'routers'"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(rdu.SpecError) as caught:
        coe.read_composition(path)
    assert message in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_a_file_without_experts_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    for text, message in (("", "missing key 'expert'"), ("expert = 3", r"\[\[expert\]\]")):
        path.write_text(text)
        with pytest.raises(rdu.SpecError, match=message):
            coe.read_composition(path)
    with pytest.raises(rdu.SpecError, match="cannot read the composition file"):
        coe.read_composition(tmp_path / "absent.toml")
