"""What it takes to call a compiled kernel: which arrays go in, what comes out.

Takes: nothing of the compiler.  Gives: a record that JSON holds, so that a kernel found on
disk is called without planning it again.  Invariant: a recipe names arrays and extents only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

Scalar = bool | int | float | complex


@dataclass(frozen=True, slots=True)
class Argument:
    """One kernel parameter.

    ``kind`` is ``"array"`` (array ``name`` of ``tensor``), ``"size"`` (parameter ``name`` of its
    layout), ``"mode"`` (extent of mode ``name`` of ``tensor``), ``"extent"`` (of index ``name``),
    ``"begin"`` and ``"end"`` (of a piece of the shared loop), ``"first"`` and ``"past"`` (the
    places of the entries of that piece), ``"counted"`` (how many these are at most, 0 if not
    known), each of the output ``tensor``, ``"guessed"`` (how many ranges of a merge are guessed
    first), ``"low"`` and ``"high"`` (where the piece's parts of ranges begin and end: that array
    itself for all of them) and ``"split"`` (0 for that array, whose next element ends a range),
    ``"made"`` (an array of a sparse output) or ``"output"`` (a dense one).
    """

    kind: str
    tensor: str
    name: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of ``source`` made before the call.

    It is the tree ``hierarchical(order, thin)``, or a plain array in that order where ``dense``.
    ``whole``: it holds each place that ``source`` stores, padding too.
    """

    name: str
    source: str
    order: tuple[int, ...]
    thin: bool
    dense: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class Made:
    """One array of a sparse output: the layout's ``array``, the kernel's parameter ``param``.

    It is made as long as the room (``length`` is ``"room"``) or as an index's extent
    (``"extent i"``), one longer and zero when it ``ends`` segments, of which the kernel stores all
    but the first where it is ``covered``; ``used`` names the result that counts how much of it
    was written ("": all of it).
    """

    array: str
    param: str
    dtype: str
    used: str
    length: str
    ends: bool = False
    covered: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """The loop that threads may share: it runs over ``0 .. extent``.

    ``pointer`` is the array that bounds the work of each turn, None if none does.  ``apart``:
    turns write apart; else pieces write to outputs of their own, which are combined.
    ``prepares``: each call does work of its own before the loop, ``far``: so much that threads
    would win nothing.  ``gaps``: rows of a sparse
    output that no turn visits are still to be ended.  ``repeats``: each piece goes through the
    loops outside of this one.  ``split`` is the array of sorted coordinates where pieces are ranges
    of these, and each of the ranges that ``pointer`` bounds is split.  ``streams``: turns read and
    write in order more than caches hold, so that they wait for nothing but the memory's bytes.
    ``reach`` says how much is stored beside the entries of a sparse output (``loops.reach``).
    """

    extent: Argument
    pointer: Argument | None
    apart: bool
    prepares: bool
    gaps: bool
    repeats: bool
    split: Argument | None = None
    streams: bool = False
    reach: str = "piece"
    far: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to call one kernel and bind its output.

    ``kind`` is that of the output's assembly.  ``places`` are the modes in the order of the
    value array's axes (dense).  ``made`` are the arrays of a sparse one, ``results`` the
    counts the kernel returns of it: entries that room is needed for, then those appended, level by
    level.  ``initial`` fills a dense output, unless the kernel stores every element of it in
    any case (``overwritten``); ``combine`` merges equal coordinates of a stream.  ``finite``
    names the tensors whose stored values must be finite, ``nonzero`` those that must not
    store a zero, ``bounded`` those that must store neither NaN nor minus infinity (``"above"``)
    or infinity (``"below"``).  ``shared`` is the loop that threads may share, ``nanoseconds``
    the estimated time of a call.  ``sides`` are the recipes of the outputs that the kernel
    computes beside this one, each as if alone: arrays of dense ones are arguments like those of
    operands, and the counts of sparse ones are returned after its own.
    Index values stay in 64 bits for extents that ``grows`` powers of four are beyond those planned.
    """

    output: str
    kind: str
    dtype: str
    index_dtype: str
    fill: Scalar
    initial: Scalar
    overwritten: bool
    indices: tuple[str, ...]
    places: tuple[int, ...]
    arguments: tuple[Argument, ...]
    copies: tuple[Copy, ...]
    made: tuple[Made, ...]
    results: tuple[str, ...]
    combine: str | None
    finite: tuple[str, ...]
    nonzero: tuple[str, ...]
    bounded: tuple[tuple[str, str], ...]
    shared: Share | None
    nanoseconds: float
    sides: tuple[Recipe, ...] = ()
    grows: int = 0

    @property
    def appended(self) -> tuple[Recipe, ...]:
        """The recipes of the kernel's sparse outputs, in the order of its counts."""
        return tuple(each for each in (self, *self.sides) if each.kind != "dense")

    @property
    def narrow(self) -> bool:
        """Whether the output's coordinates are stored in 32 bits."""
        return self.kind != "dense" and self.index_dtype == "int32"

    def to_json(self) -> dict[str, Any]:
        """Return a value that JSON can hold."""
        found = asdict(replace(self, sides=()))
        found["sides"] = [side.to_json() for side in self.sides]
        for name in ("fill", "initial"):
            value = found[name]
            if isinstance(value, complex):
                found[name] = {"re": value.real, "im": value.imag}
        return found

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Recipe:
        """Return the recipe that ``to_json`` wrote."""
        given = dict(found)
        for name in ("fill", "initial"):
            value = given[name]
            if isinstance(value, Mapping):
                given[name] = complex(value["re"], value["im"])
        given["arguments"] = tuple(Argument(**a) for a in given["arguments"])
        given["copies"] = tuple(
            Copy(c["name"], c["source"], tuple(c["order"]), c["thin"], c["dense"], c["whole"])
            for c in given["copies"]
        )
        given["made"] = tuple(Made(**m) for m in given["made"])
        if given["shared"] is not None:
            shared = dict(given["shared"])
            for name in ("extent", "pointer", "split"):
                shared[name] = None if shared[name] is None else Argument(**shared[name])
            given["shared"] = Share(**shared)
        given["bounded"] = tuple((side, name) for side, name in given["bounded"])
        given["sides"] = tuple(Recipe.from_json(side) for side in given["sides"])
        for name in ("indices", "places", "results", "finite", "nonzero"):
            given[name] = tuple(given[name])
        return Recipe(**given)
