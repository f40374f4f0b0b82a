"""The iteration plan: operands in the joint space, steps of a chain, chains of a nest.

Takes: nothing (a closed set of nodes).  Gives: what ``find`` proves and ``lowering`` emits.
Invariant: inside a chain a variable is bound once, before it is read; terms name bound
variables and parameters only; uninterpreted functions are named as the arrays they read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from sparsedsl.contraction import nodes as ct
from sparsedsl.layouts.layout import Layout
from sparsedsl.spf.nodes import UF, Constraint, Term
from sparsedsl.spf.terms import variables


@dataclass(frozen=True, slots=True)
class Operand:
    """One use of a tensor: its layout's relation with the access put in for the coordinates.

    Physical dimensions are named ``<name>_<dimension>``, arrays ``<tensor>_<array>``,
    extents ``n_<index>``; ``constraints`` relate them to the logical indices.  Index arrays
    are those of the tensor ``pattern``: another one where both hold equal ones.
    ``part`` is the number of the conjunct, in a layout that is a union of several.
    ``invariants`` are those of the constraints that hold for every stored entry by
    validation; ``total`` says that every coordinate is stored.  ``functions`` and
    ``parameters`` map the layout's own names to the names used here.
    """

    name: str
    tensor: ct.Tensor
    access: ct.Access
    layout: Layout
    part: int
    dims: tuple[str, ...]
    existentials: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    invariants: tuple[Constraint, ...]
    value: UF
    total: bool
    functions: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    pattern: str

    def __hash__(self) -> int:
        """Hash by name alone: cheap, and equal operands have equal names."""
        return hash(self.name)


@dataclass(frozen=True, slots=True)
class Scan:
    """``for variable in low .. high``; ``operand`` is None for a loop over a whole extent.

    The range is ``[max(lows), min(highs))``.
    """

    variable: str
    lows: tuple[Term, ...]
    highs: tuple[Term, ...]
    operand: str | None


@dataclass(frozen=True, slots=True)
class Let:
    """``variable = value``: ``determined`` affinely, or a ``load`` from an index array."""

    variable: str
    value: Term
    kind: str
    operand: str | None


@dataclass(frozen=True, slots=True)
class Guard:
    """Go on only if the constraint holds (a filter of the layout, or a fact not proved)."""

    constraint: Constraint
    operand: str


@dataclass(frozen=True, slots=True)
class Key:
    """``function`` (which reads the sought dimension) must equal ``value``.

    With ``stop`` it is an interval that is sought: ``function <= value < stop``.
    """

    function: UF
    value: Term
    stop: UF | None = None

    @property
    def stored(self) -> tuple[Term, ...]:
        """What a position stores: its key, or where its interval starts and ends."""
        calls = (self.function,) if self.stop is None else (self.function, self.stop)
        return tuple(Term(((1, call),)) for call in calls)

    @property
    def reads(self) -> frozenset[str]:
        """The variables that what is stored depends on."""
        return frozenset[str]().union(*(variables(term) for term in self.stored))


@dataclass(frozen=True, slots=True)
class Find:
    """Bind ``variable`` to the position in ``[max(lows), min(highs))`` whose keys match.

    Goes on only on a hit.  Inside a ``Probe`` a miss skips the rest of the probe.
    """

    variable: str
    lows: tuple[Term, ...]
    highs: tuple[Term, ...]
    keys: tuple[Key, ...]
    operand: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Look the operand up without requiring it: on a miss its value is its fill."""

    operand: str
    steps: tuple[Let | Guard | Find, ...]


@dataclass(frozen=True, slots=True)
class Exclude:
    """Go on unless all these probed operands were hit (an earlier case covers the point)."""

    operands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MergePart:
    """One sorted range of a merge: ``variable`` runs over it, ``key`` is its coordinate."""

    operand: str
    variable: str
    lows: tuple[Term, ...]
    highs: tuple[Term, ...]
    key: Term


@dataclass(frozen=True, slots=True)
class Merge:
    """Visit the union of several sorted ranges once, in order of their coordinate.

    ``variable`` is the least coordinate not yet visited; operands not stored there have
    their fill.  ``short``: the ranges are expected to have so few entries that little can be
    guessed wrongly in one.
    """

    variable: str
    parts: tuple[MergePart, ...]
    short: bool = False


Step: TypeAlias = "Scan | Let | Guard | Find | Probe | Exclude | Merge"


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps of one case of one additive term, outermost first, and its leaf.

    ``required`` operands are stored at every point reached, ``probed`` ones may not be.
    The leaf evaluates ``expression`` and delivers it at ``coordinates`` of the output by
    ``monoid`` (None: plain assignment).  ``neutral`` operands are those of the required ones
    whose fill in place of a stored value makes the leaf deliver the monoid's identity, by the
    machine's own arithmetic.
    """

    operands: tuple[Operand, ...]
    required: tuple[str, ...]
    steps: tuple[Step, ...]
    expression: ct.Expression
    coordinates: tuple[ct.Affine, ...]
    monoid: str | None
    cost: float
    neutral: frozenset[str] = frozenset()

    def operand(self, name: str) -> Operand:
        """Return the operand called ``name``."""
        return next(o for o in self.operands if o.name == name)


@dataclass(frozen=True, slots=True)
class Level:
    """One physical dimension of an assembled output.

    ``dense``: the dimension is the logical coordinate ``coordinates[0]`` itself.  Else
    positions are appended: ``coordinates`` pairs a coordinate array with the logical mode it
    holds, and ``pointer`` is the array whose elements ``[parent], [parent + 1]`` bound the
    segment (None at the root).
    """

    dense: bool
    coordinates: tuple[tuple[str, int], ...]
    pointer: str | None


@dataclass(frozen=True, slots=True)
class Assembly:
    """How the output is delivered.

    ``dense``: into an array by coordinates.  ``append``: entries come in storage order, once
    each, and are appended to ``levels``.  ``workspace``: as append, but the last mode is
    gathered in a workspace, put in order by ``ordering``.  ``stream``: coordinates and
    values in any order, sorted and combined afterwards.

    ``ordering`` is ``bitmap`` (bits of touched coordinates are walked), ``list`` (touched
    coordinates are listed; short lists are sorted, long ones go through the bitmap), ``run``
    (entries are put where they belong among those of the output itself; what grows long goes on
    as a list), ``blocks`` (as list, but where the entries counted say that rows are full, touched
    blocks of the array over the mode are looked at whole),
    ``word`` (as bitmap, folded into one word), ``whole`` (rows of the operand that is scanned
    innermost are laid out, fill where nothing is stored, and every coordinate is gathered),
    ``range`` (entries are a part of the sorted
    range that the find of ``guide`` searches, and are gathered by position in it) or ``hash``
    (entries are in a hash table, and are listed and sorted).  All but the last gather in an array
    over the mode.
    """

    kind: str
    levels: tuple[Level, ...]
    modes: tuple[int, ...]
    value: str
    ordering: str = "bitmap"
    guide: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A copy of ``source``, its modes stored in ``order``, made before the nest runs.

    ``thin`` tells which of the trees that store such an order it is, where ``source`` is sparse;
    ``whole`` that it holds each stored place, padding too: the kernel asks where that is.
    """

    tensor: ct.Tensor
    source: str
    layout: Layout
    order: tuple[int, ...]
    thin: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class Nest:
    """One output computed by chains that share the steps of ``prefix`` (may be empty).

    ``initial`` is the value of coordinates no chain reaches; ``cost`` is in estimated
    nanoseconds, conversions included.  ``cut``: the limit ended the search for cheaper ones.
    """

    output: ct.Tensor
    layout: Layout
    coordinates: tuple[str, ...]
    assembly: Assembly
    initial: ct.Scalar
    conversions: tuple[Conversion, ...]
    prefix: tuple[Step, ...]
    chains: tuple[Chain, ...]
    cost: float
    cut: bool = False


def with_ordering(nest: Nest, ordering: str) -> Nest:
    """Return ``nest`` with the entries of its workspace put in order in another way."""
    return replace(nest, assembly=replace(nest.assembly, ordering=ordering))
