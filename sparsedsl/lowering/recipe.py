"""The recipe of a lowered kernel: how its caller finds each argument and each result."""

from __future__ import annotations

from sparsedsl.iteration.nodes import Nest, Operand
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops.nodes import Kernel
from sparsedsl.lowering.deliver import counter
from sparsedsl.lowering.nest import Lowered
from sparsedsl.runtime.recipe import Argument, Copy, Level, Recipe
from sparsedsl.spf import terms


def recipe_of(
    lowered: Lowered, nest: Nest, kernel: Kernel, finite: tuple[str, ...], nonzero: tuple[str, ...]
) -> Recipe:
    """Return how to call ``kernel``, which computes ``nest``.

    ``finite`` and ``nonzero`` name the tensors whose values are checked at each call.
    """
    sink = lowered.sink
    operands = [o for chain in nest.chains for o in chain.operands]
    places: tuple[int, ...] = ()
    if nest.assembly.kind == "dense":
        outputs = nest.layout.relation.outputs
        places = tuple(outputs.index(terms.text(a)) for a in nest.layout.value.arguments)
    value = nest.layout.value.function
    monoids = [chain.monoid for chain in nest.chains if chain.monoid is not None]
    output = sink.array(value) if nest.assembly.kind == "dense" else ""
    return Recipe(
        output=nest.output.name,
        kind=nest.assembly.kind,
        dtype=sink.dtype,
        index_dtype=sink.index_dtype,
        fill=nest.output.fill,
        initial=nest.initial,
        indices=nest.coordinates,
        places=places,
        arguments=tuple(_argument(p.name, operands, output, nest) for p in kernel.params),
        copies=tuple(Copy(c.tensor.name, c.source, c.order) for c in nest.conversions),
        levels=_levels(lowered, nest),
        value=(value, sink.array(value)),
        results=kernel.results,
        combine=monoids[0] if monoids else None,
        finite=finite,
        nonzero=nonzero,
    )


def _argument(name: str, operands: list[Operand], output: str, nest: Nest) -> Argument:
    if name == output:
        return Argument("output", nest.output.name, name)
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


def _levels(lowered: Lowered, nest: Nest) -> tuple[Level, ...]:
    sink = lowered.sink
    if nest.assembly.kind not in ("append", "workspace"):
        return ()
    found: list[Level] = []
    parents = ""
    for place, level in enumerate(nest.assembly.levels):
        if level.dense:
            continue
        pointer = None
        if level.pointer is not None:
            pointer = (level.pointer, sink.array(level.pointer))
        coordinates = tuple((a, sink.array(a)) for a, _ in level.coordinates)
        found.append(Level(counter(sink, place).name, coordinates, pointer, parents))
        parents = counter(sink, place).name
    return tuple(found)
