import json

from typer.testing import CliRunner

from rdu.errors import SpecError
from rdu.paper.cli import app

runner = CliRunner()


def test_json_rows():
    result = runner.invoke(app, ["--only", "table-V", "--only", "figure-1", "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    assert set(data) == {"table-V", "figure-1"}
    assert data["table-V"][0]["paper"] == 6.6


def test_text():
    result = runner.invoke(app, ["--only", "figure-1"])
    assert "437.5" in result.output


def test_unknown_name():
    assert isinstance(runner.invoke(app, ["--only", "table-9"]).exception, SpecError)
    assert isinstance(runner.invoke(app, ["--only", "plate-1"]).exception, SpecError)
