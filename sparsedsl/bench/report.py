"""A run as text: a table for the terminal, Markdown.

Takes: ``Run``.  Ratios are a peer's time over this library's, of one round, medians over
rounds: above 1, this library is faster.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from sparsedsl.bench.measure import Timed, on_threads
from sparsedsl.bench.memory import LEAST, SLACK
from sparsedsl.bench.overhead import ENTRIES, ORDER
from sparsedsl.bench.run import Run
from sparsedsl.bench.speedup import LONG
from sparsedsl.bench.summary import (
    CACHE,
    HAND,
    PAR,
    Row,
    Target,
    coiterating,
    fraction,
    names,
    peer,
    speedup,
    summary,
    targets,
)
from sparsedsl.console import print_figures

METHOD = """\
Times are medians of warm calls as a user makes them, with scipy arrays or bound tensors as
arguments, checks of arguments and making of results included. Hand-written kernels take and give
raw arrays. Each result was compared with scipy's before anything was timed. Each round runs every
peer once, in an order drawn anew, and a short call again for half a millisecond; a ratio is the
median over rounds of the peer's time over that of sparsedsl in the same round, the quartiles in
parentheses: above 1, sparsedsl is faster. A peer that is 30 times slower has three rounds with
sparsedsl alone; one whose call takes more than 2 seconds is timed once, over the median of
sparsedsl. scipy makes products under a mask by as many rows at once as there is room for. Rows of
sparse results are sorted: scipy's and the others' are, where they leave them unsorted, sorted
within the time. Where a peer has several variants, the one faster in a short trial was taken; its
name follows the ratio. Variants of TACO are schedules, and TACO default has that which it chooses
itself. Merging C is C in the form that TACO's schedules have (`bench/merging.c`): it stands in for
TACO where that is not installed, and is not its output. tensora runs in a process of its own: a
call there is a message there and back. Everything but what stands under Threads runs on one
thread."""


def duration(seconds: float) -> str:
    """Return seconds in milliseconds, three digits."""
    ms = seconds * 1e3
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def _ratio(timed: Timed | None) -> str:
    if timed is None:
        return "-"
    low, high = timed.spread
    variant = f" {timed.variant}" if timed.variant else ""
    return f"{timed.ratio:.2f} ({low:.2f}-{high:.2f}){variant}"


def _markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def _cell_rows(run: Run) -> list[list[str]]:
    peers = names(run)
    return [
        [
            c.kernel,
            c.input,
            duration(c.ours.median) if c.ours else "failed",
            duration(c.ours.least) if c.ours else "",
            *(_ratio(peer(c, name)) for name in peers),
        ]
        for c in run.cells
    ]


def _heads(run: Run) -> list[str]:
    return ["kernel", "input", "median ms", "least ms", *(f"/ {name}" for name in names(run))]


def slower(run: Run) -> list[tuple[str, str, Timed]]:
    """Return cells where a peer is faster than ``PAR`` allows, the worst first."""
    found = [(c.kernel, c.input, t) for c in run.cells for t in c.peers if t.ratio < PAR]
    return sorted(found, key=lambda item: item[2].ratio)


def markdown(run: Run, note: str = "") -> str:
    """Return the report."""
    lines = ["# Benchmarks", "", METHOD, *(["", note] if note else [])]
    lines += ["", "## Machine", ""]
    lines += [f"- {name}: {value}" for name, value in run.machine.items()]
    lines += [f"- {name}: {version}" for name, version in run.versions.items()]
    lines += [f"- bandwidth, {n}: {v / 1e9:.1f} GB/s" for n, v in run.bandwidth.items()]
    lines += [f"- left out, {name}: {reason}" for name, reason in run.absent.items()]
    lines += ["", "## Summary", ""]
    lines += _summary(run)
    lines += ["", "## Targets", "", *_targets(run)]
    lines += ["", "## Inputs", ""]
    lines += _markdown_table(["name", "what"], [[n, about] for n, about in run.inputs.items()])
    lines += ["", "## Kernels", "", *_markdown_table(_heads(run), _cell_rows(run))]
    lines += (
        _streams(run)
        + _conversions(run)
        + _speedups(run)
        + _slower(run)
        + _overheads(run)
        + _firsts(run)
        + _growths(run)
        + _memories(run)
        + _errors(run)
    )
    return "\n".join(lines) + "\n"


def _summary(run: Run) -> list[str]:
    together = summary(run, coiterating(run))
    rows = [
        [row.peer, *_figures(row), *_figures(part)]
        for row, part in zip(summary(run), together, strict=True)
    ]
    columns = ["cells", "geometric mean of ratios", f"cells under {PAR}"]
    heads = ["peer", *columns, *(f"co-iteration: {name}" for name in columns)]
    kernels = dict.fromkeys(c.kernel for c in coiterating(run))
    about = f"Co-iteration is where entries of sparse operands meet: {'; '.join(kernels)}."
    return [*([about, ""] if kernels else []), *_markdown_table(heads, rows)]


def _figures(row: Row) -> list[str]:
    return [str(row.cells), f"{row.mean:.2f}" if row.cells else "-", str(row.under)]


def _targets(run: Run) -> list[str]:
    rows = [
        [t.about, str(t.cells), f"{t.reached:.2f}", f"{t.wanted:.2f}", _verdict(t)]
        for t in targets(run)
    ]
    about = (
        "Geometric means of ratios, or the least of all cells. Streams count as out of cache "
        f"from {CACHE // 2**20} MiB of operands and result, and are over the memory's bytes a "
        f"second; cells are long from {LONG * 1e3:.0f} ms on one thread."
    )
    return [about, "", *_markdown_table(["target", "cells", "reached", "wanted", "met"], rows)]


def _verdict(target: Target) -> str:
    if math.isnan(target.reached):
        return "not measured"
    return "yes" if target.met else f"no, {target.reached / target.wanted:.0%} of it"


def _streams(run: Run) -> list[str]:
    rows = [
        [
            c.kernel,
            c.input,
            f"{c.bytes / 2**20:.0f}",
            f"{c.bytes / c.ours.median / 1e9:.1f}",
            f"{fraction(run, c):.0%}",
        ]
        for c in run.cells
        if c.streams and c.ours
    ]
    heads = ["kernel", "input", "MiB", "GB/s", "of read bandwidth"]
    about = (
        "Bytes of operands and result, each counted once, over the median time. Above 100 %, "
        "the input stays in cache between calls."
    )
    return ["", "## Streaming", "", about, "", *_markdown_table(heads, rows)] if rows else []


def _conversions(run: Run) -> list[str]:
    peers = [n for n in ("scipy", HAND, "TACO") if any(n in c.peers for c in run.conversions)]
    rows = [
        [
            c.name,
            duration(statistics.median(c.ours)) if c.ours else c.error,
            *(f"{c.ratio(n):.2f}" if n in c.peers else "-" for n in peers),
            f"{1 / c.ratio(c.best):.2f} ({c.best})" if c.peers else "",
        ]
        for c in run.conversions
    ]
    heads = ["conversion", "median ms", *(f"/ {name}" for name in peers), "over the fastest"]
    about = (
        "Matrices of 20,000 rows and columns with 400,000 entries, spread evenly or in 20 "
        "diagonals, and as many of a tensor of order 3. Peers' times over that of sparsedsl: above "
        "1, sparsedsl is faster; last, that of sparsedsl over the fastest peer's. TACO writes the "
        "conversions of sorted coordinates alone; scipy has no ELL and no order 3."
    )
    return ["", "## Conversions", "", about, "", *_markdown_table(heads, rows)] if rows else []


def _speedups(run: Run) -> list[str]:
    if not run.speedups:
        return []
    threads = run.speedups[0].threads
    rows: list[list[str]] = []
    for cell in run.speedups:
        low, high = np.quantile(cell.ratios, (0.25, 0.75))
        times = [duration(statistics.median(t)) for t in (cell.one, cell.several)]
        same = "" if cell.same else ", results differ"
        rows.append(
            [cell.kernel, cell.input, *times, f"{cell.ratio:.2f} ({low:.2f}-{high:.2f}){same}"]
        )
    heads = ["kernel", "input", "1 thread ms", f"{threads} threads ms", "speed-up"]
    about = (
        f"The same call on one thread and on {threads} in turn; results were compared bit for bit. "
        f"Geometric mean of the speed-up {speedup(run):.2f} over cells of at least "
        f"{LONG * 1e3:.0f} ms on one thread.{_ceiling(run, threads)}"
    )
    return ["", "## Threads", "", about, "", *_markdown_table(heads, rows)]


def _ceiling(run: Run, threads: int) -> str:
    """Return a sentence on how much more the memory gives several threads, if that was measured."""
    known = run.bandwidth
    gains = [
        f"{known[several] / known[one]:.2f} times the bytes a second to a {one}"
        for one, several in zip(("read", "copy"), on_threads(threads), strict=True)
        if several in known
    ]
    if not gains:
        return ""
    return f" The memory gives {' and '.join(gains)} on {threads} threads: streams gain no more."


def _slower(run: Run) -> list[str]:
    rows = [[k, i, t.name, _ratio(t), f"{t.least_ratio:.2f}"] for k, i, t in slower(run)]
    heads = ["kernel", "input", "peer", "ratio", "ratio of least times"]
    about = "Cells where a peer is faster, the worst first."
    return ["", "## Slower", "", about, "", *_markdown_table(heads, rows)] if rows else []


def _overheads(run: Run) -> list[str]:
    rows = [
        [
            o.kernel,
            *(f"{s * 1e6:.1f}" for s in (o.scipy, o.arguments, o.bound, o.compiled)),
            *(f"{s * 1e6:.1f}" for s in (*o.cold, *o.new)),
        ]
        for o in run.overheads
    ]
    what = ["scipy", "scipy arguments", "bound tensors", "compiled kernel"]
    cold = [f"cold: {w} us" for w in what] if any(o.cold for o in run.overheads) else []
    new = [f"new: {w} us" for w in what[:2]] if any(o.new for o in run.overheads) else []
    heads = ["kernel", *(f"{w} us" for w in what), *cold, *new]
    about = (
        f"Microseconds of a whole call on matrices of {ORDER} rows: scipy's own, then this "
        "library's with scipy arguments, with bound tensors, and of the compiled kernel with "
        "bound tensors. The least mean of a batch of calls; cold: the median of single calls, each "
        "after 8 MiB were read and other calls made; new: the median of single calls on matrices "
        f"of {ENTRIES} entries that no call had before, of another shape each time."
    )
    return ["", "## Tiny arguments", "", about, "", *_markdown_table(heads, rows)] if rows else []


def _firsts(run: Run) -> list[str]:
    rows = [[f.kernel, f"{f.cold:.2f}", f"{f.disk:.3f}", f"{f.imported:.2f}"] for f in run.firsts]
    about = (
        "Seconds of the first call in a new process after `import sparsedsl`, small inputs: "
        "with an empty cache (planning, proofs, compilation, loading of libraries), and with "
        "the kernel on disk, after a pass of the garbage collector. Then those of the import, "
        "after NumPy's and scipy's. Modules have their bytecode, as installed ones do."
    )
    heads = ["kernel", "cold s", "from disk s", "import s"]
    return ["", "## First calls", "", about, "", *_markdown_table(heads, rows)] if rows else []


def _growths(run: Run) -> list[str]:
    counts = sorted({count for g in run.growths for count in g.seconds})
    rows = [
        [g.kind, *(f"{g.seconds[n]:.2f}" if n in g.seconds else "-" for n in counts)]
        for g in run.growths
    ]
    about = (
        "Seconds of the first call, nothing on disk, in a process that has called another kernel: "
        "by the number of modes or of operands."
    )
    heads = ["kernel", *map(str, counts)]
    return ["", "## Growth", "", about, "", *_markdown_table(heads, rows)] if rows else []


def _memories(run: Run) -> list[str]:
    mib = [
        (m, [b / 2**20 for b in (m.operands, m.result, m.announced, m.first, m.again)])
        for m in run.memories
    ]
    rows = [[m.kernel, m.input, *(f"{b:.1f}" for b in sizes), f"{m.ratio:.2f}"] for m, sizes in mib]
    about = (
        "MiB of operands, result and what the explanation announces, then how much the process "
        "grew at most during a call on arguments it had not seen, their checks included, and "
        "during one on the same again. The ratio is the peak over operands, result and what is "
        f"announced: {sum(m.ratio > SLACK for m in run.memories)} of {len(run.memories)} are "
        f"above {SLACK}. Inputs of less than {LEAST / 1e6:.0f} MB with their result are left out."
    )
    heads = ["kernel", "input", "operands", "result", "announced", "first", "again", "ratio"]
    return ["", "## Memory", "", about, "", *_markdown_table(heads, rows)] if rows else []


def _errors(run: Run) -> list[str]:
    rows = [[c.kernel, c.input, n, e] for c in run.cells for n, e in c.errors.items()]
    heads = ["kernel", "input", "who", "why"]
    return ["", "## Not timed", "", *_markdown_table(heads, rows)] if rows else []


def show(run: Run) -> None:
    """Print the table and the summary to the terminal."""
    title = "time over that of sparsedsl: above 1, sparsedsl is faster"
    print_figures([_heads(run), *_cell_rows(run)], title=title, left=2)
    for what, cells in (("", run.cells), ("co-iteration, ", coiterating(run))):
        for row in summary(run, cells):
            if row.cells:
                figures = f"{row.mean:.2f} over {row.cells} cells, {row.under} under {PAR}"
                print(f"{what}{row.peer}: {figures}")
    for cell in run.speedups:
        about = f"{cell.kernel} on {cell.input}, {cell.threads} threads"
        print(f"{about}: {cell.ratio:.2f}{'' if cell.same else ', results differ'}")
    for cell in run.cells:
        for name, error in cell.errors.items():
            print(f"not timed: {cell.kernel} on {cell.input}, {name}: {error}")
    for name, reason in run.absent.items():
        print(f"left out: {name}: {reason}")
