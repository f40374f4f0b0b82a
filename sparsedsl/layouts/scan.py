"""Walking the physical dimensions of a layout over real arrays, all places at once.

Takes: a structure, parameter values and index arrays.  Gives: the value of every dim at every
place, in storage order.  Invariant: vectorised, linear in the places visited; in checked mode
no subscript is followed before it is known to lie inside its array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.structure import Structure
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Constraint, Term
from sparsedsl.spf.terms import Index

# How often ranges may visit the elements of the arrays before they count as hostile.
OVERLAP, ROOM = 64, 1 << 16
# Elements of the arrays for each window, so that what a check takes stays in a cache.
WINDOW = 1 << 17


def evaluate_checked(
    term: Term, env: Mapping[str, Index], arrays: Mapping[str, np.ndarray], purpose: str
) -> Index:
    """``spf.terms.evaluate``, but a subscript outside its array raises InvalidTensorError."""
    for call in reversed(t.ufs(term)):
        check_call(call, env, arrays, purpose)
    return t.evaluate(term, env, arrays)


def check_call(
    call: UF, env: Mapping[str, Index], arrays: Mapping[str, np.ndarray], purpose: str
) -> None:
    """Raise unless every subscript of ``call`` lies inside its array."""
    array = arrays[call.function]
    for axis, argument in enumerate(call.arguments):
        places = evaluate_checked(argument, env, arrays, purpose)
        length = array.shape[axis]
        bad = np.flatnonzero(np.atleast_1d((places < 0) | (places >= length)))
        if bad.size:
            found = int(np.atleast_1d(places)[bad[0]])
            raise InvalidTensorError(
                f"{purpose} needs {t.text(t.atom(call))} at {t.text(argument)} = {found}"
                f"{where(env, int(bad[0]), t.variables(argument))}, but {call.function} has "
                f"length {length} along axis {axis}",
                hint=f"make {call.function} long enough, or correct the arrays that point into it",
            )


def where(env: Mapping[str, Index], place: int, names: Sequence[str] | frozenset[str]) -> str:
    """``, where i = 2``: the values of ``names`` at one place, for a message."""
    shown = [
        f"{name} = {int(value[place])}"
        for name, value in env.items()
        if name in names and isinstance(value, np.ndarray) and place < len(value)
    ]
    return f", where {' and '.join(shown)}" if shown else ""


@dataclass(slots=True)
class Scan:
    """A walk over the dims of ``structure``; ``env`` holds the dims walked so far.

    ``dims`` are those to walk, all by default; a constraint counts once all it speaks about is
    known.  ``limit`` bounds the number of places in checked mode; ``walked`` counts those of each
    dim, in windows before this one too.  ``window`` cuts the values of the first dim.
    """

    structure: Structure
    values: Mapping[str, int]
    arrays: Mapping[str, np.ndarray]
    checked: bool = False
    limit: int | None = None
    dims: tuple[str, ...] = ()
    window: range | None = None
    walked: dict[str, float] = field(default_factory=dict[str, float])
    env: dict[str, Index] = field(default_factory=dict[str, Index])
    count: int = 1
    level: int = 0

    def __post_init__(self) -> None:
        self.env = dict(self.values)
        self.dims = self.dims or self.structure.dims
        self._filter(self._due((*self.structure.scan, *self.structure.filters), frozenset()))

    def evaluate(self, term: Term, purpose: str = "the scan") -> Index:
        """The value of ``term`` at every place walked so far."""
        if self.checked:
            return evaluate_checked(term, self.env, self.arrays, purpose)
        return t.evaluate(term, self.env, self.arrays)

    def run(self, dims: int | None = None) -> Scan:
        """Walk up to ``dims`` dims in all (every one by default)."""
        stop = len(self.dims) if dims is None else dims
        while self.level < stop:
            self.step()
        return self

    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """First value and count of the next dim, at every place walked so far."""
        name = self.dims[self.level]
        bounds = Bounds(self.structure.scan, tuple(self.values))
        purpose = f"the range of {name}"
        lows = [self._whole(term, purpose) for term in bounds.lower(name, tuple(self.env))]
        highs = [self._whole(term, purpose) for term in bounds.upper(name, tuple(self.env))]
        low, high = np.max(lows, axis=0), np.min(highs, axis=0)
        if self.window is not None and self.level == 0:
            low, high = np.maximum(low, self.window.start), np.minimum(high, self.window.stop - 1)
        return low, np.maximum(high - low + 1, 0)

    def _whole(self, term: Term, purpose: str) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.evaluate(term, purpose), np.int64), (self.count,))

    def step(self) -> None:
        """Walk one more dim: every place becomes one per value of the dim."""
        name = self.dims[self.level]
        low, counts = self.ranges()
        if self.checked:
            self.check_room(name, low, counts)
        before = frozenset(self.env)
        self.expand(name, low, counts)
        self.level += 1
        exact = self._due(self.structure.scan, before)
        exact = [c for c in exact if not enforced(c, name)]
        self._filter([*exact, *self._due(self.structure.filters, before)])

    def check_room(self, name: str, low: np.ndarray, counts: np.ndarray) -> None:
        """Raise when the ranges of ``name`` leave an array it subscripts, or hold too much.

        Called before the ranges are written out, so that wrong bounds cost no memory.
        """
        full = np.flatnonzero(counts > 0)
        subscripted = [
            (call.function, axis)
            for call in self.structure.calls
            for axis, argument in enumerate(call.arguments)
            if argument == t.var(name)
        ]
        for function, axis in subscripted:
            length = self.arrays[function].shape[axis]
            bad = full[(low[full] < 0) | (low[full] + counts[full] > length)]
            if bad.size:
                first, last = int(low[bad[0]]), int(low[bad[0]] + counts[bad[0]])
                raise InvalidTensorError(
                    f"the range {first} <= {name} < {last}"
                    f"{where(self.env, int(bad[0]), tuple(self.env))} leaves {function}, which "
                    f"has length {length}",
                    hint="correct the arrays that bound the range",
                )
        limit = self.limit
        if limit is not None and subscripted:
            limit = min(limit, OVERLAP * sum(a.size for a in self.arrays.values()) + ROOM)
        total = self.walked.get(name, 0.0) + float(counts.sum(dtype=np.float64))
        self.walked[name] = total
        if limit is not None and total > limit:
            raise InvalidTensorError(
                f"the ranges of {name} hold {total:.0f} places in all, more than the tensor "
                f"can ({limit})",
                hint="the ranges overlap: correct the arrays that bound them",
            )

    def expand(self, name: str, low: np.ndarray, counts: np.ndarray) -> None:
        """Give ``name`` the values ``low, low + 1, ...``, ``counts`` of them at every place."""
        total = int(counts.sum())
        ends = np.cumsum(counts)
        contiguous = self.count and bool((low[1:] == low[:-1] + counts[:-1]).all())
        if contiguous:
            values = np.arange(low[0], low[0] + total, dtype=np.int64)
        else:
            values = np.arange(total, dtype=np.int64) + np.repeat(low - (ends - counts), counts)
        for key, value in self.env.items():
            if isinstance(value, np.ndarray):
                self.env[key] = np.repeat(value, counts)
        self.env[name] = values
        self.count = total

    def _due(self, constraints: Sequence[Constraint], before: frozenset[str]) -> list[Constraint]:
        """Constraints that can be decided now and could not ``before``."""
        known = frozenset(self.env)
        return [
            c
            for c in constraints
            if (names := t.variables(c.term)) <= known and (not names <= before or not before)
        ]

    def _filter(self, constraints: Sequence[Constraint]) -> None:
        """Keep the places where every constraint holds."""
        for constraint in constraints:
            value = self.evaluate(constraint.term)
            keep = np.broadcast_to(value == 0 if constraint.equality else value >= 0, self.count)
            if not keep.all():
                self.select(keep)

    def select(self, keep: np.ndarray) -> None:
        """Keep the marked places."""
        for key, value in self.env.items():
            if isinstance(value, np.ndarray):
                self.env[key] = value[keep]
        self.count = int(np.count_nonzero(keep))


def enforced(constraint: Constraint, name: str) -> bool:
    """Whether the range of ``name`` already keeps to a constraint: it stands there alone."""
    factor = t.coefficient(constraint.term, name)
    rest = t.subtract(constraint.term, t.scale(factor, t.var(name)))
    return factor != 0 and name not in t.variables(rest)


def windows(whole: Scan) -> Iterator[Scan]:
    """Scans of successive windows of the first dim, which together walk what ``whole`` would.

    As many as give each about ``WINDOW`` of the elements of the arrays: what a window takes is
    let go before the next one is walked.
    """
    pieces = max(array.size for array in whole.arrays.values()) // WINDOW
    if not pieces or not whole.count:
        yield whole
        return
    low, counts = (int(ends[0]) for ends in whole.ranges())
    step = max(-(-counts // (pieces + 1)), 1)
    for start in range(low, low + max(counts, 1), step):
        yield replace(whole, window=range(start, start + step), env={})


def walk(
    structure: Structure,
    values: Mapping[str, int],
    arrays: Mapping[str, np.ndarray],
) -> Scan:
    """Every place of ``structure``, unchecked."""
    return Scan(structure, values, arrays).run()


def closure(part: Structure, dims: tuple[str, ...], without: str = "") -> tuple[str, ...]:
    """``dims`` and the earlier ones their ranges need, in storage order."""
    chosen = set(dims)
    while True:
        bounds = Bounds(part.scan, part.parameters)
        ordered = tuple(name for name in part.dims if name in chosen)
        known: set[str] = set(part.parameters)
        missing = None
        for name in ordered:
            if not (bounds.lower(name, known) and bounds.upper(name, known)):
                missing = name
                break
            known.add(name)
        if missing is None:
            return ordered
        earlier = [x for x in part.dims[: part.dims.index(missing)] if x != without]
        extra = [name for name in earlier if name not in chosen]
        if not extra:
            return ordered
        chosen.add(extra[-1])
