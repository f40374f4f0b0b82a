"""The stages from a group of statements to a compiled kernel, with a verifier at each border.

| stage | module | gives |
|---|---|---|
| plan, prove | pipeline.planned | a nest of scans, finds and guards, with proofs |
| lower | lowering.nest | a kernel in the loop IR, verified |
| optimise | loops.optimise | the same, smaller and faster |
| fuse | lowering.fusion | one kernel for the outputs of one pass |
| print | codegen.python | the text that Numba compiles |

Takes: a group of ``groups.split``.  Gives: its ``Unit``.  Invariant: nothing here depends on
stored values or indices, only on layouts, dtypes, extents and entry counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sparsedsl.contraction import text
from sparsedsl.errors import PlanError
from sparsedsl.find.certificates import Certificate
from sparsedsl.find.choose import Choice
from sparsedsl.find.costs import NEAR
from sparsedsl.find.prove import Proved
from sparsedsl.find.rates import Spent
from sparsedsl.find.smt import Proof
from sparsedsl.iteration.cost import Unevenness
from sparsedsl.iteration.nodes import Nest
from sparsedsl.iteration.request import Request
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops.nodes import Allocate, Kernel, Var
from sparsedsl.options import current
from sparsedsl.pipeline.groups import Group, Settings
from sparsedsl.pipeline.passes import QUICK, at_once, saves
from sparsedsl.pipeline.planned import Planned, plan
from sparsedsl.pipeline.source import Source
from sparsedsl.runtime.recipe import Recipe

if TYPE_CHECKING:
    from sparsedsl.lowering.nest import Lowered

APART, FILLED = 1 << 22, 1.0
"""Bytes that threads may each make for themselves, and estimated nanoseconds of a call for each of
these from which on they win by it: the system gives them such memory one after the other."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One compiled group: plan, proofs, loops, source and recipe.

    ``certificates`` say how each subscript is known to be inside its array, ``widest`` bounds
    every index value that the kernel computes.  ``checked`` says that subscripts are tested at run
    time.  ``within`` are the nests that give this one a row of an intermediate in each turn of its
    loop.  ``planned`` are the nests as they were planned, before proofs, ``within`` first, and
    what each was planned from.  ``parts`` are the units of the outputs that the kernel computes in
    one pass, each as it would be alone; ``kernel``, ``source`` and ``recipe`` are of them all.
    """

    group: Group
    nest: Nest
    choices: tuple[tuple[str, str, str], ...]
    proofs: tuple[Proof, ...]
    kernel: Kernel
    source: str
    recipe: Recipe
    certificates: tuple[Certificate, ...]
    widest: int
    checked: bool
    within: tuple[Nest, ...] = ()
    planned: tuple[tuple[Request, Nest, Proved], ...] = ()
    parts: tuple[Unit, ...] = ()

    @property
    def work(self) -> float:
        """What plans are compared by: like nanoseconds, but only ratios mean much."""
        if self.parts:
            return sum(unit.work for unit in self.parts)
        return sum(nest.cost for nest in (*self.within, self.nest))

    @property
    def spent(self) -> Spent:
        """What a call on one thread is expected to spend, copies that are kept left out."""
        from sparsedsl.pipeline.predicted import in_one_call

        return in_one_call(
            ([(request, proved) for request, _, proved in unit.planned], unit.group.sources)
            for unit in self.turn
        )

    @property
    def cost(self) -> float:
        """The estimated nanoseconds of a call on one thread."""
        return self.spent.nanoseconds

    @property
    def twins(self) -> tuple[str, ...]:
        """The sparse outputs of the pass, if there are several: their loops are one."""
        found = tuple(recipe.output for recipe in self.recipe.appended)
        return found if len(found) > 1 else ()

    @property
    def turn(self) -> tuple[Unit, ...]:
        """The units of all outputs of the pass, each as it would be alone, in their order."""
        return self.parts or (self,)


def compile_group(group: Group, settings: Settings, known: Iterable[Proof] = ()) -> Unit:
    """Run the stages from planning to source on one group, and on those before and beside it.

    ``known`` are the proofs of an earlier run: the solver is asked what they do not answer.

    Raises
    ------
    PlanError
        If no plan exists, a forced choice is not legal, or the plans of groups that are to
        share a loop do not.
    """
    records = {p.smtlib: p for p in known}
    every = [_plans(each, settings, records) for each in group.turn]
    if len(every) == 1:
        return _unit(group, every[0], _lowered(every[0]), settings)
    try:
        return _in_one_pass(group, every, settings)
    except PlanError:
        if not any(p.flattened for plans in every for p in plans):
            raise
    by_rows = replace(settings, by_rows=True)
    return _in_one_pass(group, [_plans(each, by_rows, records) for each in group.turn], settings)


def _in_one_pass(group: Group, every: Sequence[tuple[Planned, ...]], settings: Settings) -> Unit:
    """Return the unit of several outputs, planned one by one.

    Raises
    ------
    PlanError
        If their loops cannot be one, or that does not pay.
    """
    from sparsedsl.loops.firsts import begun_by_vectors
    from sparsedsl.loops.heads import without_branch
    from sparsedsl.lowering.fusion import joined

    lowered = [_lowered(plans) for plans in every]
    costs = [_estimated([plans]) for plans in every]
    how = joined(lowered, costs, group.shared_from, group.whole_below)
    if how.whole:
        every = [tuple(p.unshared() for p in plans) for plans in every]
        lowered = [_lowered(plans) for plans in every]
    parts = zip(group.turn, every, lowered, strict=True)
    units = [_unit(each, plans, one, settings, alone=False) for each, plans, one in parts]
    if not saves(group.turn, sum(unit.work for unit in units)):
        raise PlanError("what they read alike takes little of their time")
    long = any(p.proved.long for plans in every for p in plans)
    inner = sum(unit.recipe.kind != "dense" for unit in units) > 1
    inner = inner or at_once(group.turn, long=long and not _in_rows(settings))
    inner = inner and (how.always or _told(units, settings))
    every_plan = [p for plans in every for p in plans]
    taking = _estimated(every)
    unit = _fused(group, units, every_plan, lowered, settings, taking, inner=inner)
    alone = [_finished(u.kernel, plans, settings) for u, plans in zip(units, every, strict=True)]
    begun = (
        count(unit.kernel) < sum(map(count, alone)) for count in (without_branch, begun_by_vectors)
    )
    if inner and not how.always and any(begun):
        # sums would begin otherwise than they do alone
        return _fused(group, units, every_plan, lowered, settings, taking, inner=False)
    return unit


def _told(units: Iterable[Unit], settings: Settings) -> bool:
    """Whether sums are taken in one order, whatever else is computed in their loops."""
    from sparsedsl.codegen.llvm_object import sums_as_told

    return not settings.fastmath or all(not u.checked and sums_as_told(u.kernel) for u in units)


def _plans(group: Group, settings: Settings, records: Mapping[str, Proof]) -> tuple[Planned, ...]:
    """Return the plans of the groups before one, and its own, the last."""
    return tuple(plan(each, settings, records) for each in (*group.before, group))


def _lowered(plans: Sequence[Planned]) -> Lowered:
    from sparsedsl.lowering.rows import lower_rows

    parts, notes = [p.part for p in plans], _notes(plans)
    return parts[0].lowered(notes) if len(parts) == 1 else lower_rows(parts, notes)


def _unit(
    group: Group,
    plans: tuple[Planned, ...],
    lowered: Lowered,
    settings: Settings,
    *,
    alone: bool = True,
) -> Unit:
    """Optimise the kernel of one output, and print it."""
    from sparsedsl.codegen.processor import gathers, has_masks
    from sparsedsl.codegen.python import source as print_source
    from sparsedsl.loops.optimise import optimise
    from sparsedsl.loops.reach import reach
    from sparsedsl.loops.verify import verify as verify_kernel
    from sparsedsl.lowering.recipe import recipe_of

    *within, planned = plans
    far = {array: elements for p in plans for array, elements in p.proved.far}
    likely = {extent_name(i): n for p in plans for i, n in p.request.extents.items()}
    alike = tuple(dict.fromkeys(arrays for p in plans for arrays in p.proved.alike))
    near = tuple(dict.fromkeys(array for p in plans for array in p.proved.near))
    free = settings.fastmath and not settings.safe
    kernel = optimise(
        verify_kernel(lowered.kernel),
        # each subscript of a vector's elements is not there to be checked, nor is one looked ahead
        vectors=not settings.safe,
        masked=settings.fastmath and not settings.portable and gathers(),
        packed=not settings.portable and has_masks(),
        far={} if settings.safe else far,
        apart=settings.fastmath,
        likely=likely if settings.fastmath else {},
        large=lowered.sink.given if planned.proved.large else None,
        alike=alike if free else (),
        near=near if free else (),
        checked=current().verify,
    )
    kernel = _finished(kernel, plans, settings) if alone else kernel
    verify_kernel(kernel)
    nests = tuple(p.nest for p in within)
    grows = min(p.grows for p in plans)
    taking = _estimated([plans])
    recipe = recipe_of(lowered, planned.nest, kernel, group.checks, taking, nests, grows=grows)
    if recipe.shared is not None and planned.proved.streams:
        recipe = replace(recipe, shared=replace(recipe.shared, streams=True))
    # where pieces are combined, their number is part of what a sum is
    if (share := recipe.shared) is not None and share.apart:
        apart = _is_far(_prepared(kernel, group), recipe.nanoseconds)
        recipe = replace(recipe, shared=replace(share, far=apart))
    if recipe.shared is not None and recipe.kind != "dense":
        appended = {made.param for made in recipe.made if made.length == "room" and not made.ends}
        recipe = replace(recipe, shared=replace(recipe.shared, reach=reach(kernel, appended)))
    bounds = tuple(c for p in plans for c in p.proved.certificates)
    checked = settings.safe or any(c.verdict == "checked" for c in bounds)
    source = print_source(kernel, fastmath=settings.fastmath, safe=checked)
    choices = tuple(
        (c.variable, c.algorithm, "; ".join(f"{n}: {why}" for n, why in c.rejected))
        for p in plans
        for chain in p.proved.choices
        for c in chain
    )
    proofs = tuple(proof for p in plans for proof in p.proved.proofs)
    widest = max(p.widest for p in plans)
    return Unit(
        *(group, planned.nest, choices, proofs, kernel, source, recipe, bounds, widest),
        *(checked, nests, tuple((p.request, p.planned, p.proved) for p in plans)),
    )


def _estimated(every: Iterable[Sequence[Planned]]) -> float:
    """Return the nanoseconds of a call on one thread, as sizes are rounded for the plans."""
    from sparsedsl.pipeline.predicted import in_one_call

    return in_one_call(
        ([(p.request, p.proved) for p in plans], plans[-1].group.sources) for plans in every
    ).nanoseconds


def _finished(kernel: Kernel, plans: Sequence[Planned], settings: Settings) -> Kernel:
    """Return a kernel, of one output or several, after what is done for the entries of rows."""
    from sparsedsl.loops.ahead import ahead
    from sparsedsl.loops.firsts import firsts
    from sparsedsl.loops.heads import heads
    from sparsedsl.loops.lined import lined
    from sparsedsl.loops.neighbours import rows_in_vectors
    from sparsedsl.loops.scattered import scattered
    from sparsedsl.lowering.pieces import first_of, past_of

    if settings.safe:
        return kernel
    streams = {array: row for p in plans for array, row in p.proved.streamed}
    kernel = rows_in_vectors(kernel) if _in_rows(settings) else kernel
    short = [row for p in plans for row in p.proved.short]
    shared = next((s for p in plans if (s := p.proved.parallel) is not None and s.split), None)
    parts = None if shared is None else (first_of(shared), past_of(shared))
    kernel = lined(kernel, {array for p in plans for array in p.proved.often})
    wide = {array for p in plans for array in p.proved.wide}
    extents = {i: n for p in plans for i, n in p.request.extents.items()}
    wide |= {array for array, size in _made(kernel, extents) if size > NEAR}
    kernel = heads(scattered(ahead(kernel, streams), wide), short, parts)
    return firsts(kernel, short) if _in_rows(settings) else kernel


def _is_far(prepared: int, nanoseconds: float) -> bool:
    """Whether so many bytes that each thread makes for itself take longer than what it saves."""
    return prepared > APART and nanoseconds < FILLED * prepared


def _prepared(kernel: Kernel, group: Group) -> int:
    """Return the bytes of the largest array over an index that every call of a kernel makes."""
    return max((size for _, size in _made(kernel, group.extents)), default=0)


def _made(kernel: Kernel, extents: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the arrays over an index that every call of a kernel makes, and their bytes."""
    named = {extent_name(i): n for i, n in extents.items()}
    for statement in kernel.body:
        match statement:
            case Allocate(array, dtype, (Var(name),)):
                yield array, named.get(name, 0) * np.dtype(dtype).itemsize
            case _:
                pass


def _in_rows(settings: Settings) -> bool:
    """Whether sums and extremes along rows may be vectors with unused lanes."""
    from sparsedsl.codegen.processor import has_masks

    return settings.fastmath and not settings.portable and has_masks()


def _fused(
    group: Group,
    units: Sequence[Unit],
    plans: Sequence[Planned],
    lowered: Sequence[Lowered],
    settings: Settings,
    taking: float,
    *,
    inner: bool,
) -> Unit:
    """Join the kernels of several outputs, and the loops ``inner`` of those.

    A call is estimated to be ``taking`` so many nanoseconds.

    Raises
    ------
    PlanError
        If their loops cannot be one.
    """
    from sparsedsl.codegen.python import source as print_source
    from sparsedsl.loops.verify import verify as verify_kernel
    from sparsedsl.lowering.fusion import fused_kernel, with_pointer
    from sparsedsl.lowering.recipe import recipe_of

    named = [(unit.group.output.name, unit.kernel) for unit in units]
    quick = sum(unit.work for unit in units) <= QUICK
    kernel = fused_kernel(named, mixed=quick, inner=inner)
    kernel = _finished(kernel, plans, settings)
    verify_kernel(kernel)
    own = units[group.ahead]
    beside = tuple(unit for unit in units if unit is not own)
    others = (*own.within, *(nest for unit in beside for nest in (*unit.within, unit.nest)))
    sides = tuple((unit.recipe, unit.nest.layout.value.function) for unit in beside)
    main = with_pointer(lowered[group.ahead], lowered)
    grows = min(unit.recipe.grows for unit in units)
    recipe = recipe_of(main, own.nest, kernel, group.checks, taking, others, sides, grows=grows)
    checked = any(unit.checked for unit in units)
    source = print_source(kernel, fastmath=settings.fastmath, safe=checked)
    return replace(
        own,
        group=group,
        kernel=kernel,
        source=source,
        recipe=recipe,
        widest=max(unit.widest for unit in units),
        checked=checked,
        parts=tuple(units),
    )


def _notes(every: Sequence[Planned]) -> tuple[str, ...]:
    """Return what the generated function says of itself."""
    groups = [p.group for p in every]
    statement = "; ".join(text.statement_text(s) for g in groups for s in g.statements)
    held = {p.group.output.name for p in every[:-1]}
    operands = [o for p in every for chain in p.nest.chains for o in chain.operands]
    sources = {name: s for g in groups for name, s in g.sources.items()}
    followers = {(o.tensor.name, o.pattern) for o in operands if o.tensor.name != o.pattern}
    proofs = [proof.proved for p in every for proof in p.proved.proofs]
    sure = [c.verdict != "checked" for p in every for c in p.proved.certificates]
    return (
        statement,
        *(f"{n}: {s.layout.label}" for n, s in sources.items() if n in statement),
        *(f"of {name} a row at a time is held" for name in sorted(held)),
        *(f"{name} has the pattern of {other}" for name, other in sorted(followers)),
        f"finds: {_finds_text([chain for p in every for chain in p.proved.choices])}",
        f"proofs: {sum(proofs)} of {len(proofs)} goals",
        f"bounds: {sum(sure)} of {len(sure)} subscripts",
    )


def resized(
    unit: Unit,
    extents: Mapping[str, int],
    sources: Mapping[str, Source],
    uneven: Mapping[str, Mapping[str, Unevenness]],
) -> Unit:
    """Return the unit with its times estimated for these sizes; it was planned for rounded ones.

    ``uneven`` says how entries lie, of all tensors that were looked at.
    """
    planned: list[tuple[Request, Nest, Proved]] = []
    for request, nest, proved in unit.planned:
        entries = {**request.entries, **{n: dict(s.entries) for n, s in sources.items()}}
        sizes = {i: extents.get(i, n) for i, n in request.extents.items()}
        lengths = {n: known for n, known in request.lengths.items() if n not in sources}
        lying = {**request.uneven, **uneven}
        sized = replace(request, extents=sizes, entries=entries, lengths=lengths, uneven=lying)
        planned.append((sized, nest, proved))
    group = unit.group
    known = {i: extents.get(i, n) for i, n in group.extents.items()}
    # the plan was chosen for how entries lay then
    own = {n: replace(sources.get(n, s), uneven=s.uneven) for n, s in group.sources.items()}
    group = replace(group, extents=known, sources=own)
    parts = tuple(resized(each, extents, sources, uneven) for each in unit.parts)
    return replace(unit, group=group, planned=tuple(planned), parts=parts)


def _finds_text(choices: Iterable[tuple[Choice, ...]]) -> str:
    found = [f"{c.variable} by {c.algorithm}" for chain in choices for c in chain]
    return ", ".join(found) or "none needed"
