"""A run as text: a table for the terminal, Markdown.

Takes: ``Run``.  Ratios are a peer's time over this library's, of one round, medians over
rounds: above 1, this library is faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from sparsedsl.bench.measure import Measured, Timed, geometric_mean, on_threads
from sparsedsl.bench.memory import LEAST, SLACK
from sparsedsl.bench.overhead import ENTRIES, ORDER
from sparsedsl.bench.run import Run
from sparsedsl.bench.speedup import LONG
from sparsedsl.console import print_figures

HAND = "hand"
"""The kernels written by hand: what is possible, not what there is to choose from."""

PAR = 0.95
"""A ratio below which a cell counts as slower than a peer."""

METHOD = """\
Times are medians of warm calls as a user makes them, with scipy arrays or bound tensors as
arguments, checks of arguments and making of results included. Hand-written kernels take and
give raw arrays. Each result was compared with scipy's before anything was timed. Each round
runs every peer once, in an order drawn anew, and a short call again for half a millisecond; a
ratio is the median over rounds of the peer's time over that of sparsedsl in the same round, the
quartiles in parentheses: above 1, sparsedsl is faster. A peer that is 30 times slower has three
rounds with sparsedsl alone; one whose call takes more than 5 seconds is timed once, over the median
of sparsedsl. Rows of sparse results are sorted: scipy's and the others' are, where they leave them
unsorted, sorted within the time. Where a peer has several variants, the one faster in a short trial
was taken; its name follows the ratio. Variants of TACO are schedules, and TACO default has that
which it chooses itself. Merging C is C in the form that TACO's schedules have
(`bench/merging.c`): it stands in for TACO where that is not installed, and is not its output.
tensora runs in a process of its own: a call there is a message there and back. Everything but what
stands under Threads runs on one thread."""


def duration(seconds: float) -> str:
    """Return seconds in milliseconds, three digits."""
    ms = seconds * 1e3
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def peer(cell: Measured, name: str) -> Timed | None:
    """Return the times of one peer, None where it was not timed."""
    return next((t for t in cell.peers if t.name == name), None)


def _ratio(timed: Timed | None) -> str:
    if timed is None:
        return "-"
    low, high = timed.spread
    variant = f" {timed.variant}" if timed.variant else ""
    return f"{timed.ratio:.2f} ({low:.2f}-{high:.2f}){variant}"


def names(run: Run) -> list[str]:
    """Return the peers that were timed."""
    return [n for n in run.versions if any(peer(c, n) for c in run.cells)]


def summary(run: Run) -> list[tuple[str, int, float, int]]:
    """Return (peer, cells, geometric mean of ratios, cells under ``PAR``), the fastest last."""
    rows: list[tuple[str, int, float, int]] = []
    groups = {
        name: [t.ratio for c in run.cells if (t := peer(c, name)) is not None]
        for name in names(run)
    }
    libraries = tuple(name for name in names(run) if name != HAND)
    together = [c for c in run.cells if c.coiterates]
    groups["fastest of all"] = _fastest(run.cells, names(run))
    groups[f"fastest but {HAND}"] = _fastest(run.cells, libraries)
    groups[f"fastest but {HAND}, several sparse operands"] = _fastest(together, libraries)
    for name, ratios in groups.items():
        rows.append((name, len(ratios), geometric_mean(ratios), sum(r < PAR for r in ratios)))
    return rows


def _fastest(cells: Iterable[Measured], peers: Collection[str]) -> list[float]:
    """Return each cell's ratio to the fastest of some peers, where any was timed."""
    by_cell = ([t.ratio for t in c.peers if t.name in peers] for c in cells)
    return [min(ratios) for ratios in by_cell if ratios]


def _fraction(run: Run, cell: Measured) -> str:
    if not cell.streams or cell.ours is None:
        return ""
    return f"{cell.bytes / cell.ours.median / run.bandwidth['read']:.0%}"


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
    heads = ["peer", "cells", "geometric mean of ratios", f"cells under {PAR}"]
    lines += _markdown_table(
        heads, [[n, str(c), f"{mean:.2f}", str(under)] for n, c, mean, under in summary(run)]
    )
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


def _streams(run: Run) -> list[str]:
    rows = [
        [
            c.kernel,
            c.input,
            f"{c.bytes / 2**20:.0f}",
            f"{c.bytes / c.ours.median / 1e9:.1f}",
            _fraction(run, c),
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


def speedup(run: Run) -> float:
    """Return the geometric mean of the speed-up by threads over long cells; NaN without any."""
    return geometric_mean(cell.ratio for cell in run.speedups if cell.long)


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
    for name, cells, mean, under in summary(run):
        print(f"{name}: {mean:.2f} over {cells} cells, {under} under {PAR}")
    for cell in run.speedups:
        about = f"{cell.kernel} on {cell.input}, {cell.threads} threads"
        print(f"{about}: {cell.ratio:.2f}{'' if cell.same else ', results differ'}")
    for cell in run.cells:
        for name, error in cell.errors.items():
            print(f"not timed: {cell.kernel} on {cell.input}, {name}: {error}")
    for name, reason in run.absent.items():
        print(f"left out: {name}: {reason}")
