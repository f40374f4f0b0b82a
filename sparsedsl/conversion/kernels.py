"""Loops of a conversion.

Takes: two layouts, dtypes and a plan.  Gives: a ``Program`` of one kernel that fills every
array, or of two where lengths must be counted first.  Invariant: the kernels read arrays
``s_...`` of the source and write arrays ``t_...`` that the caller allocated, filled with what
slots without an entry hold (0 for counts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sparsedsl.conversion import passes
from sparsedsl.conversion.arranged import Arranged
from sparsedsl.conversion.numbered import Numbered
from sparsedsl.conversion.order import extent, implies
from sparsedsl.conversion.padding import padded
from sparsedsl.conversion.passes import Span
from sparsedsl.conversion.plan import Plan
from sparsedsl.conversion.request import NUMBERS, Request, reader_of, stream_of
from sparsedsl.conversion.runs import Runs
from sparsedsl.conversion.sharing import shared
from sparsedsl.conversion.spans import span_of
from sparsedsl.conversion.stream import Body, Stream, coded, differing
from sparsedsl.conversion.strips import Strips, height
from sparsedsl.conversion.target import Level
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    Allocate,
    ArrayParam,
    Assign,
    Expr,
    For,
    If,
    IntParam,
    Kernel,
    Param,
    Resize,
    Stmt,
    Var,
)
from sparsedsl.spf.nodes import Term


@dataclass(frozen=True, slots=True)
class Program:
    """The kernels of a conversion: ``count`` first where it is not None, then ``fill``.

    ``count`` returns what ``scratch`` names, which ``fill`` takes; ``fill`` returns ``numbers``.
    The first result of each is 1 where some entry has no place, else 0.  ``shared`` pairs
    arrays of the target with the arrays of the source that they are, entry by entry.  ``padded``
    are arrays of the target of which ``fill`` writes every element, free slots with ``pad_...``.
    ``made`` are arrays of the target that ``count`` returns, after ``scratch``.
    """

    plan: Plan
    count: Kernel | None
    fill: Kernel
    scratch: tuple[str, ...]
    numbers: tuple[str, ...]
    shared: tuple[tuple[str, str], ...] = ()
    padded: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


def program_of(request: Request) -> Program:
    """Write the kernels."""
    target = request.target
    plan = request.plan
    same: Mapping[str, str] = {}
    if not request.partial and not request.rules:
        same = shared(request.source, target, plan, request.dtypes, request.index)
    return _Writer(request, plan, reader_of(target), same).program()


@dataclass(slots=True)
class _Writer:
    request: Request
    plan: Plan
    read: Reader
    shared: Mapping[str, str]
    padded: list[str] = field(default_factory=list[str])
    made: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        return self.request.target.layout.rank

    def span(self, term: Term) -> Span:
        low, size = span_of(self.rank, term)
        return Span(term, self.read(low), self.read(size))

    def program(self) -> Program:
        """Assemble the passes into one kernel or two."""
        plan, request = self.plan, self.request
        codes = {name: (keys, request.width) for name, keys in request.target.codes.items()}
        stream = self._fetching(coded(stream_of(request), codes, self.read))
        scratch = dict[str, Param]()
        before: list[Stmt] = []
        direct = self._direct
        for place, term in enumerate(plan.sorts[:-1] if direct else plan.sorts):
            stem = f"list{place}_"
            dtypes = (request.index, request.value)
            made, stream, names = passes.sorted_by(
                stream, self.span(term), self.read, stem, self.rank, dtypes
            )
            stream = self._fetching(coded(stream, codes, self.read))
            before += made
            # the list before has been read: room for the next, or for the target
            before += [Resize(name, lb.i(0)) for name in scratch]
            scratch = {name: ArrayParam(name, request.index, 1) for name in names[:-1]}
            scratch[names[-1]] = ArrayParam(names[-1], request.value, 1)
        counting, more, filling, numbers = (
            self._sorted(stream, plan.sorts[-1]) if direct else self._strategy(stream)
        )
        scratch |= more
        results = ("bad", *numbers)
        if plan.whole:
            body = (*before, *counting, *filling)
            kernel = self._kernel("convert", body, results, self._arrays(), {})
            pairs, padded = tuple(self.shared.items()), tuple(self.padded)
            return Program(plan, None, kernel, (), numbers, pairs, padded)
        sized = {f"t_{level.pointer.function}" for level in request.target.levels if level.pointer}
        sized = sized if plan.strategy != "sequence" else set()
        early = [param for param in self._arrays() if param.name in sized]
        early += [x for x in self._arrays() if x.name in {*self._bounding}]
        found = ("bad", *scratch, *(f"t_{name}" for name in self.made))
        first = self._kernel("count_entries", (*before, *counting), found, early, {})
        known = dict(scratch)
        if request.target.permuted is not None:
            known[NUMBERS] = ArrayParam(NUMBERS, "int64", 1)
        second = self._kernel("convert", tuple(filling), results, self._arrays(), known)
        pairs, padded = tuple(self.shared.items()), tuple(self.padded)
        return Program(plan, first, second, tuple(scratch), numbers, pairs, padded, self.made)

    def _fetching(self, stream: Stream) -> Stream:
        """Return ``stream``, with a look at entries further on only where those lie far apart."""
        return stream if self.request.far else replace(stream, further=())

    @property
    def _bounding(self) -> tuple[str, ...]:
        """The arrays that bound dims where all dims are terms over the coordinates."""
        edges = () if self.request.target.levels else self.request.target.edges
        return tuple(f"t_{edge.call.function}" for edge in edges)

    def _bounds(self, stream: Stream) -> list[Stmt]:
        """Let each array that bounds a dim hold the least, or greatest, value that it takes."""
        stores: list[Stmt] = []
        for edge in self.request.target.edges:
            place = [self.read(x) for x in edge.call.arguments]
            value = lb.add(self.read(edge.key), edge.slack)
            combine = "min" if edge.side > 0 else "max"
            stores.append(lb.store(f"t_{edge.call.function}", place, value, combine))
        return [*stream.visit(tuple(stores))]

    def _arrays(self) -> list[ArrayParam]:
        layout = self.request.target.layout
        axes = {**layout.functions, layout.value.function: len(layout.value.arguments)}
        dtypes = dict.fromkeys(layout.functions, self.request.index)
        dtypes[layout.value.function] = self.request.value
        own = [(name, ndim) for name, ndim in axes.items() if name not in self.shared]
        return [ArrayParam(f"t_{name}", dtypes[name], ndim) for name, ndim in own]

    def _kernel(
        self,
        name: str,
        body: Sequence[Stmt],
        results: tuple[str, ...],
        arrays: Sequence[ArrayParam],
        scratch: Mapping[str, Param],
    ) -> Kernel:
        source, layout = self.request.source, self.request.target.layout
        axes = {**source.functions, source.value.function: len(source.value.arguments)}
        params: list[Param] = [IntParam(extent(mode)) for mode in range(self.rank)]
        params += [IntParam(f"s_{size}") for size in source.sizes]
        for array, ndim in axes.items():
            params.append(ArrayParam(f"s_{array}", self.request.dtypes[array], ndim))
        params += [*arrays, *scratch.values()]
        if name == "convert":
            params += [IntParam(f"t_{size}") for size in self.request.target.sizes]
        held = {array.name.removeprefix("t_") for array in arrays} & {*self.padded}
        params += [IntParam(f"pad_{name}") for name in sorted(held & {*layout.functions})]
        title = f"{source.label} -> {layout.label}: {self.plan.strategy}"
        start: Body = (Assign(lb.ivar("bad"), lb.i(0)),)
        same = (f"{own} is {other} of the source: shared" for own, other in self.shared.items())
        notes = (title, *self.plan.proofs, *same)
        return Kernel(name, tuple(params), (*start, *body), results, notes)

    def _strategy(
        self, stream: Stream
    ) -> tuple[list[Stmt], dict[str, Param], list[Stmt], tuple[str, ...]]:
        """Statements that count, what they leave, statements that fill, numbers they return."""
        match self.plan.strategy:
            case "place":
                filling = [*stream.visit(self._value(stream))]
                if not self.request.target.plain:
                    filling += stream.visit((self._missed(),))
                return self._bounds(stream) if self._bounding else [], {}, filling, ()
            case "runs":
                return self._runs(stream)
            case "sequence":
                return self._sequence(stream)
            case "count" if self.plan.arranged:
                return self._arranged(stream)
            case "count":
                return self._count(stream)
            case "rank":
                return self._rank(stream)
            case "strips":
                return self._strips(stream)

    @property
    def _direct(self) -> bool:
        """Whether the last pass that sorts may write the target itself: one list of entries."""
        levels, plan = self.request.target.levels, self.plan
        listed = plan.strategy == "sequence" and plan.distinct and bool(plan.sorts)
        return listed and len(levels) == 1 and levels[0].kind == "list"

    def _sorted(
        self, stream: Stream, term: Term
    ) -> tuple[list[Stmt], dict[str, Param], list[Stmt], tuple[str, ...]]:
        """Count by the last term to sort by, then put each entry where it belongs."""
        (level,) = self.request.target.levels
        span, starts = self.span(term), "list_starts"
        number, n = lb.ivar(f"t_{level.name}"), lb.ivar("n")
        place = lb.sub(self.read(term), span.low)
        counting = [
            *passes.counted_by(stream, starts, span, place, self.request.index),
            Assign(n, lb.load(starts, span.size)),
        ]
        more: dict[str, Param] = {starts: ArrayParam(starts, self.request.index, 1)}
        more["n"] = IntParam("n")
        stored = (*self._keys(level), *self._value(stream))
        put: Body = (
            *passes.fetched(stream, number, starts, place, stored),
            Assign(number, lb.load(starts, place)),
            lb.store(starts, [place], lb.add(number, 1)),
            *stored,
        )
        filling = [*stream.visit(put), Assign(number, lb.sub(n, 1))]
        return counting, more, filling, (f"t_{level.name}",)

    def _value(self, stream: Stream) -> Body:
        """Store the value of an entry, and what marks its place as used."""
        made = [
            lb.store(f"t_{call.function}", [self.read(x) for x in call.arguments], self.read(held))
            for call, held in self.request.target.marks
        ]
        value = self.request.target.layout.value
        if value.function not in self.shared:
            place = [self.read(argument) for argument in value.arguments]
            entry = Var("v", self.request.value)
            combine = None if stream.unique else "add"
            made.append(lb.store(f"t_{value.function}", place, entry, combine))
        return tuple(made)

    def _keys(self, level: Level) -> list[Stmt]:
        return [
            lb.store(f"t_{call.function}", [self.read(x) for x in call.arguments], self.read(key))
            for call, key in level.keys
            if call.function not in self.shared
        ]

    def _sequence(
        self, stream: Stream
    ) -> tuple[list[Stmt], dict[str, Param], list[Stmt], tuple[str, ...]]:
        """Number entries as they come."""
        levels = self.request.target.levels
        names = tuple(f"t_{level.name}" for level in levels)
        made = Numbered(levels, self.read, self.plan.distinct)
        filling = made.stored(stream, self._keys, self._value(stream))
        if not self.request.target.plain:
            filling += stream.visit((self._missed(),))
        more: dict[str, Param] = {}
        counting: list[Stmt] = []
        if not self.plan.whole and self.request.target.appended:
            counting, more = passes.counted(stream), {"n": IntParam("n")}
        elif not self.plan.whole:
            counting = made.counted(stream)
            counts = [lb.ivar(f"count_{name}") for name in names]
            counting += [
                Assign(x, lb.add(lb.ivar(name), 1)) for x, name in zip(counts, names, strict=True)
            ]
            more = {x.name: IntParam(x.name) for x in counts}
        return counting, more, filling, names

    def _groups(self, level: Level) -> tuple[Expr, Expr]:
        """The number of an entry's group, and of groups."""
        if level.pointer is not None:
            array = f"t_{level.pointer.function}"
            return self.read(level.pointer.arguments[0]), lb.sub(lb.length(array), 1)
        address, groups = lb.expr(0), lb.expr(1)
        for term in self.plan.group(self.request.target):
            span = self.span(term)
            inside = lb.sub(self.read(term), span.low)
            address = lb.add(lb.mul(address, span.size), inside)
            groups = lb.mul(groups, span.size)
        return address, groups

    def _count(
        self, stream: Stream
    ) -> tuple[list[Stmt], dict[str, Param], list[Stmt], tuple[str, ...]]:
        """Count by group, then put each entry behind the earlier ones of its group."""
        (level,) = self.request.target.levels
        address, groups = self._groups(level)
        own = [] if self.plan.distinct else [self.read(x) for x in level.columns[level.grouped :]]
        reads = level.columns[: level.grouped]
        next_, number, g = "next_place", lb.ivar(f"t_{level.name}"), lb.ivar("g")
        more: dict[str, Param] = {}
        if level.pointer is not None:
            array = f"t_{level.pointer.function}"
            counting = passes.group_counts(stream, array, address, 1, own, groups, reads)
            counting += [
                passes.running(array, groups),
                Assign(lb.ivar("n"), lb.load(array, groups)),
            ]
            more["n"] = IntParam("n")
            start = (lb.store(next_, [g], lb.load(array, g)),)
        else:
            counting: list[Stmt] = [Allocate("counts", "int64", (groups,), lb.i(0))]
            counting += passes.group_counts(stream, "counts", address, 0, own, groups, reads)
            more["counts"] = ArrayParam("counts", "int64", 1)
            start = (lb.store(next_, [g], 0),)
        if self.plan.distinct and implies(self.rank, stream.order, reads):
            return counting, more, self._restarted(stream, level, address), ()
        step: Body = (
            Assign(number, lb.load(next_, address)),
            lb.store(next_, [address], lb.add(number, 1)),
            *self._keys(level),
        )
        stored = () if own else (*self._keys(level), *self._value(stream))
        soon = passes.fetched(stream, number, next_, address, stored)
        if own:
            step = (
                passes.fresh(own, address, step),
                Assign(number, lb.sub(lb.load(next_, address), 1)),
            )
        body = (*soon, *step, *self._value(stream))
        filling: list[Stmt] = [
            Allocate(next_, self.request.index, (groups,)),
            For(g, lb.i(0), groups, start),
            *(passes.latest(own, groups) if own else ()),
            *stream.visit(body),
        ]
        if not self.request.target.plain:
            # computed places might coincide: look whether each value is where it was put
            again = (*step, self._missed())
            filling += [
                For(g, lb.i(0), groups, start),
                *(passes.latest(own, groups) if own else ()),
            ]
            filling += stream.visit(again)
        return counting, more, filling, ()

    def _arranged(
        self, stream: Stream
    ) -> tuple[list[Stmt], dict[str, Param], list[Stmt], tuple[str, ...]]:
        """Put entries down group by group, then sort each group."""
        target, index = self.request.target, self.request.index
        (group,), orders = self.plan.group(target), (stream.order, target.order)
        ways = (
            self.plan.distinct,
            implies(self.rank, orders[0], (group,)),
            implies(self.rank, (group, *orders[0]), orders[1]),
        )
        dtypes = index, self.request.value
        made = Arranged(stream, target, self.read, self.span(group), *dtypes, *ways)
        more: dict[str, Param] = {"n": IntParam("n")}
        if made.listed:
            more[made.starts] = ArrayParam(made.starts, index, 1)
        return made.counted(lb.ivar("n")), more, made.filled(), made.numbers

    def _restarted(self, stream: Stream, level: Level, address: Expr) -> list[Stmt]:
        """Number entries as they come, anew in each group: groups come one after another."""
        number, group = lb.ivar(f"t_{level.name}"), lb.ivar("group_before")
        first = lb.i(0)
        if level.pointer is not None:
            first = lb.load(f"t_{level.pointer.function}", address)
        stored: Body = (*self._keys(level), *self._value(stream), Assign(number, lb.add(number, 1)))
        by_row = level.columns[: level.grouped] == (stream.row,)
        if by_row and stream.rows is not None and self.request.target.plain:
            free = padded(self.request, level, self.read) if stream.everywhere else {}
            self.padded += free
            after = tuple(loop for loop in free.values())
            return [*stream.rows((Assign(number, first),), stored, after)]
        step: Body = (
            If(lb.ne(address, group), (Assign(group, address), Assign(number, first))),
            *stored,
        )
        start: Body = (Assign(group, lb.i(-1)), Assign(number, lb.i(0)))
        made = [*start, *stream.visit(step)]
        if not self.request.target.plain:
            # computed places might coincide: look whether each value is where it was put
            again = (step[0], self._missed(), step[-1])
            made += [*start, *stream.visit(again)]
        return made

    def _missed(self) -> Stmt:
        """Note as bad an entry whose value is not at its place."""
        value, dtype = self.request.target.layout.value, self.request.value
        place = [self.read(argument) for argument in value.arguments]
        there = lb.load(f"t_{value.function}", *place, type=dtype)
        return If(differing(there, Var("v", dtype)), (Assign(lb.ivar("bad"), lb.i(1)),))

    def _runs(
        self, stream: Stream
    ) -> tuple[list[Stmt], dict[str, Param], list[Stmt], tuple[str, ...]]:
        """Let neighbours of a group share a number."""
        level, target = self.request.target.runs, self.request.target
        assert level is not None
        dtypes = self.request.index, self.request.value
        made = Runs(stream, target, level, self.read, *self._groups(level), *dtypes)
        self.made = made.made
        filling = made.filled(self._value(stream))
        if not target.plain:
            # computed places might coincide: look whether each value is where it was put
            filling += made.filled((self._missed(),))
        return made.counted(), {"n": IntParam("n")}, filling, ()

    def _strips(
        self, stream: Stream
    ) -> tuple[list[Stmt], dict[str, Param], list[Stmt], tuple[str, ...]]:
        """Rank the keys of one strip of rows at a time."""
        (level,) = self.request.target.levels
        rows, span = height(stream, level.columns[: level.grouped]), self.span(level.keys[0][1])
        assert level.pointer is not None
        assert rows is not None
        assert stream.row is not None
        key, (_, groups) = lb.sub(self.read(span.term), span.low), self._groups(level)
        extent_ = self.span(stream.row).size
        made = Strips(stream, key, span.size, extent_, rows, groups)
        counting = made.counted(f"t_{level.pointer.function}", lb.ivar("n"))
        number = lb.ivar(f"t_{level.name}")
        keys = self._keys_of_bits(level)
        filling = made.numbered(number, span.low, self.request.index, keys, self._value(stream))
        return counting, {"n": IntParam("n")}, filling, ()

    def _keys_of_bits(self, level: Level) -> Body:
        """Store the key that a bit stands for."""
        return tuple(
            lb.store(f"t_{call.function}", [self.read(x) for x in call.arguments], lb.ivar("key"))
            for call, _ in level.keys
        )

    def _rank(
        self, stream: Stream
    ) -> tuple[list[Stmt], dict[str, Param], list[Stmt], tuple[str, ...]]:
        """Mark keys in a table of bits; an entry's number is the count of marks before its."""
        (level,) = self.request.target.levels
        address, groups = self._groups(level)
        span = self.span(level.keys[0][1])
        words = lb.floordiv(lb.add(span.size, 63), 64)
        key = lb.sub(self.read(span.term), span.low)
        index = self.request.index
        counting = passes.marked(stream, address, key, words, groups, index)
        more: dict[str, Param] = {
            "bits": ArrayParam("bits", "int64", 1),
            "ranks": ArrayParam("ranks", index, 1),
        }
        more["n"] = IntParam("n")
        number = lb.ivar(f"t_{level.name}")
        ends: Body = ()
        if level.pointer is not None:
            array = f"t_{level.pointer.function}"
            ends = (lb.store(array, [lb.add(lb.ivar("g"), 1)], number),)
        stores = self._keys_of_bits(level)
        filling = [
            *passes.each_bit(groups, words, span.low, number, ends, stores),
            *stream.visit(
                (
                    passes.word_of(address, key, words),
                    Assign(number, passes.rank_of(address, key, words)),
                    *self._value(stream),
                )
            ),
        ]
        return counting, more, filling, ()
