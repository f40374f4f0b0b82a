"""Free slots that a conversion fills behind the entries of each row.

Takes: a request and a dim of slots that begin at 0 in each row.  Gives: loops.  Invariant: with
the entries of the row they write every element of the array's row, so that it need not be filled
before.
"""

from __future__ import annotations

from collections.abc import Mapping

from sparsedsl.conversion.request import Request
from sparsedsl.conversion.stream import constant
from sparsedsl.conversion.target import Level
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Expr, For
from sparsedsl.spf import terms as t


def padded(request: Request, level: Level, read: Reader) -> Mapping[str, For]:
    """Arrays ``a(i, s)`` and the loops that fill them from the number of ``level`` on.

    They hold the fill, or the parameter ``pad_...``; the loops are for the end of row ``i``, which
    is the first of ``level.columns``.  Arrays of any other form are left out.
    """
    target = request.target
    value = target.layout.value
    slots = value.arguments[1:] == (t.var(level.name),)
    if level.kind != "slots" or target.marks or not slots:
        return {}
    row = read(value.arguments[0])
    if row != read(level.columns[0]):
        return {}
    made: dict[str, For] = {}
    slot, number = lb.ivar("slot"), lb.ivar(f"t_{level.name}")
    keys = [call for call, _ in level.keys if call.function not in target.apart]
    for call in (*keys, value):
        size = target.layout.lengths[call.function][0]
        whole = any(size == t.var(name) for name in target.layout.extents)
        if call.arguments != value.arguments or not whole:
            continue
        array = f"t_{call.function}"
        held: Expr = lb.ivar(f"pad_{call.function}")
        if call == value:
            held = constant(request.fill, request.value)
        store = lb.store(array, [row, slot], held)
        made[call.function] = For(slot, number, lb.length(array, 1), (store,))
    return made
