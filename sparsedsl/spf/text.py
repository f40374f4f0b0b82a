"""Relations and sets as isl-like text, UFs shown as calls.

Takes: nodes.  Gives: text that ``spf.parse`` reads back to the same nodes.
Invariant: printing changes nothing but the order of a sum.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Conjunct, Constraint, Relation, Term


def constraint_text(constraint: Constraint) -> str:
    """``left <= right`` or ``left = right``, negative parts on the left.

    >>> constraint_text(Constraint(t.subtract(t.var("N"), t.add(t.var("i"), t.ONE)), False))
    'i < N'
    """
    term = constraint.term
    left = t.scale(-1, Term(tuple(part for part in term.parts if part[0] < 0)))
    right = Term(tuple(part for part in term.parts if part[0] > 0))
    if constraint.equality:
        if len(right.parts) == 1 and right.parts[0][0] == 1:
            return f"{t.text(right)} = {t.text(t.subtract(left, t.const(term.constant)))}"
        return f"{t.text(left)} = {t.text(t.add(right, t.const(term.constant)))}"
    if term.constant < 0 and left.parts:
        rest = t.text(t.add(right, t.const(term.constant + 1)))
        return f"{t.text(left)} < {rest}"
    if term.constant > 0 and right.parts:
        return f"{t.text(t.subtract(left, t.const(term.constant)))} <= {t.text(right)}"
    if not right.parts:
        return f"{t.text(left)} <= {term.constant}"
    return f"{t.text(t.subtract(left, t.const(term.constant)))} <= {t.text(right)}"


def constraints_text(constraints: Sequence[Constraint]) -> str:
    """All constraints joined by ``and``; a lower and an upper bound in a row become a chain."""
    shown: list[str] = []
    index = 0
    while index < len(constraints):
        chain = _chain(constraints[index : index + 2])
        shown.append(chain or constraint_text(constraints[index]))
        index += 2 if chain else 1
    return " and ".join(shown) if shown else "true"


def _chain(pair: Sequence[Constraint]) -> str | None:
    if len(pair) < 2 or pair[0].equality or pair[1].equality:
        return None
    first, second = pair[0].term, pair[1].term
    middle = Term(tuple((c, node) for c, node in first.parts if (-c, node) in second.parts))
    if not any(c > 0 for c, _ in middle.parts):
        return None
    low = t.subtract(middle, first)
    high = t.add(second, middle, t.ONE)
    return f"{t.text(low)} <= {t.text(middle)} < {t.text(high)}"


def conjunct_text(conjunct: Conjunct) -> str:
    """One alternative, with its existential names."""
    body = constraints_text(conjunct.constraints)
    return f"exists {', '.join(conjunct.exists)}: {body}" if conjunct.exists else body


def relation_text(relation: Relation) -> str:
    """``[N, M] -> { [i, p] -> [i, j] : ... or ... }``."""
    parts = [conjunct_text(conjunct) for conjunct in relation.conjuncts]
    body = parts[0] if len(parts) == 1 else " or ".join(f"({part})" for part in parts)
    head = f"[{', '.join(relation.parameters)}] -> " if relation.parameters else ""
    maps = f"[{', '.join(relation.inputs)}] -> [{', '.join(relation.outputs)}]"
    return f"{head}{{ {maps} : {body} }}"


def space_text(
    names: Sequence[str], constraints: Sequence[Constraint], parameters: Sequence[str] = ()
) -> str:
    """``[N] -> { [i, p, j] : ... }``: an iteration space."""
    head = f"[{', '.join(parameters)}] -> " if parameters else ""
    return f"{head}{{ [{', '.join(names)}] : {constraints_text(constraints)} }}"
