"""Lower the nests of several outputs to one loop over rows, of which the last output is kept.

Takes: proved nests, each of which gives later ones a row.  Gives: a kernel.  Invariant: an
intermediate has room for its longest row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparsedsl.contraction import nodes as ct
from sparsedsl.errors import PlanError
from sparsedsl.find.parallel import Shared
from sparsedsl.find.prove import Proved
from sparsedsl.iteration.nodes import Nest, Scan, with_ordering
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops import rows
from sparsedsl.loops.nodes import INT, IntParam, Param, Var
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering.counting import counting_row
from sparsedsl.lowering.nest import Lowered, Room, lower
from sparsedsl.lowering.once import stores_each_once
from sparsedsl.spf import terms


@dataclass(frozen=True, slots=True)
class Part:
    """What lowering one nest takes; see ``lowering.nest.lower``."""

    proved: Proved
    program: ct.Program
    index_dtypes: Mapping[str, str]
    output_index_dtype: str
    widest: float

    @property
    def nest(self) -> Nest:
        """The nest to lower."""
        return self.proved.nest

    def lowered(self, notes: tuple[str, ...] = (), room: Room = "counted") -> Lowered:
        """Return its kernel alone."""
        return lower(
            self.proved,
            self.program,
            self.index_dtypes,
            self.output_index_dtype,
            self.widest,
            notes,
            room=room,
        )


def lower_rows(parts: Sequence[Part], notes: tuple[str, ...]) -> Lowered:
    """Return the kernel of the last part, in whose turns the others are computed.

    Raises
    ------
    PlanError
        If a part does not loop over rows, or reads an intermediate at another row.
    """
    # two versions of a nest, one for whole blocks, are no loop over rows
    *before, last = (
        replace(p, proved=replace(p.proved, whole=None, parallel=_outermost(p.proved.parallel)))
        for p in parts
    )
    _check_searches(parts, {p.nest.output.name for p in before})
    found: list[rows.Rows] = []
    params: dict[str, Param] = {}
    for part in before:
        lowered, row = part.lowered(room="row"), row_of(part.nest)
        held = _held(part.nest, lowered.sink)
        found.append(rows.Rows(lowered.kernel.body, row, held, counting_row(row)))
        params |= {p.name: p for p in lowered.kernel.params}
    kept = _kept(last, notes)
    found.append(rows.Rows(kept.kernel.body, row_of(last.nest), None))
    params |= {p.name: p for p in kept.kernel.params}
    local = {f"{p.nest.output.name}_{a}" for p in before for a in p.nest.layout.arrays}
    given = [p for p in params.values() if p.name not in local]
    body = rows.join(found, [p.name for p in given])
    if body is None:
        raise PlanError(f"{last.nest.output.name} does not read one row in a turn")
    # arrays first, as in a kernel of one nest
    given.sort(key=lambda p: isinstance(p, IntParam))
    kernel = replace(kept.kernel, params=tuple(given), body=body)
    return replace(kept, kernel=kernel, shared=_shared(kept.shared, parts, local))


ANEW = frozenset({"linear", "binary", "merge", "gallop"})
"""Searches that begin anew in every range; others know positions, which rows here share."""


def _check_searches(parts: Sequence[Part], held: set[str]) -> None:
    """Refuse searches of a row that is held that remember what positions of other rows hold."""
    for part in parts:
        for chain, choices in zip(part.nest.chains, part.proved.choices, strict=True):
            searched = {d: o.tensor.name for o in chain.operands for d in o.dims}
            for choice in choices:
                if searched[choice.variable] in held and choice.algorithm not in ANEW:
                    raise PlanError(
                        f"rows of {searched[choice.variable]} are searched by {choice.algorithm}"
                    )


def _kept(last: Part, notes: tuple[str, ...]) -> Lowered:
    """Lower the part whose output is kept; entries cannot be counted before the rows are known."""
    assembly = last.nest.assembly
    if assembly.kind == "dense":
        return last.lowered(notes)
    # they write beyond the entries there will be, or ask how many there may be
    if assembly.ordering in ("list", "run", "blocks"):
        nest = with_ordering(last.nest, "bitmap")
        last = replace(last, proved=replace(last.proved, nest=nest))
    return last.lowered(notes, "grown")


def _outermost(shared: Shared | None) -> Shared | None:
    """Return the loop that threads may share if it is the outermost: rows are made inside of it."""
    return None if shared is None or shared.place else shared


def _shared(shared: Shared | None, parts: Sequence[Part], local: set[str]) -> Shared | None:
    """Return the loop that threads may share; a row that is held says nothing of its work."""
    if shared is None or shared.pointer not in local:
        return shared
    known = [p.proved.parallel.pointer for p in parts if p.proved.parallel is not None]
    return replace(shared, pointer=next((name for name in known if name not in local), ""))


def row_of(nest: Nest) -> str:
    """Return the index that the outermost loops of all chains step over its whole extent.

    Raises
    ------
    PlanError
        If there is none.
    """
    walks = [nest.prefix + chain.steps for chain in nest.chains]
    first = {steps[0] if steps else None for steps in walks}
    match list(first):
        case [Scan(variable, lows, highs, None)] if (lows, highs) == (
            (terms.const(0),),
            (terms.var(extent_name(variable)),),
        ):
            return variable
        case _:
            raise PlanError(f"the loops of {nest.output.name} do not step over rows")


def _held(nest: Nest, sink: dl.Sink) -> rows.Held:
    value = sink.array(nest.assembly.value)
    if nest.assembly.kind != "dense":
        pointer = sink.array(sink.last.pointer or "")
        count = dl.counter(sink, len(sink.assembly.levels) - 1).name
        arrays = tuple(p.name for p in dl.row_params(sink))
        return rows.Held(sink.name, value, sink.dtype, arrays, pointer, count, sink.capacity.name)
    initial = None if stores_each_once(nest) else dl.constant(nest.initial, sink.dtype)
    names = [nest.coordinates[m] for m in nest.assembly.modes]
    arrays = (value,)
    extent = Var(extent_name(names[1]), INT) if len(names) == 2 else None
    return rows.Held(sink.name, value, sink.dtype, arrays, extent=extent, initial=initial)
