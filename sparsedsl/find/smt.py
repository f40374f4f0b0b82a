"""The only door to Z3: decide whether a goal follows from axioms and hypotheses.

Takes: ``Question`` (formulas).  Gives: ``Proof``.  Invariant: the verdict is ``"proved"`` only
when the negated goal is unsatisfiable; every other answer, a time-out included, is
``"unknown"`` and permits nothing.

Settings: no model-based instantiation, since only ``unsat`` is of use; uninterpreted
functions rather than arrays; pairwise axioms with explicit triggers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any as Anything
from typing import assert_never

from sparsedsl.find import formula as fo
from sparsedsl.spf.nodes import UF, Atom, FloorDiv, Mod, Product, Term, Var

STEPS = 10_000
"""Solver steps allowed a millisecond of the time limit: a count, so that a busy machine
proves what an idle one does."""

SLACK = 20
"""Times the limit after which the clock ends a question all the same."""


@dataclass(frozen=True, slots=True)
class Question:
    """Does ``goal`` follow?  ``allows`` says what a proof permits the compiler to do."""

    name: str
    axioms: tuple[fo.Formula, ...]
    hypotheses: tuple[fo.Formula, ...]
    goal: fo.Formula
    allows: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The record of one question: its SMT-LIB text, the verdict and the seconds it took."""

    name: str
    goal: str
    smtlib: str
    verdict: str
    seconds: float
    allows: str

    @property
    def proved(self) -> bool:
        """Whether the goal was proved."""
        return self.verdict == "proved"


def prove(question: Question, timeout_ms: int = 400) -> Proof:
    """Ask Z3 whether the goal follows; ``unknown`` after ``timeout_ms`` milliseconds."""
    start = time.perf_counter()
    smtlib, verdict = _ask(question, timeout_ms)
    seconds = time.perf_counter() - start
    return Proof(question.name, fo.text(question.goal), smtlib, verdict, seconds, question.allows)


def _ask(question: Question, timeout_ms: int) -> tuple[str, str]:
    z3 = _z3()
    solver = z3.SimpleSolver()
    solver.set("auto_config", False)
    solver.set("mbqi", False)
    solver.set("rlimit", timeout_ms * STEPS)
    solver.set("timeout", timeout_ms * SLACK)
    writer = _Writer(z3)
    try:
        for part in _relevant(question):
            solver.add(writer.formula(part, {}))
        solver.add(z3.Not(writer.formula(question.goal, {})))
        verdict = "proved" if solver.check() == z3.unsat else "unknown"
        return solver.to_smt2(), verdict
    except z3.Z3Exception as error:
        return f"; not asked: {error}", "unknown"


def _relevant(question: Question) -> list[fo.Formula]:
    """Keep the axioms whose functions all occur in the question, growing to a fixed point."""
    known = frozenset[str]().union(
        *(fo.functions(f) for f in (*question.hypotheses, question.goal))
    )
    kept: list[fo.Formula] = []
    waiting = list(question.axioms)
    changed = True
    while changed:
        changed = False
        for axiom in tuple(waiting):
            used = fo.functions(axiom)
            if used <= known or (used & known and not isinstance(axiom, fo.Forall)):
                kept.append(axiom)
                waiting.remove(axiom)
                known |= used
                changed = True
    return [*kept, *question.hypotheses]


class _Writer:
    """Writes formulas as Z3 expressions, one function symbol a name."""

    def __init__(self, z3: Anything) -> None:
        self.z3 = z3

    def formula(self, node: fo.Formula, bound: dict[str, Anything]) -> Anything:
        z3 = self.z3
        match node:
            case fo.Compare(operator, left, right):
                a, b = self.term(left, bound), self.term(right, bound)
                table = {"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b}
                return table[operator]
            case fo.All(parts):
                return z3.And([self.formula(p, bound) for p in parts])
            case fo.Any(parts):
                return z3.Or([self.formula(p, bound) for p in parts])
            case fo.Not(part):
                return z3.Not(self.formula(part, bound))
            case fo.Implies(premise, conclusion):
                return z3.Implies(self.formula(premise, bound), self.formula(conclusion, bound))
            case fo.Forall(variables, body, triggers):
                inner = bound | {v: z3.Int(f"{v}'") for v in variables}
                calls = [self.atom(call, inner) for call in triggers]
                patterns = [z3.MultiPattern(*calls)] if calls else []
                quantified = [inner[v] for v in variables]
                return z3.ForAll(quantified, self.formula(body, inner), patterns=patterns)
            case _:
                assert_never(node)

    def term(self, node: Term, bound: dict[str, Anything]) -> Anything:
        total = self.z3.IntVal(node.constant)
        for coefficient, atom in node.parts:
            value = self.atom(atom, bound)
            total = total + (value if coefficient == 1 else coefficient * value)
        return self.z3.simplify(total) if not node.parts else total

    def atom(self, node: Atom, bound: dict[str, Anything]) -> Anything:
        z3 = self.z3
        match node:
            case Var(name):
                return bound[name] if name in bound else z3.Int(name)
            case UF(function, arguments):
                sorts = [z3.IntSort()] * (len(arguments) + 1)
                return z3.Function(function, *sorts)(*(self.term(a, bound) for a in arguments))
            case FloorDiv(numerator, denominator):
                return self.term(numerator, bound) / self.term(denominator, bound)
            case Mod(numerator, denominator):
                return self.term(numerator, bound) % self.term(denominator, bound)
            case Product(left, right):
                return self.term(left, bound) * self.term(right, bound)
            case _:
                assert_never(node)


@cache
def _z3() -> Anything:
    import z3

    return z3
