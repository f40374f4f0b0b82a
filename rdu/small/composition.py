"""A composition of small experts that really runs: text in, routed, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rdu.coe import Composition, Expert, Platform, Router, ServingReport, Trace, serve
from rdu.errors import SpecError
from rdu.small.emulated import EmulatedDecoder
from rdu.small.model import Decoder, generate
from rdu.small.router import TextRouter, WordRouter
from rdu.specs import Node

_WEIGHTS = Path(__file__).resolve().parent / "weights"


@dataclass(frozen=True, slots=True)
class Reply:
    """A prompt, the expert it was routed to, what that wrote, and its simulated seconds."""

    prompt: str
    expert: str
    text: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Replies:
    """The replies of a batch in the prompts' order, and the router's simulated seconds."""

    replies: tuple[Reply, ...]
    router_seconds: float

    @property
    def seconds(self) -> float:
        """Router and experts, one after the other; switching is `TextComposition.serve`'s."""
        return self.router_seconds + sum(reply.seconds for reply in self.replies)


@dataclass(frozen=True, slots=True)
class TextComposition:
    """A router and decoders by name.

    Raises
    ------
    SpecError
        Where the router names an expert that is not there.
    """

    router: TextRouter
    experts: Mapping[str, Decoder]

    def __post_init__(self) -> None:
        missing = [name for name in self.router.names if name not in self.experts]
        if missing:
            raise SpecError(
                f"the router names {missing[0]!r}, there is no such expert",
                hint=f"there are {', '.join(self.experts)}",
            )

    def reference(self, prompts: Sequence[str], count: int) -> Replies:
        """Route and answer in plain NumPy."""
        chosen = self._names(self.router.scores(prompts))
        replies = (
            Reply(prompt, name, generate(self.experts[name], prompt, count))
            for prompt, name in zip(prompts, chosen, strict=True)
        )
        return Replies(tuple(replies), 0.0)

    def run(
        self,
        prompts: Sequence[str],
        count: int,
        node: Node,
        *,
        precision: str = "fp32",
        block: int = 1,
    ) -> Replies:
        """Route and answer with every layer on the emulated unit, fused.

        Parameters
        ----------
        count:
            Characters of each answer.
        precision, block:
            As in `EmulatedDecoder`.
        """
        scores, seconds = self.router.emulated(prompts, node)
        replies: list[Reply] = []
        for prompt, name in zip(prompts, self._names(scores), strict=True):
            model = EmulatedDecoder(self.experts[name], node, precision=precision, block=block)
            answer = model.generate(prompt, count)
            replies.append(Reply(prompt, name, answer.text, answer.seconds))
        return Replies(tuple(replies), seconds)

    def serve(self, replies: Replies, platform: Platform, policy: str = "lru") -> ServingReport:
        """The batch on a node: what of it was switching, at the experts' real sizes and times.

        An expert's run time is the mean of its replies'.
        """
        names = list(self.experts)
        spent = {
            name: [r.seconds for r in replies.replies if r.expert == name] or [0.0]
            for name in names
        }
        experts = [
            Expert(name, 2.0 * model.parameters, run_seconds=float(np.mean(spent[name])))
            for name, model in self.experts.items()
        ]
        router = Router(weight_bytes=self.router.weight_bytes, run_seconds=replies.router_seconds)
        order = np.array([names.index(reply.expert) for reply in replies.replies], np.int64)
        trace = Trace(order, batch=max(len(order), 1))
        return serve(Composition(experts, router), platform, trace, policy)

    def _names(self, scores: np.ndarray) -> list[str]:
        return [self.router.names[int(best)] for best in np.argmax(scores, axis=1)]


def expert(topic: str) -> Decoder:
    """A decoder that comes with the package, by the topic it was trained on.

    Raises
    ------
    SpecError
        For an unknown topic, listing the known ones.
    """
    known = sorted(path.stem for path in _WEIGHTS.glob("*.npz") if path.stem != "router")
    if topic not in known:
        raise SpecError(f"unknown expert {topic!r}", hint=f"known: {', '.join(known)}")
    return Decoder.load(_WEIGHTS / f"{topic}.npz")


def shipped() -> TextComposition:
    """The router and the experts that come with the package.

    ``python -m rdu.small`` trains them again, from the texts in `rdu.small.texts`.
    """
    router = WordRouter.load(_WEIGHTS / "router.npz")
    return TextComposition(router, {name: expert(name) for name in router.names})
