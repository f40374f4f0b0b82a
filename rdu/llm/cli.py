"""``rdu estimate`` of a whole language model: a preset, or a Hugging Face ``config.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import typer

from rdu.console import print_table
from rdu.llm.estimate import Estimate, estimate
from rdu.llm.footprint import memory_map
from rdu.llm.fusion import Fusion
from rdu.llm.launch import Orchestration
from rdu.models.config import PRESETS, TransformerConfig
from rdu.models.hf_config import from_hf_config
from rdu.models.operators import Phase
from rdu.models.transformer import llama
from rdu.specs import Node


def model_of(source: str) -> TransformerConfig | None:
    """The model a source names, or ``None`` where it names something else."""
    if source in PRESETS:
        return PRESETS[source]
    path = Path(source)
    if path.suffix == ".json" or (path / "config.json").is_file():
        return from_hf_config(path)
    return None


def estimate_model(
    config: TransformerConfig,
    node: Node,
    *,
    phase: str,
    batch: int,
    sequence: int,
    fusion: str,
    orchestration: str,
    as_json: bool,
    memory: Path | None,
) -> None:
    """Time one pass over all sockets of the node and print it.

    Parameters
    ----------
    memory:
        Where to draw the memory map of a socket.

    Raises
    ------
    RDUError
        For a phase, fusion or split that makes no sense, or a model that does not fit.
    """
    graph = llama(config, cast(Phase, phase), batch, sequence, node.sockets)
    chosen = cast(Fusion, fusion)
    found = estimate(graph, node, chosen, cast(Orchestration, orchestration), spill=True)
    summary = _summary(found, node)
    placed = memory_map(graph, node.chip, chosen)
    if memory is not None:
        placed.draw(memory)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    shown = {n: f"{v:,.6g}" if isinstance(v, float) else str(v) for n, v in summary.items()}
    print_table([("quantity", "value"), *shown.items()], left=2)
    if memory is not None:
        typer.echo(f"wrote {memory}")


def _summary(found: Estimate, node: Node) -> dict[str, float | int | str]:
    graph = found.graph
    tokens = graph.batch * (1 if graph.phase == "decode" else graph.sequence)
    return {
        "model": graph.name,
        "phase": graph.phase,
        "batch": graph.batch,
        "sequence": graph.sequence,
        "sockets": node.sockets,
        "milliseconds": 1e3 * found.seconds,
        "tokens per second": tokens / found.seconds,
        "kernel launches": found.launches,
        "milliseconds launching": 1e3 * found.launch_seconds,
        "share of HBM bandwidth": found.hbm_fraction,
        "HBM bytes a socket moves": found.bytes["hbm"],
        "weights a socket holds, GB": graph.resident_bytes / 1e9,
        "cache a socket holds, GB": graph.cache_bytes / 1e9,
        "spilled bytes moved": found.spilled_bytes,
    }
