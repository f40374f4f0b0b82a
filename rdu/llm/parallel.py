"""Tensor, pipeline and data parallelism over the sockets of a node (section IV-C)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rdu.errors import MappingError
from rdu.llm.collectives import Peers
from rdu.llm.estimate import Assumptions, Estimate, estimate
from rdu.llm.launch import Orchestration
from rdu.models.config import TransformerConfig, preset
from rdu.models.operators import Phase
from rdu.models.transformer import llama
from rdu.specs import Node


@dataclass(frozen=True, slots=True)
class ParallelEstimate:
    """Time of one pass over all replicas.

    Attributes
    ----------
    latency:
        Seconds from the first micro-batch's start to the last one's end, gradients exchanged.
    stages:
        Seconds of each pipeline stage for one micro-batch.
    exchange:
        Seconds of the gradient all-reduce between replicas; 0 outside training.
    tokens_per_second:
        Of all replicas together.
    """

    latency: float
    stages: tuple[float, ...]
    exchange: float
    tokens_per_second: float


def parallel(
    config: TransformerConfig | str,
    phase: Phase,
    node: Node,
    *,
    tensor: int,
    pipeline: int = 1,
    data: int = 1,
    batch: int = 1,
    micro_batches: int = 1,
    sequence: int = 4096,
    orchestration: Orchestration = "hardware",
    assumptions: Assumptions | None = None,
) -> ParallelEstimate:
    """Time a model split three ways.

    Parameters
    ----------
    tensor, pipeline, data:
        Sockets that share a layer, stages of consecutive layers, and replicas; their product must
        be the node's sockets.
    batch:
        Sequences of one replica, in ``micro_batches`` equal parts that follow each other through
        the pipeline.

    Raises
    ------
    MappingError
        Where the factors do not give the node's sockets, the layers or the batch.

    Examples
    --------
    >>> from rdu.specs import sn40l_node
    >>> split = parallel("llama2-7b", "decode", sn40l_node(8), tensor=4, pipeline=2)
    >>> len(split.stages)
    2
    """
    c = preset(config) if isinstance(config, str) else config
    a = assumptions if assumptions is not None else Assumptions()
    _check(c, node, tensor, pipeline, data, batch, micro_batches)
    part = batch // micro_batches
    # Each socket holds one stage of the layers; dense ones count as the others.
    few = 0 if pipeline > 1 else c.dense_layers
    windowed = None if c.windowed_layers is None else c.windowed_layers // pipeline
    stage = replace(c, layers=c.layers // pipeline, dense_layers=few, windowed_layers=windowed)
    whole = estimate(llama(stage, phase, part, sequence, tensor), node, "spatial", orchestration, a)
    stages = _stages(whole, pipeline)
    peers = Peers.of(node, 2, a.peer_ports)
    tokens = part * (1 if phase == "decode" else sequence)
    hand_over = peers.send(2 * tokens * c.hidden) if pipeline > 1 else 0.0
    beat = max(stages) + hand_over
    latency = sum(stages) + (pipeline - 1) * hand_over + (micro_batches - 1) * beat
    exchange = 0.0
    if phase == "train" and data > 1:
        replicas = Peers.of(node, data, a.peer_ports)
        exchange = replicas.all_reduce(whole.graph.resident_bytes / 6)
    total = data * micro_batches * tokens
    seconds = latency + exchange
    return ParallelEstimate(seconds, stages, exchange, total / seconds)


def _stages(whole: Estimate, pipeline: int) -> tuple[float, ...]:
    """Layers everywhere; what stands before them in the first stage, what follows in the last."""
    layers = first = last = 0.0
    for time in whole.kernels:
        group = time.kernel.operators[0].group
        if group.startswith(("decoder", "optimizer")):
            layers += time.total
        elif group.startswith("head"):
            last += time.total
        else:
            first += time.total
    seconds = [layers] * pipeline
    seconds[0] += first
    seconds[-1] += last
    return tuple(seconds)


def _check(
    c: TransformerConfig,
    node: Node,
    tensor: int,
    pipeline: int,
    data: int,
    batch: int,
    micro_batches: int,
) -> None:
    factors = {"tensor": tensor, "pipeline": pipeline, "data": data, "batch": batch}
    for name, value in (factors | {"micro_batches": micro_batches}).items():
        if value < 1:
            raise MappingError(f"{name} must be at least 1, found {value}")
    if tensor * pipeline * data != node.sockets:
        raise MappingError(
            f"tensor x pipeline x data = {tensor} x {pipeline} x {data} = "
            f"{tensor * pipeline * data} sockets, the node has {node.sockets}",
            hint="choose factors of the number of sockets",
        )
    if c.layers % pipeline:
        raise MappingError(f"{c.layers} layers do not divide into {pipeline} pipeline stages")
    if batch % micro_batches:
        raise MappingError(f"a batch of {batch} does not divide into {micro_batches} parts")
