"""Whether other unpublished inputs bring figures 10 and 11 nearer: ``python bench/figure_10.py``.

The paper gives neither batch sizes, nor how models are split over the sockets, nor which operators
its unfused programs have. Each line takes one choice for all benchmarks, fits the two launch
constants to it, and says how near the bars come: mean squared logarithm of ours over theirs, rank
correlation over all bars, and the kernel ratios within 30 %. It takes half a minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from scipy.stats import spearmanr

from rdu.llm import estimate
from rdu.models.benchmarks import SOCKETS, benchmark
from rdu.models.config import preset
from rdu.models.operators import ModelGraph, Operator, Product
from rdu.models.transformer import llama
from rdu.paper import published
from rdu.paper.calibration import calibrate
from rdu.specs import sn40l_node


def in_one(operators: Sequence[Operator]) -> list[Operator]:
    """The operators of forward layers with scores, softmax and values as one operator."""
    found: list[Operator] = []
    scores: Operator | None = None
    for op in operators:
        inside = op.name.startswith(("scores", "softmax")) or op.name == "values"
        if not inside or not op.group.startswith(("decoder", "vision")) or "back" in op.group:
            found.append(op)
        elif op.name == "scores":
            scores = op
        elif op.name == "values" and scores is not None and op.product and scores.product:
            p = scores.product
            both = Product(p.count, p.m, p.k + op.product.n, p.n)
            reads = (*scores.reads, *op.reads[1:])
            softmax = 9 * scores.output_bytes / 2
            found.append(replace(op, reads=reads, product=both, elements=softmax, barrier=True))
    return found


def programs(batch: int, split: bool, attention: bool, name: str) -> tuple[ModelGraph, ModelGraph]:
    """Unfused and fused program of a benchmark under the choice."""
    graph = benchmark(name, batch)
    if split and name != "flashfftconv-1m":
        config = preset(graph.name)
        graph = llama(config, graph.phase, batch, graph.sequence, SOCKETS)
    if not attention:
        return graph, graph
    return replace(graph, operators=tuple(in_one(graph.operators))), graph


def line(batch: int, split: bool, attention: bool) -> str:
    """One choice and how near it comes."""
    graphs = partial(programs, batch, split, attention)
    node = sn40l_node()
    found = calibrate(node, graphs=graphs)
    chip = node.chip.with_changes(
        host_launch_us=found.host_launch_us, config_load_gb_per_s=found.config_load_gb_per_s
    )
    node = replace(node, chip=chip)
    ours: list[float] = []
    bars: list[float] = []
    near = signs = 0
    for name, pair in published.FIGURE_10.items():
        apart, graph = graphs(name)
        unfused = estimate(apart, node, "none", "software", spill=True)
        for bar, who in zip(pair, ("software", "hardware"), strict=True):
            fused = estimate(graph, node, "spatial", who, spill=True)
            ours.append(unfused.seconds / fused.seconds)
            bars.append(bar)
            signs += (ours[-1] > 1) == (bar > 1)
        ratio = unfused.launches / fused.launches / published.FIGURE_11[name]
        near += 0.7 <= ratio <= 1.3
    rank = float(spearmanr(bars, ours).statistic)
    what = "all over 8 sockets" if split else "replicas where they fit"
    how = "one operator" if attention else "as written"
    launch = f"{found.host_launch_us:4g}  {found.config_load_gb_per_s:4g}"
    near_bars = f"{found.error:5.2f}  {rank:4.2f}  {signs:2}/18  {near:4}/9"
    return f"{batch:5}  {what:23}  {how:12}  {launch}  {near_bars}"


def lines() -> Iterator[str]:
    """The heads, then one line a choice."""
    yield "batch  sockets                  attention       us  GB/s  error  rank  signs  ratios"
    for split, attention, batch in product((False, True), (False, True), (1, 4, 16)):
        yield line(batch, split, attention)


if __name__ == "__main__":
    for text in lines():
        print(text, flush=True)
