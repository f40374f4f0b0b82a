"""Gather a kernel's arguments from bound tensors.

Takes: a recipe, once; then tensors and extents.  Gives: the arguments in the kernel's order,
with holes for the arrays of the output.  Invariant: what can be known before the call is worked out
once, so that a call is a few look-ups in C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol

import numpy as np

from sparsedsl.runtime.recipe import Argument, Recipe


def several(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what looks up several keys at once."""
    if len(keys) > 1:
        return itemgetter(*keys)
    if not keys:
        return lambda _: ()
    key = keys[0]
    return lambda found: (found[key],)


_ENDS = ("first", "past", "counted")

_PIECE = ("begin", "end", *_ENDS, "split", "low", "high")

_ZEROS = (*_ENDS, "split", "guessed")
"""What is 0 in a call for the whole loop, beside where it begins."""


class Given(Protocol):
    """What a call takes of a tensor."""

    @property
    def held(self) -> Mapping[str, np.ndarray]:
        """From array name to array."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """The value of every parameter of the layout."""
        ...

    @property
    def values(self) -> np.ndarray:
        """The array of stored values."""
        ...


def _ends_of(output: str, arguments: Sequence[Argument]) -> dict[str, int]:
    """Return where the ends of a piece of a sparse output stand among the arguments."""
    every = enumerate(arguments)
    return {a.kind: k for k, a in every if a.tensor == output and a.kind in _ENDS}


class Gather:
    """Gathers the arguments of one kernel.

    Attributes
    ----------
    piece:
        Where a piece of the shared loop stands among the arguments: ``"begin"``, ``"end"``, and
        ``"first"``, ``"past"``, ``"counted"`` of a sparse output; or ``"low"``, ``"high"`` and
        ``"split"`` of ranges that are split.
    ends:
        Of each sparse output that the kernel computes, where its ``"first"``, ``"past"`` and
        ``"counted"`` stand, as far as it has them.
    pointer:
        Where the array stands that bounds the work of that loop's turns, if one does.
    split:
        Where the array of sorted coordinates stands, where ranges are split by them.
    guessed:
        Where the numbers stand of ranges of merges that are guessed first: 0, or any other.
    holes:
        From each output array's name to its place among the arguments.
    """

    def __init__(self, recipe: Recipe) -> None:
        kinds = [a.kind for a in recipe.arguments]
        self.ends = tuple(_ends_of(each.output, recipe.arguments) for each in recipe.appended)
        self.piece = {kind: kinds.index(kind) for kind in _PIECE if kind in kinds}
        self.piece |= self.ends[0] if self.ends else {}
        self.guessed = tuple(k for k, kind in enumerate(kinds) if kind == "guessed")
        share = recipe.shared
        pointer = None if share is None else share.pointer
        split = None if share is None else share.split
        self.split = None if split is None else recipe.arguments.index(split)
        # a call for the whole loop ends at its extent, and has all of each range
        whole = {} if share is None else {"end": share.extent, "low": pointer, "high": pointer}
        wanted = [whole.get(a.kind) or a for a in recipe.arguments]
        self.pointer = None if pointer is None else wanted.index(pointer)
        # the order in which a call looks things up, then the one the kernel wants
        found: list[tuple[str, str, str]] = []

        def named(*kinds: str) -> dict[str, list[str]]:
            """Return the names of these kinds by tensor, each once, and note their places."""
            names: dict[str, list[str]] = {}
            for a in wanted:
                if a.kind in kinds and (a.kind, a.tensor, a.name) not in found:
                    names.setdefault(a.tensor, []).append(a.name)
            for tensor, own in names.items():
                found.extend((kinds[0], tensor, name) for name in dict.fromkeys(own))
            return {tensor: list(dict.fromkeys(own)) for tensor, own in names.items()}

        self._arrays = tuple((n, several(own)) for n, own in named("array").items())
        self._sizes = tuple((n, several(own)) for n, own in named("size").items())
        self._modes = tuple(
            (n, several([int(mode) for mode in own])) for n, own in named("mode").items()
        )
        self._extents = several(named("extent").get("", []))
        outputs = [name for own in named("made", "output").values() for name in own]
        self._outputs = (None,) * len(outputs)
        self._begins = tuple(0 for own in named("begin", *_ZEROS).values() for _ in own)
        first = {"output": "made", **dict.fromkeys(_ZEROS, "begin")}
        self.holes = {a.name: k for k, a in enumerate(recipe.arguments) if a.name in outputs}
        self._ordered = several(
            [found.index((first.get(a.kind, a.kind), a.tensor, a.name)) for a in wanted]
        )

    def __call__(self, tensors: Mapping[str, Given], extents: Mapping[str, int]) -> list[Any]:
        """Return the arguments, None in the place of every output array."""
        found: list[Any] = []
        for name, look_up in self._arrays:
            found += look_up(tensors[name].held)
        for name, look_up in self._sizes:
            found += look_up(tensors[name].sizes)
        for name, look_up in self._modes:
            found += look_up(tensors[name].shape)
        found += self._extents(extents)
        found += self._outputs
        found += self._begins
        return list(self._ordered(found))
