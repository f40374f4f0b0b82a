"""What may be assumed: axioms from layout properties, and facts from the steps passed.

Takes: operands and steps of a plan.  Gives: formulas.  Invariant: every fact is ensured
either by validation of the data (properties, invariants) or by a step that was executed; a
filter's operand lends its invariants only once its guards are passed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import assert_never

from sparsedsl.find import formula as fo
from sparsedsl.iteration.nodes import (
    Exclude,
    Find,
    Guard,
    Key,
    Let,
    Merge,
    Operand,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.space import rename_functions
from sparsedsl.layouts import properties as pr
from sparsedsl.layouts.structure import call_over
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Constraint, Term, Var


def axioms(operands: Collection[Operand]) -> tuple[fo.Formula, ...]:
    """Return what the layouts of the operands promise, over the names used in the plan."""
    found: dict[fo.Formula, None] = {}
    for operand in operands:
        found.update(dict.fromkeys(_promised(operand)))
    return (*found, *one_size(operands))


@lru_cache(maxsize=1024)
def _promised(operand: Operand) -> tuple[fo.Formula, ...]:
    """Return what the layout of one operand promises."""
    put = names_used(operand)
    return (
        *(fo.at_most(terms.const(0), terms.var(name)) for _, name in operand.parameters),
        *(_rename(axiom, put) for axiom in _stated(operand)),
    )


@lru_cache(maxsize=1024)
def _stated(operand: Operand) -> tuple[fo.Formula, ...]:
    """State the properties of an operand's layout, in the layout's own names."""
    return tuple(a for item in operand.layout.properties for a in _property(item, operand))


def one_size(operands: Iterable[Operand]) -> tuple[fo.Formula, ...]:
    """Return that two uses of one tensor have the same extents, under whatever names."""
    first: dict[tuple[str, str], str] = {}
    found: list[fo.Formula] = []
    for operand in operands:
        for own, used in operand.parameters:
            name = first.setdefault((operand.tensor.name, own), used)
            if name != used:
                found.append(fo.equal(terms.var(name), terms.var(used)))
    return tuple(found)


def instances(
    operand: Operand, variable: str, functions: Collection[str]
) -> tuple[fo.Formula, ...]:
    """Return the operand's axioms about ``functions``, for ``variable`` and its second point.

    A solver matches a trigger such as ``cols(ptr(b) + C*k + r)`` by its form and may miss it;
    a search asks about these two positions, at the operand's own dimensions.
    """
    read = {own for own, used in operand.functions if used in functions}
    own = dict(zip(operand.layout.relation.inputs, operand.dims, strict=True))
    here, there = terms.var(variable), terms.var(f"{variable}__2")
    found: list[fo.Formula] = []
    put = names_used(operand)
    for axiom in _stated(operand):
        if not isinstance(axiom, fo.Forall) or FIRST not in axiom.variables:
            continue
        if fo.functions(axiom).isdisjoint(read):
            continue
        if not set(axiom.variables) <= {FIRST, SECOND} | own.keys():
            continue
        values = {d: terms.var(used) for d, used in own.items() if d in axiom.variables}
        for ends in ({FIRST: here, SECOND: there}, {FIRST: there, SECOND: here}):
            chosen = values | ends
            body = _rename(axiom.body, lambda t, chosen=chosen: terms.substitute(t, chosen))
            found.append(_rename(body, put))
    return tuple(found)


def names_used(operand: Operand) -> Callable[[Term], Term]:
    """Return how a term of the layout reads in the plan: its parameters and arrays renamed."""
    rename = {p: terms.var(q) for p, q in operand.parameters}
    functions = dict(operand.functions)
    return lambda term: rename_functions(terms.substitute(term, rename), functions)


def _rename(node: fo.Formula, put: Callable[[Term], Term]) -> fo.Formula:
    match node:
        case fo.Compare(operator, left, right):
            return fo.Compare(operator, put(left), put(right))
        case fo.All(parts):
            return fo.All(tuple(_rename(p, put) for p in parts))
        case fo.Any(parts):
            return fo.Any(tuple(_rename(p, put) for p in parts))
        case fo.Not(part):
            return fo.Not(_rename(part, put))
        case fo.Implies(premise, conclusion):
            return fo.Implies(_rename(premise, put), _rename(conclusion, put))
        case fo.Forall(variables, body, triggers):
            calls = [put(Term(((1, t),))).parts[0][1] for t in triggers]
            kept = tuple(c for c in calls if isinstance(c, UF))
            return fo.Forall(variables, _rename(body, put), kept)
        case _:
            assert_never(node)


def _property(item: pr.Property, operand: Operand) -> list[fo.Formula]:
    """State one declared property, pairwise, with the calls to instantiate it by."""
    match item:
        case pr.Nondecreasing(function, within):
            return [_ordered((function,), within, operand, strict=False)]
        case pr.Nonincreasing(function, within):
            return [_ordered((function,), within, operand, strict=False, falling=True)]
        case pr.Increasing(function, within):
            return [_ordered((function,), within, operand, strict=True)]
        case pr.Lexicographic(functions, within):
            return [_ordered(functions, within, operand, strict=True)]
        case pr.Injective(functions, within):
            return [_injective(functions, within, operand)]
        case pr.Permutation(function):
            return [_injective((function,), None, operand)]
        case pr.Range(function, low, high):
            call, names = _call(function, operand, "x'", None, operand.part)
            value = Term(((1, call),))
            inside = fo.together([fo.at_most(low, value), fo.less(value, high)])
            # no number is in an empty range: then the array is empty, and nothing is said
            return [fo.Forall(names, fo.Implies(fo.less(low, high), inside), (call,))]
        case pr.Equality(left, right):
            # with dimensions in it, it holds for those in range only: left out
            sides = terms.variables(left) | terms.variables(right)
            open_ = sides - {p for p, _ in operand.parameters}
            return [] if open_ else [fo.equal(left, right)]
        case pr.Morton(functions):
            return [_injective(functions, None, operand), _along_curve(functions, operand)]
        case pr.Disjoint(start, stop, within):
            return _disjoint(start, stop, within, operand)
        case pr.Repeated():
            return []
        case _:
            assert_never(item)


def _call(
    function: str, operand: Operand, running: str, within: pr.Within | None, part: int
) -> tuple[UF, tuple[str, ...]]:
    """Return a call of ``function`` whose running argument is ``running``, and its variables.

    In a range it is the very call that validation follows, in ``part``: its other arguments
    meet the variables of ``within``.  Without a range the last argument runs.
    """
    layout = operand.layout
    if within is not None:
        found = call_over(layout.structures[part], layout.value, function, within.variable)
        assert found is not None
        here = {within.variable: terms.var(running)}
        call = UF(function, tuple(terms.substitute(a, here) for a in found.arguments))
        names = frozenset[str]().union(*(terms.variables(a) for a in call.arguments))
        return call, tuple(sorted(names - {p for p, _ in operand.parameters}))
    named = [f"x{place}'" for place in range(layout.functions[function])]
    named[-1] = running
    return UF(function, tuple(terms.var(n) for n in named)), tuple(named)


def _part(functions: tuple[str, ...], within: pr.Within | None, operand: Operand) -> int:
    """Return an alternative in which a property is validated: the operand's own, if it is one."""
    layout = operand.layout
    if within is None:
        return operand.part
    return next(
        part
        for part in (operand.part, *range(len(layout.structures)))
        if all(
            call_over(layout.structures[part], layout.value, f, within.variable) for f in functions
        )
    )


FIRST, SECOND = "a'", "b'"
"""The running variables of pairwise axioms; no layout can have such names."""


def _pair(
    functions: tuple[str, ...], within: pr.Within | None, operand: Operand
) -> tuple[list[UF], list[UF], tuple[str, ...], list[fo.Formula], list[UF]]:
    part = _part(functions, within, operand)
    first = [_call(f, operand, FIRST, within, part) for f in functions]
    second = [_call(f, operand, SECOND, within, part) for f in functions]
    names = dict.fromkeys(n for _, names in (*first, *second) for n in names)
    ranges: list[fo.Formula] = []
    # the first function alone: a solver that has ruled on it may never mention the others
    triggers = [first[0][0], second[0][0]]
    if within is not None:
        for name in (FIRST, SECOND):
            here = {within.variable: terms.var(name)}
            ranges.append(fo.at_most(terms.substitute(within.low, here), terms.var(name)))
            ranges.append(fo.less(terms.var(name), terms.substitute(within.high, here)))
        outer = (terms.variables(within.low) | terms.variables(within.high)) - names.keys()
        outer -= {p for p, _ in operand.parameters} | {within.variable}
        names |= dict.fromkeys(sorted(outer))
        ranges += _ranges(_computed(names, within, first), operand, part)
        if outer:
            triggers.extend(terms.all_ufs((within.low, within.high))[:1])
    return [c for c, _ in first], [c for c, _ in second], tuple(names), ranges, triggers


def _computed(
    names: Iterable[str], within: pr.Within, calls: Sequence[tuple[UF, tuple[str, ...]]]
) -> set[str]:
    """Name the variables that stand in arithmetic, so that no array's length bounds them."""
    found: set[str] = set()
    for call in (*terms.all_ufs((within.low, within.high)), *(c for c, _ in calls)):
        for argument in call.arguments:
            if not (_is_plain(argument) and argument.constant in (0, 1)):
                found |= terms.variables(argument)
    return found & set(names) - {FIRST, SECOND}


def _is_plain(argument: Term) -> bool:
    match argument.parts:
        case () | ((1, Var()),):
            return True
        case _:
            return False


def _ranges(names: set[str], operand: Operand, part: int) -> list[fo.Formula]:
    """Return the ranges that the layout gives these dimensions by themselves."""
    known = names | {p for p, _ in operand.parameters}
    return [
        fo.holds(c)
        for c in operand.layout.relation.conjuncts[part].constraints
        if not terms.ufs(c.term)
        and terms.variables(c.term) & names
        and terms.variables(c.term) <= known
    ]


def _closed(names: tuple[str, ...], body: fo.Formula, triggers: list[UF]) -> fo.Forall:
    """Quantify ``body``; triggers that leave a variable out are left to the solver."""
    read = frozenset[str]().union(*(terms.variables(Term(((1, c),))) for c in triggers))
    return fo.Forall(names, body, tuple(triggers) if read >= set(names) else ())


def _values(calls: list[UF]) -> tuple[Term, ...]:
    return tuple(Term(((1, c),)) for c in calls)


def _ordered(
    functions: tuple[str, ...],
    within: pr.Within | None,
    operand: Operand,
    *,
    strict: bool,
    falling: bool = False,
) -> fo.Formula:
    first, second, names, ranges, triggers = _pair(functions, within, operand)
    a, b = terms.var(FIRST), terms.var(SECOND)
    if strict:
        body = fo.Implies(
            fo.together([*ranges, fo.less(a, b)]),
            fo.lexicographically_less(_values(first), _values(second)),
        )
    else:
        (low,), (high,) = _values(first), _values(second)
        if falling:
            low, high = high, low
        body = fo.Implies(fo.together([*ranges, fo.at_most(a, b)]), fo.at_most(low, high))
    return _closed(names, body, triggers)


def _along_curve(functions: tuple[str, ...], operand: Operand) -> fo.Formula:
    first, second, names, _, triggers = _pair(functions, None, operand)
    earlier = fo.less(terms.var(FIRST), terms.var(SECOND))
    before = fo.less(fo.interleaved(_values(first)), fo.interleaved(_values(second)))
    return _closed(names, fo.Implies(earlier, before), triggers)


def _injective(
    functions: tuple[str, ...], within: pr.Within | None, operand: Operand
) -> fo.Formula:
    first, second, names, ranges, triggers = _pair(functions, within, operand)
    same = [fo.equal(x, y) for x, y in zip(_values(first), _values(second), strict=True)]
    body = fo.Implies(fo.together([*ranges, *same]), fo.equal(terms.var(FIRST), terms.var(SECOND)))
    return _closed(names, body, triggers)


def _disjoint(
    start: str, stop: str, within: pr.Within | None, operand: Operand
) -> list[fo.Formula]:
    first, second, names, ranges, triggers = _pair((start, stop), within, operand)
    a, b = terms.var(FIRST), terms.var(SECOND)
    (begin, end), (later, _) = _values(first), _values(second)
    apart = fo.Implies(fo.together([*ranges, fo.less(a, b)]), fo.at_most(end, later))
    whole = fo.Implies(fo.together([*ranges, fo.equal(a, b)]), fo.at_most(begin, end))
    return [_closed(names, body, triggers) for body in (apart, whole)]


def matched(key: Key) -> fo.Formula:
    """Return that a position stores what is sought."""
    match key.stored:
        case (start, stop):
            return fo.together([fo.at_most(start, key.value), fo.less(key.value, stop)])
        case (stored, *_):
            return fo.equal(stored, key.value)
        case _:
            raise AssertionError


def in_range(variable: Term, lows: tuple[Term, ...], highs: tuple[Term, ...]) -> fo.Formula:
    """Return ``max(lows) <= variable < min(highs)``."""
    return fo.together(
        [*(fo.at_most(low, variable) for low in lows), *(fo.less(variable, h) for h in highs)]
    )


def facts(
    steps: tuple[Step, ...],
    operands: Mapping[str, Operand],
    pending: tuple[Guard, ...] = (),
) -> tuple[fo.Formula, ...]:
    """Return what holds after the steps: ranges, definitions, hits, validated ranges.

    ``pending`` guards are still to come: their operands' invariants may not hold yet.
    """
    found: list[fo.Formula] = []
    bound: set[str] = set()
    given: set[tuple[str, Constraint]] = set()
    for place, step in enumerate(steps):
        match step:
            case Scan(variable, lows, highs, _):
                bound.add(variable)
                found.append(in_range(terms.var(variable), lows, highs))
            case Let(variable, value, _, _):
                bound.add(variable)
                found.append(fo.equal(terms.var(variable), value))
            case Find(variable, lows, highs, keys, _):
                bound.add(variable)
                found.append(in_range(terms.var(variable), lows, highs))
                found.extend(map(matched, keys))
            case Guard(constraint, _):
                found.append(fo.holds(constraint))
            case Merge():
                bound.add(step.variable)
                found.extend(_merged(step, operands))
            case Probe() | Exclude():
                pass
            case _:
                assert_never(step)
        for operand in operands.values():
            if not filters_left(operand, (*steps[place + 1 :], *pending)):
                found.extend(_validated(operand, bound, given))
    return tuple(found)


def _merged(step: Merge, operands: Mapping[str, Operand]) -> list[fo.Formula]:
    """State that cursors stay above their start and that one of them is at the coordinate."""
    found: list[fo.Formula] = []
    cases: list[fo.Formula] = []
    for part in step.parts:
        at = terms.var(part.variable)
        found.extend(fo.at_most(low, at) for low in part.lows)
        operand = operands[part.operand]
        hit = fo.equal(terms.var(step.variable), part.key)
        valid = [fo.holds(c) for c in operand.invariants]
        cases.append(fo.together([in_range(at, part.lows, part.highs), hit, *valid]))
    return [*found, fo.Any(tuple(cases))]


def filters_left(operand: Operand, steps: tuple[Step, ...]) -> bool:
    """Return whether a guard of the operand in ``steps`` tells entries from padding.

    What padding holds is never validated.
    """
    return any(
        filters_left(operand, s.steps)
        if isinstance(s, Probe)
        else isinstance(s, Guard) and s.operand == operand.name and terms.ufs(s.constraint.term)
        for s in steps
    )


def _validated(
    operand: Operand, bound: set[str], given: set[tuple[str, Constraint]]
) -> list[fo.Formula]:
    found: list[fo.Formula] = []
    parameters = {q for _, q in operand.parameters}
    for constraint in operand.invariants:
        mark = (operand.name, constraint)
        if mark not in given and terms.variables(constraint.term) <= bound | parameters:
            given.add(mark)
            found.append(fo.holds(constraint))
    return found


def second(formula: fo.Formula, variables: frozenset[str]) -> fo.Formula:
    """Return ``formula`` with ``variables`` renamed to those of a second point."""
    return _rename(formula, lambda term: second_term(term, variables))


def second_term(term: Term, variables: frozenset[str]) -> Term:
    """Return ``term`` with ``variables`` renamed to those of a second point."""
    return terms.substitute(term, {v: terms.var(f"{v}__2") for v in variables})
