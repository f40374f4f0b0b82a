"""The stages from a program to compiled kernels, in order, with a verifier at each border.

| stage | module | gives |
|---|---|---|
| settle, lift, fuse, split | contraction.versions, .lift, .fuse, .terms | sums at the top |
| infer | iteration.infer | the output's layout |
| plan | iteration.plan | a nest of scans, finds and guards |
| prove | find.choose | the same with proofs and a find for each search |
| lower | lowering.nest | a kernel in the loop IR, verified |
| optimise | loops.optimise | the same, smaller and faster |
| print | codegen.python | the text that Numba compiles |

Takes: a contraction program and descriptions of its inputs.  Gives: ``Unit`` records, one an
output, in the order they run.  Invariant: nothing here depends on stored values or indices,
only on layouts, dtypes, extents and entry counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsedsl.contraction import algebra, text
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.fuse import fused
from sparsedsl.contraction.lift import lift
from sparsedsl.contraction.terms import terms as additive_terms
from sparsedsl.contraction.verify import verify as verify_program
from sparsedsl.contraction.versions import settled, together
from sparsedsl.errors import PlanError
from sparsedsl.find.certificates import Certificate
from sparsedsl.find.choose import Proved
from sparsedsl.find.smt import Proof
from sparsedsl.find.widths import widest
from sparsedsl.iteration import plan as planning
from sparsedsl.iteration.infer import infer_layout
from sparsedsl.iteration.nodes import Nest
from sparsedsl.iteration.output import levels_of
from sparsedsl.iteration.request import Request
from sparsedsl.layouts.catalogue import hierarchical
from sparsedsl.layouts.layout import Layout
from sparsedsl.loops.nodes import Kernel
from sparsedsl.options import current
from sparsedsl.runtime.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of one tensor before it is seen: enough to plan, not to run.

    ``entries`` gives the number of tuples up to each physical dimension; ``index_dtypes``
    the dtype of each index array by its own name.
    """

    layout: Layout
    shape: tuple[int, ...]
    entries: Mapping[str, float]
    index_dtypes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices a user can force, and what the caller of a kernel can do.

    ``share``: the caller gives the range of a loop that threads may share.
    """

    order: tuple[str, ...] | None = None
    find: str | tuple[tuple[str, str], ...] = "auto"
    workspace: str = "auto"
    annihilating: bool = True
    solver_timeout_ms: int = 400
    fastmath: bool = True
    safe: bool = False
    share: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """The additive statements of one output, ready to plan.

    ``finite`` and ``nonzero`` name the tensors whose stored values must be so for implicit
    zeros to be skipped, ``bounded`` those that must be ``"above"`` minus infinity or
    ``"below"`` infinity for implicit infinities to be; ``exact`` says that this is checked.
    ``layout`` is the one the result is wanted in, ``assembled`` the one the kernel fills;
    ``whole`` is the statement before it was split, if it has no sum.  ``patterns`` pairs
    tensors with others that hold equal index arrays; ``fused`` names the intermediates that are
    computed here and not stored.
    """

    statements: tuple[ct.Assign, ...]
    program: ct.Program
    layout: Layout
    assembled: Layout
    sources: Mapping[str, Source]
    extents: Mapping[str, int]
    annihilating: bool
    exact: bool
    finite: tuple[str, ...]
    nonzero: tuple[str, ...]
    bounded: tuple[tuple[str, str], ...]
    whole: ct.Assign | None
    patterns: tuple[tuple[str, str], ...]
    fused: tuple[str, ...] = ()

    @property
    def output(self) -> ct.Tensor:
        """The output the statements compute."""
        return self.program.tensor(self.statements[0].target)


@dataclass(frozen=True, slots=True)
class Unit:
    """One compiled group: plan, proofs, loops, source and recipe.

    ``certificates`` say how each subscript is known to be inside its array, ``widest`` bounds
    every index value that the kernel computes.
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


def split(
    program: ct.Program,
    wanted: Mapping[str, Layout | None],
    sources: Mapping[str, Source],
    extents: Mapping[str, int],
    *,
    ieee: bool,
    unusual: frozenset[str] = frozenset(),
    patterns: tuple[tuple[str, str], ...] = (),
) -> tuple[Group, ...]:
    """Return the groups of a program, in the order they run.

    Parameters
    ----------
    wanted:
        The layout asked for each output, or None.
    ieee:
        Give what dense NumPy would: implicit zeros times infinity or NaN are NaN.
    unusual:
        Inputs known to store an infinity, NaN, or a zero that is divided by, where it matters.
    patterns:
        Pairs of inputs, the first with the index arrays of the second.
    """
    lifted, fusions = fused(together(lift(settled(verify_program(program)))))
    known = dict(sources)
    groups: list[Group] = []
    pending = list(lifted.statements)
    while pending:
        first = pending.pop(0)
        same = [first]
        while pending and pending[0].target == first.target and pending[0].accumulate:
            same.append(pending.pop(0))
        group = _group(lifted, tuple(same), wanted, known, extents, ieee, unusual, patterns)
        into = tuple(f.name for f in fusions if f.into == first.target)
        groups.append(replace(group, fused=into))
        output = group.output
        known[output.name] = _expected(group, known)
        lifted = replace(
            lifted,
            outputs=tuple(
                replace(t, total=_is_dense(group.layout)) if t.name == output.name else t
                for t in lifted.outputs
            ),
        )
    return tuple(groups)


def _is_dense(layout: Layout) -> bool:
    assembly = levels_of(layout)
    return assembly is not None and assembly.kind == "dense"


def _group(
    program: ct.Program,
    statements: tuple[ct.Assign, ...],
    wanted: Mapping[str, Layout | None],
    sources: Mapping[str, Source],
    extents: Mapping[str, int],
    ieee: bool,
    unusual: frozenset[str],
    patterns: tuple[tuple[str, str], ...],
) -> Group:
    annihilating, demands = True, frozenset[tuple[algebra.Demand, str]]()
    if ieee:
        for statement in statements:
            found = algebra.ieee_operands(statement.expression, program)
            annihilating &= found is not None
            demands |= found or frozenset()
        annihilating &= not {name for _, name in demands} & unusual
    asked = sorted(demands) if annihilating else []
    parts = tuple(p for s in statements for p in additive_terms(s, program, annihilating))
    layouts = {name: source.layout for name, source in sources.items()}
    target = statements[0].target
    layout = wanted.get(target) or infer_layout(parts, program, layouts, annihilating, extents)
    assembled = layout
    if levels_of(layout) is None:
        assembled = hierarchical(tuple(range(layout.rank)))
    return Group(
        parts,
        program,
        layout,
        assembled,
        dict(sources),
        extents,
        annihilating,
        ieee,
        tuple(name for demand, name in asked if demand == "finite"),
        tuple(name for demand, name in asked if demand == "nonzero"),
        tuple((demand, name) for demand, name in asked if demand in ("above", "below")),
        _whole(statements),
        patterns,
    )


def _whole(statements: tuple[ct.Assign, ...]) -> ct.Assign | None:
    first, *more = statements
    return None if more or isinstance(first.expression, ct.Reduce) else first


def _expected(group: Group, sources: Mapping[str, Source]) -> Source:
    """Guess the entries of an intermediate: as many as its largest operand."""
    shape = tuple(group.extents[s.name or ""] for s in group.statements[0].subscripts)
    most = max((max(s.entries.values(), default=1.0) for s in sources.values()), default=1.0)
    room, entries = 1.0, dict[str, float]()
    layout = group.layout
    for dim in layout.relation.inputs:
        if dim in layout.relation.outputs:
            room *= shape[layout.relation.outputs.index(dim)]
        entries[dim] = room if dim in layout.relation.outputs else min(room * 16, most)
    dtypes = dict.fromkeys(layout.functions, _index_dtype(group))
    return Source(layout, shape, entries, dtypes)


def _index_dtype(group: Group) -> str:
    """Return the index dtype of an output: the widest that its operands use."""
    used = {a.tensor for s in group.statements for a in _reads(s.expression)}
    wide = any("int64" in group.sources[name].index_dtypes.values() for name in used)
    shape = [group.extents[s.name or ""] for s in group.statements[0].subscripts]
    return "int64" if wide or any(n > 2**31 - 1 for n in shape) else "int32"


def alike(groups: Sequence[Group]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of inputs that a kernel may read by one pattern, if they have it.

    They are read at the same subscripts and stored in one layout, with the same index dtypes.
    """
    found: dict[tuple[str, str], None] = {}
    for group in groups:
        first: dict[object, str] = {}
        accesses = [a for s in group.statements for a in _reads(s.expression)]
        for name, subscripts in dict.fromkeys((a.tensor, a.subscripts) for a in accesses):
            source = group.sources[name]
            given = any(t.name == name for t in group.program.inputs)
            if not source.index_dtypes or not given:
                continue
            kind = (subscripts, source.layout.key, tuple(sorted(source.index_dtypes.items())))
            other = first.setdefault(kind, name)
            if other != name:
                found[name, other] = None
    return tuple(found)


def _reads(expression: ct.Expression) -> list[ct.Access | ct.Stored]:
    return [e for e in algebra.walk(expression) if isinstance(e, ct.Access | ct.Stored)]


def describe(group: Group, settings: Settings) -> str:
    """Return the text that identifies a group's kernel: everything the plan depends on."""
    lines = [text.statement_text(s) for s in group.statements]
    used = sorted({a.tensor for s in group.statements for a in _reads(s.expression)})
    for name in used:
        tensor, source = group.program.tensor(name), group.sources[name]
        sizes = ",".join(f"{d}~{_bucket(n)}" for d, n in sorted(source.entries.items()))
        dtypes = ",".join(f"{a}:{t}" for a, t in sorted(source.index_dtypes.items()))
        lines.append(f"{tensor!r} | {source.layout.key} | {sizes} | {dtypes}")
    output = group.output
    lines.append(f"{output!r} | {group.assembled.key} | {_index_dtype(group)}")
    lines.append(",".join(f"{i}~{_bucket(n)}" for i, n in sorted(group.extents.items())))
    demands = f"{group.finite} {group.nonzero} {group.bounded}"
    lines.append(f"{settings!r} {group.annihilating} {group.exact} {demands} {group.patterns}")
    return "\n".join(lines)


def _bucket(count: float) -> int:
    """Return the order of magnitude in powers of four: plans do not change within one."""
    return max(int(count), 0).bit_length() // 2


def rounded(count: float) -> float:
    """Return the size that stands for a bucket, so that equal keys give equal plans."""
    return float(4 ** _bucket(count)) if count >= 1 else 1.0


def compile_group(group: Group, settings: Settings, known: Iterable[Proof] = ()) -> Unit:
    """Run the stages from planning to source on one group.

    ``known`` are the proofs of an earlier run: the solver is asked what they do not answer.

    Raises
    ------
    PlanError
        If no plan exists, or a forced choice is not legal.
    """
    from sparsedsl.codegen.python import source as print_source
    from sparsedsl.loops.optimise import optimise
    from sparsedsl.loops.verify import verify as verify_kernel
    from sparsedsl.lowering.nest import lower
    from sparsedsl.lowering.recipe import recipe_of

    _check_forced(group, settings)
    request = request_of(group, settings)
    nest, proved = _planned(request, settings, {p.smtlib: p for p in known})
    copies = tuple(c.tensor for c in nest.conversions)
    program = replace(group.program, inputs=tuple({*group.program.inputs, *copies}))
    nest = proved.nest
    _check_cost(group, nest)
    dtypes = {
        f"{name}_{array}": dtype
        for name, source in group.sources.items()
        for array, dtype in source.index_dtypes.items()
    }
    for conversion in nest.conversions:
        wide = set(group.sources[conversion.source].index_dtypes.values()) == {"int64"}
        for array in conversion.layout.functions:
            dtypes[f"{conversion.tensor.name}_{array}"] = "int64" if wide else "int32"
    statement = "; ".join(text.statement_text(s) for s in group.statements)
    proofs = sum(p.proved for p in proved.proofs)
    unsure = sum(c.verdict == "checked" for c in proved.certificates)
    most = _widest(group, nest, dtypes)
    used = {(o.tensor.name, o.pattern) for chain in nest.chains for o in chain.operands}
    followers = [pair for pair in used if pair[0] != pair[1]]
    notes = (
        statement,
        *(f"{n}: {s.layout.label}" for n, s in group.sources.items() if n in statement),
        *(f"{name} has the pattern of {other}" for name, other in sorted(followers)),
        f"finds: {_finds_text(proved.choices)}",
        f"proofs: {proofs} of {len(proved.proofs)} goals",
        f"bounds: {len(proved.certificates) - unsure} of {len(proved.certificates)} subscripts",
    )
    widest = max((request.extents[c] for c in nest.coordinates), default=1)
    lowered = lower(proved, program, dtypes, _index_dtype(group), widest, notes)
    # each subscript of a vector's elements is not there to be checked
    kernel = optimise(
        verify_kernel(lowered.kernel), vectors=not settings.safe, checked=current().verify
    )
    verify_kernel(kernel)
    recipe = recipe_of(lowered, nest, kernel, group.finite, group.nonzero, group.bounded)
    source = print_source(kernel, fastmath=settings.fastmath, safe=settings.safe or unsure > 0)
    choices = tuple(
        (c.variable, c.algorithm, "; ".join(f"{n}: {why}" for n, why in c.rejected))
        for chain in proved.choices
        for c in chain
    )
    bounds = proved.certificates
    return Unit(group, nest, choices, proved.proofs, kernel, source, recipe, bounds, most)


def request_of(group: Group, settings: Settings) -> Request:
    """Return what planning a group reads: sizes are rounded, so that equal keys plan equally."""
    return Request(
        statements=group.statements,
        program=group.program,
        layouts={n: s.layout for n, s in group.sources.items()},
        output=group.assembled,
        extents={i: int(rounded(n)) for i, n in group.extents.items()},
        entries={
            n: {d: rounded(c) for d, c in s.entries.items()} for n, s in group.sources.items()
        },
        annihilating=group.annihilating,
        exact=group.exact,
        order=settings.order,
        workspace=settings.workspace,
        whole=group.whole if settings.workspace == "auto" and settings.find == "auto" else None,
        patterns=dict(group.patterns),
    )


def _widest(group: Group, nest: Nest, index_dtypes: Mapping[str, str]) -> int:
    """Return the bound on index values, for every extent that shares the kernel.

    Raises
    ------
    PlanError
        If they may leave 64 bits.
    """
    extents = {i: 4 ** (_bucket(n) + 1) for i, n in group.extents.items()}
    most = widest(nest, extents, index_dtypes)
    if most >= 2**63:
        raise PlanError(
            f"index arithmetic of {group.output.name} may leave 64 bits: its values reach "
            f"2**{most.bit_length()}",
            span=group.statements[0].span,
            hint="use smaller extents or factors in subscripts",
        )
    return most


MOST_COPIES = 3
"""Accesses read from copies before a missing find is reported."""


def _planned(
    request: Request, settings: Settings, known: Mapping[str, Proof]
) -> tuple[Nest, Proved]:
    """Plan and prove; what is not proved of patterns, or of merges, is done without."""
    from sparsedsl.find.choose import prove_nest

    find = settings.find if isinstance(settings.find, str) else dict(settings.find)
    failure: PlanError | None = None
    while True:
        try:
            nest = planning.plan(request)
            operands = tuple(o for chain in nest.chains for o in chain.operands)
            sizes = planning.sizes_of(request, operands)
            proved = prove_nest(nest, sizes, find, settings.solver_timeout_ms, known)
        except PlanError as error:
            failure = failure or error
            # no find is legal in some operand's own layout: a sorted copy has one
            if request.copying == MOST_COPIES or find != "auto":
                raise failure from None
            request = replace(request, copying=request.copying + 1)
            continue
        if proved is not None:
            return nest, proved if settings.share else replace(proved, parallel=None)
        request = replace(request, patterns={}, whole=request.whole if request.patterns else None)


def _finds_text(choices: object) -> str:
    assert isinstance(choices, tuple)
    found = [f"{c.variable} by {c.algorithm}" for chain in choices for c in chain]
    return ", ".join(found) or "none needed"


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
        indices = {i for s in group.statements for i in _indices(s)}
        if set(settings.order) != indices:
            raise PlanError(
                f"expected order to name the indices {' '.join(sorted(indices))}, found "
                f"{' '.join(settings.order)!r}",
                span=group.statements[0].span,
            )
    if settings.workspace not in ("auto", "dense", "sort"):
        known = "auto, dense or sort"
        hint = "workspace='hash' is not available yet" if settings.workspace == "hash" else None
        raise PlanError(
            f"expected workspace to be {known}, found {settings.workspace!r}", hint=hint
        )
    if not isinstance(settings.find, str):
        names = set(group.sources)
        for name, _ in settings.find:
            if name not in names:
                raise PlanError(
                    f"find names {name!r}, which is no operand; operands are "
                    f"{', '.join(sorted(names))}"
                )


def _indices(statement: ct.Assign) -> set[str]:
    found = {i for s in statement.subscripts for i in s.indices}
    for access in _reads(statement.expression):
        found |= {i for s in access.subscripts for i in s.indices}
    for node in algebra.walk(statement.expression):
        if isinstance(node, ct.IndexValue):
            found |= set(node.index.indices)
    return found
