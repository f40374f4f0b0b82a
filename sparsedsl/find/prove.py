"""Prove what a nest rests on, and choose a find for every search of it.

Takes: a ``Nest`` and sizes.  Gives: a ``Proved`` nest: guards that follow removed, delivery
confirmed or degraded, an algorithm for each find, variables shown non-negative, and the
record of every question asked.  Invariant: what is not proved is done without, or the nest is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sparsedsl.find import formula as fo
from sparsedsl.find import ordering, parallel
from sparsedsl.find.blocks import Whole, whole_blocks
from sparsedsl.find.certificates import Certificate, certify
from sparsedsl.find.choose import Choice, choose, guided
from sparsedsl.find.context import Context
from sparsedsl.find.fetching import (
    alike_rows,
    far_arrays,
    large_arrays,
    near_rows,
    often_arrays,
    short_rows,
    streamed_arrays,
)
from sparsedsl.find.flatten import flattened
from sparsedsl.find.guards import ensuring, tightened, without_proved_guards
from sparsedsl.find.opening import opened_rows
from sparsedsl.find.passing import passes_caches, streams
from sparsedsl.find.queries import Prover
from sparsedsl.find.smt import NOTHING, Proof
from sparsedsl.iteration.clip import clipped
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.following import leader
from sparsedsl.iteration.nodes import (
    Chain,
    Exclude,
    Find,
    Guard,
    Let,
    Merge,
    Nest,
    Probe,
    Scan,
    Step,
)
from sparsedsl.spf import terms


@dataclass(frozen=True, slots=True)
class Proved:
    """A nest ready to be lowered; ``parallel`` is the loop that threads may share out.

    ``whole`` is the nest to run instead where no block is cut short; ``certificates`` say of
    each subscript how it is known to be inside its array.  After ``opened`` steps, if any, a row
    of the output is set to what its sums start from.  Rows of the arrays ``far`` are worth being
    fetched before they are read; each is with the number of elements that its rows have, about.
    Loops over the variables ``long`` are expected to turn often.  A ``large`` result is stored in
    order and more than caches hold; where it ``streams``, a thread waits for nothing but memory.
    Operands that are more than caches hold have the arrays ``streamed``, with lengths of rows, too;
    of those whose rows are ``short`` each has the set of its arrays, with their length.  Arrays
    ``wide`` are of dense vectors that the second cache does not hold, those read ``often`` of dense
    matrices that it holds.  Sparse operands whose rows come in runs of equal indices, ``alike``,
    have the set of their arrays each.  Index arrays ``near`` rise along long rows of lower
    triangles, in bands.
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
    long: frozenset[str] = frozenset()
    large: bool = False
    streams: bool = False
    streamed: tuple[tuple[str, float], ...] = ()
    short: tuple[tuple[frozenset[str], float], ...] = ()
    wide: tuple[str, ...] = ()
    often: tuple[str, ...] = ()
    alike: tuple[frozenset[str], ...] = ()
    near: tuple[str, ...] = ()


def prove_nest(
    nest: Nest,
    sizes: Sizes,
    forced: str | Mapping[str, str],
    timeout_ms: int,
    known: Mapping[str, Proof] = NOTHING,
    workspace: str = "auto",
    *,
    flat: bool = True,
) -> Proved | None:
    """Prove what the plan rests on and choose its finds.

    Returns None when the plan merges ranges that are not proved sorted, or places operands by
    a pattern that is not proved to have one place for a coordinate.

    ``forced`` is ``"auto"``, an algorithm's name, or a name per tensor; ``known`` holds
    records of an earlier run, which need not be proved again.  ``workspace`` is ``"auto"``,
    ``"dense"`` or ``"hash"``.  ``flat``: loops whose ranges make up one range become one loop.

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
        pruned = replace(pruned, steps=clipped(pruned.steps, _closing(nest, pruned.steps)))
        pruned = tightened(prover, nest.prefix, pruned)
        if flat and nest.assembly.kind == "dense" and not nest.prefix:
            pruned = flattened(prover, pruned)
        context = Context(nest.prefix + pruned.steps, {o.name: o for o in pruned.operands})
        chosen = [
            choose(prover, context, pruned, nest.assembly, find, place, inside, sizes, forced)
            for find, place, inside in _finds(context.steps)
        ]
        chains.append(pruned)
        choices.append(tuple(chosen))
        signs.append(nonnegative(prover, context))
    proved = replace(nest, chains=tuple(chains))
    proved = _confirm_delivery(prover, proved)
    found = tuple({c.variable: (c.depth, c.facts) for c in chosen} for chosen in choices)
    spread = {c.variable for chosen in choices for c in chosen if c.algorithm == "spread"}
    proved = ordering.ordered(proved, found, sizes, workspace, prover, spread)
    chosen_finds = guided(tuple(choices), proved, forced)
    for chain in proved.chains:
        parallel.prove_closed_forms(prover, chain)
    shared = parallel.parallel_loop(prover, proved)
    whole = whole_blocks(prover, proved)
    if shared is None and whole is None:
        shared = parallel.inner_loop(proved, sizes) or parallel.split_loop(prover, proved, sizes)
    bounds = certify(prover, proved, tuple(signs))
    proofs = tuple(prover.proofs)
    opened = opened_rows(proved, shared, sizes) if whole is None else 0
    algorithms = [c.algorithm for chosen in chosen_finds for c in chosen]
    far = tuple(far_arrays(proved, algorithms, sizes).items())
    return Proved(
        *(proved, chosen_finds, tuple(signs), proofs, shared, whole, bounds, opened, far),
        *(ordering.long_loops(proved, sizes), passes_caches(proved, sizes)),
        streams(proved, sizes),
        tuple(streamed_arrays(proved, algorithms, sizes).items()),
        short_rows(proved, sizes),
        large_arrays(proved, sizes),
        often_arrays(proved, sizes),
        alike_rows(proved, sizes),
        near_rows(proved, sizes),
    )


def _closing(nest: Nest, steps: tuple[Step, ...]) -> int:
    """Return how many steps of a chain close segments of the output after turns without entries.

    Those of loops over its coordinates do, unless it has no segments; loops inside are sums.
    """
    if nest.assembly.kind in ("dense", "stream"):
        return 0
    given = {s.variable for s in nest.prefix if isinstance(s, Scan | Let | Merge)}
    missing = {*nest.coordinates} - given
    for place, step in enumerate(steps):
        if not missing:
            return place
        if isinstance(step, Scan | Let | Merge):
            missing.discard(step.variable)
    return len(steps)


def _finds(steps: tuple[Step, ...]) -> list[tuple[Find, int, Probe | None]]:
    found: list[tuple[Find, int, Probe | None]] = []
    for place, step in enumerate(steps):
        if isinstance(step, Find):
            found.append((step, place, None))
        elif isinstance(step, Probe):
            found.extend((s, place, step) for s in step.steps if isinstance(s, Find))
    return found


def nonnegative(prover: Prover, context: Context) -> frozenset[str]:
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
            ensured = () if isinstance(step, Probe) else ensuring(context.steps, place + 1)
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
    if prover.ordered(context, (*_closed(nest), wanted)):
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
