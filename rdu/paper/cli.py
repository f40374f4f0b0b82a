"""``rdu paper``: the paper's tables and figures beside ours."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from rdu.console import print_table, steps
from rdu.errors import SpecError
from rdu.paper import FIGURES, TABLES, Row, figure, runs, table
from rdu.paper.draw import draw_figure
from rdu.paper.rows import cells_of

app = typer.Typer(help="Tables and figures of the paper beside ours.", invoke_without_command=True)


@app.callback()
def show(
    which: Annotated[
        list[str] | None,
        typer.Option("--only", help="Such as table-V or figure-12; repeatable. All by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine output.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Folder to draw the shown figures in, as SVG.")
    ] = None,
) -> None:
    """Print the compared numbers, labelled arithmetic, calibrated or predicted."""
    names = which or [*(f"table-{n}" for n in TABLES), *(f"figure-{n}" for n in FIGURES), "runs"]
    found = {name: _rows(name) for name in steps(names)}
    if plot is not None:
        _draw(found, plot)
    if as_json:
        plain = {name: [dataclasses.asdict(r) for r in rows] for name, rows in found.items()}
        typer.echo(json.dumps(plain, indent=2))
        return
    for name, rows in found.items():
        print_table(cells_of(rows), title=name.replace("-", " "), left=6)
        typer.echo()


def _draw(found: Mapping[str, list[Row]], folder: Path) -> None:
    """Draw each figure among the rows to ``figure-N.svg``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"cannot make the folder {folder}: {error.strerror}") from error
    for name, rows in found.items():
        if name.startswith("figure-"):
            draw_figure(int(name.removeprefix("figure-")), rows, folder / f"{name}.svg")


def _rows(name: str) -> list[Row]:
    kind, _, number = name.lower().partition("-")
    if kind == "table":
        return table(number.upper())
    if kind == "figure" and number.isdigit():
        return figure(int(number))
    if name == "runs":
        return runs()
    raise SpecError(
        f"nothing of the paper is called {name!r}",
        hint=f"table-{{{', '.join(TABLES)}}}, figure-{{{', '.join(map(str, FIGURES))}}} or runs",
    )
