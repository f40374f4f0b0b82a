"""A kernel as a C header and an object file.

Takes: a kernel planned for given layouts and dtypes.  Gives: both files' contents.
Invariant: the function takes what the generated kernel takes, arrays as a pointer and the
length of each axis; nothing is checked, nothing is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedsl.aot.module import only_unit
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.object_code import object_code
from sparsedsl.errors import PlanError
from sparsedsl.kernel import Lowered
from sparsedsl.loops.nodes import ArrayParam

_C = {
    **{f"int{n}": f"int{n}_t" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"uint{n}_t" for n in (8, 16, 32, 64)},
    **{"float32": "float", "float64": "double", "bool": "uint8_t"},
}


@dataclass(frozen=True, slots=True)
class Native:
    """The contents of a header and of an object file."""

    header: str
    code: bytes


def native(lowered: Lowered, name: str) -> Native:
    """Return the kernel as a C function ``name``.

    A dense result is accumulated into the array given for it, which starts at the result's
    fill value (0 for sums).

    Raises
    ------
    PlanError
        For a kernel of several loop nests, one that reads copies, or one that allocates.
    """
    unit = only_unit(lowered)
    kinds: list[tuple[str, int]] = []
    shown: list[str] = []
    outputs = {a.name for a in unit.recipe.arguments if a.kind in ("output", "made")}
    for param in unit.kernel.params:
        if not isinstance(param, ArrayParam):
            kinds.append(("int64", -1))
            shown.append(f"int64_t {param.name}")
            continue
        if param.dtype not in _C:
            raise PlanError(f"expected values with a type in C, {param.name} has {param.dtype}")
        kinds.append((param.dtype, param.ndim))
        const = "" if param.name in outputs else "const "
        shown.append(f"{const}{_C[param.dtype]} *{param.name}")
        shown += [f"int64_t {param.name}_{axis}" for axis in range(param.ndim)]
    statement = unit.kernel.notes[0] if unit.kernel.notes else ""
    header = "\n".join(
        (
            f"/* {statement.replace('*/', '* /')}",
            "   Each array is followed by the length of each of its axes.",
            "   begin and end, if there are any: the part of the outermost loop to run, 0 and its",
            "   extent for all of it.  A dense result starts at its fill value. */",
            "#include <stdint.h>",
            "",
            f"void {name}({', '.join(shown)});",
            "",
        )
    )
    return Native(header, object_code(load(unit.source), kinds, name))
