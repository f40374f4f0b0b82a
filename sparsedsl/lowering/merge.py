"""Lower a merge: one cursor an operand, advanced without branches on the data.

Takes: a ``Merge`` step and the body inside it.  Gives: loops.  Invariant: the body is emitted
for coordinates in increasing order, each once, with every operand bound.
"""

from __future__ import annotations

from collections.abc import Callable

from sparsedsl.iteration.nodes import Merge, Operand
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import BOOL, Assign, Expr, Stmt, Var, While
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.lowering.values import Values, local

Body = Callable[[], list[Stmt]]


class Merging:
    """Emits merges of one chain."""

    def __init__(self, emitter: Emitter, values: Values) -> None:
        self.emitter = emitter
        self.values = values

    def emit(self, merge: Merge, body: Body) -> list[Stmt]:
        """Advance one cursor an operand; where it is not at the coordinate, it has its fill."""
        emitter = self.emitter
        out: list[Stmt] = []
        ends: list[Var] = []
        for part in merge.parts:
            end = Var(f"{part.variable}_hi", "int")
            ends.append(end)
            out.append(Assign(emitter.bind(part.variable), emitter.extreme(part.lows, lb.max_)))
            out.append(Assign(end, emitter.extreme(part.highs, lb.min_)))
        cursors = [Var(p.variable, "int") for p in merge.parts]
        live = [lb.lt(c, e) for c, e in zip(cursors, ends, strict=True)]
        if len(merge.parts) > 2:
            anyone = lb.disj(*live)
            return [*out, While(anyone, tuple(self._turn(merge, live, body)))]
        out.append(While(lb.conj(*live), tuple(self._turn(merge, None, body))))
        for k in range(2):
            out.append(While(live[k], tuple(self._rest(merge, k, body))))
        return out

    def _turn(self, merge: Merge, live: list[Expr] | None, body: Body) -> list[Stmt]:
        """One step of a merge; ``live`` is None where every cursor is known to be inside."""
        emitter = self.emitter
        out: list[Stmt] = []
        beyond = emitter.variable(extent_name(merge.variable))
        places = [local(emitter.operands[p.operand], "key", "int") for p in merge.parts]
        for k, part in enumerate(merge.parts):
            key = emitter.term(part.key)
            found = key if live is None else lb.select(live[k], key, beyond)
            out.append(Assign(places[k], found))
        least: Expr = places[0]
        for place in places[1:]:
            least = lb.min_(least, place)
        variable = emitter.bind(merge.variable)
        out.append(Assign(variable, least))
        for place, part in zip(places, merge.parts, strict=True):
            operand = emitter.operands[part.operand]
            hit = local(operand, "hit", BOOL)
            out.append(Assign(hit, lb.eq(place, variable)))
            out += self._value(operand, hit, inside=live is None)
        out += self.values.apart(body)
        for part in merge.parts:
            cursor = Var(part.variable, "int")
            hit = local(emitter.operands[part.operand], "hit", BOOL)
            out.append(Assign(cursor, lb.add(cursor, lb.cast(hit, "int"))))
        return out

    def _value(self, operand: Operand, hit: Expr, *, inside: bool) -> list[Stmt]:
        """Bind an operand's value at a merge: loaded where hit, else its fill."""
        dtype = operand.tensor.dtype
        value = local(operand, "v", dtype)
        self.values.bind(operand, value, hit)
        if not self.values.uses(operand)[0]:
            return []
        load, fill = self.values.load(operand), dl.constant(operand.tensor.fill, dtype)
        if not inside:
            return [Assign(value, lb.select(hit, load, fill))]
        entry = local(operand, "entry", dtype)
        return [Assign(entry, load), Assign(value, lb.select(hit, entry, fill))]

    def _rest(self, merge: Merge, k: int, body: Body) -> list[Stmt]:
        """What is left of one operand when the other is at its end."""
        emitter = self.emitter
        part = merge.parts[k]
        out: list[Stmt] = [Assign(emitter.bind(merge.variable), emitter.term(part.key))]
        for other in merge.parts:
            operand = emitter.operands[other.operand]
            if other is part:
                out += self.values.bind_loaded(operand, lb.TRUE)
            else:
                fill = dl.constant(operand.tensor.fill, operand.tensor.dtype)
                self.values.bind(operand, fill, lb.FALSE)
        out += self.values.apart(body)
        cursor = Var(part.variable, "int")
        return [*out, Assign(cursor, lb.add(cursor, 1))]
