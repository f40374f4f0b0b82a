import json

import pytest
from typer.testing import CliRunner

from rdu.errors import SpecError
from rdu.paper import figure
from rdu.paper.cli import app
from rdu.paper.draw import draw_figure

runner = CliRunner()


def test_json_rows():
    result = runner.invoke(app, ["--only", "table-V", "--only", "figure-1", "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    assert set(data) == {"table-V", "figure-1"}
    assert data["table-V"][0]["paper"] == 6.6


def test_figures_are_drawn(tmp_path):
    folder = tmp_path / "figures"
    options = ["--only", "table-I", "--only", "figure-1", "--only", "figure-13"]
    result = runner.invoke(app, [*options, "--plot", str(folder)])
    assert result.exit_code == 0, result.output
    assert {path.name for path in folder.iterdir()} == {"figure-1.svg", "figure-13.svg"}


def test_every_figure_can_be_drawn(tmp_path):
    for number in (10, 11, 12):
        rows = figure(number)
        draw_figure(number, rows, tmp_path / f"{number}.svg")
        assert "<svg" in (tmp_path / f"{number}.svg").read_text()
    with pytest.raises(SpecError, match="cannot draw"):
        draw_figure(11, figure(11), tmp_path / "figure.abc")


def test_text():
    result = runner.invoke(app, ["--only", "figure-1"])
    assert "437.5" in result.output


def test_unknown_name():
    assert isinstance(runner.invoke(app, ["--only", "table-9"]).exception, SpecError)
    assert isinstance(runner.invoke(app, ["--only", "plate-1"]).exception, SpecError)
