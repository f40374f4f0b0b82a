"""Statements that map stored values as they lie: the result has the layout of its operands.

Takes: a statement and descriptions of inputs.  Gives: the operands, and whether their values are
mapped without a kernel.  Invariant: where nothing is stored the result is its fill.
"""

from __future__ import annotations

from collections.abc import Mapping

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.pointwise import by_library, mapped
from sparsedsl.iteration.output import levels_of
from sparsedsl.layouts.layout import Layout
from sparsedsl.pipeline.source import Source
from sparsedsl.runtime.aligned import rows_of


def like(
    statement: ct.Assign | None, program: ct.Program, sources: Mapping[str, Source]
) -> tuple[str, ...]:
    """Return the inputs whose values a statement maps, places without entries to the fill too.

    () where there are none.  They have one layout, several one whose rows are told by keys; what
    adds up entries is no map of them.
    """
    names = () if statement is None else mapped(statement)
    if statement is None or not names or not {*names} <= {t.name for t in program.inputs}:
        return ()
    first, kept = sources[names[0]], program.tensor(statement.target).fill
    if len(names) > 1 and (rows_of(first.layout) is None or levels_of(first.layout) is not None):
        return ()
    for name in names:
        tensor, source = program.tensor(name), sources[name]
        same = tensor.total or (tensor.fill == kept and bool(kept == kept))
        if source.implied or source.layout != first.layout or source.layout.repeats or not same:
            return ()
    return names


def maps(
    statement: ct.Assign,
    operands: tuple[str, ...],
    layout: Layout,
    program: ct.Program,
    sources: Mapping[str, Source],
) -> bool:
    """Whether to map values where they lie: they need not be put in order, or a kernel is slower.

    A kernel calls a library for one value after the other, NumPy has instructions for several.
    """
    like = {sources[name].layout for name in operands}
    if like != {layout} or statement.target not in program.results:
        return False
    return levels_of(layout) is None or by_library(statement.expression, program)
