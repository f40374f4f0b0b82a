"""What commands print: tables and bars on a terminal, aligned plain text elsewhere.

Takes: text.  Gives: output.  Invariant: what is not a terminal gets the same text in every
width and locale, without colours; bars and spinners go to stderr, and only to a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(record: Any) -> None:
    """Print a record for machines."""
    print(json.dumps(record, indent=2, default=str))


def print_table(rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
    """Print rows of cells in columns; on a terminal the last one takes what width is left."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_header=False)
        for place in range(len(rows[0])):
            table.add_column(style="bold" if place == 0 else "", overflow="fold")
        for row in rows:
            table.add_row(*row)
        Console(highlight=False, markup=False).print(table)
        return
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(" " * indent + "  ".join(cells).rstrip())


def print_figures(lines: Sequence[Sequence[str]], *, title: str = "", left: int = 1) -> None:
    """Print lines of cells, the heads first; the first ``left`` columns start at the left."""
    if not sys.stdout.isatty():
        widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
        if title:
            print(title)
        for line in lines:
            cells = [
                cell.ljust(width) if place < left else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    heads, *rows = lines
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


def print_source(text: str) -> None:
    """Print Python, coloured on a terminal."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "python", word_wrap=True, background_color="default"))


@contextmanager
def busy(text: str) -> Generator[None, None, None]:
    """Show that something long is done inside the block."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def steps(items: Iterator[T], total: int, text: str) -> Iterator[T]:
    """Yield the items with a bar of how many there were."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=total)
        for item in items:
            progress.advance(task)
            yield item
