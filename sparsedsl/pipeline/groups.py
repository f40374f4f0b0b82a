"""The outputs of a program as groups of statements, each ready to plan.

| stage | module | gives |
|---|---|---|
| settle, lift, fuse, split | contraction.versions, .lift, .fuse, .terms | sums at the top |
| take out | contraction.factors | functions of dense operands computed once |
| restate | contraction.implicit | implicit values combined once |
| infer | iteration.infer | the output's layout |

Takes: a contraction program and descriptions of its inputs.  Gives: ``Group`` records, in the
order they run, and the text that identifies the kernel of each.  Invariant: nothing here
depends on stored values or indices, only on layouts, dtypes, extents and entry counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparsedsl.contraction import algebra, text
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.demands import BOUNDS, Demand
from sparsedsl.contraction.expressions import same_value, walk
from sparsedsl.contraction.factors import taken_out
from sparsedsl.contraction.fuse import fused
from sparsedsl.contraction.implicit import restated
from sparsedsl.contraction.lift import lifted as with_sums_lifted
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.contraction.pairs import paired
from sparsedsl.contraction.terms import terms as additive_terms
from sparsedsl.contraction.verify import verify as verify_program
from sparsedsl.contraction.versions import settled, together
from sparsedsl.iteration.infer import ENDLESS, infer_layout
from sparsedsl.iteration.output import levels_of
from sparsedsl.layouts.catalogue import hierarchical
from sparsedsl.layouts.layout import Layout
from sparsedsl.magnitudes import bucket, rounded
from sparsedsl.pipeline.diagonals import along_diagonals
from sparsedsl.pipeline.maps import like, maps
from sparsedsl.pipeline.source import Source


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices a user can force, what the caller of a kernel can do, and where it runs.

    ``share``: the caller gives the range of a loop that threads may share.  ``tune``: the kernel
    is the fastest of those measured, under these settings' own key.  ``portable``: it
    counts on nothing that this processor has and others have not.  ``turn``: the caller copies
    dense operands in the order that the kernel reads.  ``by_rows``: loops stay inside of others
    where they could be one over all entries.  ``calls`` are expected with the same operands.
    """

    order: tuple[str, ...] | None = None
    find: str | tuple[tuple[str, str], ...] = "auto"
    workspace: str = "auto"
    annihilating: bool = True
    solver_timeout_ms: int = 400
    search_limit: int = 4_000
    fastmath: bool = True
    safe: bool = False
    share: bool = True
    tune: bool = False
    portable: bool = False
    turn: bool = True
    by_rows: bool = False
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """The additive statements of one output, ready to plan.

    ``finite`` and ``nonzero`` name the tensors whose stored values must be so for implicit
    zeros to be skipped, ``bounded`` those that must be ``"above"`` minus infinity or
    ``"below"`` infinity for implicit infinities to be; ``exact`` says that this is checked.
    ``layout`` is the one the result is wanted in, ``assembled`` the one the kernel fills;
    ``whole`` is the statement before it was split, if it has no sum.  ``patterns`` pairs
    tensors with others that hold equal index arrays; ``fused`` names the intermediates that are
    computed here and not stored.  The outputs of the groups ``before`` are computed row by row
    in the same loop (``rows``), and not stored either, but for those ``watched``: parts of a sum
    that stays whole where they overflow.

    ``reduced`` gives for each statement of a sparse output the indices of which one without values
    makes what it reduces to the monoid's identity everywhere, where that is not the fill: what no
    loop visits, no kernel stores.

    ``factored``: a factor was moved into a sum, where its products may overflow; where the output
    is not finite it is computed anew (``contraction.lift``).

    ``halved``: the kernel fills the first half of a layout that mirrors it (``symmetry``).

    ``mapped`` names the operands in whose layout the output is, where their values are mapped as
    they lie (``runtime.mapped``); the kernel serves where an entry becomes the fill.

    The same pass computes the dense outputs of the groups ``beside``, of which so many come
    ``ahead`` (``passes``).  From ``shared_from`` estimated nanoseconds on a caller has threads
    share a loop; below ``whole_below`` no caller does, however many there are.
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
    before: tuple[Group, ...] = ()
    reduced: tuple[tuple[str, ...], ...] = ()
    watched: tuple[str, ...] = ()
    factored: bool = False
    halved: bool = False
    mapped: tuple[str, ...] = ()
    beside: tuple[Group, ...] = ()
    ahead: int = 0
    shared_from: float = float("inf")
    whole_below: float = float("inf")

    @property
    def turn(self) -> tuple[Group, ...]:
        """The groups of all outputs of the pass, each as it would be alone, in their order."""
        if not self.beside:
            return (self,)
        never = float("inf")
        own = replace(self, beside=(), ahead=0, shared_from=never, whole_below=never)
        return (*self.beside[: self.ahead], own, *self.beside[self.ahead :])

    @property
    def made(self) -> tuple[str, ...]:
        """The names of the outputs of the pass, in the order they are computed."""
        return tuple(group.output.name for group in self.turn)

    @property
    def checks(self) -> tuple[tuple[str, str], ...]:
        """What must hold of the stored values of which tensors before each call."""
        return tuple(check for check in self._checks() if check[1] not in self.made)

    @property
    def after(self) -> tuple[tuple[str, str], ...]:
        """What must hold of the outputs of the pass, else it was in vain."""
        return tuple(check for check in self._checks() if check[1] in self.made)

    def _checks(self) -> tuple[tuple[str, str], ...]:
        found = [
            check
            for group in self.turn
            for check in (
                *(("finite", name) for name in group.finite),
                *(("nonzero", name) for name in group.nonzero),
                *group.bounded,
            )
        ]
        return tuple(dict.fromkeys(found))

    def constant(self, extents: Mapping[str, int]) -> ct.Scalar | None:
        """Return the value that a sparse output has everywhere because nothing is reduced.

        None where something is, or nothing is the fill.
        """
        if not self.reduced or not all(
            any(extents[index] == 0 for index in indices) for indices in self.reduced
        ):
            return None
        first = self.statements[0].expression
        assert isinstance(first, ct.Reduce)
        return MONOIDS[first.monoid].identity(self.output.dtype)

    @property
    def output(self) -> ct.Tensor:
        """The output the statements compute."""
        return self.program.tensor(self.statements[0].target)


def split(
    program: ct.Program,
    wanted: Mapping[str, Layout | None],
    sources: Mapping[str, Source],
    extents: Mapping[str, int],
    *,
    ieee: bool,
    unusual: frozenset[str] = frozenset(),
    patterns: tuple[tuple[str, str], ...] = (),
    pair: bool = True,
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
    pair:
        Sum products of many tensors pair by pair (``contraction.pairs``) where that pays.
    """
    checked = settled(verify_program(program))
    with_sums = with_sums_lifted(checked, unusual, annihilating=not ieee)
    lifted, moved = with_sums.program, with_sums.moved
    turns = {name: source.turns for name, source in sources.items()}
    rounds = {index: rounded(extent) for index, extent in extents.items()}
    lifted = taken_out(lifted, turns, rounds, unusual, ieee=ieee)
    parts = frozenset[str]()
    if pair:
        stored = {name: max(s.entries.values(), default=1.0) for name, s in sources.items()}
        lifted, parts = paired(lifted, stored, extents, unusual)
    lifted, sources = along_diagonals(lifted, sources, extents)
    lifted, fusions = fused(together(lifted), moved)
    known = dict(sources)
    groups: list[Group] = []
    pending = list(lifted.statements)
    while pending:
        first = pending.pop(0)
        same = [first]
        while pending and pending[0].target == first.target and pending[0].accumulate:
            same.append(pending.pop(0))
        annihilating, _ = _skipped(tuple(same), lifted, ieee, unusual)
        taken = _taken(first, extents)
        instead = restated(tuple(same), lifted, annihilating, taken)
        if instead is not None:
            lifted, statements = instead
            pending = [*statements, *pending]
            continue
        group = _group(lifted, tuple(same), wanted, known, extents, ieee, unusual, patterns)
        if ieee:
            asked = moved & _behind(same, lifted)
            watched = parts & {a.tensor for s in same for a in reads(s.expression)}
            finite = tuple(sorted({*group.finite, *asked, *(watched - unusual)}))
            group = replace(group, finite=finite, watched=tuple(sorted(watched)))
        into = tuple(f.name for f in fusions if f.into == first.target)
        factored = first.target in with_sums.factored
        groups.append(replace(group, fused=into, factored=factored))
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


def _taken(statement: ct.Assign, extents: Mapping[str, int]) -> frozenset[str]:
    """Return the indices known to take a value, where that may make a long output sparse.

    Nothing else may rest on extents: a compiled kernel is called with any, 0 too.
    """
    if all(extents[n] <= ENDLESS for s in statement.subscripts for n in s.indices):
        return frozenset()
    # in a bucket beyond the first no extent is 0
    return frozenset(index for index, extent in extents.items() if bucket(extent))


def _behind(statements: Sequence[ct.Assign], program: ct.Program) -> frozenset[str]:
    """Return the tensors that statements read, and those that these are computed from."""
    found, waiting = set[str](), list(statements)
    while waiting:
        names = {a.tensor for a in reads(waiting.pop().expression)} - found
        found |= names
        waiting += [s for s in program.statements if s.target in names]
    return frozenset(found)


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
    annihilating, asked = _skipped(statements, program, ieee, unusual)
    parts = tuple(p for s in statements for p in additive_terms(s, program, annihilating))
    layouts = {name: source.layout for name, source in sources.items()}
    target = statements[0].target
    layout = wanted.get(target) or infer_layout(parts, program, layouts, annihilating, extents)
    whole = _whole(statements)
    same = like(whole, program, sources)
    if same and target in program.results and not (wanted.get(target) or _is_dense(layout)):
        layout = sources[same[0]].layout
    assembled = layout
    if levels_of(layout) is None:
        assembled = hierarchical(tuple(range(layout.rank)))
    mapped = same if whole is not None and maps(whole, same, layout, program, sources) else ()
    halved = False
    if levels_of(layout) is None and not mapped:
        from sparsedsl.pipeline.symmetry import is_symmetric

        given = statements, program, layout, layouts
        halved = is_symmetric(*given, annihilating=annihilating)
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
        tuple((demand, name) for demand, name in asked if demand in BOUNDS),
        whole,
        patterns,
        reduced=() if _is_dense(assembled) else _reduced(parts, program.tensor(target)),
        halved=halved,
        mapped=mapped,
    )


def _skipped(
    statements: tuple[ct.Assign, ...], program: ct.Program, ieee: bool, unusual: frozenset[str]
) -> tuple[bool, list[tuple[Demand, str]]]:
    """Return whether implicit zeros may be skipped, and what of which tensors that asks."""
    demands = frozenset[tuple[Demand, str]]()
    if not ieee:
        return True, []
    for statement in statements:
        found = algebra.ieee_operands(statement.expression, program)
        if found is None:
            return False, []
        demands |= found
    unasked = {name for _, name in demands} & unusual
    return (False, []) if unasked else (True, sorted(demands))


def _reduced(parts: tuple[ct.Assign, ...], output: ct.Tensor) -> tuple[tuple[str, ...], ...]:
    """Return the indices each statement reduces over, if all do and start from another value."""
    found: list[tuple[str, ...]] = []
    for part in parts:
        if not isinstance(part.expression, ct.Reduce):
            return ()
        identity = MONOIDS[part.expression.monoid].identity(output.dtype)
        if same_value(identity, output.fill):
            return ()
        found.append(part.expression.indices)
    return tuple(found)


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
    dtypes = dict.fromkeys(layout.functions, index_dtype(group))
    return Source(layout, shape, entries, dtypes)


def index_dtype(group: Group) -> str:
    """Return the index dtype of an output: the widest that its operands use."""
    used = {a.tensor for s in group.statements for a in reads(s.expression)}
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
        accesses = [a for s in group.statements for a in reads(s.expression)]
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


def reads(expression: ct.Expression) -> list[ct.Access | ct.Stored]:
    """Return the accesses of an expression, patterns included, left to right."""
    return [e for e in walk(expression) if isinstance(e, ct.Access | ct.Stored)]


def describe(group: Group, settings: Settings) -> str:
    """Return the text that identifies a group's kernel: everything the plan depends on."""
    if group.beside:
        together = [describe(each, settings) for each in group.turn]
        ends = group.shared_from, group.whole_below
        return "\n".join([*together, f"one pass {group.ahead} {ends}"])
    lines = [describe(before, settings) for before in group.before]
    lines += [text.statement_text(s) for s in group.statements]
    used = sorted({a.tensor for s in group.statements for a in reads(s.expression)})
    for name in used:
        tensor, source = group.program.tensor(name), group.sources[name]
        sizes = ",".join(f"{d}~{bucket(n)}" for d, n in sorted(source.entries.items()))
        lengths = "".join(f" {d} {n!r}" for d, n in sorted(source.lengths.items()))
        uneven = "".join(f" {d} {u!r}" for d, u in sorted(source.uneven.items()))
        dtypes = ",".join(f"{a}:{t}" for a, t in sorted(source.index_dtypes.items()))
        lines.append(f"{tensor!r} | {source.layout.key} | {sizes}{lengths}{uneven} | {dtypes}")
    output = group.output
    lines.append(f"{output!r} | {group.assembled.key} | {index_dtype(group)}")
    lines.append(",".join(f"{i}~{bucket(n)}" for i, n in sorted(group.extents.items())))
    demands = f"{group.finite} {group.nonzero} {group.bounded}"
    lines.append(f"{settings!r} {group.annihilating} {group.exact} {demands} {group.patterns}")
    lines += ["one half"] * group.halved
    return "\n".join(lines)


def limits(group: Group, *, grows: int, narrow: bool) -> dict[str, int]:
    """Return, of each index, the least extent that is too large for a kernel planned for a group.

    Index values stay in 64 bits where extents are ``grows`` powers of four beyond those planned.
    ``narrow``: coordinates of the output are stored in 32 bits.
    """
    every = [each for one in group.turn for each in (*one.before, one)]
    extents = {i: n for each in every for i, n in each.extents.items()}
    found = {i: 2 ** (2 * (bucket(n) + grows) + 1) for i, n in extents.items()}
    if narrow:
        for subscript in group.statements[0].subscripts:
            if subscript.name in found:
                found[subscript.name] = min(found[subscript.name], 2**31)
    return found
