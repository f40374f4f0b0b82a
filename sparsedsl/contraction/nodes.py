"""The contraction IR: statements over logical indices, nothing else.

Takes: nothing (a closed set of nodes).  Gives: the program every later stage reads.
Invariant: no node names a layout, an array or a loop; every sum is an explicit ``Reduce``;
an index has one extent, that of the tensor modes it subscripts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from sparsedsl.errors import Span

Scalar: TypeAlias = bool | int | float | complex

VALUE_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)
"""NumPy's names of the dtypes that values may have."""


@dataclass(frozen=True, slots=True)
class Affine:
    """An index expression ``sum(coefficient * index) + constant``, indices in name order.

    As a subscript it stays inside its tensor, unless it is ``padded``: then the tensor's fill is
    read beyond its edges.
    """

    terms: tuple[tuple[str, int], ...]
    constant: int = 0
    padded: bool = False

    @staticmethod
    def of(name: str) -> Affine:
        """The plain index ``name``."""
        return Affine(((name, 1),))

    @property
    def name(self) -> str | None:
        """The index's name when the expression is one plain index, else None."""
        if self.constant == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            return None if self.padded else self.terms[0][0]
        return None

    @property
    def indices(self) -> tuple[str, ...]:
        """Names of the indices that occur."""
        return tuple(name for name, _ in self.terms)

    def __str__(self) -> str:
        parts: list[str] = []
        for name, coefficient in self.terms:
            body = name if abs(coefficient) == 1 else f"{abs(coefficient)}*{name}"
            sign = "-" if coefficient < 0 else ("+" if parts else "")
            parts.append(f"{sign}{body}")
        if self.constant or not parts:
            parts.append(f"{self.constant:+d}" if parts else str(self.constant))
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the program sees it: ``rank`` logical modes of ``dtype``, ``fill`` elsewhere.

    ``dtype`` is a NumPy dtype name.  ``total`` says that every coordinate is stored
    (a dense operand), so that no coordinate falls back to ``fill``.
    """

    name: str
    rank: int
    dtype: str
    fill: Scalar = 0
    total: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant scalar."""

    value: Scalar
    dtype: str


@dataclass(frozen=True, slots=True)
class Access:
    """The value of ``tensor`` at affine index expressions, one per mode."""

    tensor: str
    subscripts: tuple[Affine, ...]
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Stored:
    """True where ``tensor`` stores an entry (``sd.pattern(A)[i, j]``)."""

    tensor: str
    subscripts: tuple[Affine, ...]
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class IndexValue:
    """The value of an index expression itself, an int64 (``i < j``)."""

    index: Affine


@dataclass(frozen=True, slots=True)
class Extent:
    """The number of values that the index ``name`` takes, an int64 that no access depends on.

    Users do not write it: `contraction.implicit` counts with it what is not stored.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """An elementwise operator of ``contraction.operators`` applied to its arguments."""

    operator: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Reduce:
    """The reduction of ``body`` over all values of ``indices`` by a monoid."""

    monoid: str
    indices: tuple[str, ...]
    body: Expression


Expression: TypeAlias = "Literal | Access | Stored | IndexValue | Extent | Call | Reduce"


@dataclass(frozen=True, slots=True)
class Assign:
    """``target[subscripts] = expression``, or combined into it by the monoid ``accumulate``."""

    target: str
    subscripts: tuple[Affine, ...]
    expression: Expression
    accumulate: str | None = None
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Program:
    """``inputs`` are given, ``outputs`` computed (intermediates too), ``results`` returned.

    ``extents`` are those the user gave to indices: no operand need determine them.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    statements: tuple[Assign, ...]
    results: tuple[str, ...]
    extents: tuple[tuple[str, int], ...] = ()

    def tensor(self, name: str) -> Tensor:
        """Return the input or output called ``name``; KeyError if there is none."""
        for tensor in self.inputs + self.outputs:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def covers(self, access: Access | Stored) -> bool:
        """Return whether every place that an access reads is stored."""
        padded = any(subscript.padded for subscript in access.subscripts)
        return self.tensor(access.tensor).total and not padded
