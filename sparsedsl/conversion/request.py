"""What a conversion is specialised for, and whether compiled passes are worth it.

Takes: two layouts, the shape and the number of entries.  Gives: a ``Request``, which with its
plan tells the program to write.  Invariant: requests are equal only for equal programs, and few
numbers of a tensor go into one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from sparsedsl.conversion.order import coordinate, extent, scanned
from sparsedsl.conversion.plan import DIGIT, Plan, choose
from sparsedsl.conversion.spans import span_at
from sparsedsl.conversion.stream import Body, Stream, looked_at, of_layout
from sparsedsl.conversion.target import Target
from sparsedsl.conversion.unions import Rule, ranked, taken
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Assign, Expr, If
from sparsedsl.spf.nodes import Term

ROOM = 1 << 16

MEAN = 256
"""Entries of a group, in the mean, up to which groups are sorted one by one."""

FAR = 1 << 19
"""Entries from which the places that they are scattered to are fetched before."""

LOOSE = 1 << 17
"""As many of entries that come in any order, which are sorted where they lie afterwards."""

WORD = 62
"""Bits of an interleaved number that stay clear of the sign."""

INT32_MAX = 2**31 - 1

NUMBERS = "numbers"
"""The array of the number that each permuted coordinate has."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What a conversion is specialised for.

    ``rankable``, ``short`` and ``wide`` are as ``plan.choose`` takes them; ``width`` are the bits
    of each of the numbers that are interleaved; ``partial`` leaves out entries without a place.
    ``rules`` are those of the alternatives of a union up to the one that the target is; entries
    that no alternative takes are noted with the ``last``.  ``far``: entries are so many that the
    places of those further on are fetched.
    """

    source: Layout
    target: Target
    dtypes: Mapping[str, str]
    value: str
    index: str
    fill: object
    rankable: bool
    short: bool = False
    wide: tuple[tuple[Term, int], ...] = ()
    width: int = 0
    partial: bool = False
    rules: tuple[Rule, ...] = ()
    last: bool = True
    far: bool = False

    @property
    def plan(self) -> Plan:
        """The passes."""
        most = max((len(keys) for keys in self.target.codes.values()), default=0)
        return choose(
            stream_of(self),
            self.target,
            rankable=self.rankable,
            short=self.short,
            wide=dict(self.wide),
            bits=most * self.width,
        )


def stream_of(request: Request) -> Stream:
    """The entries of the source that have a place in the target, others noted or left out."""
    stream = of_layout(request.source, request.value, request.fill)
    if request.rules:
        bad = (Assign(lb.ivar("bad"), lb.i(1)),) if request.last else ()
        return taken(stream, request.rules, request.target.layout.rank, bad)
    read = reader_of(request.target)
    fits = lb.conj(*(read.holds(check) for check in request.target.checks))
    if fits == lb.TRUE:
        return stream
    bad = () if request.partial else (Assign(lb.ivar("bad"), lb.i(1)),)

    def visit(body: Body) -> Body:
        return stream.visit((If(fits, body, bad),))

    count = None if request.partial else stream.count
    return replace(looked_at(stream, visit), count=count)


def reader_of(target: Target) -> Reader:
    """Terms over the coordinates and the dims of a target as loop expressions."""
    layout = target.layout
    names: dict[str, Expr] = {}
    for mode, name in enumerate(layout.extents):
        names[name] = names[extent(mode)] = lb.ivar(extent(mode))
        names[coordinate(mode)] = lb.ivar(coordinate(mode))
    names |= {name: lb.ivar(name) for name in target.codes}
    names |= {name: lb.ivar(f"t_{name}") for name in target.sizes}
    for level in target.levels:
        names[level.name] = lb.ivar(f"t_{level.name}")
    read = Reader(names, "t_")
    for name, value in target.affine.items():
        names[name] = read(value)
    if target.permuted is not None:
        names[target.permuted.name] = lb.load(NUMBERS, read(target.permuted.key))
    for name, value in target.derived.items():
        names[name] = read(value)
    for mode, name in enumerate(layout.relation.outputs):
        names.setdefault(name, lb.ivar(coordinate(mode)))
    return read


@dataclass(frozen=True, slots=True)
class _Fill:
    """A fill value as part of a key: equal when the bits are."""

    value: Any
    dtype: str

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fill) and repr((self.value, self.dtype)) == repr(
            (other.value, other.dtype)
        )


@lru_cache(maxsize=512)
def _request(
    source: Layout,
    target: Target,
    dtypes: tuple[tuple[str, str], ...],
    index: str,
    fill: _Fill,
    rankable: bool,
    short: bool,
    width: int,
    partial: bool,
    rules: tuple[Rule, ...],
    last: bool,
    far: bool,
    wide: tuple[tuple[Term, int], ...] = (),
) -> Request:
    kinds = (fill.dtype, index, fill.value)
    rest = rankable, short, wide, width, partial, rules, last, far
    return Request(source, target, dict(dtypes), *kinds, *rest)


def request_of(
    source: Layout,
    target: Target,
    extents: tuple[int, ...],
    arrays: Mapping[str, np.ndarray],
    fill: object,
    *,
    partial: bool = False,
    rules: tuple[Rule, ...] = (),
    last: bool = True,
) -> Request | None:
    """What a conversion of these arrays is specialised for; None where it is left to others.

    ``partial`` leaves out the entries that have no place in the target; ``rules`` and ``last`` are
    as ``Request`` has them.
    """
    if rules and (source.repeats or not ranked(source.rank, scanned(source), rules)):
        return None
    values = arrays[source.value.function]
    if not _usable(source, values, fill) or not _runnable(source, target, values):
        return None
    long = any(arrays[name].dtype.itemsize == 8 for name in source.functions)
    long = long or max((*extents, values.size), default=0) > INT32_MAX
    asked = (
        source,
        target,
        tuple([(name, _name(arrays[name].dtype)) for name in source.arrays]),
        "int64" if long else "int32",
        _Fill(fill, _name(values.dtype)),
        _rankable(target, extents, values.size),
        _short(target, extents, values.size),
        _width(target, extents),
        partial,
        rules,
        last,
    )
    arranged = plan_of(_request(*asked, False)).arranged
    asked = (*asked, values.size >= (LOOSE if arranged else FAR))
    request = _request(*asked)
    if request.width * target.layout.rank > WORD:
        return None
    wide = _wide(request, extents, values.size)
    request = _request(*asked, wide) if wide else request
    return request if _affordable(request, extents, values.size) else None


@lru_cache(maxsize=256)
def _name(dtype: np.dtype) -> str:
    return dtype.name


def _usable(source: Layout, values: np.ndarray, fill: object) -> bool:
    if not values.size or (values.dtype.kind == "c" and not exact(source)):
        return False
    if source.repeats and fill != 0:
        return False  # sums would start from the fill
    return bool(source.rank)


def _runnable(source: Layout, target: Target, values: np.ndarray) -> bool:
    """Whether neighbours can be compared: each comes once, and equal values are told by ``==``."""
    run = target.runs
    return run is None or not (source.repeats or (run.by_value and values.dtype.kind == "c"))


def _rankable(target: Target, extents: tuple[int, ...], entries: int) -> bool:
    """Whether a table of a bit for each group and key is not much larger than the tensor."""
    if len(target.levels) != 1 or len(target.levels[0].keys) != 1 or target.codes:
        return False
    bits = prod(span_at(term, extents)[1] for term in target.levels[0].columns)
    return bits // 64 <= _room(entries)


def _short(target: Target, extents: tuple[int, ...], entries: int) -> bool:
    """Whether the entries that agree in the first term to sort by are few."""
    if not target.levels or target.codes:
        return False
    groups = span_at(target.levels[0].columns[0], extents)[1]
    return groups <= _room(entries) and entries <= MEAN * groups


def _wide(request: Request, extents: tuple[int, ...], entries: int) -> tuple[tuple[Term, int], ...]:
    """The terms to sort by that have too many values for a count of each, with their bits.

    Bits are rounded up to whole digits: few numbers, so few kernels.
    """
    found: list[tuple[Term, int]] = []
    for term in plan_of(request).sorts:
        low, size = span_at(term, extents)
        if size > _room(entries) and low == 0:
            found.append((term, -(-(size - 1).bit_length() // DIGIT) * DIGIT))
    return tuple(found)


def _room(entries: int) -> int:
    """How long a table may be that a pass counts in: not much longer than the tensor."""
    return 4 * entries + ROOM


def _width(target: Target, extents: tuple[int, ...]) -> int:
    """How many bits each of the numbers has that are interleaved: an even number, so few widths."""
    keys = [key for keys in target.codes.values() for key in keys]
    most = max((sum(span_at(key, extents)) for key in keys), default=0)
    return -(-(max(most, 1) - 1).bit_length() // 2) * 2 if keys else 0


@lru_cache(maxsize=512)
def plan_of(request: Request) -> Plan:
    """The passes of a conversion."""
    return request.plan


def _affordable(request: Request, extents: tuple[int, ...], entries: int) -> bool:
    """Whether the tables that passes count in are not much larger than the tensor."""
    plan = plan_of(request)
    sizes = [span_at(term, extents)[1] for term in plan.sorts]
    if plan.strategy == "count":
        group = plan.group(request.target)
        sizes.append(prod(span_at(term, extents)[1] for term in group))
    return all(size <= _room(entries) for size in sizes)
