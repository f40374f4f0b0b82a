"""What it takes to call a compiled kernel: which arrays go in, what comes out.

Takes: nothing of the compiler.  Gives: a record that JSON holds, so that a kernel found on
disk is called without planning it again.  Invariant: a recipe names arrays and extents only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Scalar = bool | int | float | complex


@dataclass(frozen=True, slots=True)
class Argument:
    """One kernel parameter.

    ``kind`` is ``"array"`` (array ``name`` of ``tensor``), ``"size"`` (parameter ``name`` of
    its layout), ``"mode"`` (extent of mode ``name`` of ``tensor``), ``"extent"`` (of index
    ``name``) or ``"output"``.
    """

    kind: str
    tensor: str
    name: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of ``source`` made before the call, its modes stored in ``order``."""

    name: str
    source: str
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """One appended level: its counter and arrays among the results, and what points to it."""

    counter: str
    coordinates: tuple[tuple[str, str], ...]
    pointer: tuple[str, str] | None
    parents: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to call one kernel and bind its output.

    ``kind`` is that of the output's assembly.  ``places`` are the modes in the order of the
    value array's axes (dense).  ``results`` are the names the kernel returns.  ``initial``
    fills a dense output; ``combine`` merges equal coordinates of a stream.  ``finite``
    names the tensors whose stored values must be finite, ``nonzero`` those that must not
    store a zero.
    """

    output: str
    kind: str
    dtype: str
    index_dtype: str
    fill: Scalar
    initial: Scalar
    indices: tuple[str, ...]
    places: tuple[int, ...]
    arguments: tuple[Argument, ...]
    copies: tuple[Copy, ...]
    levels: tuple[Level, ...]
    value: tuple[str, str]
    results: tuple[str, ...]
    combine: str | None
    finite: tuple[str, ...]
    nonzero: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a value that JSON can hold."""
        found = asdict(self)
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
            Copy(c["name"], c["source"], tuple(c["order"])) for c in given["copies"]
        )
        given["levels"] = tuple(
            Level(
                level["counter"],
                tuple((a, b) for a, b in level["coordinates"]),
                None if level["pointer"] is None else tuple(level["pointer"]),
                level["parents"],
            )
            for level in given["levels"]
        )
        for name in ("indices", "places", "results", "finite", "nonzero", "value"):
            given[name] = tuple(given[name])
        return Recipe(**given)
