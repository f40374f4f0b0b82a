"""A whole answer: the prompt, then one step a token; with or without a draft model."""

from __future__ import annotations

from dataclasses import dataclass

from rdu.errors import SpecError
from rdu.llm.estimate import Assumptions, estimate
from rdu.llm.launch import Orchestration
from rdu.memory.tiers import counts
from rdu.models.config import TransformerConfig
from rdu.models.transformer import llama
from rdu.specs import Node


@dataclass(frozen=True, slots=True)
class Generation:
    """Seconds of one answer: ``prefill`` makes the first token, each step one more."""

    prefill: float
    steps: int
    step: float

    @property
    def seconds(self) -> float:
        """The whole answer."""
        return self.prefill + self.steps * self.step

    @property
    def tokens_per_second(self) -> float:
        """Per user, after the first token."""
        return 1 / self.step


def generate(
    config: TransformerConfig | str,
    node: Node,
    prompt: int,
    output_tokens: int,
    *,
    batch: int = 1,
    padded: int | None = 4096,
    orchestration: Orchestration = "hardware",
    assumptions: Assumptions | None = None,
) -> Generation:
    """Time an answer of ``output_tokens`` on all sockets of the node.

    Parameters
    ----------
    padded:
        Graphs are compiled for one length: a shorter prompt is padded to it, and the cache is
        read up to it. ``None`` compiles for the prompt at hand.

    Raises
    ------
    SpecError
        For counts below one, or a prompt longer than ``padded``.
    CapacityError
        Where weights and cache do not fit HBM.
    """
    counts("generation", prompt=prompt, output_tokens=output_tokens)
    if padded is not None and prompt > padded:
        raise SpecError(f"a prompt of {prompt} tokens does not fit a graph compiled for {padded}")
    length = prompt if padded is None else padded
    context = length if padded is not None else prompt + output_tokens // 2

    def seconds(graph_length: int, phase: str) -> float:
        mode = "prefill" if phase == "prefill" else "decode"
        graph = llama(config, mode, batch, graph_length, node.sockets)
        return estimate(graph, node, "spatial", orchestration, assumptions).seconds

    return Generation(seconds(length, "prefill"), output_tokens - 1, seconds(context, "decode"))


def speculative(
    target: TransformerConfig | str,
    draft: TransformerConfig | str,
    node: Node,
    context: int,
    *,
    drafted: int = 4,
    acceptance: float = 0.8,
    orchestration: Orchestration = "hardware",
    assumptions: Assumptions | None = None,
) -> float:
    """Tokens per second and user when a draft model proposes and the target verifies.

    A round drafts ``drafted`` tokens one by one and verifies them in one step of the target;
    with independent acceptance it yields ``(1 - p**(n+1)) / (1 - p)`` tokens on average
    (Leviathan et al. 2023).
    """
    if not 0 <= acceptance < 1:
        raise SpecError(f"acceptance must lie in [0, 1), found {acceptance}")
    counts("speculation", drafted=drafted)
    small = llama(draft, "decode", 1, context, node.sockets)
    large = llama(target, "decode", 1, context, node.sockets, tokens=drafted + 1)
    proposing = estimate(small, node, "spatial", orchestration, assumptions).seconds
    verifying = estimate(large, node, "spatial", orchestration, assumptions).seconds
    tokens = (1 - acceptance ** (drafted + 1)) / (1 - acceptance)
    return tokens / (drafted * proposing + verifying)
