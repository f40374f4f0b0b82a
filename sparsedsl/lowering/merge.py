"""Lower a merge: one cursor an operand.

Takes: a ``Merge`` step and the body inside it.  Gives: loops.  Invariant: the body is emitted
for coordinates in increasing order, each once, with every operand bound.
"""

from __future__ import annotations

from collections.abc import Callable

from sparsedsl.iteration.nodes import Merge, MergePart
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import BOOL, Assign, Break, Expr, If, Stmt, Var, While
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.lowering.even import Even
from sparsedsl.lowering.values import Values, local

Body = Callable[[], list[Stmt]]


class Merging:
    """Emits merges of one chain, of a kernel that is ``told`` how many ranges it guesses first."""

    def __init__(self, emitter: Emitter, values: Values, top: list[Stmt], *, told: bool) -> None:
        self.emitter = emitter
        self.values = values
        self.top = top
        self.told = told

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
        even = Even(self.emitter, self.values)
        keys = self._keys(merge)
        if len(merge.parts) > 2:
            beyond = emitter.variable(extent_name(merge.variable))
            loads = [
                Assign(key, lb.select(inside, emitter.term(part.key), beyond))
                for key, inside, part in zip(keys, live, merge.parts, strict=True)
            ]
            turn = self._turn(merge, keys, loads, body)
            guessed: list[Stmt] = [*loads, While(lb.TRUE, tuple(turn))]
        else:
            guessed = [While(lb.conj(*live), tuple(self._turn_of_two(merge, body)))]
        places = range(len(merge.parts))
        alone = [While(live[k], tuple(self._alone(merge, (k,), body))) for k in places]
        if not even.possible(merge):
            return [*out, *guessed, *(alone if len(keys) == 2 else [])]
        self.top += even.start(merge, told=self.told)
        return [*out, *even.or_guessed(merge, keys, ends, body, guessed), *alone]

    def _turn_of_two(self, merge: Merge, body: Body) -> list[Stmt]:
        """One step of a merge whose cursors are both inside: a branch for each outcome."""
        keys = self._keys(merge)
        out = [
            Assign(key, self.emitter.term(part.key))
            for key, part in zip(keys, merge.parts, strict=True)
        ]
        both, first, second = (
            tuple(self._alone(merge, present, body, keys)) for present in ((0, 1), (0,), (1,))
        )
        ahead = If(lb.lt(*keys), first, second)
        return [*out, If(lb.eq(*keys), both, (ahead,))]

    def _keys(self, merge: Merge) -> list[Var]:
        return [local(self.emitter.operands[p.operand], "key", "int") for p in merge.parts]

    def _alone(
        self,
        merge: Merge,
        present: tuple[int, ...],
        body: Body,
        keys: list[Var] | None = None,
    ) -> list[Stmt]:
        """Visit a coordinate at which just the ``present`` parts are stored, and advance them."""
        emitter = self.emitter
        first = present[0]
        key = emitter.term(merge.parts[first].key) if keys is None else keys[first]
        out: list[Stmt] = [Assign(emitter.bind(merge.variable), key)]
        advance: list[Stmt] = []
        for k, part in enumerate(merge.parts):
            operand = emitter.operands[part.operand]
            if k in present:
                out += self.values.bind_loaded(operand, lb.TRUE)
                cursor = Var(part.variable, "int")
                advance.append(Assign(cursor, lb.add(cursor, 1)))
            else:
                fill = dl.constant(operand.tensor.fill, operand.tensor.dtype)
                self.values.bind(operand, fill, lb.FALSE)
        return [*out, *self.values.apart(body), *advance]

    def _turn(self, merge: Merge, keys: list[Var], loads: list[Assign], body: Body) -> list[Stmt]:
        """One step of a merge of many; it ends where no cursor is inside its range.

        ``loads`` assign the keys at the cursors; each is done again where its cursor moved.
        """
        emitter = self.emitter
        beyond = emitter.variable(extent_name(merge.variable))
        least: Expr = keys[0]
        for key in keys[1:]:
            least = lb.min_(least, key)
        variable = emitter.bind(merge.variable)
        out: list[Stmt] = [Assign(variable, least), If(lb.ge(variable, beyond), (Break(),))]
        for key, load, part in zip(keys, loads, merge.parts, strict=True):
            out += self._step(part, key, variable, load)
        return [*out, *self.values.apart(body)]

    def _step(self, part: MergePart, key: Var, variable: Var, again: Assign) -> list[Stmt]:
        """Bind an operand's value, loaded where it is stored, and advance its cursor there."""
        operand = self.emitter.operands[part.operand]
        dtype, cursor = operand.tensor.dtype, Var(part.variable, "int")
        value, hit = local(operand, "v", dtype), local(operand, "hit", BOOL)
        self.values.bind(operand, value, hit)
        reads_value, _ = self.values.uses(operand)
        load = [Assign(value, self.values.load(operand))] if reads_value else []
        missing = [Assign(value, dl.constant(operand.tensor.fill, dtype))] if reads_value else []
        there = (*load, Assign(cursor, lb.add(cursor, 1)), again)
        return [*missing, Assign(hit, lb.eq(key, variable)), If(hit, there)]
