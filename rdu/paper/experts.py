"""The composition-of-experts evaluation: figures 1, 12, 13 and table V.

Every latency here is a run of `rdu.coe.serve`; the inputs are the constants in the platform files
``rdu/specs/{dgx_a100,dgx_h100,sn40l_node}.toml``. The run times of 200 tokens in them are the only
calibrated ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rdu.coe import Composition, Platform, Router, Trace, dgx_a100, dgx_h100, serve, sn40l_node
from rdu.coe.planning import nodes_needed
from rdu.errors import CapacityError
from rdu.memory.tiers import Link
from rdu.models.config import preset
from rdu.paper import published
from rdu.paper.rows import Kind, Row, row

_PLATFORMS: dict[str, Callable[[], Platform]] = {
    "dgx_a100": dgx_a100,
    "dgx_h100": dgx_h100,
    "sn40l_node": sn40l_node,
}


def latency(
    platform: Platform,
    experts: int,
    batch: int,
    *,
    output_tokens: int = 20,
    counted: bool = True,
    retain: bool = True,
) -> float:
    """Steady-state latency of a batch in seconds, every prompt on a different expert.

    The trace asks for each expert in turn and repeats; the median over the second half is
    reported, when HBM has filled.
    """
    composition = Composition.uniform(experts, router=Router(counted=counted))
    requests = 2 * batch * -(-experts // batch)
    trace = Trace.distinct(requests, experts, batch=batch, output_tokens=output_tokens)
    report = serve(composition, platform, trace, retain=retain, max_events=0)
    half = len(report.batch_latencies) // 2
    return float(np.median(report.batch_latencies[half:]))


def figure_1() -> list[Row]:
    """Switching an expert against running it, per platform, 20 tokens."""
    rows: list[Row] = []
    for name, make in _PLATFORMS.items():
        platform = make()
        expert = Composition.uniform(1).experts[0]
        rows += [
            row(
                name,
                "switching ms",
                published.SWITCH_MS[name],
                1e3 * platform.switch_seconds(expert.hbm_bytes),
                "arithmetic",
            ),
            row(
                name,
                "expert run ms",
                published.RUN_20_MS[name],
                1e3 * platform.run_seconds(expert, 20),
                "arithmetic",
            ),
        ]
    return rows


def figure_12() -> list[Row]:
    """Latency over the number of experts, batch 1 and 8, 20 tokens.

    ``latency ms`` follows two habits of the figure: the DGX lines of batch 1 leave the router out
    of HBM, and the SN40L line of batch 8 copies all eight experts at every count. ``latency ms,
    one rule`` counts the router everywhere and keeps experts active as long as they fit.
    """
    rows: list[Row] = []
    for name, make in _PLATFORMS.items():
        platform = make()
        for batch in (1, 8):
            counted = name == "sn40l_node" or batch == 8
            retain = name != "sn40l_node" or batch == 1
            for experts in published.FIGURE_12_AXIS:
                label = f"{name} bs{batch} {experts} experts"
                paper = published.figure_12_ms(name, batch, experts)
                try:
                    ours = 1e3 * latency(platform, experts, batch, counted=counted, retain=retain)
                    strict = 1e3 * latency(platform, experts, batch)
                except CapacityError:
                    missing = 1.0 if paper is None else 0.0
                    rows.append(row(label, "out of memory", missing, 1.0, "arithmetic"))
                    continue
                rows.append(row(label, "latency ms", paper, ours, "arithmetic"))
                rows.append(row(label, "latency ms, one rule", None, strict, "arithmetic"))
    return rows


def figure_13() -> list[Row]:
    """Nodes needed to hold a number of experts."""
    rows: list[Row] = []
    for name, make, paper in (
        ("dgx", dgx_a100, published.FIGURE_13_DGX_NODES),
        ("sn40l_node", sn40l_node, published.FIGURE_13_SN40L_NODES),
    ):
        platform = make()
        for n, nodes in enumerate(paper):
            experts = 10 * (n + 1)
            ours = nodes_needed(Composition.uniform(experts), platform)
            rows.append(row(f"{name} {experts} experts", "nodes", nodes, ours, "arithmetic"))
    return rows


def table_5() -> list[Row]:
    """Speed-ups of the SN40L node, with the paper's one link and with eight links a DGX."""
    sn40l = sn40l_node()
    rows: list[Row] = []
    for name, make in (("dgx_a100", dgx_a100), ("dgx_h100", dgx_h100)):
        for (batch, tokens), paper in published.TABLE_5_OVERALL[name].items():
            kind: Kind = "arithmetic" if tokens == 20 else "calibrated"
            ours = _overall(make(), sn40l, batch, tokens)
            rows.append(
                row(f"overall bs{batch} {tokens} tokens", f"speedup over {name}", paper, ours, kind)
            )
        for tokens, paper in published.TABLE_5_EXPERT[name].items():
            kind = "arithmetic" if tokens == 20 else "calibrated"
            expert = Composition.uniform(1).experts[0]
            ours = make().run_seconds(expert, tokens) / sn40l.run_seconds(expert, tokens)
            rows.append(
                row(f"expert only bs1 {tokens} tokens", f"speedup over {name}", paper, ours, kind)
            )
        size = Composition.uniform(1).experts[0].hbm_bytes
        rows.append(
            row(
                "switching",
                f"speedup over {name}",
                published.TABLE_5_SWITCHING[name],
                make().switch_seconds(size) / sn40l.switch_seconds(size),
                "arithmetic",
            )
        )
        rows.append(
            row("over 150 experts", f"out of memory on {name}", 1.0, _refuses(make()), "arithmetic")
        )
        rows += _eight_links(name, sn40l)
    return rows


def _overall(platform: Platform, sn40l: Platform, batch: int, tokens: int) -> float:
    """Ratio of latencies at 150 experts; every prompt of a batch needs a copy."""
    theirs = latency(platform, 150, batch, output_tokens=tokens)
    return theirs / latency(sn40l, 150, batch, output_tokens=tokens)


def _refuses(platform: Platform) -> float:
    """1 where the platform holds 150 experts and not the next plotted number, 200."""
    platform.require(Composition.uniform(150))
    try:
        platform.require(Composition.uniform(200))
    except CapacityError:
        return 1.0
    return 0.0


def _eight_links(name: str, sn40l: Platform) -> list[Row]:
    """The ablation: the eight shards of an expert loaded over eight links at once."""
    platform = _PLATFORMS[name]().with_links(8)
    size = Composition.uniform(1).experts[0].hbm_bytes
    quantity = f"speedup over {name} with 8 links"
    rows = [
        row(
            "switching",
            quantity,
            None,
            platform.switch_seconds(size) / sn40l.switch_seconds(size),
            "arithmetic",
        )
    ]
    for batch, tokens in published.TABLE_5_OVERALL[name]:
        kind: Kind = "arithmetic" if tokens == 20 else "calibrated"
        ours = _overall(platform, sn40l, batch, tokens)
        rows.append(row(f"overall bs{batch} {tokens} tokens", quantity, None, ours, kind))
    return rows


def slide_switch() -> Row:
    """Switching Llama-3.1-8B on sixteen sockets, at the slide's 1.6 TB/s of DDR bandwidth."""
    link = Link("ddr to hbm", published.HC24_DDR_BYTES_PER_SECOND)
    ours = 1e3 * link.seconds(2 * preset("llama-3.1-8b").parameters)
    return row(
        "llama-3.1-8b, 16 sockets", "switching ms", published.HC24_SWITCH_MS, ours, "arithmetic"
    )
