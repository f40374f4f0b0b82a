"""Certificates of bounds: every array that a plan reads is read inside.

Takes: the chains of a proved nest.  Gives: a ``Certificate`` for each subscript.  Invariant:
``"ranges"`` and ``"solver"`` are proofs for all data the layouts admit; where there is none, and
binding did not check it either, the verdict is ``"checked"``, and the kernel is printed with a
test of every subscript.

A subscript is followed through the ranges of the loops and the monotone arrays up to the
extents (``layouts.bounds``, which also says how long each array is); what that does not
decide is put to the solver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find.context import Context
from sparsedsl.find.queries import Prover
from sparsedsl.iteration.nodes import (
    Chain,
    Find,
    Guard,
    Let,
    Merge,
    Nest,
    Operand,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.space import extent_name, subscript_term
from sparsedsl.layouts import properties as pr
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Atom, Constraint, Term, Var


@dataclass(frozen=True, slots=True)
class Certificate:
    """``0 <= subscript < length`` along one axis of ``array``, and how that is known.

    ``verdict`` is ``"ranges"``, ``"solver"``, ``"bound"`` or ``"checked"`` (not proved).
    ``"bound"``: no term says how long the array is (``length`` is None), but every subscript of
    a stored entry was compared with it when the tensor was bound.
    """

    array: str
    subscript: Term
    length: Term | None
    verdict: str

    def __str__(self) -> str:
        top = f"length of {self.array}" if self.length is None else terms.text(self.length)
        return f"0 <= {terms.text(self.subscript)} < {top} for {self.array}"


@dataclass(frozen=True, slots=True)
class _Read:
    """One read of an array by an operand, after the steps before it.

    Of variables in ``moving`` no more is known than their range: a search looks at all of it.
    """

    operand: Operand
    call: UF
    steps: tuple[Step, ...]
    pending: tuple[Guard, ...]
    moving: frozenset[str] = frozenset()


def certify(
    prover: Prover, nest: Nest, signs: tuple[frozenset[str], ...]
) -> tuple[Certificate, ...]:
    """Return a certificate for each subscript of the nest, those of the output included.

    ``signs`` are the variables of each chain that were proved non-negative.
    """
    found: dict[tuple[str, Term, Term | None], Certificate] = {}
    for chain, positive in zip(nest.chains, signs, strict=True):
        operands = {o.name: o for o in chain.operands}
        passed: dict[tuple[str, Term, Term | None], tuple[Step, ...]] = {}
        for read in _reads(nest.prefix + chain.steps, chain):
            lengths = _lengths(read.operand).get(read.call.function, ())
            context = Context(read.steps, operands)
            for argument, length in zip(read.call.arguments, lengths, strict=False):
                key = (read.call.function, argument, length)
                known, before = found.get(key), passed.get(key)
                # what was proved after fewer steps holds after more of them
                if before is not None and before == read.steps[: len(before)]:
                    continue
                if known is None or known.verdict != "checked":
                    verdict = _verdict(prover, context, argument, length, positive, read)
                    passed[key] = read.steps
                    found[key] = Certificate(*key, _weaker(verdict, known))
        if nest.assembly.kind == "dense":
            for one in _stores(prover, nest, chain, positive):
                found.setdefault((one.array, one.subscript, one.length), one)
    return tuple(found.values())


def _weaker(verdict: str, known: Certificate | None) -> str:
    """Return the weaker of the verdicts of two reads with one subscript."""
    order = ("ranges", "solver", "bound", "checked")
    return verdict if known is None else max(verdict, known.verdict, key=order.index)


def _stores(
    prover: Prover, nest: Nest, chain: Chain, positive: frozenset[str]
) -> Iterator[Certificate]:
    """Certify where a dense result is written to."""
    context = Context(nest.prefix + chain.steps, {o.name: o for o in chain.operands})
    array = f"{nest.output.name}_{nest.layout.value.function}"
    for coordinate, index in zip(chain.coordinates, nest.coordinates, strict=True):
        place, length = subscript_term(coordinate), terms.var(extent_name(index))
        verdict = _verdict(prover, context, place, length, positive, None)
        yield Certificate(array, place, length, verdict)


def _reads(steps: tuple[Step, ...], chain: Chain) -> Iterator[_Read]:
    """Yield every read of an array, with the steps that were passed before it."""
    by_array = {used: o for o in chain.operands for _, used in o.functions}
    for place, step in enumerate(steps):
        inner: tuple[Step, ...] = step.steps if isinstance(step, Probe) else (step,)
        before = steps[:place]
        for count, part in enumerate(inner):
            passed = (*before, *inner[:count]) if isinstance(step, Probe) else before
            later = (*inner[count:], *steps[place:])
            pending = tuple(s for s in later if isinstance(s, Guard))
            for call, within in _calls(part):
                moving = frozenset[str]().union(*map(_bound, within))
                yield _Read(by_array[call.function], call, (*passed, *within), pending, moving)
        if isinstance(step, Probe):
            operand = chain.operand(step.operand)
            yield from _value(operand, (*before, *inner))
    for operand in chain.operands:
        if any(isinstance(s, Probe) and s.operand == operand.name for s in steps):
            continue
        merged = _until_merged(operand, steps)
        yield from _value(operand, merged or _until_loaded(operand, steps))


def _value(operand: Operand, steps: tuple[Step, ...]) -> Iterator[_Read]:
    """Yield the read of a value, and of the arrays that say where it is."""
    for call in (operand.value, *terms.all_ufs(operand.value.arguments)):
        yield _Read(operand, call, steps, ())


def _until_merged(operand: Operand, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps before a value that a merge reads, its own range the last; else none."""
    for place, step in enumerate(steps):
        if isinstance(step, Merge):
            for part in step.parts:
                if part.operand == operand.name:
                    return (*steps[:place], Scan(part.variable, part.lows, part.highs, None))
    return ()


def _until_loaded(operand: Operand, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps before the value of an operand is loaded: up to the next loop."""
    waiting = frozenset[str]().union(*(terms.variables(a) for a in operand.value.arguments))
    waiting -= {used for _, used in operand.parameters}
    for place, step in enumerate(steps):
        guards = any(isinstance(s, Guard) and s.operand == operand.name for s in steps[place:])
        if isinstance(step, Scan | Merge) and not waiting and not guards:
            return steps[:place]
        waiting -= _bound(step)
    return steps


def _bound(step: Step) -> frozenset[str]:
    match step:
        case Scan() | Let() | Find():
            return frozenset({step.variable})
        case Merge():
            return frozenset({step.variable, *(p.variable for p in step.parts)})
        case _:
            return frozenset()


def _calls(step: Step) -> Iterator[tuple[UF, tuple[Scan, ...]]]:
    """Yield the array reads of a step, with the step itself where its range is known at them."""
    match step:
        case Scan(_, lows, highs, _):
            yield from ((c, ()) for c in terms.all_ufs((*lows, *highs)))
        case Let(_, value, _, _):
            yield from ((c, ()) for c in terms.ufs(value))
        case Guard(constraint, _):
            yield from ((c, ()) for c in terms.ufs(constraint.term))
        case Find(variable, lows, highs, keys, operand):
            yield from ((c, ()) for c in terms.all_ufs((*lows, *highs, *(k.value for k in keys))))
            inside = Scan(variable, lows, highs, operand)
            for key in keys:
                yield from ((c, (inside,)) for c in terms.all_ufs(key.stored))
        case Merge(_, parts):
            for part in parts:
                yield from ((c, ()) for c in terms.all_ufs((*part.lows, *part.highs)))
                inside = Scan(part.variable, part.lows, part.highs, part.operand)
                yield from ((c, (inside,)) for c in terms.ufs(part.key))
        case _:
            pass


def _lengths(operand: Operand) -> dict[str, tuple[Term | None, ...]]:
    """Return how long the operand's arrays are, in the names of the plan."""
    put = fa.names_used(operand)
    functions = dict(operand.functions)
    return {
        functions[own]: tuple(None if x is None else put(x) for x in lengths)
        for own, lengths in operand.layout.lengths.items()
        if own in functions
    }


def _verdict(
    prover: Prover,
    context: Context,
    subscript: Term,
    length: Term | None,
    positive: frozenset[str],
    read: _Read | None,
) -> str:
    pending = () if read is None else read.pending
    if length is None:
        unsure = read is None or any(g.operand == read.operand.name for g in pending)
        return "checked" if unsure else "bound"
    part = context.about((subscript, length))
    above, below = _by_ranges(part, subscript, length, positive, read)
    if part is not context and not (above and below):
        above, below = _by_ranges(context, subscript, length, positive, read)
    if above and below:
        return "ranges"
    goals = [] if below else [fo.at_most(terms.ZERO, subscript)]
    goals += [] if above else [fo.less(subscript, length)]
    name = f"{terms.text(subscript)} inside {terms.text(length)}"
    allows = "no test of the subscript"
    proved = prover.follows(name, context, fo.together(goals), allows, pending)
    return "solver" if proved else "checked"


def _by_ranges(
    context: Context,
    subscript: Term,
    length: Term,
    positive: frozenset[str],
    read: _Read | None,
) -> tuple[bool, bool]:
    """Whether ranges of loops and monotone arrays tell it below the length, and not below 0."""
    pending = () if read is None else read.pending
    parameters = {q for o in context.operands.values() for _, q in o.parameters}
    parameters |= terms.variables(length)
    # constants to the loops, such as the extents of indices that no operand has
    parameters |= {v for s in context.steps if isinstance(s, Scan) for v in _ends(s, context)}
    limits = _limits(context, pending, parameters)
    top, alike = terms.subtract(length, terms.ONE), _alike(limits, parameters)

    def inside(within: Bounds) -> bool:
        ways = (within.direct, within.maximum, within.cancelled)  # the cheapest first
        return any(
            _plainly_positive(terms.subtract(top, t), parameters, alike)
            for way in ways
            for t in way(subscript, parameters)
        )

    above = inside(limits) or (
        read is not None and inside(_relation(read, context, limits, parameters))
    )
    below = _sum_of(subscript, positive | parameters) or any(
        _plainly_positive(t, parameters, alike) for t in limits.minimum(subscript, parameters)
    )
    return above, below


def _ends(scan: Scan, context: Context) -> frozenset[str]:
    bound = frozenset[str]().union(*(_bound(s) for s in context.steps))
    named = frozenset[str]().union(*(terms.variables(t) for t in (*scan.lows, *scan.highs)))
    return named - bound


def _relation(read: _Read, context: Context, limits: Bounds, parameters: set[str]) -> Bounds:
    """Return what the operand's own relation says of what is bound: fewer facts to go through."""
    known = parameters.union(*(_bound(s) for s in context.steps))
    waiting = {g.constraint for g in read.pending}
    own = [
        c
        for c in read.operand.constraints
        if c not in waiting and terms.variables(c.term) <= known - read.moving
    ]
    stated = _equalities(read.operand, limits, parameters)
    return replace(limits, constraints=(*own, *stated))


def _limits(context: Context, pending: tuple[Guard, ...], parameters: set[str]) -> Bounds:
    """Return what the steps and the layouts say as constraints."""
    operands: Mapping[str, Operand] = context.operands
    found: list[Constraint] = []
    for formula in fa.facts(context.steps, operands, pending):
        found += _constraints(formula)
    # what is known of an element of an array is known of the variable it was loaded into
    loads: dict[Atom, Term] = {
        call: terms.var(step.variable)
        for step in context.steps
        if isinstance(step, Let)
        for call in terms.ufs(step.value)
        if step.value == terms.atom(call)
    }
    found += [Constraint(terms.replace(c.term, loads), c.equality) for c in found]
    monotone: set[str] = set()
    for operand in operands.values():
        functions, put = dict(operand.functions), fa.names_used(operand)
        for item in operand.layout.properties:
            if isinstance(item, pr.Nondecreasing | pr.Increasing) and item.within is None:
                monotone.add(functions[item.function])
            elif isinstance(item, pr.Equality):
                gap = put(terms.subtract(item.left, item.right))
                if terms.variables(gap) <= parameters:
                    found.append(Constraint(gap, equality=True))
    found += [c for formula in fa.one_size(operands.values()) for c in _constraints(formula)]
    limits = Bounds(tuple(dict.fromkeys(found)), tuple(sorted(parameters)), frozenset(monotone))
    stated = [c for o in operands.values() for c in _equalities(o, limits, parameters)]
    return replace(limits, constraints=(*limits.constraints, *stated))


def _equalities(operand: Operand, limits: Bounds, parameters: set[str]) -> Iterator[Constraint]:
    """Yield the layout's equalities at the operand's own dimensions, where those are in range."""
    own = dict(zip(operand.layout.relation.inputs, operand.dims, strict=True))
    put, alike = fa.names_used(operand), _alike(limits, parameters)
    for item in operand.layout.properties:
        if not isinstance(item, pr.Equality):
            continue
        gap = put(
            terms.substitute(
                terms.subtract(item.left, item.right), {d: terms.var(n) for d, n in own.items()}
            )
        )
        used = terms.variables(gap) - parameters
        ranges = [
            c.term
            for c in operand.constraints
            if not c.equality
            and not terms.ufs(c.term)
            and terms.variables(c.term) & used
            and terms.variables(c.term) <= used | parameters
        ]
        if used and all(
            any(_plainly_positive(t, parameters, alike) for t in limits.minimum(r, parameters))
            for r in ranges
        ):
            yield Constraint(gap, equality=True)


def _constraints(formula: fo.Formula) -> list[Constraint]:
    match formula:
        case fo.Compare("=", left, right):
            return [Constraint(terms.subtract(right, left), equality=True)]
        case fo.Compare("<=", left, right):
            return [Constraint(terms.subtract(right, left), equality=False)]
        case fo.Compare("<", left, right):
            gap = terms.subtract(terms.subtract(right, left), terms.ONE)
            return [Constraint(gap, equality=False)]
        case fo.All(parts):
            return [c for part in parts for c in _constraints(part)]
        case _:
            return []


def _alike(limits: Bounds, parameters: set[str]) -> dict[str, Term]:
    """Return the parameters that equal another one, such as the extents of a square, and that."""
    found: dict[str, Term] = {}
    for c in limits.constraints:
        gap = terms.substitute(c.term, found)
        match gap.parts:
            case ((1, Var(one)), (-1, Var(other))) | ((-1, Var(one)), (1, Var(other))) if (
                c.equality and not gap.constant and {one, other} <= parameters
            ):
                to = {one: terms.var(other)}
                found = {name: terms.substitute(x, to) for name, x in found.items()} | to
            case _:
                pass
    return found


def _plainly_positive(term: Term, parameters: set[str], alike: Mapping[str, Term]) -> bool:
    put = terms.substitute(term, alike)
    return put.constant >= 0 and _sum_of(put, parameters)


def _sum_of(term: Term, positive: frozenset[str] | set[str]) -> bool:
    """Whether a term adds up non-negative variables alone."""
    return term.constant >= 0 and all(
        c > 0 and isinstance(a, Var) and a.name in positive for c, a in term.parts
    )
