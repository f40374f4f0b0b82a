"""The questions a plan asks: uniqueness, order, rising keys, table size, storage order.

Takes: a context (the steps passed and their operands).  Gives: proved facts and proof
records.  Invariant: each question is a validity check over all data the layouts admit.

The numbering Q1 to Q6 is that of the queries the co-iteration technique rests on: unique
match, closed form, redundant guard, sorted keys, persistent cursor, distinct writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find import site as si
from sparsedsl.find.context import Context, bound_names
from sparsedsl.find.smt import NOTHING, Proof, Question, prove
from sparsedsl.iteration.nodes import (
    Find,
    Guard,
    Key,
    Let,
    MergePart,
    Operand,
    Scan,
    Step,
)
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.steps import expand
from sparsedsl.layouts.properties import Morton
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import FloorDiv, Term, Var


class Prover:
    """Asks questions and keeps their records, each question once.

    ``known`` holds the records of an earlier run by their SMT-LIB text.
    """

    def __init__(self, timeout_ms: int, known: Mapping[str, Proof] = NOTHING) -> None:
        self.timeout_ms = timeout_ms
        self.known = known
        self.proofs: list[Proof] = []
        self._asked: dict[Question, Proof] = {}

    @property
    def late(self) -> bool:
        """Whether a question timed out."""
        return any(proof.verdict == "timed out" for proof in self.proofs)

    def ask(self, question: Question) -> bool:
        """Return whether the goal is proved, and keep the record."""
        known = self._asked.get(question)
        if known is None:
            known = prove(question, self.timeout_ms, self.known)
            self._asked[question] = known
            self.proofs.append(known)
        return known.proved

    def ask_about(
        self, context: Context, about: Iterable[Term], question: Callable[[Context], Question]
    ) -> bool:
        """Ask with what is known of these terms, then, if that proves nothing, with all.

        One question is recorded: the last that was asked.
        """
        part = context.about(about)
        before = len(self.proofs)
        if part is not context:
            if self.ask(question(part)):
                return True
            del self.proofs[before:]
        return self.ask(question(context))

    def follows(
        self,
        name: str,
        context: Context,
        goal: fo.Formula,
        allows: str,
        pending: tuple[Guard, ...] = (),
    ) -> bool:
        """Return whether ``goal`` holds whenever the steps of ``context`` were passed (Q3)."""

        def question(known: Context) -> Question:
            hypotheses = fa.facts(known.steps, known.operands, pending)
            return Question(name, fa.axioms(known.operands.values()), hypotheses, goal, allows)

        return self.ask_about(context, fo.terms_of(goal), question)

    def find_facts(
        self, before: Context, whole: Context, find: Find, place: int, depth: int
    ) -> frozenset[str]:
        """Return which of unique, sorted, curved and rising hold for a find."""
        found: set[str] = set()
        if self._sorted(before, find):
            found |= {si.SORTED, si.UNIQUE}
        elif self._unique(before, find):
            found.add(si.UNIQUE)
            if self._curved(before, whole, find):
                found.add(si.CURVED)
        if si.SORTED in found and depth >= 0 and self._rising(before, find, place, depth):
            found.add(si.RISING)
        return frozenset(found)

    def _two(self, find: Find) -> tuple[Term, Term, list[fo.Formula]]:
        a, b = terms.var(find.variable), terms.var(f"{find.variable}__2")
        ranges = [fa.in_range(a, find.lows, find.highs), fa.in_range(b, find.lows, find.highs)]
        return a, b, ranges

    def merges(self, before: Context, part: MergePart) -> bool:
        """Return whether the coordinates of one range of a merge strictly increase (Q4)."""
        if any(terms.add(low, terms.const(1)) in part.highs for low in part.lows):
            return True  # of one place at most
        (call,) = terms.ufs(part.key)[:1]
        key = Key(call, terms.var("coordinate"))
        find = Find(part.variable, part.lows, part.highs, (key,), part.operand)
        return part.key == Term(((1, call),)) and self._sorted(before, find)

    def _unique(self, before: Context, find: Find) -> bool:
        """Q1: at most one position in the range has the sought keys."""
        a, b, ranges = self._two(find)
        moved = frozenset({find.variable})
        matches = [fa.matched(k) for k in find.keys]
        again = [fa.second(m, moved) for m in matches]
        known = (*ranges, *matches, *again, *_instances(before, find))

        def question(here: Context) -> Question:
            return Question(
                f"{find.variable} unique",
                fa.axioms(here.operands.values()),
                (*fa.facts(here.steps, here.operands), *known),
                fo.equal(a, b),
                "stop at the first match",
            )

        return self.ask_about(before, _read_by(find), question)

    def one_place(
        self, operand: Operand, allows: str = "no search in operands of its pattern"
    ) -> bool:
        """Q1 of all dimensions: entries at one coordinate are one entry.

        So an operand of the same pattern has its entry at the same place, unsearched, and values
        can be stored by coordinate.
        """
        moved = frozenset((*operand.dims, *operand.existentials))
        here = [fo.holds(c) for c in (*operand.constraints, *operand.invariants)]
        there = [fa.second(f, moved) for f in here]
        same = [fo.equal(terms.var(d), fa.second_term(terms.var(d), moved)) for d in operand.dims]
        question = Question(
            f"{operand.name} has one place for a coordinate",
            fa.axioms((operand,)),
            tuple(dict.fromkeys((*here, *there))),
            fo.together(same),
            allows,
        )
        return self.ask(question)

    def _sorted(self, before: Context, find: Find) -> bool:
        """Q4: keys strictly increase along the range, or intervals lie one behind the other."""
        a, b, ranges = self._two(find)
        moved = frozenset({find.variable})
        keys = tuple(k.stored for k in find.keys)
        after = tuple(tuple(fa.second_term(x, moved) for x in k) for k in keys)
        known = (*ranges, fo.less(a, b), *_instances(before, find))

        def question(here: Context) -> Question:
            return Question(
                f"{find.variable} sorted",
                fa.axioms(here.operands.values()),
                (*fa.facts(here.steps, here.operands), *known),
                _apart(keys, after),
                "search by comparison",
            )

        return self.ask_about(before, _read_by(find), question)

    def _curved(self, before: Context, whole: Context, find: Find) -> bool:
        """Q4 along the Morton curve: interleaved keys increase, and no number is below 0."""
        operand = before.operands[find.operand]
        promised = [i for i in operand.layout.properties if isinstance(i, Morton)]
        if not promised or any(key.stop is not None for key in find.keys):
            return False
        if fa.filters_left(operand, whole.steps):
            return False  # the numbers of padding may be negative
        a, b, ranges = self._two(find)
        moved = frozenset({find.variable})
        keys = tuple(k.stored[0] for k in find.keys)
        after = tuple(fa.second_term(key, moved) for key in keys)
        names = bound_names(before.steps) | {find.variable, *(q for _, q in operand.parameters)}
        valid = [fo.holds(c) for c in operand.invariants if terms.variables(c.term) <= names]
        zero = terms.const(0)
        goal = fo.together(
            [
                fo.less(fo.interleaved(keys), fo.interleaved(after)),
                *(fo.at_most(zero, key) for key in keys),
                *(fo.at_most(zero, key.value) for key in find.keys),
            ]
        )
        known = (*ranges, fo.less(a, b), *valid, *_instances(before, find))

        def question(here: Context) -> Question:
            return Question(
                f"{find.variable} sorted along the Morton curve",
                fa.axioms(here.operands.values()),
                (*fa.facts(here.steps, here.operands), *known),
                goal,
                "search by comparison of interleaved bits",
            )

        return self.ask_about(before, _read_by(find), question)

    def _rising(self, before: Context, find: Find, place: int, depth: int) -> bool:
        """Q5: between two set-ups the sought values never fall, so a cursor may stay.

        What the steps of a probe define changes with the loops around it: they are in ``before``.
        """
        inner = before.steps[depth:place]
        loops = [s.variable for s in inner if isinstance(s, Scan)]
        values = tuple(k.value for k in find.keys)
        if not loops:
            return True
        return all(
            self._stepwise(
                f"{find.variable} sought in rising order",
                before,
                loops[: k + 1],
                values,
                strict=False,
                allows="keep the cursor",
            )
            for k in range(len(loops))
        )

    def _stepwise(
        self,
        name: str,
        context: Context,
        loops: list[str],
        values: tuple[Term, ...],
        *,
        strict: bool,
        allows: str,
    ) -> bool:
        """Compare ``values`` at two points that agree up to the last of ``loops``."""
        last = next(
            p
            for p, s in enumerate(context.steps)
            if isinstance(s, Scan) and s.variable == loops[-1]
        )
        shared = bound_names(context.steps[:last])
        moved = bound_names(context.steps) - shared
        step = terms.var(loops[-1])
        ahead = fo.less(step, fa.second_term(step, moved))
        later = tuple(fa.second_term(v, moved) for v in values)
        goal = fo.lexicographically_less(values, later)
        if not strict:
            same = [fo.equal(x, y) for x, y in zip(values, later, strict=True)]
            goal = fo.Any((goal, fo.together(same)))

        def question(known: Context) -> Question:
            here = fa.facts(known.steps, known.operands)
            there = tuple(fa.second(f, moved) for f in here)
            return Question(
                name,
                fa.axioms(known.operands.values()),
                tuple(dict.fromkeys((*here, *there, ahead))),
                goal,
                allows,
            )

        return self.ask_about(context, (*values, step), question)

    def table_fits(self, before: Context, whole: Context, find: Find, extent: Term) -> bool:
        """Keys in the range, padding too, and sought values all lie in ``[0, extent)``."""
        key = find.keys[0]
        bounds = fo.together([fo.at_most(terms.const(0), key.value), fo.less(key.value, extent)])
        if not self.follows(f"{find.variable} key in table", before, bounds, "position table"):
            return False
        operand = before.operands[find.operand]
        guarded = any(isinstance(s, Guard) for s in before.steps if _of(s) == find.operand)
        if guarded or fa.filters_left(operand, whole.steps):
            return False
        stored = Term(((1, key.function),))
        inside = fa.in_range(terms.var(find.variable), find.lows, find.highs)
        known = frozenset({find.variable}) | bound_names(before.steps)
        names = known | {q for _, q in operand.parameters}
        valid = [fo.holds(c) for c in operand.invariants if terms.variables(c.term) <= names]
        goal = fo.together([fo.at_most(terms.const(0), stored), fo.less(stored, extent)])

        def question(here: Context) -> Question:
            return Question(
                f"{find.variable} stored keys in table",
                fa.axioms(here.operands.values()),
                (*fa.facts(here.steps, here.operands), inside, *valid),
                goal,
                "position table",
            )

        return self.ask_about(before, (stored, *find.lows, *find.highs), question)

    def forward(self, before: Context, find: Find) -> bool:
        """Return whether the range of a find never ends before it begins."""
        ends = [fo.at_most(low, high) for low in find.lows for high in find.highs]
        name = f"{find.variable} in a range that does not end before it begins"
        return self.follows(name, before, fo.together(ends), "its length as it is")

    def ordered(self, context: Context, levels: Iterable[tuple[str, ...]]) -> bool:
        """Q6: points reach the output in storage order and each coordinate once.

        So it is for the coordinates down to each of the levels, outermost first: what turns of a
        loop were proved to do to those of one, they do to those of a deeper one, too.
        """
        proved: set[str] = set()
        for coordinates in levels:
            values = tuple(terms.var(c) for c in coordinates)
            loops = _loops_binding(context.steps, coordinates)
            if tuple(loops) == coordinates:
                continue
            for k in range(len(loops)):
                if loops[k] not in proved and not self._stepwise(
                    f"output in order of {', '.join(coordinates)}",
                    context,
                    loops[: k + 1],
                    values,
                    strict=True,
                    allows="append without sorting",
                ):
                    return False
            proved.update(loops)
        return True


def _apart(keys: tuple[tuple[Term, ...], ...], after: tuple[tuple[Term, ...], ...]) -> fo.Formula:
    """State that what one position stores comes before what a later one does."""
    match keys, after:
        case ((start, stop),), ((later, last),):
            whole = (fo.at_most(start, stop), fo.at_most(later, last))
            return fo.together([*whole, fo.at_most(stop, later)])
        case _:
            first, second = (tuple(k[0] for k in side) for side in (keys, after))
            return fo.lexicographically_less(first, second)


def _read_by(find: Find) -> list[Term]:
    """Return what a search reads: where it looks, for what, and at what is stored there."""
    return [*find.lows, *find.highs, *(x for k in find.keys for x in (k.value, *k.stored))]


def _instances(before: Context, find: Find) -> tuple[fo.Formula, ...]:
    """Return what is known of what two positions of a search store."""
    stored = {call.function for call in terms.all_ufs(t for k in find.keys for t in k.stored)}
    return fa.instances(before.operands[find.operand], find.variable, stored)


def _of(step: Step) -> str | None:
    return step.operand if isinstance(step, Guard) else None


def _loops_binding(steps: tuple[Step, ...], coordinates: tuple[str, ...]) -> list[str]:
    """Return the loops outside the point where the last coordinate becomes known."""
    missing = set(coordinates)
    loops: list[str] = []
    for step in steps:
        if not missing:
            break
        if isinstance(step, Scan):
            loops.append(step.variable)
        if isinstance(step, Scan | Let):
            missing.discard(step.variable)
    return loops


def sought_extent(find: Find, context: Context) -> Term | None:
    """Return one more than the greatest key a find can look for, if that is plain to see.

    The sought value must be one logical index, perhaps divided by a block size.
    """
    if len(find.keys) != 1 or find.keys[0].stop is not None:
        return None
    logical = {i for o in context.operands.values() for s in o.access.subscripts for i in s.indices}
    physical = tuple(s for s in context.steps if not (isinstance(s, Let) and s.variable in logical))
    value = expand(physical, find.keys[0].value)
    if not terms.variables(value) <= logical:
        return None
    if value.constant or len(value.parts) != 1 or value.parts[0][0] != 1:
        return None
    atom = value.parts[0][1]
    match atom:
        case Var(name):
            return terms.var(extent_name(name))
        case FloorDiv(numerator, denominator) if not terms.variables(denominator):
            names = terms.variables(numerator)
            if len(names) != 1 or numerator != terms.var(next(iter(names))):
                return None
            last = terms.subtract(terms.var(extent_name(next(iter(names)))), terms.const(1))
            return terms.add(terms.floordiv(last, denominator), terms.const(1))
        case _:
            return None
