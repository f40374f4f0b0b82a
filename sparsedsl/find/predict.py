"""How long a call of a nest is expected to take, counted thing by thing.

Takes: a nest, the finds that were chosen for it, and sizes.  Gives: ``Spent``.  Invariant: more
entries never make less of anything; equal nests of equal sizes are predicted alike.

The search for an order of loops (``iteration.search``) compares thousands of them by few numbers.
This looks at one nest that is complete, and counts what its loops do: turns, branches that come
unexpected, lines of memory by how many bytes come before they are read again, searches as
``find.costs`` has them, and what becomes of each entry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.find import algorithms as al
from sparsedsl.find.choose import Choice, depth_of, ends, workload
from sparsedsl.find.context import Context
from sparsedsl.find.gathering import workspace
from sparsedsl.find.known import INDEX, Known
from sparsedsl.find.moving import Looped, anew, in_order, picked, way
from sparsedsl.find.opening import opened_rows
from sparsedsl.find.rates import LANES, LINE, Spent
from sparsedsl.find.together import (
    SINGLE,
    Rows,
    gone_through,
    halved,
    part_read,
    rows_together,
    run,
)
from sparsedsl.iteration import weights
from sparsedsl.iteration.cost import FEW, TRANSPOSE, TURNING, UNROLLED, Sizes
from sparsedsl.iteration.nodes import (
    Chain,
    Exclude,
    Find,
    Guard,
    Let,
    Merge,
    Nest,
    Operand,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.steps import depends_on, fixed_turns
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term

LONG = 40.0
"""Turns of a loop beyond which its end comes unexpected, however often it was there before."""

OTHERWISE = 0.3
"""Which part of the steps of a merge go on with another operand than is guessed, at most."""

LOOKED_UP: Mapping[str, float] = {"spread": 8.0, "table": 4.0, "slots": 4.0, "bitmap": 0.2}
"""Finds that look up in an array over the keys, and the bytes that it has for each."""

SLOW: Mapping[str, float] = {
    **dict.fromkeys(("div", "sqrt"), 1.0),
    **dict.fromkeys(("exp", "log", "exp2", "log2", "expm1", "log1p"), 2.0),
    **dict.fromkeys(("sigmoid", "mod", "floordiv"), 3.0),
    **dict.fromkeys(("tanh", "sin", "cos", "tan"), 4.0),
    "pow": 8.0,
}
"""Operators that take long, as many times as a division does."""


def predict(
    nest: Nest,
    choices: Iterable[Iterable[Choice]],
    sizes: Sizes,
    warm: frozenset[str] = frozenset(),
) -> Spent:
    """Return what a call of a nest is expected to spend, copies that are kept left out.

    A search without a choice is done by the cheapest way.  ``warm`` names the tensors that another
    nest of the same pass reads at the same time.
    """
    chosen = {c.variable: c for each in choices for c in each}
    return _spent(Known(nest, chosen, sizes, warm))


def _spent(of: Known) -> Spent:
    """Count all that the nest does."""
    spent, result = Spent(), of.result
    spent.add("call", 1.0)
    _copies(of, spent)
    if of.nest.assembly.kind == "dense":
        spent.stream(result, max(result, of.touched))
    else:
        spent.add("assembled", 1.0)
    total, rows, taken = 0.0, 1.0, SINGLE
    for place, chain in enumerate(of.nest.chains):
        taken = rows_together(of, chain)
        again = halved(of) if place else frozenset[str]()
        counted = _Chain(of, chain, spent, taken, gone_through(of, place), of.warm | again)
        rows, delivered = counted.walk()
        total += delivered
    if of.nest.assembly.kind == "workspace":
        workspace(of, spent, total, max(rows, 1.0), taken)
    return spent


def _copies(of: Known, spent: Spent) -> None:
    """Count the copies that are made at each call, of dense operands, and a look at kept ones."""
    copies = {c.tensor.name: c.tensor.total for c in of.nest.conversions}
    read = {o.tensor.name: o for chain in of.nest.chains for o in chain.operands}
    for name in copies.keys() & read.keys():
        if copies[name]:
            size = of.stored(read[name]) / np.dtype(read[name].tensor.dtype).itemsize
            spent.add("copied", TURNING + TRANSPOSE * size)
    spent.add("kept", float(any(not total for total in copies.values())))


@dataclass(frozen=True, slots=True)
class _Chain:
    """A chain of a nest, counted into ``spent``.

    Rows are ``taken`` together; loops before step ``begun`` are counted with another chain, and
    tensors that are ``warm`` with what reads them first.
    """

    of: Known
    chain: Chain
    spent: Spent
    taken: Rows
    begun: int
    warm: frozenset[str]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, outermost first."""
        return self.of.nest.prefix + self.chain.steps

    @property
    def loops(self) -> list[int]:
        """The places of the loops."""
        return [k for k, s in enumerate(self.steps) if isinstance(s, Scan | Merge)]

    def walk(self) -> tuple[float, float]:
        """Return how often the prefix is passed, and a value delivered."""
        steps, operands = self.steps, {o.name: o for o in self.chain.operands}
        shared, vectors = len(self.of.nest.prefix), self._vectors()
        visits, rows = 1.0, 1.0
        trail: dict[int, Looped] = {}
        for place, step in enumerate(steps):
            rows = visits if place == shared else rows
            visits /= self.taken.at_once if place == self.taken.place else 1.0
            before = visits
            match step:
                case Scan():
                    visits *= self.of.turns(steps, place, operands)
                    visits *= part_read(self.of, self.chain, place)
                    trail[place] = Looped(before, visits)
                    if place >= self.begun:
                        self._loop(place, step, trail[place], vectors=vectors)
                case Merge():
                    visits *= self._merge(place, step, visits)
                    trail[place] = Looped(before, visits)
                case Find():
                    self._find(place, step, None, visits)
                    hits = weights.hits(steps[:place], operands[step.operand], step, self.of.sizes)
                    visits *= hits
                    trail[place] = Looped(before, visits)
                case Probe():
                    self.spent.add("probe", visits)
                    for find in (s for s in step.steps if isinstance(s, Find)):
                        self._find(place, find, step, visits)
                case Guard() | Exclude():
                    self.spent.add("guard", visits)
                case Let():
                    pass
        self._combine(visits, vectors=vectors)
        self._reads(visits, trail)
        delivered = self._delivered(visits, trail)
        self._deliver(delivered, trail, vectors=vectors)
        return (visits if shared >= len(steps) else rows), delivered

    def _loop(self, place: int, scan: Scan, at: Looped, *, vectors: bool) -> None:
        inner, first = place == self.loops[-1], place == self.loops[0]
        fixed = fixed_turns(scan)
        unrolled = fixed is not None and fixed <= UNROLLED
        vectors = vectors and inner
        if vectors and not unrolled:
            self.spent.add("fold", at.entered)
            self.spent.add("vector", at.turned / LANES + 0.5 * at.entered)
            sums = way(self.steps, self._place) == "same" and scan.operand is not None
            # elements are left over of ranges of any length
            self.spent.add("begin", at.entered * (sums and not first))
        elif inner:
            self.spent.add("turn", at.turned / (LANES if vectors else 1.0))
            self.spent.add("begin", at.entered * (not unrolled))
        else:
            self.spent.add("outer", at.turned * (not unrolled))
        if not first and fixed is None and scan.operand is not None:
            if self._foreseen(place, at):
                return
            turns = at.turns / LANES if vectors else at.turns
            part = self._changes(scan.variable, at.turns, vectors=vectors)
            self.spent.guess(at.entered, 1.0 if turns > LONG else part)

    def _foreseen(self, place: int, at: Looped) -> bool:
        """Whether first entries of the rows that a loop goes over are computed anyway."""
        inner = self.steps[place:]
        if place != self.loops[-1] or any(isinstance(s, Guard | Exclude | Probe) for s in inner):
            return False
        chosen = (self.of.choices.get(s.variable) for s in inner if isinstance(s, Find))
        if any(choice is None or choice.algorithm != "spread" for choice in chosen):
            return False
        scan = self.steps[place]
        assert isinstance(scan, Scan)
        return ends(scan, at.turns, at.turned, self.of.sizes) > 0.0

    def _changes(self, dim: str, length: float, *, vectors: bool) -> float:
        """Return which part of ranges is of another length than the one before, as guesses go."""
        known = self.of.sizes.changes.get(dim)
        if known is not None:
            return known.eights if vectors else known.length
        # lengths that chance makes, unless they are short
        return min(0.1 + (length / 100.0 if vectors else 0.5 * math.sqrt(length)), 0.8)

    def _merge(self, place: int, merge: Merge, visits: float) -> float:
        """Count the merge, and return how many coordinates it has each time."""
        operands = {o.name: o for o in self.chain.operands}
        lengths: list[float] = []
        for part in merge.parts:
            scan = Scan(part.variable, part.lows, part.highs, part.operand)
            own = operands[part.operand]
            lengths.append(weights.length(self.steps[:place], own, scan, self.of.sizes))
        near = min(self.of.sizes.unevenness(part.variable).near for part in merge.parts)
        turns = max(sum(lengths), 1e-6)
        self.spent.add("begin", visits)
        self.spent.add("merged", visits * turns)
        # each operand goes on alone where the others have ended
        ends = zip(merge.parts, lengths, strict=True)
        changes = sum(self._changes(p.variable, n, vectors=False) for p, n in ends)
        self.spent.guess(visits, 0.5 * changes)
        self.spent.guess(visits * turns, OTHERWISE / math.sqrt(near))
        return turns

    def _find(self, place: int, find: Find, inside: Probe | None, visits: float) -> None:
        context = Context(self.steps, {o.name: o for o in self.chain.operands})
        sparse = self.of.nest.assembly.kind == "append"
        choice = self.of.choices.get(find.variable)
        depth = choice.depth if choice else depth_of(self.steps, find, inside)
        load = workload(context, find, place, depth, self.of.sizes, sparse=sparse)
        # ends of loops, and values that are read, are counted with the loops and the operands
        once = self.taken.at_once
        scans = (k for k in self.loops if k < place and isinstance(self.steps[k], Scan))
        part = math.prod(part_read(self.of, self.chain, k) for k in scans)
        queries, loops = load.queries * part / once, load.loops / once
        load = replace(load, ends=0.0, passed=0.0, queries=queries, loops=loops)
        own = choice.algorithm if choice else "hash" if len(find.keys) > 1 else ""
        ways = [own] if own else ["table", "binary"] if depth >= 0 else ["binary"]
        every = (al.algorithm("table" if name == al.SLOTS.name else name) for name in ways)
        self.spent.add("finds", min(way.cost(load) for way in every if way is not None))
        if own in LOOKED_UP:
            self.spent.jump(visits, load.extent * LOOKED_UP[own] / self._closer())
        operand = context.operands[find.operand]
        loops = [k for k in self.loops if k < place]
        if loops and not 0 <= depth <= loops[-1] and picked(self.steps, operand):
            # each search is in a range that is anywhere, and of any length
            self._pointers(operand, visits)
            size = self.of.stored(operand)
            self.spent.jump(visits, min(size, visits * LINE) / self._closer())
            length = weights.length(self.steps[:place], operand, find, self.of.sizes)
            # how long it is, and what is found in it
            self.spent.guess(2.0 * visits, self._changes(find.variable, length, vectors=False))

    def _vectors(self) -> bool:
        """Whether the innermost loop takes several elements an instruction."""
        steps, loops = self.steps, self.loops
        inner = steps[loops[-1]] if loops else None
        if not isinstance(inner, Scan):
            return False
        stops = Find | Probe | Guard | Exclude
        ways = (way(self.steps, o.value.arguments) for o in self.chain.operands)
        if any(isinstance(s, stops) for s in steps[loops[-1] :]) or not {*ways} <= {"same", "next"}:
            return False
        kind, how = self.of.nest.assembly.kind, way(self.steps, self._place)
        if how == "same":
            return True
        if kind == "dense":
            return inner.operand is None and how == "next"
        return kind == "append" and not any(isinstance(s, stops) for s in steps)

    @property
    def _place(self) -> tuple[Term, ...]:
        """Where values are delivered to, as the result lies in memory."""
        nest = self.of.nest
        return tuple(terms.var(nest.coordinates[mode]) for mode in nest.assembly.modes)

    def _combine(self, visits: float, *, vectors: bool) -> None:
        """Count the operators of the expression."""
        calls = [n.operator for n in walk(self.chain.expression) if isinstance(n, ct.Call)]
        slow = sum(SLOW.get(name, 0.0) for name in calls)
        short = sum(name not in SLOW for name in calls)
        self.spent.add("operator", visits * short / (LANES if vectors else 1.0))
        self.spent.add("slow operator", visits * slow / (LANES / 2.0 if vectors else 1.0))

    def _reads(self, visits: float, trail: Mapping[int, Looped]) -> None:
        """Count the lines of memory that operands are read from."""
        keys, seen = self._read_keys(), set[tuple[str, object]]()
        for operand in self.chain.operands:
            what = operand.tensor.name, operand.value
            if what in seen or operand.tensor.name in self.warm:
                continue
            seen.add(what)
            self._read(operand, visits, trail, keys=operand.name in keys)

    def _read(
        self, operand: Operand, visits: float, trail: Mapping[int, Looped], *, keys: bool
    ) -> None:
        """Count the lines that one operand is read from, its coordinates too where ``keys``."""
        steps, last = self.steps, self.loops[-1] if self.loops else -1
        size, less, spent = self.of.stored(operand), self._closer(), self.spent
        jumps, arguments = picked(steps, operand), operand.value.arguments
        outer = [(k, at.turned) for k, at in trail.items() if k < last]
        width = np.dtype(operand.tensor.dtype).itemsize
        match way(self.steps, arguments):
            case "next" | "found":
                # a loop over its entries reads the coordinate of each, and values where it goes on
                scanned = _operand(steps[last]) == operand.name
                turned = trail[last].turned if scanned else visits
                read = visits * width + turned * INDEX * keys
                read *= anew(self.steps, arguments, trail)
                again = size if read > 2.0 * size else max(self.of.touched, size)
                anywhere = again / less if jumps else again
                same = self._same_rows() if jumps else 1.0
                spent.stream(read / same, anywhere)
                # what the row before has read, too
                spent.stream(read - read / same, min(read / self._rows(trail), anywhere))
                if jumps:
                    rows = trail[last].entered
                    row = max(LINE, read / max(rows, 1.0))
                    spent.jump(min(rows, turned) / same, min(size, rows * row) / less)
                    if scanned and not operand.total:
                        self._pointers(operand, rows)
            case "gather":
                spent.add("gather", visits)
                spent.jump(visits, min(size, visits * LINE) / less)
                spent.stream(min(size, visits * LINE), max(self.of.touched, size))
            case _:
                count = outer[-1][1] if outer else 1.0
                if jumps:
                    spent.jump(count, min(size, count * LINE) / less)
                read = count * (width + INDEX * keys)
                spent.stream(min(read, size), max(self.of.touched, size))

    def _same_rows(self) -> float:
        """Return how many turns over rows in a row read the same of what these name."""
        told = [s.operand for s in self.steps if isinstance(s, Scan) and s.operand is not None]
        walked = [o for o in self.chain.operands if o.name in told[:1]]
        return max([1.0, *(run(self.of, o) for o in walked)]) / self.taken.at_once

    def _rows(self, trail: Mapping[int, Looped]) -> float:
        """Return how often the outermost loop turns."""
        return max(trail[self.loops[0]].turned, 1.0)

    def _pointers(self, operand: Operand, rows: float) -> None:
        """Count the lines that tell where rows begin that are anywhere."""
        known = [self.of.sizes.entries.get(dim, 1.0) for dim in operand.dims[:-1]]
        size = INDEX * (known[-1] if known else 1.0)
        self.spent.jump(rows, min(size, rows * LINE) / self._closer())

    def _read_keys(self) -> frozenset[str | None]:
        """Return the operands whose coordinates are read, not the values alone."""
        steps = self.steps
        values = [a for o in self.chain.operands for a in o.value.arguments]
        keys = [k.value for s in steps if isinstance(s, Find) for k in s.keys]
        needed = frozenset[str]().union(*map(terms.variables, (*values, *keys, *self._place)))
        needed = depends_on(steps, needed)
        found: set[str | None] = set()
        for step in steps:
            match step:
                case Let(variable, _, "load", operand) if variable in needed:
                    found.add(operand)
                case Find():
                    found.add(step.operand)
                case Merge():
                    found.update(part.operand for part in step.parts)
                case _:
                    pass
        return frozenset(found)

    def _closer(self) -> float:
        """Return how many times fewer bytes are read by turns than are read in all."""
        lying = [self.of.sizes.unevenness(s.variable) for s in self.steps if isinstance(s, Scan)]
        near = max((u.near for u in lying), default=1.0)
        return max(near, math.sqrt(max((u.crowd for u in lying), default=1.0)))

    def _delivered(self, visits: float, trail: Mapping[int, Looped]) -> float:
        """Return how often a value is delivered: sums of later loops are delivered once."""
        wanted, count = {*self.of.nest.coordinates}, 1.0
        for place, step in enumerate(self.steps):
            if isinstance(step, Scan | Merge) and not wanted:
                return count
            if place in trail:
                rows = self.taken.at_once if place >= self.taken.place else 1.0
                count = trail[place].turned * rows
            if isinstance(step, Scan | Let | Merge):
                wanted.discard(step.variable)
        return visits * self.taken.at_once

    def _deliver(self, count: float, trail: Mapping[int, Looped], *, vectors: bool) -> None:
        """Count what becomes of values; those of a workspace are counted all together."""
        spent, width = self.spent, self.of.width
        match self.of.nest.assembly.kind:
            case "dense":
                how, result = way(self.steps, self._place), self.of.result
                spent.add("update", count * (how == "gather" or (how == "next" and not vectors)))
                if how == "gather" and in_order(self.steps, self._place, self.chain.operands):
                    # each waits for the one before, if that is of the same element
                    spent.add("chained", max(count - result / width, 0.0))
                elif how == "gather":
                    spent.jump(count, min(result, count * LINE) / self._closer())
                elif how == "next" and not opened_rows(self.of.nest, None, self.of.sizes):
                    # added to, row by row: what is there is read, and written
                    spent.stream(2.0 * count * width * anew(self.steps, self._place, trail), result)
            case "append":
                made = count * (width + INDEX)
                spent.stream(made, self.of.touched + made)
                spent.add("append", count * (not vectors))
            case "stream":
                # few are sorted without compiled passes
                few = "few " if count < FEW else ""
                spent.add(f"{few}streamed", count)
                spent.add(f"{few}stream", 1.0)
            case _:
                pass


def _operand(step: Step) -> str | None:
    """Return the operand whose entries a loop goes over, if one alone."""
    return step.operand if isinstance(step, Scan) else None
