"""What users are warned of: copies and workspaces so large that a kernel is slow for their sake.

Takes: a unit.  Gives: a remark, "" where there is nothing to say.  Invariant: the bytes are those
that an explanation tells.
"""

from __future__ import annotations

from sparsedsl.explain.storage import announced_bytes, copied_bytes, size_text, workspaces
from sparsedsl.pipeline.stages import Unit

COSTLY = 2**28
"""Bytes of copies and workspaces from which a kernel warns of them."""


def remark(unit: Unit) -> str:
    """Return what a kernel takes besides its operands and results, where that is much."""
    if announced_bytes(unit) < COSTLY:
        return ""
    made = " and ".join(part for each in unit.turn for part in _parts(each))
    size = size_text(announced_bytes(unit))
    return (
        f"{' and '.join(unit.group.made)} takes {size} besides operands and result: {made}. "
        "explain() says why; a copy of a sparse operand is kept, and not made of one that is "
        "converted before (sd.convert)"
    )


def _parts(unit: Unit) -> list[str]:
    """Return the copies and workspaces of one output, each with its bytes."""
    found = [
        f"a copy of {c.source} in {c.layout.label} ({size_text(copied_bytes(c, unit.group))})"
        for c in unit.nest.conversions
    ]
    sizes = [(name, size) for name, _, size in workspaces(unit) if size is not None]
    found += [f"workspace {name} ({size_text(size)})" for name, size in sizes if size > COSTLY // 8]
    return found
