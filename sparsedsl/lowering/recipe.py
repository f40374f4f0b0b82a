"""The recipe of a lowered kernel: how its caller finds each argument and each result."""

from __future__ import annotations

from collections.abc import Sequence

from sparsedsl.contraction.demands import BOUNDS
from sparsedsl.iteration.nodes import Nest, Operand
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops.nodes import Allocate, Kernel
from sparsedsl.loops.walk import statements
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering import pieces
from sparsedsl.lowering.even import guessed
from sparsedsl.lowering.nest import Lowered
from sparsedsl.lowering.once import stores_each_once
from sparsedsl.runtime.recipe import Argument, Copy, Made, Recipe, Share
from sparsedsl.spf import terms

_OF_OUTPUTS = ("output", "made", "first", "past", "counted")
"""Arguments that are an output's own."""


def recipe_of(
    lowered: Lowered,
    nest: Nest,
    kernel: Kernel,
    checks: Sequence[tuple[str, str]],
    nanoseconds: float,
    others: tuple[Nest, ...] = (),
    sides: Sequence[tuple[Recipe, str]] = (),
    *,
    grows: int,
) -> Recipe:
    """Return how to call ``kernel``, which computes ``nest``, and the ``others`` too.

    ``checks`` say what is checked at each call of the values of which tensors.  ``sides`` are the
    recipes of the other outputs, each with the name of its array in its layout.  ``nanoseconds``
    and ``grows`` are as the recipe has them.
    """
    sink = lowered.sink
    nests = (*others, nest)
    operands = [o for n in nests for chain in n.chains for o in chain.operands]
    places: tuple[int, ...] = ()
    if nest.assembly.kind == "dense":
        outputs = nest.layout.relation.outputs
        places = tuple(outputs.index(terms.text(a)) for a in nest.layout.value.arguments)
    value = nest.layout.value.function
    made = {m.param for m in _arrays(lowered, nest)}
    monoids = [chain.monoid for chain in nest.chains if chain.monoid is not None]
    output = sink.array(value) if nest.assembly.kind == "dense" else ""
    beside = {
        a.name: Argument("array", side.output, array) if a.kind == "output" else a
        for side, array in sides
        for a in side.arguments
        if a.kind in _OF_OUTPUTS
    }
    return Recipe(
        output=nest.output.name,
        kind=nest.assembly.kind,
        dtype=sink.dtype,
        index_dtype=sink.index_dtype,
        fill=nest.output.fill,
        initial=nest.initial,
        overwritten=lowered.opened or stores_each_once(nest),
        indices=nest.coordinates,
        places=places,
        arguments=tuple(
            beside.get(p.name) or _argument(p.name, operands, output, made, nest, lowered)
            for p in kernel.params
        ),
        copies=tuple(
            dict.fromkeys(
                Copy(c.tensor.name, c.source, c.order, c.thin, c.tensor.total, c.whole)
                for n in nests
                for c in n.conversions
            )
        ),
        made=_arrays(lowered, nest),
        results=lowered.kernel.results,
        combine=monoids[0] if monoids else None,
        finite=tuple(name for fact, name in checks if fact == "finite"),
        nonzero=tuple(name for fact, name in checks if fact == "nonzero"),
        bounded=tuple(check for check in checks if check[0] in BOUNDS),
        shared=_shared(operands, lowered, kernel, output, made, nest),
        nanoseconds=nanoseconds,
        sides=tuple(side for side, _ in sides),
        grows=grows,
    )


def _shared(
    operands: list[Operand],
    lowered: Lowered,
    kernel: Kernel,
    output: str,
    made: set[str],
    nest: Nest,
) -> Share | None:
    """Return how a caller shares the loop; the extent and the pointer are arguments like others."""
    shared = lowered.shared
    if shared is None:
        return None
    extent, pointer, split = (
        _argument(name, operands, output, made, nest, lowered) if name else None
        for name in (shared.parameter, shared.pointer, shared.split)
    )
    assert extent is not None
    prepares = any(isinstance(s, Allocate) for s in statements(kernel.body))
    again = shared.place > 0
    return Share(extent, pointer, shared.apart, prepares, lowered.gaps, again, split)


def _argument(
    name: str, operands: list[Operand], output: str, made: set[str], nest: Nest, lowered: Lowered
) -> Argument:
    if lowered.shared is not None:
        if name == pieces.begin(lowered.shared):
            return Argument("begin", "", "")
        if name == pieces.end(lowered.shared):
            return Argument("end", "", "")
        if lowered.shared.split and name == pieces.ended(lowered.shared):
            return Argument("split", "", "")
        for kind, part in (("low", pieces.first_of), ("high", pieces.past_of)):
            if lowered.shared.split and name == part(lowered.shared):
                whole = lowered.shared.pointer
                pointer = _argument(whole, operands, output, made, nest, lowered)
                return Argument(kind, pointer.tensor, pointer.name)
    if lowered.sink.pieced and name in (own := [v.name for v in lowered.sink.piece]):
        return Argument(("first", "past")[own.index(name)], nest.output.name, name)
    if lowered.sink.pieced and name == lowered.sink.counted_before.name:
        return Argument("counted", nest.output.name, name)
    if name in map(guessed, operands):
        return Argument("guessed", "", "")
    if name == output:
        return Argument("output", nest.output.name, name)
    if name in made:
        return Argument("made", nest.output.name, name)
    for operand in operands:
        for own, used in operand.functions:
            if used == name:
                return Argument("array", operand.tensor.name, own)
    for operand in operands:
        for mode, subscript in enumerate(operand.access.subscripts):
            index = subscript.name
            if index is not None and extent_name(index) == name:
                return Argument("extent", "", index)
            if index is None and name == f"n_{operand.tensor.name}_{mode}":
                return Argument("mode", operand.tensor.name, str(mode))
        for own, used in operand.parameters:
            if used == name and own in operand.layout.sizes:
                return Argument("size", operand.tensor.name, own)
    return Argument("extent", "", name.removeprefix("n_"))


def _arrays(lowered: Lowered, nest: Nest) -> tuple[Made, ...]:
    """Return the arrays the caller makes for a sparse output, and how long each is."""
    sink = lowered.sink
    match nest.assembly.kind:
        case "dense":
            return ()
        case "stream":
            names = [p.name for p in dl.stream_params(sink)]
            dtypes = [p.dtype for p in dl.stream_params(sink)]
            return tuple(Made(n, n, d, "", "room") for n, d in zip(names, dtypes, strict=True))
        case _:
            pass
    found: list[Made] = []
    parents, index = "", ""
    for place, level in enumerate(nest.assembly.levels):
        if level.dense:
            index = nest.coordinates[level.coordinates[0][1]]
            continue
        own = dl.counter(sink, place).name
        for array, _ in level.coordinates:
            found.append(Made(array, sink.array(array), sink.index_dtype, own, "room"))
        if level.pointer is not None:
            name = sink.array(level.pointer)
            length = f"extent {index}" if not parents else "room"
            covered = lowered.visited and not parents
            found.append(
                Made(level.pointer, name, sink.index_dtype, parents, length, True, covered)
            )
        parents = own
    value = nest.assembly.value
    found.append(Made(value, sink.array(value), sink.dtype, parents, "room"))
    return tuple(found)
