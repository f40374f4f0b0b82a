"""How long a call of what was planned is expected to take.

Takes: nests with what they were planned from, and what is known of the tensors.  Gives: ``Spent``.
Invariant: computed when asked for, so that a kernel is compiled and called without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sparsedsl.find.predict import predict
from sparsedsl.find.prove import Proved
from sparsedsl.find.rates import Spent
from sparsedsl.iteration.chains import sizes_of
from sparsedsl.iteration.copies import with_sizes
from sparsedsl.iteration.cost import Changes, Sizes
from sparsedsl.iteration.nodes import Nest
from sparsedsl.iteration.request import Request
from sparsedsl.pipeline.source import Source


def known_sizes(request: Request, nest: Nest, sources: Mapping[str, Source]) -> Sizes:
    """Return what is known of the sizes of a nest's operands, and how their ranges change."""
    operands = tuple(o for chain in nest.chains for o in chain.operands)
    changes: dict[str, Changes] = {}
    for operand in operands:
        source = sources.get(operand.tensor.name)
        if source is not None and source.layout == operand.layout:
            dims = zip(operand.layout.relation.inputs, operand.dims, strict=True)
            changes |= {name: source.changes[d] for d, name in dims if d in source.changes}
    return replace(sizes_of(with_sizes(request, nest), operands), changes=changes)


def predicted(
    planned: Iterable[tuple[Request, Proved]],
    sources: Mapping[str, Source],
    warm: frozenset[str] = frozenset(),
) -> Spent:
    """Return what nests spend one after another; ``warm`` tensors are read with another output."""
    spent = Spent()
    for request, proved in planned:
        sizes = known_sizes(request, proved.nest, sources)
        spent = spent.plus(predict(proved.nest, proved.choices, sizes, warm))
    return spent


def in_one_call(
    every: Iterable[tuple[Iterable[tuple[Request, Proved]], Mapping[str, Source]]],
) -> Spent:
    """Return what a call spends that computes several outputs: what one reads, the next reads too.

    >>> in_one_call(()).counts
    {'call': 1.0}
    """
    spent, warm = Spent(), frozenset[str]()
    for planned, sources in every:
        spent = spent.plus(predicted(planned, sources, warm))
        warm |= sources.keys()
    return Spent({**spent.counts, "call": 1.0})
