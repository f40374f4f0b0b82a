"""What the command line prints: tables on a terminal, aligned plain text elsewhere.

Takes: text.  Gives: output.  Invariant: what is not a terminal gets the same text in every
width, without colours; bars and spinners go to stderr, and only to a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rdu.errors import RDUError

if TYPE_CHECKING:
    import typer

T = TypeVar("T")


def print_table(lines: Sequence[Sequence[str]], *, title: str = "", left: int = 1) -> None:
    """Print lines of cells, the heads first; the first ``left`` columns start at the left."""
    if not sys.stdout.isatty():
        print("\n".join([*([title] if title else []), aligned(lines, left)]))
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


def aligned(lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return lines of cells as columns of plain text.

    >>> print(aligned([("name", "bytes"), ("a", "12")]))
    name  bytes
    a        12
    """
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


@contextmanager
def busy(text: str) -> Generator[None, None, None]:
    """Show that something long is done inside the block."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def steps(items: Sequence[T]) -> Iterator[T]:
    """Yield the items, with a bar that names the one in work."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(items))
        for item in items:
            progress.update(task, description=str(item))
            yield item
            progress.advance(task)


def refuse_unused(context: typer.Context, names: Sequence[str], what: str) -> None:
    """Refuse options of ``what`` that were given and would be ignored.

    Raises
    ------
    RDUError
        Naming the first of them.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise RDUError(f"--{name.replace('_', '-')} is an option of {what}")
