"""A kernel as a C header and an object file.

Takes: a kernel planned for given layouts and dtypes.  Gives: both files' contents.
Invariant: the function takes what the generated kernel takes, arrays as a pointer and the
length of each axis; nothing is checked, results are written to arrays of the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sparsedsl.aot.module import only_unit, too_large
from sparsedsl.codegen.llvm_object import c_object
from sparsedsl.errors import PlanError
from sparsedsl.loops.nodes import ArrayParam
from sparsedsl.lowered import Lowered
from sparsedsl.pipeline.stages import Unit
from sparsedsl.runtime.outputs import INT32_ENTRIES
from sparsedsl.runtime.recipe import Made

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
    """Return the kernel as a C function ``name``; the header says what its arguments are.

    Raises
    ------
    PlanError
        For a kernel of several loop nests, one that reads copies, one whose result is sorted
        after it, one that tests subscripts as it runs, and one that only Numba can compile.
    """
    unit = only_unit(lowered)
    if unit.checked:
        raise PlanError("the kernel tests subscripts as it runs, and raises errors in Python")
    parameters = _parameters(unit)
    code = c_object(unit.kernel, name, fastmath=lowered.settings.fastmath)
    if code is None:
        raise PlanError(
            "the kernel has operations that Numba compiles, such as functions of your own",
            hint="write the Python module alone",
        )
    lines = [line.replace("*/", "* /") for line in _said(unit)]
    comment = "\n   ".join(lines)
    declared = f"int32_t {name}({', '.join(parameters)});"
    header = f"/* {comment} */\n{_BEFORE}{declared}\n"
    return Native(header, code)


_BEFORE = """#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C"
#endif
"""


def _parameters(unit: Unit) -> list[str]:
    """Return the declarations of the arguments."""
    outputs = {a.name for a in unit.recipe.arguments if a.kind in ("output", "made")}
    shown: list[str] = []
    for param in unit.kernel.params:
        if not isinstance(param, ArrayParam):
            shown.append(f"int64_t {param.name}")
            continue
        if param.dtype not in _C:
            raise PlanError(f"expected values with a type in C, {param.name} has {param.dtype}")
        const = "" if param.name in outputs else "const "
        shown.append(f"{const}{_C[param.dtype]} *{param.name}")
        shown += [f"int64_t {param.name}_{axis}" for axis in range(param.ndim)]
    return [*shown, "int64_t *counts"] if unit.kernel.results else shown


def _said(unit: Unit) -> Iterator[str]:
    """Return what the header says of the function."""
    recipe, params = unit.recipe, unit.kernel.params
    named = {a.kind: p.name for a, p in zip(recipe.arguments, params, strict=True)}
    yield from unit.kernel.notes[:1]
    yield "Each array is followed by the length of each of its axes."
    pairs = zip(recipe.arguments, params, strict=True)
    extents = [f"{p.name} of {a.name}" for a, p in pairs if a.kind == "extent"]
    if extents:
        yield f"The extents of indices: {', '.join(extents)}."
    small = {i: n for i, n in too_large(unit).items() if n < 2**62}
    if small:
        each = ", ".join(f"{i} less than {n}" for i, n in small.items())
        yield f"Extents are not checked.  The integers here need of {each}."
    if "begin" in named:
        yield (
            f"{named['begin']}, {named['end']}: the part of the outermost loop to run; 0 and its "
            "extent for all of it."
        )
    if "split" in named:
        pointer = next(a for a in recipe.arguments if a.kind == "low")
        yield (
            f"{named['low']}, {named['high']}: {pointer.name} of {pointer.tensor}, both.  "
            f"{named['split']}: 0."
        )
    if "output" in named and not recipe.overwritten:
        yield f"{named['output']}: starts at {recipe.initial}."
    if recipe.made:
        yield f"{named['first']}, {named['past']}: 0, and the entries that there is room for."
    if "counted" in named:
        yield f"{named['counted']}: 0, or the entries that there may be, if that is known."
    for argument, param in zip(recipe.arguments, params, strict=True):
        if argument.kind == "guessed":
            yield f"{param.name}: 0, or how many ranges are merged by branches whatever they hold."
    for made in recipe.made:
        yield f"{made.param}: {_length(made, named)}"
        if recipe.shared is not None and recipe.shared.gaps and made.ends and not made.used:
            yield "  Take its running maximum afterwards: rows without entries are left at zero."
    if recipe.results:
        used = ", ".join(f"counts[{k}]" for k in range(1, len(recipe.results)))
        yield (
            f"counts[0]: the room that is needed; where that or another count is above "
            f"{named['past']}, call again with so much.  {used}: the entries written."
        )
        if recipe.narrow:
            yield f"More than {INT32_ENTRIES} entries are not counted right."
    yield "Returns 0, or 1 where memory ran out."


def _length(made: Made, named: dict[str, str]) -> str:
    kind, _, index = made.length.partition(" ")
    length = named["past"] if kind == "room" else f"n_{index}"
    return f"{length} + 1 long, starts with zeros." if made.ends else f"{length} long."
