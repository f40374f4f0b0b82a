"""The command ``sparsedsl bench``: choose, measure with a progress bar, write down."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparsedsl.bench.finds import LENGTHS, SKEWS, summary, sweep, table
from sparsedsl.bench.plot import drawable, plot
from sparsedsl.bench.record import record
from sparsedsl.bench.report import markdown, show
from sparsedsl.bench.run import Run, chosen, run
from sparsedsl.errors import SparseDSLError


def bench(
    kernels: str = "",
    matrices: str = "",
    *,
    quick: bool = False,
    threads: int = 1,
    json: bool = False,
    output: Path | None = None,
    picture: Path | None = None,
    note: str = "",
) -> tuple[bool, dict[str, Any]]:
    """Run and report; return whether every result agreed, and the record that JSON prints."""
    cells = chosen(kernels, matrices, quick)
    writable(output, "--output")
    writable(picture, "--plot")
    if picture is not None:
        drawable(picture)
    found = _with_progress(cells, quick, threads)
    if output is not None:
        output.write_text(markdown(found, note))
    if picture is not None:
        plot(found, picture)
    if not json:
        show(found)
    agree = all(cell.ours is not None and not cell.errors for cell in found.cells)
    agree &= all(cell.same for cell in found.speedups)
    return agree, record(found)


def compare_finds(
    *, quick: bool = False, json: bool = False, output: Path | None = None, note: str = ""
) -> dict[str, Any]:
    """Time every find on a grid of sizes beside what the cost model chooses; report, record."""
    writable(output, "--output")
    cells = list(sweep(LENGTHS[::2], SKEWS[::2]) if quick else sweep())
    text = table(cells, note)
    if output is not None:
        output.write_text(text + "\n")
    if not json:
        print(text)
    return {"summary": summary(cells), "cells": [asdict(cell) for cell in cells]}


def writable(path: Path | None, option: str) -> None:
    """Raise before anything is measured where no file could be written at the end."""
    if path is not None and not path.absolute().parent.is_dir():
        raise SparseDSLError(f"{option}: expected a path in a folder that exists, found {path}")


def _with_progress(cells: list[tuple[str, str]], quick: bool, threads: int) -> Run:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        return run(cells, quick=quick, threads=threads)
    from rich.console import Console
    from rich.progress import Progress

    kernels = len({kernel for kernel, _ in cells})
    steps = 1 + len(cells) * (1 if threads < 2 else 2) + (0 if quick else 1 + 2 * kernels)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=steps)
        first = True

        def step(text: str) -> None:
            nonlocal first
            progress.update(task, description=text, advance=0 if first else 1)
            first = False

        return run(cells, quick=quick, threads=threads, step=step)
