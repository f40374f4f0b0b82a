"""Choose a find for a search of a nest, by proof and by cost.

Takes: a search, what is done before it, and sizes.  Gives: a ``Choice``.  Invariant: an algorithm
is chosen only if each fact it needs was proved; ``unknown`` removes a permission, never adds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.errors import PlanError
from sparsedsl.find import algorithms as al
from sparsedsl.find import costs, slots
from sparsedsl.find import site as si
from sparsedsl.find.context import Context
from sparsedsl.find.fetching import NEARBY, width
from sparsedsl.find.guards import ensuring
from sparsedsl.find.ordering import NARROW
from sparsedsl.find.queries import Prover, sought_extent
from sparsedsl.find.reads import read_by
from sparsedsl.iteration import weights
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.laid import pointed
from sparsedsl.iteration.nodes import (
    Assembly,
    Chain,
    Exclude,
    Find,
    Guard,
    Key,
    Let,
    Nest,
    Operand,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.steps import depends_on
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Term

HEADS, ROWS = 6.0, 8192.0
"""Entries of rows up to which first ones are computed anyway, and rows from which on."""

ROW = 12.0
"""Bytes that are read and written for each row besides its entries."""


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


def choose(
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
    """Return the cheapest algorithm whose needs are proved, or the one that is ``forced``.

    ``place`` is the find's among the steps of the context, or that of the probe that it is
    ``inside``.

    Raises
    ------
    PlanError
        If the forced algorithm is not legal, or none is.
    """
    operand = context.operands[find.operand]
    depth = depth_of(context.steps, find, inside)
    if depth > 0:
        # a set-up reads arrays at variables that only the guards after them keep in range
        depth += len(ensuring(context.steps[:place], depth))
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
    reads = frozenset[str]()
    for key in find.keys:
        reads |= key.reads
    sparse = assembly.kind == "append"
    load = workload(context, find, place, depth, sizes, sparse=sparse)
    load = replace(load, curved=curved)
    own = inside is None and reads == frozenset({find.variable})
    if own and depth > 0 and _is_row(find, operand) and si.EXTENT in facts:
        load = replace(load, rows=_rows(find, operand, sizes))
    # a narrow workspace leaves out the zeros of coordinates that are touched in vain
    narrow = assembly.kind == "workspace" and load.extent <= NARROW
    scalar = narrow or assembly.kind in ("dense", "append")
    if scalar and inside is None and _is_neutral(chain, context.steps[place + 1 :], find):
        facts |= {si.NEUTRAL}
    pays = load.queries > slots.CLEARING * load.length and load.extent <= slots.NEAR
    gathered = assembly.kind == "workspace" and pays
    if own and gathered and _is_for_value(chain, context.steps[place + 1 :], find):
        facts |= {si.GUIDING}
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
    if taken.name == "spread" and load.rows and costs.spread_rows(load) <= taken.cost(load):
        facts |= {si.WHOLE}
    rejected.extend(
        (a.name, f"estimated {c / max(legal[0][0], 1e-9):.1f}x the cost of {legal[0][1].name}")
        for c, a in legal
        if a is not taken
    )
    return Choice(
        find.variable,
        taken.name,
        depth,
        extent,
        reads != frozenset({find.variable}),
        facts,
        tuple(rejected),
    )


def _rows(find: Find, operand: Operand, sizes: Sizes) -> float:
    """Return how many rows an operand has of which a find goes over one."""
    place = operand.dims.index(find.variable)
    return sizes.entries.get(operand.dims[place - 1], 0.0) if place else 0.0


def _is_row(find: Find, operand: Operand) -> bool:
    """Whether a find goes over all of a row that pointers bound, the last mode of its operand."""
    return operand.dims[-1:] == (find.variable,) and row_of(find) is not None


def row_of(find: Find) -> tuple[str, Term] | None:
    """Return the array of pointers that bound the range of a find, and the row that it is."""
    match find.lows, find.highs:
        case (low,), (high,):
            return pointed(low, high)
        case _:
            return None


def guided(
    choices: tuple[tuple[Choice, ...], ...], nest: Nest, forced: str | Mapping[str, str]
) -> tuple[tuple[Choice, ...], ...]:
    """Return the choices with slots for the table that guides a workspace, if one does."""
    guide = nest.assembly.guide if nest.assembly.ordering == "range" else ""

    def better(choice: Choice) -> Choice:
        legal = al.SLOTS.needs <= choice.facts and choice.algorithm == "table"
        if choice.variable != guide or not legal or "table" in _names(forced):
            return choice
        return replace(choice, algorithm=al.SLOTS.name)

    return tuple(tuple(better(choice) for choice in chosen) for chosen in choices)


def _is_paired(steps: tuple[Step, ...], find: Find) -> bool:
    """Whether a loop reads the keys it seeks from an array, and a range holds them in another."""
    match steps, find.keys:
        case (*_, Scan(turn), Let(sought, Term(((1, UF(_, (place,))),), 0))), (
            Key(UF(_, (at,)), value, None),
        ):
            return (
                place == terms.var(turn)
                and value == terms.var(sought)
                and at == terms.var(find.variable)
            )
        case _:
            return False


def _names(forced: str | Mapping[str, str]) -> frozenset[str]:
    return frozenset({forced} if isinstance(forced, str) else forced.values())


def _is_neutral(chain: Chain, later: tuple[Step, ...], find: Find) -> bool:
    """Whether a find only serves to read a value that may as well be its fill.

    So it is when the fill makes the leaf deliver the identity, no loop would run in vain, and
    nothing else depends on the position or on whether there is one.
    """
    return find.operand in chain.neutral and _is_for_value(chain, later, find)


def _is_for_value(chain: Chain, later: tuple[Step, ...], find: Find) -> bool:
    """Whether nothing but a value depends on the position, and no loop would run in vain."""
    operand = chain.operand(find.operand)
    heavy = any(isinstance(s, Scan | Probe | Exclude) for s in later)
    if heavy or any(find.variable in read_by(step) for step in later):
        return False
    reads_pattern = any(
        isinstance(node, ct.Stored) and node.tensor == operand.tensor.name
        for node in walk(chain.expression)
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


def depth_of(steps: tuple[Step, ...], find: Find, inside: Probe | None) -> int:
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


def ends(scan: Scan | None, turns: float, entries: float, sizes: Sizes) -> float:
    """Return the part of a loop's ends that first entries computed anyway would foresee.

    They are computed so where rows are many, short, and of any length.
    """
    if scan is None or turns > HEADS or entries < ROWS * turns:
        return 0.0
    return 1.0 if sizes.unevenness(scan.variable).ragged else 0.0


def _passed(
    scan: Scan | None, operands: Mapping[str, Operand], sizes: Sizes
) -> tuple[float, float]:
    """Return the bytes that are read of the operand of a loop and of its rows; its entries."""
    operand = operands.get(scan.operand or "") if scan is not None else None
    if operand is None or operand.total or not operand.dims:
        return 0.0, 0.0
    entries = sizes.entries.get(operand.dims[-1], 1.0)
    rows = entries / sizes.fanout(operand.dims, operand.dims[-1])
    return entries * width(operand) + rows * ROW, entries


def workload(
    context: Context, find: Find, place: int, depth: int, sizes: Sizes, *, sparse: bool
) -> al.Workload:
    steps, operands = context.steps, context.operands
    operand = operands[find.operand]
    setups, queries, inner = 1.0, 1.0, 1.0
    loop: Scan | None = None
    for index, step in enumerate(steps[:place]):
        if isinstance(step, Scan):
            count = weights.turns(steps, index, operands, sizes)
            if index < depth:
                setups *= count
            else:
                queries, inner, loop = queries * count, count, step
    before = steps[:place]
    hits = weights.hits(before, operand, find, sizes)
    loops = queries / inner
    passed, entries = _passed(loop, operands, sizes)
    return al.Workload(
        length=weights.length(steps[: max(depth, 0)], operand, find, sizes),
        queries=queries,
        setups=setups,
        extent=sizes.room(key.value for key in find.keys),
        met=weights.length(before, operand, find, sizes),
        hits=hits,
        known=find.variable in sizes.uneven,
        loops=loops,
        idle=loops * max(1.0 - hits * inner, 0.0) if sparse else 0.0,
        paired=find in steps and _is_paired(before, find),
        level=sizes.unevenness(find.variable).near >= NEARBY,
        ends=ends(loop, inner, entries, sizes),
        passed=passed if setups <= 1.0 else 0.0,
        near=1.0 if loop is None else sizes.unevenness(loop.variable).near,
        even=find.variable in sizes.uneven and not sizes.uneven[find.variable].ragged,
    )
