"""Merges that guess nothing: cursors advance by the results of comparisons, without branches.

    while a < a_end and b < b_end:
        j = min(a_key, b_key)
        a_hit, b_hit = a_key <= b_key, b_key <= a_key
        deliver (a_data[a] if a_hit else 0) + (b_data[b] if b_hit else 0) at j
        a_key = a_indices[a + 1] if a_hit else a_key        # loaded before it is known whether
        a += a_hit

Takes: a ``Merge`` over index arrays, and loops that branch on each outcome.  Gives: loops that
choose between the two, range by range.  Invariant: both visit the same coordinates in the same
order, with the same values.

Where two patterns have nothing to do with each other every second branch is guessed wrongly, which
costs several times what a turn without branches does.  Where one follows from the other (they are
equal, nested, or both those of a stencil) the branches are guessed, and cost less.  Which of these
it is shows in the outcomes.  The last ones are kept in the bits of a word, and words that ranges
ended with in a small table: if one was there before, ranges after it are guessed, twice as many
each time that this is confirmed.

A processor also guesses what it saw in the call before.  So many ranges as the kernel is told are
guessed first: all of them, where the same short operands come again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

from sparsedsl.iteration.nodes import Merge, MergePart, Operand
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import BOOL, INT, Allocate, Assign, Expr, If, Load, Stmt, Var, While
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.lowering.values import Values, local

Body = Callable[[], list[Stmt]]

MOST = 3
"""Operands up to which there is a loop for each set of those that have entries left."""

MULTIPLIER = 0x9E3779B1
"""What words are multiplied by to be hashed; no product with a word leaves 64 bits."""

BITS = 24
"""Bits of a word: twelve outcomes of two operands, of which unrelated patterns repeat few."""

KEPT = 6
"""Power of two of the words that are kept, each where its hash says."""

ODDS = 16
"""How much more often ranges are said to be guessed, so that those loops are given registers first.

The others have more instructions to hide what lies on the stack: at 16 to 1 guessed ranges take as
long as where there are no others, and those others 1.05 times what they take at 1 to 1.
"""

LONGEST = 8
"""Power of two of the ranges that are guessed before one is looked at again."""


def guessed(operand: Operand) -> str:
    """Return the parameter that tells how many ranges of its merges are guessed first."""
    return local(operand, "guessed", INT).name


class Even:
    """Emits merges without branches on coordinates, of one chain."""

    def __init__(self, emitter: Emitter, values: Values) -> None:
        self.emitter = emitter
        self.values = values

    def possible(self, merge: Merge) -> bool:
        """Whether ranges are long enough, and all is read at the cursors and nowhere else.

        There it is read, too, where an operand is not at the coordinate.
        """
        few = len(merge.parts) <= MOST
        return few and not merge.short and all(map(self._at_cursor, merge.parts))

    def _at_cursor(self, part: MergePart) -> bool:
        operand = self.emitter.operands[part.operand]
        place = (Var(part.variable, INT),)
        self.emitter.bind(part.variable)
        key = self.emitter.term(part.key)
        if not isinstance(key, Load) or key.subscripts != place:
            return False
        return not self.values.uses(operand)[0] or self.values.load(operand).subscripts == place

    def start(self, merge: Merge, *, told: bool) -> list[Stmt]:
        """Return what is assigned once a kernel: nothing is known of the patterns.

        ``told``: a parameter says how many ranges are guessed first.
        """
        table, zero = Allocate(self._table(merge), "int64", (lb.i(2**KEPT),), lb.i(0)), lb.i(0)
        guess, *others = self._state(merge)
        name = guessed(self.emitter.operands[merge.parts[0].operand])
        first = self.emitter.variable(name) if told else zero
        return [table, Assign(guess, first), *(Assign(state, zero) for state in others)]

    def _table(self, merge: Merge) -> str:
        operand = self.emitter.operands[merge.parts[0].operand]
        return local(operand, "words", INT).name

    def _state(self, merge: Merge) -> list[Var]:
        """Return the ranges to be guessed, how often that was right, and the last outcomes."""
        operand = self.emitter.operands[merge.parts[0].operand]
        return [local(operand, name, INT) for name in ("guess", "streak", "word")]

    def or_guessed(
        self,
        merge: Merge,
        keys: Sequence[Var],
        ends: Sequence[Var],
        body: Body,
        guessed: Sequence[Stmt],
    ) -> list[Stmt]:
        """Return the merge, by branches where these are guessed, while two operands have entries.

        The last range of an array is merged by branches, since behind it there is no coordinate.
        """
        guess = self._state(merge)[0]
        places = range(len(merge.parts))
        even = [self._loop(merge, places, keys, ends, body)]
        for pair in combinations(places, 2) if len(places) > 2 else ():
            even.append(self._loop(merge, pair, keys, ends, body))
        more = [
            lb.lt(end, lb.length(self._key(part).array))
            for part, end in zip(merge.parts, ends, strict=True)
        ]
        fewer = Assign(guess, lb.sub(guess, 1))
        condition = lb.conj(lb.le(guess, 0), *more)
        return [If(condition, tuple(even), (fewer, *guessed), ODDS)]

    def _key(self, part: MergePart) -> Load:
        key = self.emitter.term(part.key)
        assert isinstance(key, Load)
        return key

    def _loop(
        self,
        merge: Merge,
        present: Sequence[int],
        keys: Sequence[Var],
        ends: Sequence[Var],
        body: Body,
    ) -> If:
        """Return the loop while all of the parts that are ``present`` have entries left."""
        emitter, parts = self.emitter, [merge.parts[k] for k in present]
        mine = [keys[k] for k in present]
        cursors = [Var(part.variable, INT) for part in parts]
        live = lb.conj(*(lb.lt(c, ends[k]) for c, k in zip(cursors, present, strict=True)))
        variable = emitter.bind(merge.variable)
        nexts = [local(emitter.operands[p.operand], "next", INT) for p in parts]
        hits = [local(emitter.operands[p.operand], "hit", BOOL) for p in parts]
        turn: list[Stmt] = []
        looked: list[Stmt] = []
        for part, after in zip(parts, nexts, strict=True):
            here = self._key(part)
            beyond = replace(here, subscripts=(lb.add(here.subscripts[0], 1),))
            turn.append(Assign(after, beyond))
        least: Expr = mine[0]
        for key in mine[1:]:
            least = lb.min_(least, key)
        turn.append(Assign(variable, least))
        for place, (key, hit) in enumerate(zip(mine, hits, strict=True)):
            other = mine[1 - place] if len(mine) == 2 else variable
            turn.append(Assign(hit, lb.le(key, other)))
        if len(present) == len(merge.parts):
            word = self._state(merge)[2]
            told: Expr = lb.shift_left(word, len(hits))
            for place, hit in enumerate(hits):
                told = lb.bit_or(told, lb.shift_left(lb.cast(hit, INT), place))
            turn.append(Assign(word, told))
            looked = self._looked_at(merge)
        turn += self._values(merge, present, hits)
        turn += self.values.apart(body)
        for key, after, hit, cursor in zip(mine, nexts, hits, cursors, strict=True):
            turn.append(Assign(key, lb.select(hit, after, key, even=True)))
            turn.append(Assign(cursor, lb.add(cursor, lb.cast(hit, INT))))
        first = [Assign(key, self._key(part)) for key, part in zip(mine, parts, strict=True)]
        return If(live, (*first, While(live, tuple(turn)), *looked))

    def _values(self, merge: Merge, present: Sequence[int], hits: Sequence[Var]) -> list[Stmt]:
        """Bind values: those that are present their own or their fill, the others their fill."""
        out: list[Stmt] = []
        for place, part in enumerate(merge.parts):
            operand = self.emitter.operands[part.operand]
            fill = dl.constant(operand.tensor.fill, operand.tensor.dtype)
            if place not in present:
                self.values.bind(operand, fill, lb.FALSE)
                continue
            hit = hits[present.index(place)]
            value = local(operand, "v", operand.tensor.dtype)
            self.values.bind(operand, value, hit)
            if self.values.uses(operand)[0]:
                own = self.values.load(operand)
                out.append(Assign(value, lb.select(hit, own, fill, even=True)))
        return out

    def _looked_at(self, merge: Merge) -> list[Stmt]:
        """Return how many ranges are guessed after one whose last outcomes are known."""
        guess, streak, word = self._state(merge)
        seen = Var(f"{word.name}_seen", BOOL)
        table = self._table(merge)
        hashed = lb.shift_right(lb.mul(word, MULTIPLIER), 32 - KEPT)
        place = lb.bit_and(hashed, 2**KEPT - 1)
        return [
            Assign(word, lb.bit_and(word, 2**BITS - 1)),
            Assign(seen, lb.eq(lb.load(table, place), word)),
            lb.store(table, (place,), word),
            Assign(streak, lb.select(seen, lb.min_(lb.add(streak, 1), LONGEST), 0)),
            Assign(guess, lb.sub(lb.shift_left(lb.i(1), streak), 1)),
        ]
