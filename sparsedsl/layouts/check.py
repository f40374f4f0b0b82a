"""Checking data against the layout that it claims.

Takes: a layout, a shape and arrays.  Gives: the value of every parameter, or
``InvalidTensorError`` with the array, the place and the broken property.
Invariant: O(places) time (a sort for injectivity), and no subscript is followed before it is
known to lie inside its array, whatever the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NoReturn, assert_never

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.layouts.enumerate import entries
from sparsedsl.layouts.given import INDEX_LIMIT, check_arrays, check_shape
from sparsedsl.layouts.interval import Intervals
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import unique
from sparsedsl.layouts.order import (
    first_duplicate,
    first_overlap,
    first_unordered,
    first_unordered_morton,
)
from sparsedsl.layouts.properties import (
    Disjoint,
    Equality,
    Increasing,
    Injective,
    Lexicographic,
    Morton,
    Nondecreasing,
    Nonincreasing,
    Permutation,
    Property,
    Range,
    Repeated,
    Within,
    before_ranges,
    property_text,
)
from sparsedsl.layouts.scan import (
    OVERLAP,
    ROOM,
    Scan,
    check_call,
    closure,
    evaluate_checked,
    where,
    windows,
)
from sparsedsl.layouts.sizes import infer_sizes, inside_by_lengths
from sparsedsl.layouts.structure import Structure, call_over
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Term
from sparsedsl.spf.text import constraint_text


def validate(
    layout: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    distinct: bool = True,
) -> dict[str, int]:
    """Check all that ``layout`` promises about ``arrays``.

    Parameters
    ----------
    layout:
        With block sizes bound.
    shape:
        The logical extents.
    arrays:
        C-contiguous arrays under the names of ``layout.arrays``; index arrays int32 or int64.
    distinct:
        Whether a coordinate that is stored twice is an error too.

    Returns
    -------
    dict[str, int]
        The value of every parameter of the layout.

    Raises
    ------
    InvalidTensorError
        For the first thing that does not hold; ``TensorTypeError`` for a dtype.
    """
    layout.require_bound()
    extents = check_shape(shape, layout)
    check_arrays(layout, arrays, extents)
    values = infer_sizes(layout, extents, arrays)
    _Checker(layout, values, arrays, distinct and not layout.repeats and not unique(layout)).run()
    return values


@dataclass(slots=True)
class _Checker:
    layout: Layout
    values: dict[str, int]
    arrays: Mapping[str, np.ndarray]
    compare: bool

    def run(self) -> None:
        parameters = frozenset(self.values)
        self._lengths(called=False)
        whole = [p for p in self.layout.properties if before_ranges(p, parameters)]
        for item in whole:
            self._property(item)
        self._lengths(called=True)
        for part in self.layout.structures:
            self._scan(part)
        for item in self.layout.properties:
            if item not in whole:
                self._property(item)
        if self.compare:
            self._distinct()

    def _distinct(self) -> None:
        """No coordinate is stored twice; needed only where no property says so."""
        coords, _ = entries(self.layout, (), self.arrays, self.values)
        if len(coords) == 0:
            coords = np.zeros((1, coords.shape[1]), np.int64)
        pair = first_duplicate(list(coords), np.zeros(1, np.int64))
        if pair is not None:
            entry = tuple(int(x) for x in coords[:, pair[0]])[: self.layout.rank]
            raise InvalidTensorError(
                f"the coordinate {entry} is stored twice, as entries {pair[0]} and {pair[1]}",
                hint="sum duplicates first; each coordinate has one value",
            )

    def _lengths(self, *, called: bool) -> None:
        """Lengths over parameters alone, or those that read an array."""
        for name, axes in self.layout.lengths.items():
            for axis, length in enumerate(axes):
                if length is None or bool(t.ufs(length)) != called:
                    continue
                purpose = f"the length of {name}"
                wanted = max(int(self._evaluate(length, self.values, purpose)), 0)
                found = self.arrays[name].shape[axis]
                if found != wanted:
                    formula = f"{t.text(length)} = " if length.parts else ""
                    raise InvalidTensorError(
                        f"expected {name} to have length {formula}{wanted} along axis {axis}, "
                        f"found {found}",
                        hint=f"the layout is {self.layout.text}",
                    )

    def _evaluate(self, term: Term, env: Mapping[str, t.Index], purpose: str) -> t.Index:
        return evaluate_checked(term, env, self.arrays, purpose)

    def _scan(self, part: Structure) -> None:
        """Walk as deep as something is left to check, and check what the data promises."""
        if not self.compare and self._intervals(part).certain(self.layout.value):
            return
        calls = [
            c
            for c in (*part.calls, self.layout.value)
            if not inside_by_lengths(self.layout, c, part)
        ]
        needed = [t.variables(t.atom(call)) for call in calls]
        needed += [t.variables(c.term) for c in (*part.invariants, *part.filters)]
        depth = max(
            (level + 1 for level, name in enumerate(part.dims) if any(name in n for n in needed)),
            default=0,
        )
        if self.compare:
            depth = len(part.dims)
        whole = Scan(part, self.values, self.arrays, checked=True, limit=self._limit())
        for scan in windows(whole) if depth else (whole,):
            self._scan_to(depth, scan, calls)

    def _scan_to(self, depth: int, scan: Scan, calls: Sequence[UF]) -> None:
        """Walk so many dims; check promised coordinates, then the subscripts of ``calls``."""
        part = scan.structure
        done: set[str] = set(self.values)
        while True:
            for constraint in part.invariants:
                names = t.variables(constraint.term)
                if names <= set(scan.env) and not (names <= done and scan.level):
                    value = scan.evaluate(constraint.term, "the layout")
                    held = value == 0 if constraint.equality else value >= 0
                    bad = np.flatnonzero(~np.atleast_1d(held))
                    if bad.size:
                        self._broken_invariant(scan, part, constraint.term, int(bad[0]))
            done = set(scan.env)
            if scan.level >= depth:
                break
            scan.step()
        for call in calls:
            if t.variables(t.atom(call)) <= set(scan.env) and scan.count:
                check_call(call, scan.env, self.arrays, "the layout")

    def _intervals(self, part: Structure) -> Intervals:
        monotone = frozenset(
            item.function
            for item in self.layout.properties
            if isinstance(item, Nondecreasing | Increasing) and item.within is None
        )
        return Intervals(part, self.values, self.arrays, monotone)

    def _broken_invariant(self, scan: Scan, part: Structure, term: Term, place: int) -> NoReturn:
        constraint = next(c for c in part.invariants if c.term == term)
        shown = [
            f"{t.text(t.atom(call))} = {int(np.atleast_1d(scan.evaluate(t.atom(call)))[place])}"
            for call in t.ufs(term)
        ]
        text = constraint_text(constraint)
        raise InvalidTensorError(
            f"{', '.join(f.function for f in t.ufs(term))} breaks {text}: "
            f"{', '.join(shown)}{where(scan.env, place, tuple(scan.env))}"
            f"{self._bounds(term)}",
            hint="coordinates lie inside the shape, counted from 0",
        )

    def _bounds(self, term: Term) -> str:
        names = sorted(t.variables(term) & set(self.values))
        return "".join(f", {name} = {self.values[name]}" for name in names)

    def _property(self, item: Property) -> None:
        match item:
            case (
                Nondecreasing(function, within)
                | Nonincreasing(function, within)
                | Increasing(function, within)
            ):
                self._ordered(item, (function,), within)
            case Lexicographic(functions, within) | Injective(functions, within):
                self._ordered(item, functions, within)
            case Disjoint(start, stop, within):
                self._ordered(item, (start, stop), within)
            case Morton(functions):
                self._ordered(item, functions, None)
                for function in functions:  # bits are those of numbers from 0 on
                    self._range(item, function, t.ZERO, t.const(INDEX_LIMIT + 1))
            case Permutation(function):
                self._range(item, function, t.ZERO, t.const(self.arrays[function].size))
                self._ordered(item, (function,), None)
            case Range(function, low, high):
                self._range(item, function, low, high)
            case Equality():
                self._equality(item)
            case Repeated():
                pass  # it allows, and promises nothing
            case _:
                assert_never(item)

    def _ordered(self, item: Property, functions: tuple[str, ...], within: Within | None) -> None:
        """A property that compares places of one range, or of a whole array."""
        if within is None:
            columns = [self.arrays[name] for name in functions]
            self._whole_arrays(item, functions)
            starts = np.zeros(1, np.int64)
            place = _first_bad(item, columns, starts)
            if place is not None:
                self._fail(item, functions, columns, place, {}, [str(p) for p in place])
            return
        for part in self.layout.structures:
            value = self.layout.value
            chosen = [call_over(part, value, name, within.variable) for name in functions]
            calls = [call for call in chosen if call is not None]
            if len(calls) == len(functions):
                self._ordered_ranges(item, calls, within, part)

    def _whole_arrays(self, item: Property, functions: tuple[str, ...]) -> None:
        shapes = [self.arrays[name].shape for name in functions]
        if any(len(shape) != 1 or shape != shapes[0] for shape in shapes):
            raise InvalidTensorError(
                f"'{property_text(item)}' compares arrays of one axis and one length, found "
                f"shapes {', '.join(map(str, shapes))}",
                hint="name the range it holds in: within lo <= p < hi",
            )

    def _ordered_ranges(
        self, item: Property, calls: list[UF], within: Within, part: Structure
    ) -> None:
        names = set(t.variables(within.low) | t.variables(within.high))
        names |= {name for call in calls for name in t.variables(t.atom(call))}
        dims = tuple(x for x in part.dims if x in names and x != within.variable)
        for scan in self._walks(part, closure(part, dims, within.variable)):
            self._ordered_places(item, calls, within, scan, dims)

    def _ordered_places(
        self,
        item: Property,
        calls: list[UF],
        within: Within,
        scan: Scan,
        dims: tuple[str, ...],
    ) -> None:
        """Compare the places of the ranges that begin where ``scan`` has walked."""
        purpose = f"'{property_text(item)}'"
        low = np.broadcast_to(self._evaluate(within.low, scan.env, purpose), scan.count)
        high = np.broadcast_to(self._evaluate(within.high, scan.env, purpose), scan.count)
        if isinstance(item, Nonincreasing):
            # the last window may be cut short by the end of the array
            high = np.minimum(high, self.arrays[item.function].shape[-1])
        counts = np.maximum(high - low, 0).astype(np.int64)
        scan.check_room(within.variable, low, counts)
        starts = np.cumsum(counts) - counts
        lying = self._slices(calls, within.variable, low, counts)
        if lying is not None and _first_bad(item, lying, starts[counts > 0]) is None:
            return
        scan.expand(within.variable, low.astype(np.int64), counts)
        columns: list[np.ndarray] = []
        for call in calls:
            check_call(call, scan.env, self.arrays, purpose)
            columns.append(np.atleast_1d(np.asarray(scan.evaluate(t.atom(call), purpose))))
        place = _first_bad(item, columns, starts[counts > 0])
        if place is not None:
            at = [str(int(np.asarray(scan.env[within.variable])[p])) for p in place]
            env = {name: scan.env[name] for name in dims}
            self._fail(item, [call.function for call in calls], columns, place, env, at)

    def _slices(
        self, calls: list[UF], variable: str, low: np.ndarray, counts: np.ndarray
    ) -> list[np.ndarray] | None:
        """What the calls read, where it lies in a row in their arrays."""
        if not len(low) or not (low[1:] == low[:-1] + counts[:-1]).all():
            return None
        first, last = int(low[0]), int(low[-1] + counts[-1])
        found: list[np.ndarray] = []
        for call in calls:
            array = self.arrays[call.function]
            if call.arguments != (t.var(variable),) or not 0 <= first <= last <= len(array):
                return None
            found.append(array[first:last])
        return found

    def _limit(self) -> int:
        """More places than any range of valid data holds."""
        extents = [self.values[name] for name in self.layout.extents]
        sizes = sum(array.size for array in self.arrays.values())
        return prod(extents) + OVERLAP * (sum(extents) + sizes) + ROOM

    def _walks(self, part: Structure, dims: tuple[str, ...]) -> Iterator[Scan]:
        """Scans that walked ``dims``, one for each window of the first."""
        whole = Scan(part, self.values, self.arrays, checked=True, limit=self._limit(), dims=dims)
        for scan in windows(whole) if dims else (whole,):
            yield scan.run(len(dims))

    def _fail(
        self,
        item: Property,
        functions: Sequence[str],
        columns: list[np.ndarray],
        place: tuple[int, int],
        env: Mapping[str, t.Index],
        at: list[str],
    ) -> NoReturn:
        first, second = (
            ", ".join(
                f"{f}({at[k]}) = {int(c[place[k]])}"
                for f, c in zip(functions, columns, strict=True)
            )
            for k in (0, 1)
        )
        outer = where(env, place[1], tuple(env))
        once = isinstance(item, Permutation | Injective)
        mend = "give every value once" if once else "sort and deduplicate the entries"
        raise InvalidTensorError(
            f"'{property_text(item)}' does not hold: {first}, then {second}{outer}",
            hint=f"{mend}, or pick a layout without that property",
        )

    def _range(self, item: Property, function: str, low: Term, high: Term) -> None:
        array = self.arrays[function]
        bottom = self._evaluate(low, self.values, property_text(item))
        top = self._evaluate(high, self.values, property_text(item))
        bad = np.argwhere((array < bottom) | (array >= top))
        if len(bad):
            place = tuple(int(x) for x in bad[0])
            raise InvalidTensorError(
                f"'{property_text(item)}' does not hold: "
                f"{function}({', '.join(map(str, place))}) = {int(array[place])}, expected "
                f"[{bottom}, {top})",
                hint="numbers count from 0; mend the array, or pick a layout without that property",
            )

    def _equality(self, item: Equality) -> None:
        names = t.variables(item.left) | t.variables(item.right)
        for part in self.layout.structures:
            dims = tuple(name for name in part.dims if name in names)
            for scan in self._walks(part, closure(part, dims, "")):
                self._equal_places(item, scan, dims)

    def _equal_places(self, item: Equality, scan: Scan, dims: tuple[str, ...]) -> None:
        purpose = f"'{property_text(item)}'"
        left, right = (scan.evaluate(side, purpose) for side in (item.left, item.right))
        bad = np.flatnonzero(np.atleast_1d(left != right))
        if bad.size and scan.count:
            place = int(bad[0])
            a, b = (int(np.broadcast_to(side, scan.count)[place]) for side in (left, right))
            sides = ((item.left, a), (item.right, b))
            found = [f"{t.text(side)} = {x}" for side, x in sides if side.parts]
            raise InvalidTensorError(
                f"{purpose} does not hold: {', '.join(found)}{where(scan.env, place, dims)}",
                hint="mend the arrays on both sides of it, or pick a layout without that property",
            )


def _first_bad(
    item: Property, columns: list[np.ndarray], starts: np.ndarray
) -> tuple[int, int] | None:
    match item:
        case Injective() | Permutation():
            return first_duplicate(columns, starts)
        case Nonincreasing():
            return first_unordered([~column for column in columns], starts, strict=False)
        case Morton():
            return first_unordered_morton(columns, starts)
        case Disjoint():
            begins, ends = columns
            return first_overlap(begins, ends, starts)
        case _:
            return first_unordered(columns, starts, strict=not isinstance(item, Nondecreasing))
