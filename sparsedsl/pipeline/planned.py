"""From a group of statements to a nest that is planned, proved and ready to lower.

| stage | module | gives |
|---|---|---|
| plan | iteration.plan | a nest of scans, finds and guards |
| prove | find.prove | the same with proofs and a find for each search |

Takes: a group of ``groups.split``.  Gives: ``Planned``.  Invariant: nothing here depends on
stored values or indices, only on layouts, dtypes, extents and entry counts.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.errors import PlanError
from sparsedsl.find.prove import Proved, prove_nest
from sparsedsl.find.smt import NOTHING, Proof
from sparsedsl.find.widths import widest
from sparsedsl.iteration import plan as planning
from sparsedsl.iteration.chains import sizes_of
from sparsedsl.iteration.copies import with_sizes
from sparsedsl.iteration.nodes import Chain, Nest, Scan
from sparsedsl.iteration.request import Request, accesses
from sparsedsl.iteration.work import Work
from sparsedsl.magnitudes import bucket, rounded
from sparsedsl.pipeline.groups import Group, Settings, describe, index_dtype, reads
from sparsedsl.pipeline.mirrors import once
from sparsedsl.pipeline.predicted import predicted
from sparsedsl.pipeline.symmetry import first_half

if TYPE_CHECKING:
    from sparsedsl.lowering.rows import Part


@dataclass(frozen=True, slots=True)
class Planned:
    """One group planned from a request, and proved.

    ``widest`` bounds its index values, which stay in 64 bits where all extents are larger by
    ``grows`` powers of four.
    """

    group: Group
    request: Request
    planned: Nest
    proved: Proved
    part: Part
    widest: int
    grows: int

    @property
    def nest(self) -> Nest:
        """The nest as it was proved."""
        return self.proved.nest

    @property
    def flattened(self) -> bool:
        """Whether loops whose ranges make up one range became one loop."""
        chains = zip(self.planned.chains, self.nest.chains, strict=False)
        return any(_loops(one) > _loops(other) for one, other in chains)

    def unshared(self) -> Planned:
        """Return it for one thread: its loops are not given in pieces."""
        proved = replace(self.proved, parallel=None)
        return replace(self, proved=proved, part=replace(self.part, proved=proved))


def _loops(chain: Chain) -> int:
    return sum(isinstance(step, Scan) for step in chain.steps)


def plan(group: Group, settings: Settings, known: Mapping[str, Proof]) -> Planned:
    """Plan a group alone, without those before it, and prove what the plan rests on.

    ``known`` are records of proofs, by the question.

    Raises
    ------
    PlanError
        If no plan exists, or a forced choice is not legal.
    """
    if known:
        return _plan(group, settings, known)
    found = _made(_Asked(describe(group, settings), group, settings))
    return replace(found, group=group)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A group of a program to plan: those that are described alike are planned alike."""

    description: str
    group: Group
    settings: Settings

    def __eq__(self, other: object) -> bool:
        """Whether it is the same part of the same program, for the same settings."""
        if not isinstance(other, _Asked) or self.group.program is not other.group.program:
            return False
        return self.description == other.description

    def __hash__(self) -> int:
        return hash(self.description)


@lru_cache(maxsize=16)
def _made(asked: _Asked) -> Planned:
    """Plan a group, once of as many times as it is looked at whether others share its loops."""
    return _plan(asked.group, asked.settings, NOTHING)


def _plan(group: Group, settings: Settings, known: Mapping[str, Proof]) -> Planned:
    from sparsedsl.lowering.rows import Part

    _check_forced(group, settings)
    request = request_of(group, settings)
    request, planned, proved = _expected(group, request, settings, known)
    copies = tuple(c.tensor for c in planned.conversions)
    program = replace(group.program, inputs=tuple({*group.program.inputs, *copies}))
    nest = proved.nest
    _check_cost(group, nest)
    dtypes = {
        f"{name}_{array}": dtype
        for name, source in group.sources.items()
        for array, dtype in source.index_dtypes.items()
    }
    for conversion in planned.conversions:
        wide = set(group.sources[conversion.source].index_dtypes.values()) == {"int64"}
        for array in conversion.layout.functions:
            dtypes[f"{conversion.tensor.name}_{array}"] = "int64" if wide else "int32"
    extent = max((request.extents[c] for c in nest.coordinates), default=1)
    part = Part(proved, program, dtypes, index_dtype(group), extent)
    most, grows = _widest(group, nest, dtypes), _grows(group, nest, dtypes)
    return Planned(group, request, planned, proved, part, most, grows)


def request_of(group: Group, settings: Settings) -> Request:
    """Return what planning a group reads: sizes are rounded, so that equal keys plan equally."""
    request = Request(
        statements=group.statements,
        program=group.program,
        layouts={n: s.layout for n, s in group.sources.items()},
        output=group.assembled,
        extents={i: int(rounded(n)) for i, n in group.extents.items()},
        entries={n: s.sizes for n, s in group.sources.items()},
        annihilating=group.annihilating,
        exact=group.exact,
        order=_order_of(group, settings),
        workspace=settings.workspace,
        whole=group.whole if settings.workspace == "auto" and settings.find == "auto" else None,
        patterns=dict(group.patterns),
        turning=settings.turn,
        implied=frozenset(n for n, s in group.sources.items() if s.implied),
        lengths={n: s.lengths for n, s in group.sources.items()},
        uneven={n: s.uneven for n, s in group.sources.items() if s.uneven},
        work=Work(settings.search_limit),
    )
    return first_half(request) if group.halved else request


def _limits(group: Group, grows: int) -> dict[str, int]:
    """Return what extents stay below where they grow by so many powers of four."""
    return {i: 4 ** (bucket(n) + 1 + grows) for i, n in group.extents.items()}


def _grows(group: Group, nest: Nest, index_dtypes: Mapping[str, str]) -> int:
    """Return by how many powers of four all extents may grow with index values in 64 bits."""

    def leaves(grows: int) -> bool:
        return widest(nest, _limits(group, grows), index_dtypes) >= 2**63

    return bisect.bisect_left(range(1, 32), True, key=leaves)


def _widest(group: Group, nest: Nest, index_dtypes: Mapping[str, str]) -> int:
    """Return the bound on index values, for every extent that shares the kernel.

    Raises
    ------
    PlanError
        If they may leave 64 bits.
    """
    most = widest(nest, _limits(group, 0), index_dtypes)
    if most >= 2**63:
        raise PlanError(
            f"index arithmetic of {group.output.name} may leave 64 bits: its values reach "
            f"2**{most.bit_length()}",
            span=group.statements[0].span,
            hint="use smaller extents or factors in subscripts",
        )
    return most


def _expected(
    group: Group, request: Request, settings: Settings, known: Mapping[str, Proof]
) -> tuple[Request, Nest, Proved]:
    """Plan and prove for one call, and for as many as are expected; return what they take less of.

    The times compared are those that explanations tell, not what orders of loops are ranked by.
    A copy takes memory, and estimates err: plans with kept copies are to take ``FEWER`` of it.
    """
    found = _cheaper(request, settings, known)
    if settings.calls == 1:
        return found
    again = replace(request, calls=settings.calls)
    kept = _cheaper(again, settings, known)

    def nanoseconds(plan: tuple[Request, Nest, Proved]) -> float:
        used, nest, proved = plan
        copies = planning.copying(again, nest.conversions)
        return predicted([(used, proved)], group.sources).nanoseconds + copies

    return kept if nanoseconds(kept) < FEWER * nanoseconds(found) else found


def _cheaper(
    request: Request, settings: Settings, known: Mapping[str, Proof]
) -> tuple[Request, Nest, Proved]:
    """Plan and prove, with each entry of mirrored tensors visited once where that is cheaper."""
    instead = once(request)
    found = None if instead is None else _attempt(instead, settings, known)
    if found is None:
        return _planned(request, settings, known)
    plain = _attempt(request, settings, known)
    return found if plain is None or found[1].cost <= plain[1].cost else plain


def _attempt(
    request: Request, settings: Settings, known: Mapping[str, Proof]
) -> tuple[Request, Nest, Proved] | None:
    try:
        return _planned(request, settings, known)
    except PlanError:
        return None


FEWER = 0.5
"""Part of the time of a plan for one call that one for many calls may take."""

MOST_COPIES = 3
"""Accesses read from copies before a missing find is reported."""


def _planned(
    request: Request, settings: Settings, known: Mapping[str, Proof]
) -> tuple[Request, Nest, Proved]:
    """Plan and prove; what is not proved of patterns, of merges, or of order, is done without.

    Returns what was planned from in the end, too.
    """
    found = _proved(request, settings, known)
    request, nest, proved = found
    unordered = proved.nest.assembly.kind == "stream" != nest.assembly.kind
    forced = request.order is not None or settings.workspace != "auto"
    if not unordered or forced or request.work.left < 0:
        return found
    # sorting all entries costs more than most orders of loops, and less than some
    few = len(accesses(request)) <= planning.MANY
    sorting = _proved(replace(request, strict=3), settings, known) if few else found
    for strict in (1, 2) if few else (1,):
        try:
            other = _proved(replace(request, strict=strict), settings, known)
        except PlanError:
            continue
        ordered = other[2].nest.assembly.kind != "stream"
        if ordered and (other[1].cost < sorting[1].cost or not few):
            return other
    return sorting


def _proved(
    request: Request, settings: Settings, known: Mapping[str, Proof]
) -> tuple[Request, Nest, Proved]:
    """Plan and prove as ``_planned`` does, if need be with a stream that is sorted."""
    find = settings.find if isinstance(settings.find, str) else dict(settings.find)
    failure: PlanError | None = None
    while True:
        try:
            nest = planning.plan(request)
            operands = tuple(o for chain in nest.chains for o in chain.operands)
            sizes = sizes_of(with_sizes(request, nest), operands)
            proved = prove_nest(
                *(nest, sizes, find, settings.solver_timeout_ms, known, settings.workspace),
                flat=not settings.by_rows,
            )
        except PlanError as error:
            failure = failure or error
            # no find is legal in some operand's own layout: a sorted copy has one
            if request.copying == MOST_COPIES or find != "auto":
                raise failure from None
            request = replace(request, copying=request.copying + 1)
            continue
        if proved is not None:
            proved = proved if settings.share else replace(proved, parallel=None)
            return request, nest, proved
        request = replace(request, patterns={}, whole=request.whole if request.patterns else None)


TOO_LONG = 1e13
"""Estimated nanoseconds above which visiting implicit zeros is refused: hours."""


def _check_cost(group: Group, nest: Nest) -> None:
    if group.annihilating or nest.cost < TOO_LONG:
        return
    raise PlanError(
        f"dense semantics would visit every coordinate of {group.output.name}, an estimated "
        f"{nest.cost / 3.6e12:.0f} hours: values that meet implicit zeros are infinite, NaN, "
        "zero divisors, or may become so",
        span=group.statements[0].span,
        hint='use semantics="annihilator" to skip implicit zeros',
    )


def _check_forced(group: Group, settings: Settings) -> None:
    """Refuse forced choices that name nothing."""
    if settings.order is not None:
        every = (*group.program.statements, *group.statements)
        indices = {i for s in every for i in _indices(s)}
        if set(settings.order) != indices:
            raise PlanError(
                f"expected order to name the indices {' '.join(sorted(indices))}, found "
                f"{' '.join(settings.order)!r}",
                span=group.statements[0].span,
                hint="each index of the kernel once, that of the outermost loop first",
            )
    if settings.workspace not in ("auto", "dense", "hash", "sort"):
        raise PlanError(
            f"expected workspace to be auto, dense, hash or sort, found {settings.workspace!r}"
        )
    if not isinstance(settings.find, str):
        names = set(group.sources)
        for name, _ in settings.find:
            if name not in names:
                raise PlanError(
                    f"find names {name!r}, which is no operand; operands are "
                    f"{', '.join(sorted(names))}"
                )


def _order_of(group: Group, settings: Settings) -> tuple[str, ...] | None:
    """Return the forced order of a group's own indices, which may be some of the program's."""
    if settings.order is None:
        return None
    here = {i for s in group.statements for i in _indices(s)}
    return tuple(i for i in settings.order if i in here)


def _indices(statement: ct.Assign) -> set[str]:
    found = {i for s in statement.subscripts for i in s.indices}
    for access in reads(statement.expression):
        found |= {i for s in access.subscripts for i in s.indices}
    for node in walk(statement.expression):
        if isinstance(node, ct.IndexValue):
            found |= set(node.index.indices)
    return found
