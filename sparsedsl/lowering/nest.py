"""Lower a proved nest to a kernel of the loop IR.

Takes: ``find.prove.Proved``.  Gives: ``loops.nodes.Kernel`` and what a caller needs to bind
its arguments.  Invariant: a find is set up where its range is known and before anything
inside can query it; a value is loaded once, where its position is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.errors import PlanError
from sparsedsl.find.choose import Choice
from sparsedsl.find.parallel import Shared
from sparsedsl.find.prove import Proved
from sparsedsl.iteration.counted import loaded_from
from sparsedsl.iteration.nodes import (
    Chain,
    Find,
    Let,
    Merge,
    Operand,
    Scan,
    with_ordering,
)
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops import build as lb
from sparsedsl.loops.mirror import mirrored, opened
from sparsedsl.loops.nodes import (
    Allocate,
    ArrayParam,
    Assign,
    Comment,
    Expr,
    For,
    If,
    IntParam,
    Kernel,
    Stmt,
)
from sparsedsl.lowering import counting
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering import workspace as ws
from sparsedsl.lowering.chain import ChainWalk
from sparsedsl.lowering.closing import closings
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.lowering.finds import Finds
from sparsedsl.spf import terms

DEEP = 2.0**18
"""Extent above which a workspace's bitmap gets a third level."""


Room: TypeAlias = Literal["counted", "grown", "row"]
"""Where entries go: to arrays of which the kernel first counts how long they must be, where it
can; to arrays that it tells to be too short when they are; to a row of its own."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A kernel, the output it fills, and the loop whose range the caller gives, if any.

    ``gaps``: the caller gives coordinates that were never visited their empty segment.
    ``visited``: every coordinate of a dense root level is visited, and its segment ended.
    ``opened``: each row of a dense output is set to where its sums start from.
    """

    kernel: Kernel
    sink: dl.Sink
    shared: Shared | None
    gaps: bool
    visited: bool = False
    opened: bool = False


def lower(
    proved: Proved,
    program: ct.Program,
    index_dtypes: Mapping[str, str],
    output_index_dtype: str,
    widest: float,
    notes: tuple[str, ...],
    room: Room = "counted",
) -> Lowered:
    """Return the kernel of a proved nest.

    ``widest`` is the expected extent of the output's widest mode, ``index_dtypes`` gives the
    dtype of each index array, ``output_index_dtype`` that of the output's.  A kernel with
    ``room="row"`` writes each row over the one before (``loops.rows``).

    Raises
    ------
    PlanError
        If it is not known how long a row may be.
    """
    if room == "row" and proved.nest.assembly.ordering == "blocks":
        proved = replace(proved, nest=with_ordering(proved.nest, "list"))
    nest = proved.nest
    operands = {o.name: o for chain in nest.chains for o in chain.operands}
    emitter = Emitter(program, operands, index_dtypes)
    dtype = nest.output.dtype
    extents: tuple[Expr, ...] = ()
    if nest.assembly.kind != "dense":
        extents = tuple(emitter.variable(extent_name(c)) for c in nest.coordinates)
    monoids = [c.monoid for c in nest.chains if c.monoid is not None]
    identity = MONOIDS[monoids[0]].identity(dtype) if monoids else nest.output.fill
    sink = dl.Sink(
        nest.output.name,
        dtype,
        output_index_dtype,
        nest.output.fill,
        extents,
        nest.assembly,
        identity,
        deep=widest > DEEP,
    )
    walk, late = _NestWalk(proved, emitter, sink, room), False
    body = walk.row() if room == "row" else walk.body()
    if proved.whole is not None:
        filled = _NestWalk(replace(proved, nest=proved.whole.nest), emitter, sink, room).body()
        exact = (
            lb.eq(lb.mod(emitter.variable(extent), size), 0)
            for extent, size in proved.whole.multiples
        )
        comment = Comment("no block is cut short")
        body = [If(lb.conj(*exact), (comment, *filled), tuple(body))]
    elif nest.assembly.kind == "dense" and len(nest.chains) > 1:
        body = mirrored(body, [*emitter.arrays, *emitter.integers])
        rows = _with_rows(body, proved, emitter) if room != "row" else None
        body, late = rows or body, rows is not None
    params: list[ArrayParam | IntParam] = [*emitter.arrays.values()]
    results: tuple[str, ...] = ()
    if nest.assembly.kind == "dense":
        value = sink.array(nest.assembly.value)
        params.append(ArrayParam(value, dtype, len(nest.layout.value.arguments)))
    elif nest.assembly.kind == "stream":
        params.extend(dl.stream_params(sink))
        results = (sink.capacity.name, sink.var("n").name)
    else:
        params.extend(dl.append_params(sink))
        results = (sink.capacity.name, *dl.append_results(sink))
    params.extend(emitter.integers.values())
    kernel = Kernel("kernel", tuple(params), tuple(body), results, notes)
    return Lowered(kernel, walk.sink, walk.shared, walk.gaps, walk.visited, late or walk.opened > 0)


def _with_rows(body: list[Stmt], proved: Proved, emitter: Emitter) -> list[Stmt] | None:
    """Return the body of two chains with each row set where its sums start, if that may be."""
    nest = proved.nest
    if not proved.opened:
        return None
    modes = [nest.layout.relation.outputs.index(terms.text(a)) for a in nest.layout.value.arguments]
    shape = [emitter.variable(extent_name(nest.coordinates[mode])) for mode in modes]
    return opened(body, shape, dl.constant(nest.initial, nest.output.dtype))


class _NestWalk:
    """One walk over the steps of a nest."""

    def __init__(self, proved: Proved, emitter: Emitter, sink: dl.Sink, room: Room) -> None:
        self.proved = proved
        self.nest = proved.nest
        self.choices = proved.choices
        self.signs = proved.nonnegative
        self.shared = None if room == "row" else proved.parallel
        # a row that is held is made anew by ``loops.rows``
        self.opened = 0 if room == "row" or len(self.nest.chains) > 1 else proved.opened
        self.room: Room = room
        self.emitter = emitter
        self.sink = sink
        self.top: list[Stmt] = []
        self.gaps = False
        self.visited = False

    def body(self) -> list[Stmt]:
        """Return the whole body of the kernel."""
        kind = self.nest.assembly.kind
        needed = self._needed()
        if kind != "dense" and not needed:
            self.shared = None
        before, main, end = self._filled(counted=bool(needed))
        start: list[Stmt] = []
        if kind == "stream":
            start = [Assign(self.sink.var("n"), lb.i(0))]
        elif kind != "dense":
            start = dl.append_start(self.sink)
        if kind == "dense":
            return [*before, *main, *end]
        room = self.sink.capacity
        if not needed:
            return [*start, Assign(room, self.sink.given), *before, *main, *end]
        if self.sink.pieced:
            for end_of_piece in self.sink.piece:
                self.emitter.variable(end_of_piece.name)
        if self.nest.assembly.ordering == "blocks":
            before, main, end = [], self._by_fullness(before, main, end), []
        enough = lb.le(room, self.sink.given)
        by_rows = counting.by_rows(needed, main, enough) if self._merges_two() else None
        if by_rows is not None and all(isinstance(s, Assign | Allocate) for s in before):
            return [*start, Assign(room, lb.i(0)), *before, by_rows, *end]
        rest = If(enough, (*before, *main, *end))
        if not self.sink.pieced:
            return [*start, Assign(room, lb.i(0)), *needed, rest]
        counted = self.emitter.variable(self.sink.counted_before.name)
        count = If(lb.eq(room, 0), tuple(needed))
        return [*start, Assign(room, counted), count, rest]

    def _filled(self, *, counted: bool) -> tuple[list[Stmt], list[Stmt], list[Stmt]]:
        """Return what begins, does and ends the work, where there is room for the entries."""
        kind = self.nest.assembly.kind
        pieced = counted and self.shared is not None
        most = self._most(counted=counted)
        self.sink = replace(self.sink, counted=counted, pieced=pieced, most=most)
        work = ws.start(self.sink) if kind == "workspace" else []
        main = self._prefix(0, self._walkers())
        end: list[Stmt] = []
        levels = self.nest.assembly.levels
        if kind in ("append", "workspace") and levels[0].dense:
            self.visited = self._all_visited()
            self.gaps = self.sink.pieced and not self.visited
            end = [] if self.visited or self.gaps else dl.fill_gaps(self.sink, 0)
        return [*dl.first_segments(self.sink), *work, *self.top], main, end

    def _by_fullness(self, before: list[Stmt], main: list[Stmt], end: list[Stmt]) -> list[Stmt]:
        """Return the work in blocks where rows turn out to be full, and in lists elsewhere.

        Rows of several loops, one after another, are not counted together: they are in lists.
        """
        loops = [s for s in main if isinstance(s, For)]
        by_list = with_ordering(self.nest, "list")
        sink = replace(self.sink, assembly=by_list.assembly)
        other = _NestWalk(replace(self.proved, nest=by_list), self.emitter, sink, self.room)
        other.shared = self.shared
        listed = [s for part in other._filled(counted=True) for s in part]
        if len(loops) != 1:
            return listed
        full = ws.rows_are_full(self.sink, lb.sub(loops[0].stop, loops[0].start))
        return [If(full, (*before, *main, *end), tuple(listed))]

    def _merges_two(self) -> bool:
        """Whether the loops inside do nothing but merge two operands.

        Such loops have a register left for the room that is needed so far; of others, one more
        variable costs more than to read where rows end twice.
        """
        steps = [s for chain in self.nest.chains for s in chain.steps if not isinstance(s, Let)]
        match steps:
            case [Merge(_, parts)]:
                return len(parts) == 2
            case _:
                return False

    def row(self) -> list[Stmt]:
        """Return the body of a kernel that writes each row over the one before.

        Memory for a row is allocated first; where rows begin is for ``loops.rows`` to say.
        """
        sink, kind = self.sink, self.nest.assembly.kind
        if kind == "dense":
            names = [self.nest.coordinates[m] for m in self.nest.assembly.modes[1:]]
            shape = tuple(self.emitter.variable(extent_name(n)) for n in names)
            row = [Allocate(sink.array(self.nest.assembly.value), sink.dtype, shape)]
            main = self._prefix(0, self._walkers())
            return [*(row if shape else ()), *self.top, *main]
        self.sink = sink = replace(sink, counted=True)
        longest = counting.longest_row(self.nest, self.signs, self.emitter, sink.capacity)
        if kind == "stream" or not longest:
            raise PlanError(f"the entries of a row of {sink.name} cannot be counted before")
        work = ws.start(sink) if kind == "workspace" else []
        main = self._prefix(0, self._walkers())
        arrays = [Allocate(p.name, p.dtype, (sink.capacity,)) for p in dl.row_params(sink)]
        return [*longest, *arrays, *work, *self.top, *main]

    def _walkers(self) -> list[ChainWalk]:
        return [
            self._walker(chain, choices, signs, f"_{place}" if place else "")
            for place, (chain, choices, signs) in enumerate(
                zip(self.nest.chains, self.choices, self.signs, strict=True)
            )
        ]

    def _walker(
        self, chain: Chain, choices: tuple[Choice, ...], signs: frozenset[str], suffix: str
    ) -> ChainWalk:
        steps = self.nest.prefix + chain.steps
        finds = Finds(self.emitter, steps, choices, suffix, self.top)
        return ChainWalk(self.nest, chain, finds, self.sink, signs, self.shared, self.opened)

    def _needed(self) -> list[Stmt]:
        """Bound the number of entries by the visits of the loops that deliver them.

        The kernel returns the bound, and does nothing more when the arrays it was given are
        shorter, so that they are made once and by NumPy, whose large ones are cheap to touch.
        """
        if self.nest.assembly.kind == "dense" or self.room == "grown":
            return []
        return counting.count_visits(
            self.nest, self.signs, self.emitter, self.sink.capacity, self.shared
        )

    def _most(self, *, counted: bool) -> Expr:
        """Bound the entries of one flush by what is known where the kernel begins."""
        if self.nest.assembly.ordering != "hash":
            return dl.NOTHING
        extent = self.sink.extents[self.sink.last.coordinates[-1][1]]
        arrays = loaded_from(self.nest)
        if arrays:
            entries = lb.i(0)
            for array in arrays:
                entries = lb.add(entries, lb.length(array))
            return lb.min_(extent, entries)
        return lb.min_(extent, self.sink.capacity) if counted else extent

    def _all_visited(self) -> bool:
        """Whether every coordinate of a dense root level is closed once."""
        steps = self.nest.prefix + self.nest.chains[0].steps
        mode = self.nest.assembly.levels[0].coordinates[0][1]
        first = steps[0] if steps else None
        return (
            isinstance(first, Scan)
            and first.operand is None
            and first.variable == self.nest.coordinates[mode]
        )

    def _prefix(self, place: int, walkers: list[ChainWalk]) -> list[Stmt]:
        """Emit the shared steps from ``place`` on, then the chains and the flush."""
        out: list[Stmt] = []
        if place < len(self.nest.prefix):
            for walker in walkers:
                out += walker.setups(place)
            step = self.nest.prefix[place]
            out += walkers[0].step(step, lambda: self._prefix(place + 1, walkers))
            for walker in walkers:
                out += walker.finds.endings(place)
            return self._closed(out, place)
        workspace = self.nest.assembly.kind == "workspace"
        if workspace:
            out += ws.begin(self.sink)
        for walker in walkers:
            if len(walkers) > 1:
                out.append(Comment(f"{_what(walker.chain)}"))
            out += walker.walk(place)
        if workspace:
            known = [self._coordinate(c) for c in self.nest.coordinates]
            out += ws.flush(self.sink, known, walkers[0].guide())
        return self._closed(out, place)

    def _coordinate(self, name: str) -> Expr | None:
        bound = name in self.emitter.local or name in self.emitter.aliases
        return self.emitter.variable(name) if bound and name in self._shared() else None

    def _shared(self) -> frozenset[str]:
        names = [s.variable for s in self.nest.prefix if isinstance(s, Scan | Let | Find)]
        return frozenset(names)

    def _closed(self, body: list[Stmt], place: int) -> list[Stmt]:
        """Append the closing of each level whose coordinates became known just before."""
        if self.nest.assembly.kind not in ("append", "workspace"):
            return body
        steps = self.nest.prefix + self.nest.chains[0].steps
        return [*body, *closings(self.nest, self.sink, self.emitter, steps, place)]


def _what(chain: Chain) -> str:
    """Say which entries a chain visits, for the reader of the generated code."""
    if not chain.required:
        return "all"
    named = [_part(chain.operand(name)) for name in chain.required]
    return f"where {' and '.join(named)} {'is' if len(named) == 1 else 'are'} stored"


def _part(operand: Operand) -> str:
    parts = len(operand.layout.relation.conjuncts)
    return f"{operand.name} (part {operand.part + 1} of {parts})" if parts > 1 else operand.name
