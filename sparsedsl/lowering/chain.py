"""Lower one chain: its steps outermost first, its leaf, and what is delivered.

Takes: a chain of a proved nest.  Gives: the loops inside the nest's prefix.  Invariant: a
value is loaded where its position is known and its guards are passed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import dtype_of
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.find.guards import ensuring
from sparsedsl.find.parallel import Shared
from sparsedsl.iteration.laid import laid_rows
from sparsedsl.iteration.nodes import (
    Chain,
    Exclude,
    Find,
    Guard,
    Let,
    Merge,
    Nest,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.space import extent_name, subscript_term
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import BOOL, INT, Assign, Const, Expr, For, If, Load, Stmt, Var
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering import laying, pieces
from sparsedsl.lowering import workspace as ws
from sparsedsl.lowering.closing import bound_at, closings
from sparsedsl.lowering.finds import Finds
from sparsedsl.lowering.merge import Merging
from sparsedsl.lowering.once import stores_each_once
from sparsedsl.lowering.values import Values, local
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Constraint, Term

Body = Callable[[], list[Stmt]]


class ChainWalk:
    """One walk over the steps of a chain, inside the prefix of its nest.

    ``signs`` names the variables proved non-negative in this chain; ``shared`` is the loop
    whose range the caller gives, if any; after ``opened`` steps, if any, a row of a dense output
    is set to where its sums start from.
    """

    def __init__(
        self,
        nest: Nest,
        chain: Chain,
        finds: Finds,
        sink: dl.Sink,
        signs: frozenset[str],
        shared: Shared | None,
        opened: int = 0,
    ) -> None:
        self.shared = shared
        self.opened = opened
        self.nest = nest
        self.chain = chain
        self.finds = finds
        self.sink = sink
        self.signs = signs
        self.emitter = finds.emitter
        self.steps = nest.prefix + chain.steps
        self.values = Values(self.emitter, chain.expression)
        self.merging = Merging(self.emitter, self.values, finds.top, told=shared is not None)
        wanted = [c.name for c in chain.coordinates if c.name is not None]
        delivered = bound_at(self.steps, wanted) if wanted else 0
        known = max(delivered, len(nest.prefix))
        # behind the guards that follow, which may say that the coordinates are none of the output's
        self.accumulate_at = next(
            (p for p in range(known, len(self.steps)) if isinstance(self.steps[p], Scan)), None
        )
        self.accumulates = chain.monoid is not None and self.accumulate_at is not None
        whole = nest.assembly.kind == "workspace" and nest.assembly.ordering == "whole"
        self.laid = laid_rows(nest) if whole else None

    def setups(self, place: int) -> list[Stmt]:
        """Set up the finds whose range is known after ``place`` steps."""
        self.emitter.nonnegative = self.signs
        if place == 0 and self.laid is not None:
            self.finds.top.extend(laying.lay_out(self.laid, self.emitter))
        return self.finds.setups(place)

    def walk(self, place: int) -> list[Stmt]:
        """Emit the steps from ``place`` on, and the leaf."""
        self.emitter.nonnegative = self.signs
        out = self.setups(place)
        if self.opened and place == self.opened:
            out += self._open_row()
        loads = self._loads(place)
        if self.accumulates and place == self.accumulate_at:
            total = self._accumulator()
            dtype = total.type
            identity = MONOIDS[self.chain.monoid or "add"].identity(dtype)
            inner = self._after(place)
            body = [*loads, Assign(total, dl.constant(identity, dtype)), *inner]
            body += self._deliver(total)
        else:
            body = [*loads, *self._after(place)]
        out += body
        appended = self.nest.assembly.kind == "append"
        if appended and place > len(self.nest.prefix):
            out += closings(self.nest, self.sink, self.emitter, self.steps, place)
        return [*out, *self.finds.endings(place)]

    def _after(self, place: int) -> list[Stmt]:
        if place == len(self.steps):
            return self._leaf()
        return self.step(self.steps[place], lambda: self.walk(place + 1))

    def _accumulator(self) -> Var:
        reduced = ct.Reduce(self.chain.monoid or "add", (), self.chain.expression)
        dtype = dtype_of(reduced, self.emitter.program)
        # terms of one output may be summed in different dtypes
        other = "" if dtype == self.sink.dtype else f"_{dtype}"
        return Var(f"{self.sink.name}_sum{other}", dtype)

    def _leaf(self) -> list[Stmt]:
        value = self.emitter.expression(self.chain.expression, self.values.known)
        if not self.accumulates:
            return self._deliver(value)
        total = self._accumulator()
        monoid = MONOIDS[self.chain.monoid or "add"]
        combined = lb.apply(monoid.operator, total, lb.cast(value, total.type), type=total.type)
        return [Assign(total, combined)]

    def _deliver(self, value: Expr) -> list[Stmt]:
        sink = self.sink
        value = lb.cast(value, sink.dtype)
        coordinates = [self.emitter.term(subscript_term(c)) for c in self.chain.coordinates]
        match self.nest.assembly.kind:
            case "dense":
                monoid = None if stores_each_once(self.nest) else self.chain.monoid
                return [self._store(coordinates, value, monoid)]
            case "append":
                return dl.append_value(sink, coordinates, value, branch=self._branches())
            case "workspace":
                at = coordinates[sink.last.coordinates[-1][1]]
                return ws.add(sink, at, value, self.chain.monoid, self.guide())
            case _:
                return dl.stream_value(sink, coordinates, value)

    def _branches(self) -> bool:
        """Whether a branch on a value costs less than a place that depends on it.

        So it is behind a search, where few turns come, and where all of an extent is summed, which
        takes long and hardly ever gives the fill.
        """
        before, inside = self.steps[: self.accumulate_at], self.steps[self.accumulate_at :]
        searched = any(isinstance(step, Find) for step in before)
        whole = all(isinstance(s, Let) or (isinstance(s, Scan) and not s.operand) for s in inside)
        return searched or (self.accumulates and whole)

    def guide(self) -> ws.Guide | None:
        """Return the range that the entries of a workspace are a part of, if one is known."""
        return self.finds.guide(self.nest.assembly.guide) if self.nest.assembly.guide else None

    def _open_row(self) -> list[Stmt]:
        """Set the elements whose first coordinates are known to where their sums start from."""
        names = [c.name or "" for c in self.chain.coordinates]
        known = {s.variable for s in self.steps[: self.opened] if isinstance(s, Scan)}
        loops = [(Var(f"{n}_first", INT), extent_name(n)) for n in names if n not in known]
        inside = {v.name.removesuffix("_first"): v for v, _ in loops}
        coordinates = [inside.get(n) or self.emitter.variable(n) for n in names]
        start = dl.constant(self.nest.initial, self.sink.dtype)
        body: list[Stmt] = [self._store(coordinates, start, None)]
        for variable, extent in reversed(loops):
            body = [For(variable, lb.i(0), self.emitter.variable(extent), tuple(body))]
        return body

    def _store(self, coordinates: list[Expr], value: Expr, monoid: str | None) -> Stmt:
        layout = self.nest.layout
        places = [layout.relation.outputs.index(terms.text(a)) for a in layout.value.arguments]
        array = self.sink.array(layout.value.function)
        proved = all(
            self.emitter.is_nonnegative(subscript_term(self.chain.coordinates[p])) for p in places
        )
        return lb.store(array, [coordinates[p] for p in places], value, monoid, proved=proved)

    def step(self, step: Step, body: Body) -> list[Stmt]:
        """Emit one step around ``body``."""
        emitter = self.emitter
        match step:
            case Scan() if self.laid is not None and step == self.laid.scan:
                loop, self.values.laid_out[self.laid.operand.name] = laying.row(self.laid, emitter)
                return [For(loop, lb.i(0), laying.extent(self.laid, emitter), tuple(body()))]
            case Scan(variable, lows, highs, _):
                if self.shared is not None and step == self.steps[self.shared.place]:
                    low, high = pieces.ends(self.shared, step, emitter)
                else:
                    low = emitter.extreme(lows, lb.max_)
                    high = emitter.extreme(highs, lb.min_)
                loop = emitter.bind(variable)
                return [For(loop, low, high, tuple(body()))]
            case Let():
                return [*self._let(step), *body()]
            case Guard(constraint, _):
                return [If(self._condition(constraint), tuple(body()))]
            case Find(variable, operand=name):
                found = self.finds.query(variable)
                if found.value is not None:
                    self.values.laid_out[name] = found.value
                return [*found.query, If(found.hit, (*found.met, *body()))]
            case Probe():
                return [*self._probe(step), *body()]
            case Merge():
                return self.merging.emit(step, body)
            case Exclude(names):
                hits = [local(emitter.operands[n], "hit", BOOL) for n in names]
                return [If(lb.not_(lb.conj(*hits)), tuple(body()))]

    def _let(self, step: Let) -> list[Stmt]:
        if self.laid is not None and step == self.laid.column:
            return []  # the loop runs over it
        value = self.emitter.term(step.value)
        if isinstance(value, Var | Const):
            self.emitter.aliases[step.variable] = value
            return []
        if isinstance(value, Load) and self._is_natural(step):
            value = replace(value, natural=True)
        return [Assign(self.emitter.bind(step.variable), value)]

    def _is_natural(self, step: Let) -> bool:
        """Whether what a step binds is never negative, whatever guards after it say."""
        place = next((k for k, other in enumerate(self.steps) if other is step), None)
        sure = place is not None and not ensuring(self.steps, place + 1)
        return sure and step.variable in self.signs

    def _condition(self, constraint: Constraint) -> Expr:
        term = constraint.term
        negative = Term(tuple((-c, a) for c, a in term.parts if c < 0), max(-term.constant, 0))
        positive = Term(tuple((c, a) for c, a in term.parts if c > 0), max(term.constant, 0))
        left, right = self.emitter.term(positive), self.emitter.term(negative)
        return lb.eq(left, right) if constraint.equality else lb.ge(left, right)

    def _probe(self, probe: Probe) -> list[Stmt]:
        """Look an operand up: its value and whether it was hit, its fill on a miss."""
        operand = self.emitter.operands[probe.operand]
        hit = local(operand, "hit", BOOL)
        value = local(operand, "v", operand.tensor.dtype)
        fill = dl.constant(operand.tensor.fill, operand.tensor.dtype)
        out: list[Stmt] = [Assign(hit, lb.FALSE)]
        if self.values.uses(operand)[0]:
            out.append(Assign(value, fill))

        def inner(place: int) -> list[Stmt]:
            if place == len(probe.steps):
                return [Assign(hit, lb.TRUE), *self.values.bind_loaded(operand, hit)]
            return self.step(probe.steps[place], lambda: inner(place + 1))

        return [*out, *inner(0)]

    def _may_miss(self, place: int) -> bool:
        """Whether a find or a guard comes before the next loop."""
        for step in self.steps[place:]:
            match step:
                case Find() | Guard():
                    return True
                case Scan() | Merge():
                    return False
                case Let() | Probe() | Exclude():
                    pass
                case _:
                    assert_never(step)
        return False

    def _loads(self, place: int) -> list[Stmt]:
        """Load the values of operands whose position has become known.

        They are loaded behind the finds that come before the next loop, which may miss.
        """
        out: list[Stmt] = []
        if self._may_miss(place):
            return out
        bound = {s.variable for s in self.steps[:place] if isinstance(s, Scan | Let | Find | Merge)}
        for operand in self.chain.operands:
            names = frozenset[str]()
            for argument in operand.value.arguments:
                names |= terms.variables(argument)
            names -= {used for _, used in operand.parameters}
            pending = any(
                isinstance(s, Guard) and s.operand == operand.name for s in self.steps[place:]
            )
            probed = any(isinstance(s, Probe) and s.operand == operand.name for s in self.steps)
            if operand.name in self.values.bound or pending or probed or not names <= bound:
                continue
            out += self.values.bind_loaded(operand, lb.TRUE)
        return out
