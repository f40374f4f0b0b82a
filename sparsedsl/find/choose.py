"""Choose a find for every search of a nest, by proof and by cost, and prove the rest of it.

Takes: a ``Nest`` and sizes.  Gives: a ``Proved`` nest: guards that follow removed, delivery
confirmed or degraded, an algorithm for each find, variables shown non-negative, and the
record of every question asked.  Invariant: an algorithm is chosen only if each fact it needs
was proved; ``unknown`` removes a permission, never adds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sparsedsl.contraction import algebra
from sparsedsl.contraction import nodes as ct
from sparsedsl.errors import PlanError
from sparsedsl.find import algorithms as al
from sparsedsl.find import formula as fo
from sparsedsl.find import ordering, parallel
from sparsedsl.find import site as si
from sparsedsl.find.blocks import Whole, whole_blocks
from sparsedsl.find.certificates import Certificate, certify
from sparsedsl.find.fetching import far_arrays
from sparsedsl.find.flatten import flattened
from sparsedsl.find.guards import tightened, without_proved_guards
from sparsedsl.find.opening import opened_rows
from sparsedsl.find.queries import Context, Prover, sought_extent
from sparsedsl.find.reads import read_by
from sparsedsl.find.smt import NOTHING, Proof
from sparsedsl.iteration.clip import clipped
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.following import leader
from sparsedsl.iteration.nodes import (
    Assembly,
    Chain,
    Exclude,
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
from sparsedsl.iteration.steps import depends_on
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


@dataclass(frozen=True, slots=True)
class Choice:
    """How one find is done.

    ``depth`` counts the steps, prefix included, after which its range is known (-1: known
    only inside its probe, so it is set up at each query).  ``facts`` are those proved,
    ``rejected`` says why each other algorithm was not taken.
    """

    variable: str
    algorithm: str
    depth: int
    extent: Term | None
    verify: bool
    facts: frozenset[str]
    rejected: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Proved:
    """A nest ready to be lowered; ``parallel`` is the loop that threads may share out.

    ``whole`` is the nest to run instead where no block is cut short; ``certificates`` say of
    each subscript how it is known to be inside its array.  After ``opened`` steps, if any, a row
    of the output is set to what its sums start from.  Rows of the arrays ``far`` are worth being
    fetched before they are read; each is with the number of elements that its rows have, about.
    """

    nest: Nest
    choices: tuple[tuple[Choice, ...], ...]
    nonnegative: tuple[frozenset[str], ...]
    proofs: tuple[Proof, ...]
    parallel: parallel.Shared | None
    whole: Whole | None
    certificates: tuple[Certificate, ...] = ()
    opened: int = 0
    far: tuple[tuple[str, float], ...] = ()


def prove_nest(
    nest: Nest,
    sizes: Sizes,
    forced: str | Mapping[str, str],
    timeout_ms: int,
    known: Mapping[str, Proof] = NOTHING,
    workspace: str = "auto",
) -> Proved | None:
    """Prove what the plan rests on and choose its finds.

    Returns None when the plan merges ranges that are not proved sorted, or places operands by
    a pattern that is not proved to have one place for a coordinate.

    ``forced`` is ``"auto"``, an algorithm's name, or a name per tensor; ``known`` holds
    records of an earlier run, which need not be proved again.  ``workspace`` is ``"auto"``,
    ``"dense"`` or ``"hash"``.

    Raises
    ------
    PlanError
        If a forced algorithm is not legal, or none is.
    """
    prover = Prover(timeout_ms, known)
    if not (merge_is_ordered(nest, prover) and _leaders_are_unique(nest, prover)):
        return None
    chains: list[Chain] = []
    choices: list[tuple[Choice, ...]] = []
    signs: list[frozenset[str]] = []
    for chain in nest.chains:
        pruned = without_proved_guards(prover, nest.prefix, chain)
        if nest.assembly.kind in ("dense", "stream"):
            # other outputs close a segment after turns that deliver nothing, too
            pruned = replace(pruned, steps=clipped(pruned.steps))
        pruned = tightened(prover, nest.prefix, pruned)
        if nest.assembly.kind == "dense" and not nest.prefix:
            pruned = flattened(prover, pruned)
        context = Context(nest.prefix + pruned.steps, {o.name: o for o in pruned.operands})
        chosen = [
            _choose(prover, context, pruned, nest.assembly, find, place, inside, sizes, forced)
            for find, place, inside in _finds(context.steps)
        ]
        chains.append(pruned)
        choices.append(tuple(chosen))
        signs.append(_nonnegative(prover, context))
    proved = replace(nest, chains=tuple(chains))
    proved = _confirm_delivery(prover, proved)
    found = tuple({c.variable: (c.depth, c.facts) for c in chosen} for chosen in choices)
    proved = ordering.ordered(proved, found, sizes, workspace, prover)
    for chain in proved.chains:
        parallel.prove_closed_forms(prover, chain)
    shared = parallel.parallel_loop(prover, proved)
    whole = whole_blocks(prover, proved)
    if shared is None and whole is None:
        shared = parallel.inner_loop(proved, sizes)
    bounds = certify(prover, proved, tuple(signs))
    proofs = tuple(prover.proofs)
    opened = opened_rows(proved, shared, sizes) if whole is None else 0
    algorithms = (c.algorithm for chosen in choices for c in chosen)
    far = tuple(far_arrays(proved, algorithms, sizes).items())
    return Proved(proved, tuple(choices), tuple(signs), proofs, shared, whole, bounds, opened, far)


def _finds(steps: tuple[Step, ...]) -> list[tuple[Find, int, Probe | None]]:
    found: list[tuple[Find, int, Probe | None]] = []
    for place, step in enumerate(steps):
        if isinstance(step, Find):
            found.append((step, place, None))
        elif isinstance(step, Probe):
            found.extend((s, place, step) for s in step.steps if isinstance(s, Find))
    return found


def _choose(
    prover: Prover,
    context: Context,
    chain: Chain,
    assembly: Assembly,
    find: Find,
    place: int,
    inside: Probe | None,
    sizes: Sizes,
    forced: str | Mapping[str, str],
) -> Choice:
    operand = context.operands[find.operand]
    depth = _depth(context.steps, find, inside)
    if depth > 0:
        # a set-up reads arrays at variables that only the guards after them keep in range
        depth += len(_ensuring(context.steps[:place], depth))
    before = _before(context, find, place, inside)
    facts = prover.find_facts(before, context, find, place, depth)
    curved = si.CURVED in facts
    if curved or si.SORTED in facts:
        facts |= {si.ORDERED}
    extent = sought_extent(find, context)
    if extent is not None and depth >= 0 and prover.table_fits(before, context, find, extent):
        facts |= {si.EXTENT}
    if depth == 0 and all(key.stop is None for key in find.keys):
        facts |= {si.INVARIANT}
    scalar = assembly.kind in ("dense", "append")
    if scalar and inside is None and _is_neutral(chain, context.steps[place + 1 :], find):
        facts |= {si.NEUTRAL}
    load = _workload(context.steps, find, place, depth, context.operands, sizes)
    load = replace(load, curved=curved)
    rejected: list[tuple[str, str]] = []
    legal: list[tuple[float, al.Algorithm]] = []
    for candidate in al.ALGORITHMS:
        missing = sorted(candidate.needs - facts)
        if depth < 0 and candidate.name not in al.PER_QUERY:
            rejected.append((candidate.name, "its range is known only inside the probe"))
        elif missing:
            rejected.append((candidate.name, f"not proved: {', '.join(missing)}"))
        else:
            legal.append((candidate.cost(load), candidate))
    legal.sort(key=lambda pair: pair[0])
    wanted = forced if isinstance(forced, str) else forced.get(operand.tensor.name, "auto")
    taken = _taken(wanted, legal, rejected, operand, find, late=prover.late)
    if taken.name == "table" and prover.forward(
        Context(context.steps[:depth], context.operands), find
    ):
        facts |= {si.FORWARD}
    rejected.extend(
        (a.name, f"estimated {c / max(legal[0][0], 1e-9):.1f}x the cost of {legal[0][1].name}")
        for c, a in legal
        if a is not taken
    )
    reads = frozenset[str]()
    for key in find.keys:
        reads |= key.reads
    return Choice(
        find.variable,
        taken.name,
        depth,
        extent,
        reads != frozenset({find.variable}),
        facts,
        tuple(rejected),
    )


def _is_neutral(chain: Chain, later: tuple[Step, ...], find: Find) -> bool:
    """Whether a find only serves to read a value that may as well be its fill.

    So it is when the fill makes the leaf deliver the identity, no loop would run in vain, and
    nothing else depends on the position or on whether there is one.
    """
    operand = chain.operand(find.operand)
    heavy = any(isinstance(s, Scan | Probe | Exclude) for s in later)
    if heavy or operand.name not in chain.neutral:
        return False
    if any(find.variable in read_by(step) for step in later):
        return False
    reads_pattern = any(
        isinstance(node, ct.Stored) and node.tensor == operand.tensor.name
        for node in algebra.walk(chain.expression)
    )
    return not reads_pattern and operand.value.arguments == (terms.var(find.variable),)


def _taken(
    wanted: str,
    legal: list[tuple[float, al.Algorithm]],
    rejected: list[tuple[str, str]],
    operand: Operand,
    find: Find,
    *,
    late: bool,
) -> al.Algorithm:
    if wanted != "auto":
        for _, candidate in legal:
            if candidate.name == wanted:
                return candidate
        reason = dict(rejected).get(wanted, "not legal here")
        raise PlanError(
            f"find={wanted!r} is not legal for {find.variable} of {operand.tensor.name} "
            f"({operand.layout.name}): {reason}",
            span=operand.access.span,
            hint='use find="auto", or one of: ' + ", ".join(a.name for _, a in legal),
        )
    if not legal:
        reasons = "; ".join(f"{name}: {why}" for name, why in rejected)
        raise PlanError(
            f"no find is legal for {find.variable} of {operand.tensor.name} "
            f"({operand.layout.name}): {reasons}",
            span=operand.access.span,
            hint="proofs timed out: give them time with sd.options(solver_timeout_ms=...)"
            if late
            else "give the layout a property that makes its coordinates unique",
        )
    return legal[0][1]


def _before(context: Context, find: Find, place: int, inside: Probe | None) -> Context:
    """Return the context just before a find, the earlier steps of its probe included."""
    steps = context.steps[:place]
    if inside is not None:
        steps += inside.steps[: inside.steps.index(find)]
    return Context(steps, context.operands)


def _depth(steps: tuple[Step, ...], find: Find, inside: Probe | None) -> int:
    """Return after how many steps the range and the key functions are fixed, -1 if never."""
    reads = frozenset[str]()
    for term in (*find.lows, *find.highs):
        reads |= terms.variables(term)
    for key in find.keys:
        reads |= key.reads - {find.variable}
    if inside is not None:
        inner = {s.variable for s in inside.steps if isinstance(s, Find)}
        lets = {s.variable: s for s in inside.steps if isinstance(s, Let)}
        expanded = depends_on(tuple(inside.steps), reads)
        earlier = inside.steps[: inside.steps.index(find)]
        if expanded & inner or any(isinstance(s, Guard) for s in earlier):
            return -1
        if reads & lets.keys():
            return _bound_after(steps, expanded - lets.keys())
    guarded = (
        [
            p + 1
            for p, s in enumerate(steps)
            if isinstance(s, Guard) and s.operand == find.operand and p < steps.index(find)
        ]
        if inside is None
        else []
    )
    return max([_bound_after(steps, reads), *guarded])


def _bound_after(steps: tuple[Step, ...], names: frozenset[str]) -> int:
    depth = 0
    for place, step in enumerate(steps):
        if isinstance(step, Scan | Let | Find) and step.variable in names:
            depth = place + 1
    return depth


def _workload(
    steps: tuple[Step, ...],
    find: Find,
    place: int,
    depth: int,
    operands: Mapping[str, Operand],
    sizes: Sizes,
) -> al.Workload:
    operand = operands[find.operand]
    length = sizes.fanout(operand.dims, find.variable)
    setups, queries = 1.0, 1.0
    for index, step in enumerate(steps[:place]):
        if isinstance(step, Scan):
            count = ordering.turns(step, operands, sizes)
            if index < depth:
                setups *= count
            else:
                queries *= count
    return al.Workload(length, queries, setups, sizes.room(key.value for key in find.keys))


def _nonnegative(prover: Prover, context: Context) -> frozenset[str]:
    """Prove of each variable that it is never negative, which allows unsigned subscripts."""
    signs: set[str] = set()
    for place, step in enumerate(context.steps):
        if isinstance(step, Merge):
            signs |= _merge_signs(prover, context, place, step)
            continue
        parts: tuple[Step, ...] = (step,)
        outer = context.steps[:place]
        if isinstance(step, Probe):
            parts = step.steps
        elif isinstance(step, Exclude | Guard):
            continue
        for count, part in enumerate(parts):
            if not isinstance(part, Scan | Let | Find):
                continue
            inner = parts[: count + 1]
            ensured = () if isinstance(step, Probe) else _ensuring(context.steps, place + 1)
            here = Context((*outer, *inner, *ensured), context.operands)
            goal = fo.at_most(terms.const(0), terms.var(part.variable))
            starts_at_zero = isinstance(part, Scan) and terms.const(0) in part.lows
            if starts_at_zero or prover.follows(
                f"{part.variable} >= 0", here, goal, "unsigned subscripts"
            ):
                signs.add(part.variable)
    return frozenset(signs)


def _merge_signs(prover: Prover, context: Context, place: int, merge: Merge) -> set[str]:
    here = Context(context.steps[: place + 1], context.operands)
    names = [merge.variable, *(part.variable for part in merge.parts)]
    return {
        n
        for n in names
        if prover.follows(
            f"{n} >= 0", here, fo.at_most(terms.const(0), terms.var(n)), "unsigned subscripts"
        )
    }


def _ensuring(steps: tuple[Step, ...], place: int) -> tuple[Step, ...]:
    """Return the guards, and the definitions between them, that follow a step at once.

    Nothing is loaded before them, so what they ensure holds wherever the variable is read.
    """
    end = place
    for at, step in enumerate(steps[place:], place):
        if isinstance(step, Guard):
            end = at + 1
        elif not (isinstance(step, Let) and step.kind == "determined"):
            break
    return steps[place:end]


def _confirm_delivery(prover: Prover, nest: Nest) -> Nest:
    """Prove the order that appending rests on, or fall back to a sorted stream."""
    assembly = nest.assembly
    if assembly.kind not in ("append", "workspace"):
        return nest
    names = [nest.coordinates[m] for m in assembly.modes]
    chain = nest.chains[0]
    if any(isinstance(s, Merge) for s in chain.steps):
        return nest  # its order was proved by ``merge_is_ordered``
    operands = {o.name: o for o in chain.operands}
    if assembly.kind == "workspace":
        steps, wanted = nest.prefix, tuple(names[:-1])
    else:
        steps, wanted = nest.prefix + chain.steps, tuple(names)
    context = Context(steps, operands)
    if all(prover.ordered(context, part) for part in (*_closed(nest), wanted)):
        return nest
    return ordering.streamed(nest)


def _closed(nest: Nest) -> list[tuple[str, ...]]:
    """Return the coordinates down to each level whose positions are closed for good.

    A segment of the level below ends where they change: they must come once each.
    """
    found: list[tuple[str, ...]] = []
    outer: tuple[str, ...] = ()
    for level in nest.assembly.levels[:-1]:
        outer += tuple(nest.coordinates[mode] for _, mode in level.coordinates)
        if not level.dense:
            found.append(outer)
    return found


def _leaders_are_unique(nest: Nest, prover: Prover) -> bool:
    """Whether each operand that others are placed by has one place for a coordinate."""
    leaders = {
        leading.name: leading
        for chain in nest.chains
        for operand in chain.operands
        if (leading := leader(operand, tuple(chain.operand(n) for n in chain.required)))
    }
    return all(prover.one_place(leading) for leading in leaders.values())


def merge_is_ordered(nest: Nest, prover: Prover) -> bool:
    """Whether every range that the nest merges is proved sorted without repeats."""
    for chain in nest.chains:
        operands = {o.name: o for o in chain.operands}
        for place, step in enumerate(chain.steps):
            if isinstance(step, Merge):
                before = Context(nest.prefix + chain.steps[:place], operands)
                if not all(prover.merges(before, part) for part in step.parts):
                    return False
    return True
