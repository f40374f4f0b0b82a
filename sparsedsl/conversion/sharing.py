"""Arrays that a conversion need not write: the source has them.

Takes: two layouts and a plan.  Gives: pairs of arrays.  Invariant: element ``q`` of both is the
same for every entry, by the definitions of the two layouts.
"""

from __future__ import annotations

from collections.abc import Mapping

from sparsedsl.conversion.order import coordinate
from sparsedsl.conversion.plan import Plan
from sparsedsl.conversion.target import Target
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import packed
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Term


def shared(
    source: Layout, target: Target, plan: Plan, dtypes: Mapping[str, str], index: str
) -> Mapping[str, str]:
    """Return which arrays of the target hold, entry by entry, what one of the source holds.

    So it is where entries are numbered as they come, one after another in the source too.
    ``dtypes`` are those of the source, ``index`` that of the target's index arrays.
    """
    if plan.strategy != "sequence" or plan.sorts or not plan.distinct or not packed(source):
        return {}
    (part,), (place,) = source.structures, source.value.arguments
    held: dict[Term, str] = {}
    for mode, name in enumerate(source.relation.outputs):
        for function in source.functions:
            if part.definition(name) == t.uf(function, place):
                held[t.var(coordinate(mode))] = function
    found: dict[str, str] = {}
    for level in target.levels[-1:]:
        for call, term in level.keys:
            name = held.get(term)
            same = name is not None and dtypes[name] == index
            if name is not None and same and call.arguments == (t.var(level.name),):
                found[call.function] = name
        value = target.layout.value
        if value.arguments == (t.var(level.name),):
            found[value.function] = source.value.function
    return found
