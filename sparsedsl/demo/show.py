"""The demonstration from start to end, printed for people or returned for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from sparsedsl.demo.cases import Case, cases
from sparsedsl.demo.experts import Experts, run_experts
from sparsedsl.demo.matrices import RealMatrix, collect
from sparsedsl.demo.measure import Measured, measure

STORY = "A * B"
"""The kernel whose whole story is told, on the first matrix."""


def demonstrate(*, quick: bool, json: bool) -> tuple[bool, dict[str, Any]]:
    """Run everything; print unless ``json``.  Returns whether all agreed, and the record."""
    console = Console(quiet=json, highlight=False)
    matrices, missing = collect(quick)
    console.print(_matrices_table(matrices))
    for line in missing:
        console.print(f"[yellow]{line}[/]")
    console.print(
        "MTTKRP uses the order-3 tensor of pairs in each row of a matrix, "
        "T\\[i,j,k] = A\\[i,j] * A\\[i,k].\n"
    )
    measured, told = _measure_all(matrices, quick, console)
    console.print(_times_table(measured))
    story = _story(told[0], told[1], console) if told else {}
    experts = run_experts(quick)
    _show_experts(experts, console)
    agree = all(m.agrees for m in measured) and experts.agrees
    _verdict(measured, experts, console)
    return agree, {
        "agree": agree,
        "matrices": [{"name": m.name, "source": m.source, "is": m.description} for m in matrices],
        "missing": missing,
        "kernels": [{**asdict(m), "agrees": m.agrees} for m in measured],
        "story": story,
        "experts": {**asdict(experts), "agrees": experts.agrees},
    }


def _measure_all(
    matrices: list[RealMatrix], quick: bool, console: Console
) -> tuple[list[Measured], tuple[Case, Measured] | None]:
    measured: list[Measured] = []
    told: tuple[Case, Measured] | None = None
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("kernels", total=6 * len(matrices))
        for matrix, case in _every_case(matrices):
            progress.update(task, description=f"{case.name} on {matrix.name}")
            found = measure(case, matrix.name, quick)
            measured.append(found)
            if told is None and case.name == STORY:
                told = case, found
            progress.advance(task)
    return measured, told


def _every_case(matrices: list[RealMatrix]) -> Iterator[tuple[RealMatrix, Case]]:
    for matrix in matrices:
        for case in cases(matrix.matrix):
            yield matrix, case


def _matrices_table(matrices: list[RealMatrix]) -> Table:
    table = Table(title="Real matrices", title_justify="left")
    for column in ("name", "stored as", "from"):
        table.add_column(column, overflow="fold")
    for m in matrices:
        table.add_row(m.name, m.description, m.source)
    return table


def _times_table(measured: list[Measured]) -> Table:
    table = Table(
        title="Kernels beside scipy",
        caption="error: relative to the largest value; first call: plan, prove, compile, or load "
        "from the cache; warm and scipy: medians; ratio: scipy / warm; * NumPy, as scipy has none",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("kernel", no_wrap=True)
    table.add_column("matrix", no_wrap=True)
    for column in ("error", "first call", "warm", "scipy", "ratio"):
        table.add_column(column, justify="right", no_wrap=True)
    for m in measured:
        mark = "" if m.agrees else " [red]WRONG[/]"
        table.add_row(
            m.kernel,
            m.matrix,
            f"{m.error:.0e}{mark}",
            f"{m.first_seconds:.2f} s",
            duration(m.seconds),
            duration(m.peer_seconds) + ("" if m.peer == "scipy" else "*"),
            f"{m.peer_seconds / m.seconds:.2f}",
        )
    return table


def _story(case: Case, measured: Measured, console: Console) -> dict[str, Any]:
    lowered = case.kernel.lower(*case.arguments)
    console.print(f"\n[bold]The story of one kernel: {case.name} on {measured.matrix}[/]")
    text, source = lowered.explain(), lowered.source
    console.print(Panel(Text(text), title="what is computed, how, and why that is right"))
    console.print(Panel(Syntax(source, "python", word_wrap=True), title="the generated kernel"))
    console.print(
        f"time {duration(measured.seconds)}, {measured.peer} {duration(measured.peer_seconds)}\n"
    )
    proofs = [
        {"goal": p.name, "proved": p.proved, "seconds": p.seconds, "allows": p.allows}
        for p in lowered.proofs
    ]
    return {"kernel": case.name, "explanation": text, "source": source, "proofs": proofs}


def _show_experts(experts: Experts, console: Console) -> None:
    console.print("[bold]A layer of experts, one kernel on two machines[/]")
    console.print(experts.sizes)
    console.print(Panel(Text(experts.program), title="expert_layer"))
    console.print(
        f"compiled with Numba: {duration(experts.seconds)}, "
        f"max error {experts.error:.0e} against NumPy in float64"
    )
    table = Table(title="On the emulated SN40L socket, bfloat16", title_justify="left")
    table.add_column("fusion", no_wrap=True)
    tiers = list(experts.mapped[0].bytes)
    for column in ("kernels", *(f"{t} bytes" for t in tiers), "flops/B", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in experts.mapped:
        table.add_row(
            row.fusion,
            str(row.kernels),
            *(f"{row.bytes[t]:,}" for t in tiers),
            f"{row.operational_intensity:.1f}",
            duration(row.seconds),
        )
    console.print(table)
    same = "equal, bit for bit" if experts.fused_equals_unfused else "[red]DIFFERENT[/]"
    console.print(f"fused and unfused results: {same}; max error {experts.emulated_error:.0e}\n")


def _verdict(measured: list[Measured], experts: Experts, console: Console) -> None:
    wrong = [f"{m.kernel} on {m.matrix}" for m in measured if not m.agrees]
    wrong += [] if experts.agrees else ["the layer of experts"]
    if wrong:
        console.print(f"[red]disagreement in {', '.join(wrong)}[/]")
    else:
        console.print(
            f"{len(measured)} kernels agree with scipy or NumPy; the layer of experts agrees."
        )


def duration(seconds: float) -> str:
    """A time with three digits and a unit.

    >>> duration(0.00123)
    '1.23 ms'
    """
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
