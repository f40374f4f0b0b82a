"""The only door to Z3: decide whether a goal follows from axioms and hypotheses.

Takes: ``Question`` (formulas).  Gives: ``Proof``.  Invariant: the verdict is ``"proved"`` only
when the negated goal is unsatisfiable; every other answer, ``"unknown"`` or
``"timed out"``, permits nothing.

Settings: no model-based instantiation, since only ``unsat`` is of use; uninterpreted
functions rather than arrays; pairwise axioms with explicit triggers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any as Anything

from sparsedsl.find import formula as fo
from sparsedsl.find.smtlib import script
from sparsedsl.interrupts import interrupts_later
from sparsedsl.locks import compiling

STEPS = 10_000
"""Solver steps allowed a millisecond of the time limit: a count, so that a busy machine
proves what an idle one does."""

SLACK = 200
"""Times the limit after which the clock ends a question all the same.

The steps of the default limit take a second at most: the clock is for a solver that hangs, and
so far off that a slow or busy machine makes the plans of a fast one."""


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
    """The record of one question: its SMT-LIB text, the verdict and the seconds it took.

    The verdict is ``"proved"``, ``"unknown"`` (refuted, or the solver gave up) or
    ``"timed out"`` (more steps than the limit allows).
    """

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


NOTHING: Mapping[str, Proof] = MappingProxyType({})
"""No records of earlier questions."""


def prove(question: Question, timeout_ms: int = 400, known: Mapping[str, Proof] = NOTHING) -> Proof:
    """Ask Z3 whether the goal follows; ``timed out`` after ``timeout_ms`` milliseconds.

    ``known`` holds earlier records by their SMT-LIB text: such a question is not asked again.
    """
    smtlib = script(_relevant(question), question.goal)
    goal = fo.text(question.goal)
    earlier = known.get(smtlib)
    if earlier is not None:
        return replace(earlier, name=question.name, goal=goal, allows=question.allows)
    verdict, seconds = _answer(smtlib, timeout_ms)
    return Proof(question.name, goal, smtlib, verdict, seconds, question.allows)


@lru_cache(maxsize=1024)
def _answer(smtlib: str, timeout_ms: int) -> tuple[str, float]:
    """Return the verdict and the seconds it took, when first asked.

    Plans for operands of other sizes ask the same questions again.
    """
    with compiling, interrupts_later():  # the end of Z3's objects passes over exceptions
        start = time.perf_counter()
        verdict = _ask(smtlib, timeout_ms)
        return verdict, time.perf_counter() - start


def _ask(smtlib: str, timeout_ms: int) -> str:
    z3 = _z3()
    solver = z3.SimpleSolver()
    # an interrupt is Python's to handle: Z3 would end the question and say nothing of it
    solver.set(auto_config=False, mbqi=False, ctrl_c=False)
    solver.set(rlimit=timeout_ms * STEPS, timeout=timeout_ms * SLACK)
    try:
        solver.from_string(smtlib)
        answer = solver.check()
        if answer == z3.unsat:
            return "proved"
        ended = answer == z3.sat or "incomplete" in solver.reason_unknown()
        return "unknown" if ended else "timed out"
    except z3.Z3Exception:
        return "unknown"


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


@cache
def _z3() -> Anything:
    with interrupts_later():
        import z3

        return z3
