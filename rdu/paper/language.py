"""Fusion and orchestration (figures 10, 11) and tokens per second (table IV).

Inputs, the same for every row: ``rdu/specs/sn40l.toml``, the published 85 % and 90 % of
`rdu.llm.Assumptions`, one sequence a replica (the paper gives no batch), the split over
eight sockets that `rdu.models.benchmark` states, and sixteen sockets in table IV.

Three of them were chosen with the published bars in view, so rows that depend on them and have a
published value are labelled calibrated: the two launch constants (`rdu.paper.calibration`), that
small models run a replica a socket, and that the convolution is in fp32 (its bf16 bars stand
beside). The same benchmarks without a published value are predictions.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from rdu.llm import Estimate, Fusion, Orchestration, estimate, generate, speculative
from rdu.models.benchmarks import BENCHMARKS, benchmark
from rdu.models.fft import flash_fft_conv
from rdu.models.transformer import llama
from rdu.paper import published
from rdu.paper.rows import Kind, Row, row
from rdu.specs import sn40l_node

DRAFTED, ACCEPTANCE = 4, 0.8
"""Speculative decoding of table IV: neither number is published; the 8B model drafts."""


def figure_10() -> list[Row]:
    """Speed-ups of the fused program over the unfused one, which the host launches."""
    rows: list[Row] = []
    for name in BENCHMARKS:
        unfused = _time(name, "none", "software").seconds
        software = unfused / _time(name, "spatial", "software").seconds
        hardware = unfused / _time(name, "spatial", "hardware").seconds
        one, two = published.FIGURE_10.get(name, (None, None))
        ratio = two / one if one is not None and two is not None else None
        kind: Kind = "predicted" if one is None else "calibrated"
        rows += [
            row(name, "speedup software", one, software, kind),
            row(name, "speedup hardware", two, hardware, kind),
            row(name, "hardware over software", ratio, hardware / software, kind),
        ]
    bf16 = flash_fft_conv(element_bytes=2)
    slow = estimate(bf16, sn40l_node(), "none", "software").seconds
    fast = estimate(bf16, sn40l_node(), "spatial", "hardware").seconds
    rows.append(row("flashfftconv-1m", "speedup hardware in bf16", None, slow / fast, "predicted"))
    return rows


def figure_11() -> list[Row]:
    """Kernel calls of the unfused program over those of the fused one."""
    rows: list[Row] = []
    for name in BENCHMARKS:
        unfused = _time(name, "none", "software").launches
        fused = _time(name, "spatial", "hardware")
        paper = published.FIGURE_11.get(name)
        replicas = fused.graph.tensor_parallel == 1 and name != "flashfftconv-1m"
        kind: Kind = "calibrated" if paper is not None and replicas else "predicted"
        rows.append(row(name, "kernel ratio", paper, unfused / fused.launches, kind))
    return rows


def table_4() -> list[Row]:
    """Tokens per second and user on sixteen sockets, sequence 8192, bf16.

    The two large models decode with a draft model, as in the paper, on assumed numbers
    (`DRAFTED`, `ACCEPTANCE`); beside them stands plain decoding.
    """
    node = sn40l_node(16)
    rows: list[Row] = []
    for name in ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"):
        plain = 1 / estimate(llama(name, "decode", 1, 8192, 16), node).seconds
        paper = published.TABLE_4_TOKENS_PER_SECOND.get(name)
        if name == "llama-3.1-8b":
            rows.append(row(name, "tokens per second", paper, plain, "predicted"))
            graph = llama(name, "decode", 1, 8192, 16)
            looped = 1 / estimate(graph, node, orchestration="looped").seconds
            quantity = "tokens per second with kernel looping"
            rows.append(row(name, quantity, None, looped, "predicted"))
            continue
        drafted = speculative(
            name, "llama-3.1-8b", node, 8192, drafted=DRAFTED, acceptance=ACCEPTANCE
        )
        rows.append(row(name, "tokens per second", paper, drafted, "predicted"))
        rows.append(row(name, "tokens per second without draft", None, plain, "predicted"))
    return rows


def expert_runs() -> list[Row]:
    """The expert run times the composition uses, from this model instead of the figure.

    The graph is compiled for 4096 tokens, as the benchmark's name says, so a prompt of 128 is
    padded. The rows without a published value show what the unpublished inputs are worth: the
    padding, and the rate and latency of the peer links.
    """
    node = sn40l_node()
    quick = replace(node, p2p_gb_per_s=2 * node.p2p_gb_per_s)
    slow = replace(node, p2p_latency_ns=2 * node.p2p_latency_ns)
    low, high = published.RUN_200_MS_RANGE
    rows: list[Row] = []
    for tokens in (20, 200):
        name = f"llama2-7b expert, {tokens} tokens"
        ours = {
            "run ms": generate("llama2-7b", node, 128, tokens),
            "run ms, not padded": generate("llama2-7b", node, 128, tokens, padded=None),
            "run ms, peer links twice as fast": generate("llama2-7b", quick, 128, tokens),
            "run ms, peer latency doubled": generate("llama2-7b", slow, 128, tokens),
        }
        for quantity, answer in ours.items():
            milliseconds, paper = 1e3 * answer.seconds, None
            if quantity == "run ms":
                known = published.RUN_20_MS["sn40l_node"]
                paper = known if tokens == 20 else min(max(milliseconds, low), high)
            rows.append(row(name, quantity, paper, milliseconds, "predicted"))
    return rows


def decoder_kernels() -> list[Row]:
    """The kernel of one decoder layer: what of the published shares is left in the model.

    Both shares are inputs (`rdu.llm.Assumptions`); latencies, collectives and the filling of the
    pipeline take something off the bandwidth.
    """
    rows: list[Row] = []
    chip = sn40l_node().chip
    for name in ("llama2-7b", "llama2-70b"):
        (layer,) = estimate(llama(name, "decode"), sn40l_node()).group("decoder")
        peak = 1e12 * chip.hbm_tb_per_s * layer.seconds
        label = f"{name} decoder kernel, decode"
        share = layer.kernel.memory_bytes / peak
        units = min(layer.pcus / chip.pcus, layer.pmus / chip.pmus)
        rows += [
            row(label, "share of hbm", published.DECODER_HBM_SHARE, share, "calibrated"),
            row(label, "share of units", published.DECODER_UNIT_SHARE, units, "calibrated"),
        ]
    return rows


@cache
def _time(name: str, fusion: Fusion, orchestration: Orchestration) -> Estimate:
    return estimate(benchmark(name), sn40l_node(), fusion, orchestration, spill=True)
