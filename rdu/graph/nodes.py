"""Operators and tensors of a dataflow graph.

Takes: nothing (a closed set of nodes).  Gives: what the mapper and the emulator read.
Invariant: every operator writes one tensor, once; operators stand in an order in which every
tensor is written before it is read; an operand's axes are the operator's own loop axes, which
are the tensor's axes except where one tensor is read under two names (self-attention).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias, assert_never

import numpy as np


class Role(Enum):
    """Where a tensor comes from and whether it leaves."""

    INPUT = "input"
    INTERMEDIATE = "intermediate"
    RESULT = "result"


class Monoid(Enum):
    """The reductions a PCU's lanes and accumulators do."""

    SUM = "add"
    PRODUCT = "mul"
    MINIMUM = "min"
    MAXIMUM = "max"
    ANY = "any"
    ALL = "all"

    def identity(self, dtype: np.dtype[Any]) -> float:
        """Return the value of a type that leaves every other unchanged."""
        whole = dtype.kind == "i"
        match self:
            case Monoid.SUM | Monoid.ANY:
                return 0
            case Monoid.PRODUCT | Monoid.ALL:
                return 1
            case Monoid.MINIMUM:
                return np.iinfo(dtype).max if whole else math.inf
            case Monoid.MAXIMUM:
                return np.iinfo(dtype).min if whole else -math.inf


@dataclass(frozen=True, slots=True)
class Dense:
    """Every coordinate is stored, row by row."""


@dataclass(frozen=True, slots=True)
class Fibres:
    """A fibre tree over ``levels`` (outermost first); the other axes are a dense block a leaf.

    The first of two or more levels is uncompressed (CSR, CSC), all others are coordinate
    lists. ``stored`` counts the leaves; a coordinate without a leaf has the value ``fill``.
    """

    levels: tuple[str, ...]
    stored: int
    fill: float = 0.0


Structure: TypeAlias = Dense | Fibres


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph; ``axes`` and ``shape`` in the user's mode order."""

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    role: Role
    element_bytes: int
    structure: Structure = field(default_factory=Dense)

    @property
    def sparse(self) -> bool:
        """Whether it is a fibre tree."""
        return isinstance(self.structure, Fibres)

    @property
    def block(self) -> tuple[str, ...]:
        """Axes stored densely, in mode order: all of them, or those below a fibre tree."""
        match self.structure:
            case Dense():
                return self.axes
            case Fibres(levels=levels):
                return tuple(axis for axis in self.axes if axis not in levels)
            case _:
                assert_never(self.structure)

    def extent(self, axis: str) -> int:
        """The extent along one of its axes."""
        return self.shape[self.axes.index(axis)]

    @property
    def bytes(self) -> int:
        """Bytes in memory: values, and for a fibre tree int32 coordinates and positions."""
        match self.structure:
            case Dense():
                return math.prod(self.shape) * self.element_bytes
            case Fibres(levels=levels, stored=stored):
                block = math.prod(self.extent(axis) for axis in self.block)
                compressed = max(len(levels) - 1, 1)
                positions = self.extent(levels[0]) + 1 if len(levels) > 1 else 2
                return stored * (block * self.element_bytes + 4 * compressed) + 4 * positions
            case _:
                assert_never(self.structure)


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor as an operator reads or writes it: one loop axis of the operator a mode."""

    tensor: str
    axes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """A scalar known when the graph is built."""

    value: float


@dataclass(frozen=True, slots=True)
class Subscript:
    """``sum(coefficient * axis) + constant``."""

    terms: tuple[tuple[str, int], ...]
    constant: int = 0

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes that occur."""
        return tuple(axis for axis, _ in self.terms)


@dataclass(frozen=True, slots=True)
class Position:
    """The value of an index expression itself (``i < j``)."""

    subscript: Subscript

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes that occur."""
        return self.subscript.axes


@dataclass(frozen=True, slots=True)
class Function:
    """A named elementwise function of float32 (or int32) arrays."""

    name: str
    apply: Callable[..., Any] = field(compare=False, repr=False)


Argument: TypeAlias = Operand | Constant | Position


@dataclass(frozen=True, slots=True)
class Contract:
    """``output = sum(left * right)`` over the axes that ``output`` lacks: a (batched) GEMM."""

    name: str
    output: Operand
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Map:
    """``output = function(arguments)`` element by element, missing axes broadcast."""

    name: str
    output: Operand
    function: Function
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Reduction:
    """The reduction of ``operand`` by ``monoid`` over the axes that ``output`` lacks."""

    name: str
    output: Operand
    operand: Operand
    monoid: Monoid


@dataclass(frozen=True, slots=True)
class Softmax:
    """Softmax of ``operand`` along ``axis``: maximum, exponential, sum, quotient, in float32."""

    name: str
    output: Operand
    operand: Operand
    axis: str


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """``operand / sqrt(mean(operand**2 over axis) + epsilon) * weight``."""

    name: str
    output: Operand
    operand: Operand
    weight: Operand
    axis: str
    epsilon: float


@dataclass(frozen=True, slots=True)
class Rearrange:
    """``output[axes] = source[subscripts]``: an access pattern between two buffers, no stage.

    A permutation of the axes is a transpose, read from a diagonally striped buffer.
    """

    name: str
    output: Operand
    source: str
    subscripts: tuple[Subscript, ...]

    @property
    def permutation(self) -> tuple[str, ...] | None:
        """The source's axes when the pattern is a plain permutation, else None."""
        names = tuple(s.axes[0] for s in self.subscripts if _plain(s))
        if len(names) == len(self.subscripts) and sorted(names) == sorted(self.output.axes):
            return names
        return None


@dataclass(frozen=True, slots=True)
class AllReduce:
    """The partial results of ``sockets`` sockets joined by ``monoid``, the whole on each.

    Partial sums travel as float32; the result is rounded once.
    """

    name: str
    output: Operand
    operand: Operand
    monoid: Monoid
    sockets: int


@dataclass(frozen=True, slots=True)
class SparseProduct:
    """``output = sum(product(factors))`` where every fibre-tree factor stores an entry.

    ``loops`` are the coordinate axes, outermost first; ``patterns[n]`` says that factor n only
    lends its pattern (value one). ``matches`` counts the coordinates that all factors store.
    """

    name: str
    output: Operand
    factors: tuple[Operand, ...]
    patterns: tuple[bool, ...]
    loops: tuple[str, ...]
    matches: int


@dataclass(frozen=True, slots=True)
class SparseUnion:
    """``function(left, right)`` at every coordinate that either operand stores."""

    name: str
    output: Operand
    left: Operand
    right: Operand
    function: Function


@dataclass(frozen=True, slots=True)
class SparseMap:
    """``function`` of the stored values; arguments are the operand and constants."""

    name: str
    output: Operand
    operand: Operand
    function: Function
    arguments: tuple[Operand | Constant, ...]


@dataclass(frozen=True, slots=True)
class Densify:
    """A fibre tree written out with its fill value."""

    name: str
    output: Operand
    operand: Operand


DenseOperator: TypeAlias = Contract | Map | Reduction | Softmax | RmsNorm | Rearrange | AllReduce
SparseOperator: TypeAlias = SparseProduct | SparseUnion | SparseMap | Densify
Operator: TypeAlias = DenseOperator | SparseOperator


def operands(operator: Operator) -> tuple[Operand, ...]:
    """Return the tensors an operator reads, in order, each access once."""
    match operator:
        case Contract(left=left, right=right) | SparseUnion(left=left, right=right):
            return (left, right)
        case Map(arguments=arguments):
            return tuple(a for a in arguments if isinstance(a, Operand))
        case Reduction(operand=operand) | Softmax(operand=operand) | AllReduce(operand=operand):
            return (operand,)
        case SparseMap(operand=operand) | Densify(operand=operand):
            return (operand,)
        case RmsNorm(operand=operand, weight=weight):
            return (operand, weight)
        case Rearrange(source=source, subscripts=subscripts):
            # A permutation is read tile by tile; any other pattern reads the whole source.
            names = operator.permutation
            return (Operand(source, names if names is not None else ("",) * len(subscripts)),)
        case SparseProduct(factors=factors):
            return factors
        case _:
            assert_never(operator)


def loop_axes(operator: Operator) -> tuple[str, ...]:
    """Return the axes an operator iterates: those of its output, then the reduced ones."""
    names = list(operator.output.axes)
    for operand in operands(operator):
        names += [axis for axis in operand.axes if axis and axis not in names]
    if isinstance(operator, SparseProduct):
        names += [axis for axis in operator.loops if axis not in names]
    return tuple(names)


def reduced_axes(operator: Operator) -> tuple[str, ...]:
    """Return the axes an operator sums away."""
    return tuple(axis for axis in loop_axes(operator) if axis not in operator.output.axes)


def is_sparse(operator: Operator) -> bool:
    """Whether an operator runs as a graph of streams."""
    match operator:
        case SparseProduct() | SparseUnion() | SparseMap() | Densify():
            return True
        case Contract() | Map() | Reduction() | Softmax() | RmsNorm() | Rearrange() | AllReduce():
            return False
        case _:
            assert_never(operator)


def _plain(subscript: Subscript) -> bool:
    return subscript.constant == 0 and len(subscript.terms) == 1 and subscript.terms[0][1] == 1
