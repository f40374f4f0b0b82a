"""Questions about whole loops: closed forms are unique, outer turns write apart (Q2, Q6).

Takes: a nest.  Gives: records of proofs, and the loop that several threads may share.
"""

from __future__ import annotations

from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find.queries import Prover, bound_names
from sparsedsl.find.smt import Question
from sparsedsl.iteration.nodes import Chain, Let, Nest, Scan
from sparsedsl.iteration.space import subscript_term
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import FloorDiv, Mod


def prove_closed_forms(prover: Prover, chain: Chain) -> bool:
    """Q2: each value computed by division is the only one the layout admits.

    Returns whether all were proved; the polyhedral library derived them, so that a failure
    is one of the solver's time.
    """
    proved = True
    for step in chain.steps:
        if not isinstance(step, Let) or step.operand is None:
            continue
        if not any(isinstance(a, FloorDiv | Mod) for a in terms.atoms(step.value)):
            continue
        operand = chain.operand(step.operand)
        hypotheses = tuple(fo.holds(c) for c in operand.constraints)
        goal = fo.equal(terms.var(step.variable), step.value)
        name = f"{step.variable} = {terms.text(step.value)}"
        proved &= prover.ask(Question(name, (), hypotheses, goal, "no search"))
    return proved


def parallel_loop(prover: Prover, nest: Nest) -> str | None:
    """Q6: name the outermost loop's index if its turns write distinct places of a dense output.

    It must run over a whole extent, so that a caller can share it out among threads.
    """
    if nest.assembly.kind != "dense" or len(nest.chains) != 1 or nest.prefix:
        return None
    (chain,) = nest.chains
    first = chain.steps[0] if chain.steps else None
    if not isinstance(first, Scan) or first.lows != (terms.const(0),):
        return None
    index = _shared_index(first)
    if index is None:
        return None
    operands = {o.name: o for o in chain.operands}
    here = fa.facts(chain.steps, operands)
    moved = bound_names(chain.steps)
    there = tuple(fa.second(f, moved) for f in here)
    turn = terms.var(first.variable)
    later = fo.less(turn, fa.second_term(turn, moved))
    places = [subscript_term(c) for c in chain.coordinates]
    apart = fo.Any(tuple(fo.Compare("!=", p, fa.second_term(p, moved)) for p in places))
    question = Question(
        f"turns of {first.variable} write apart",
        fa.axioms(chain.operands),
        tuple(dict.fromkeys((*here, *there, later))),
        apart,
        "share the loop among threads",
    )
    return index if prover.ask(question) else None


def _shared_index(scan: Scan) -> str | None:
    """Name the index whose range, cut in pieces, cuts the scan's: its own, or one in blocks.

    The end of the scan is the extent, or the extent divided by a block size and rounded up:
    it grows with the extent, from 0 at 0.
    """
    end = scan.highs[0]
    match end.parts:
        case ((1, FloorDiv(numerator, denominator)),) if end.constant == 0:
            size = denominator.constant if not denominator.parts else 0
            if not 0 <= numerator.constant < size:
                return None
            end = terms.subtract(numerator, terms.const(numerator.constant))
        case _:
            pass
    name = terms.text(end)
    return name.removeprefix("n_") if len(scan.highs) == 1 and name.startswith("n_") else None
