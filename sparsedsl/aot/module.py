"""A kernel as a Python module of its own, which needs NumPy and Numba alone.

Takes: a kernel planned for given layouts and dtypes.  Gives: the text of a module with a
function ``compute``.  Invariant: the module holds the generated kernel unchanged, and around it
only what its recipe says: which arrays go in, how long the outputs are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import isfinite

from sparsedsl.aot.regimes import Regime, compared, planned_length, regimes
from sparsedsl.contraction.extent import index_extents
from sparsedsl.errors import PlanError
from sparsedsl.layouts.layout import Layout
from sparsedsl.loops.nodes import ArrayParam
from sparsedsl.lowered import Lowered
from sparsedsl.pipeline.groups import Settings, limits
from sparsedsl.pipeline.stages import Unit, compile_group
from sparsedsl.runtime.outputs import INT32_ENTRIES
from sparsedsl.runtime.recipe import Argument, Recipe
from sparsedsl.spf import terms

_PARTS = '''

def _part(x, name, dtype):
    """An array of an operand: an attribute, an item, or the operand itself if it is an array."""
    if isinstance(x, np.ndarray):
        part = x
    else:
        part = np.asarray(x[name] if isinstance(x, dict) else getattr(x, name))
    if not np.can_cast(part.dtype, dtype, "same_kind"):
        raise TypeError(f"expected {name} of dtype {dtype}, found {part.dtype}")
    made = np.ascontiguousarray(part, dtype=dtype)
    if made.dtype.kind in "iu" and made.dtype != part.dtype and not np.array_equal(made, part):
        raise ValueError(f"expected {name} of dtype {dtype}, found {part.dtype} with larger values")
    return made


def _shape(x):
    return tuple(x["shape"] if isinstance(x, dict) else x.shape)
'''


_LENGTH = '''

def _length(x, starts, stored):
    """The mean length of the ranges of an operand."""
    parts = [x[n] if isinstance(x, dict) else getattr(x, n) for n in (starts, stored)]
    return len(parts[1]) / max(len(parts[0]) - 1, 1)
'''

_DECORATED = "@njit("

_OWN_IMPORT = re.compile(r"^from sparsedsl\.\S+ import (\([^)]*\)|.*)\n", re.MULTILINE)


def module_text(lowered: Lowered) -> str:
    """Return a module with a function ``compute`` of the kernel's operands.

    Operands are NumPy arrays where dense; else scipy's sparse arrays of the layout, or dicts
    from ``"shape"`` and the names of the layout's arrays.  A dense result is an array, a sparse
    one a dict of the same kind.  Where two operands are searched in one another there are several
    kernels, of which ``compute`` takes the one planned for ranges of about such lengths.  What
    index arrays hold is trusted; that extents, indices and counts fit in the integers of the
    kernel is checked.

    Raises
    ------
    PlanError
        For a kernel of several loop nests, one that reads a copy in another layout, or one
        whose result is sorted after the kernel: choose layouts or an order that need none.
    """
    unit = only_unit(lowered)
    title = " ".join(unit.kernel.notes[0].split()) if unit.kernel.notes else "A kernel"
    head = f'"""{title}\n\nCompiled ahead of time; needs NumPy and Numba."""\n'
    versions = regimes(unit, _settings(lowered))
    if any(each.unit.source.count(_DECORATED) != 1 for each in versions):
        versions = (Regime(unit, None),)
    source = _alone(_together([each.unit.source for each in versions]))
    numpy = "" if "import numpy as np" in source else "import numpy as np\n"
    if len(versions) == 1:
        functions = _compute(versions[0].unit, "compute", "kernel")
    else:
        parts = [_compute(v.unit, f"_compute{n}", _numbered(n)) for n, v in enumerate(versions)]
        functions = f"{_LENGTH}\n\n{''.join(parts)}{_choice(unit, versions)}"
    return f"{head}\n{numpy}{source}{_PARTS}\n\n{functions.strip()}\n"


def _compute(unit: Unit, name: str, kernel: str) -> str:
    """Return the function that calls a kernel with the arrays of its operands."""
    lines = [*_operands(unit), *_extents(unit)]
    lines += _dense(unit, kernel) if unit.recipe.kind == "dense" else _sparse(unit, kernel)
    body = "".join(f"    {line}\n" for line in lines)
    return f"def {name}({', '.join(_read(unit))}):\n{body}\n\n"


def _choice(unit: Unit, versions: Sequence[Regime]) -> str:
    """Return the function that takes the version planned for such lengths of ranges."""
    two = compared(unit)
    assert two is not None
    names = ", ".join(_read(unit))
    first, second = (f'_length({x.tensor}, "{x.pointer}", "{x.coordinate}")' for x in two)
    planned = planned_length(unit, two[1]) / planned_length(unit, two[0])
    lines = [f"def compute({names}):", f"    ratio = {second} / max({first}, 1e-9)"]
    for number, version in enumerate(versions):
        own = f"_compute{number}({', '.join(_read(version.unit))})"
        if version.below is None:
            lines.append(f"    return {own}")
        else:
            lines += [f"    if ratio < {version.below * planned:.4g}:", f"        return {own}"]
    return "\n".join([*lines, ""])


def _numbered(number: int) -> str:
    """Return the name of the kernel of a version."""
    return f"kernel{number}" if number else "kernel"


def _together(sources: Sequence[str]) -> str:
    """Return the text of several kernels: their imports once, and each under a name of its own."""
    heads = [source.partition(_DECORATED)[0].splitlines() for source in sources]
    imports = dict.fromkeys(line for head in heads for line in head if line)
    kernels = [
        _DECORATED + source.partition(_DECORATED)[2].replace("def kernel(", f"def {name}(", 1)
        for source, name in zip(sources, map(_numbered, range(len(sources))), strict=True)
    ]
    start = sources[0].partition(_DECORATED)[0] if len(sources) == 1 else _imported(imports)
    return start + "\n\n".join(kernel.rstrip() + "\n" for kernel in kernels)


def _imported(lines: Iterable[str]) -> str:
    return "\n".join([*sorted(lines, key=_order_of), "", "", ""])


def _order_of(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line


def only_unit(lowered: Lowered) -> Unit:
    """Return the one loop nest of a kernel that needs nothing before it or after it.

    It counts on nothing that this processor has and others have not.
    """
    count = sum(len(unit.turn) for unit in lowered.units)
    if count != 1:
        raise PlanError(
            f"expected a kernel of one loop nest, found {count}",
            hint="compile one statement at a time",
        )
    (unit,) = lowered.units
    if unit.group.halved:
        raise PlanError(
            f"the kernel gives one half of {unit.group.output.name}, which the library stores in "
            f"layout {unit.group.layout.label}",
            hint='choose another layout for it, such as "csr"',
        )
    unit = compile_group(unit.group, _settings(lowered), unit.proofs)
    if unit.recipe.copies:
        copied = ", ".join(copy.source for copy in unit.recipe.copies)
        raise PlanError(
            f"the plan reads copies of {copied} in other layouts, which the library makes",
            hint="give these operands another layout",
        )
    if unit.recipe.kind == "stream":
        raise PlanError(
            "the result is sorted by the library after the kernel has run",
            hint="choose another order of loops, or a dense result",
        )
    return unit


def _settings(lowered: Lowered) -> Settings:
    return replace(lowered.settings, portable=True, turn=False)


def _alone(source: str) -> str:
    """The kernel's text with what it imports of this package written out."""
    lines = source.splitlines()
    own = [line for line in lines if line.startswith("from sparsedsl.")]
    if not own:
        return source
    from sparsedsl.codegen import (
        choosing,
        intrinsics,
        llvm_exponential,
        llvm_logarithm,
        llvm_vectors,
        straight,
    )

    start = "from __future__ import annotations\n\n"
    modules = llvm_vectors, llvm_exponential, llvm_logarithm, straight, choosing, intrinsics
    parts = "\n\n".join(inspect.getsource(module).partition(start)[2] for module in modules)
    kept = _OWN_IMPORT.sub("", parts).rstrip().splitlines()
    return "\n".join([*kept, "", "", *(line for line in lines if line not in own), ""])


def _read(unit: Unit) -> list[str]:
    """The operands, in the order of the program."""
    used = {a.tensor for a in unit.recipe.arguments if a.kind in ("array", "size", "mode")}
    for places in _places(unit).values():
        used |= {tensor for tensor, _ in places}
    return [t.name for t in unit.group.program.inputs if t.name in used]


def _places(unit: Unit) -> dict[str, tuple[tuple[str, int], ...]]:
    found: dict[str, tuple[tuple[str, int], ...]] = {}
    inputs = {t.name for t in unit.group.program.inputs}
    for statement in unit.group.statements:
        for index, places in index_extents(statement, unit.group.program).items():
            given = tuple(p for p in places if p[0] in inputs)
            found[index] = (*found.get(index, ()), *given)
    return found


def _operands(unit: Unit) -> Iterator[str]:
    for name in _read(unit):
        yield f"{name}_shape = _shape({name})"
    parts: dict[str, None] = {}
    for argument, param in zip(unit.recipe.arguments, unit.kernel.params, strict=True):
        if argument.kind in ("array", "low", "high"):
            assert isinstance(param, ArrayParam)
            variable = f"{argument.tensor}_{argument.name}"
            line = f'{variable} = _part({argument.tensor}, "{argument.name}", "{param.dtype}")'
            parts[line] = None
    yield from parts


def too_large(unit: Unit) -> dict[str, int]:
    """Return the least extents that the integers of a kernel do not allow for, by index."""
    return limits(unit.group, grows=unit.recipe.grows, narrow=unit.recipe.narrow)


def _extents(unit: Unit) -> Iterator[str]:
    most = too_large(unit)
    for index, places in _places(unit).items():
        if not places:
            raise PlanError(f"no operand gives the extent of '{index}' by itself")
        first, *others = [f"{tensor}_shape[{mode}]" for tensor, mode in places]
        yield f"n_{index} = {first}"
        for other in dict.fromkeys(others):
            if other != first:
                yield f"if {other} != n_{index}:"
                yield f'    raise ValueError("expected equal extents: {first} and {other}")'
        least = most[index]
        yield f"if n_{index} >= {least}:"
        yield f'    raise ValueError(f"expected less than {least} of {index}, found {{n_{index}}}")'


def _dense(unit: Unit, kernel: str) -> Iterator[str]:
    recipe = unit.recipe
    shape = ", ".join(f"n_{recipe.indices[m]}" for m in recipe.places)
    comma = "," if len(recipe.places) == 1 else ""
    output = next(a.name for a in recipe.arguments if a.kind == "output")
    yield f'{output} = np.full(({shape}{comma}), {_number(recipe.initial)}, "{recipe.dtype}")'
    yield f"{kernel}({', '.join(_value(a, unit) for a in recipe.arguments)})"
    order = [recipe.places.index(m) for m in range(len(recipe.places))]
    turned = f".transpose({order})" if order != sorted(order) else ""
    yield f"return {output}{turned}" if recipe.places else f"return {output}[()]"


def _sparse(unit: Unit, kernel: str) -> Iterator[str]:
    recipe = unit.recipe
    arrays = [f"{a.tensor}_{a.name}" for a in recipe.arguments if a.kind == "array"]
    yield f"room = {' + '.join(f'{name}.size' for name in arrays)}"
    yield "while True:"
    for made in recipe.made:
        kind, _, index = made.length.partition(" ")
        length = "room" if kind == "room" else f"n_{index}"
        maker = "zeros" if made.ends else "empty"
        size = f"{length} + 1" if made.ends else length
        yield f'    {made.param} = np.{maker}({size}, "{made.dtype}")'
    yield f"    counts = {kernel}({', '.join(_value(a, unit) for a in recipe.arguments)})"
    yield "    needed = max(counts[0], counts[-1])"
    yield "    if counts[-1] <= room and counts[0] <= room:"
    yield "        break"
    yield "    room = needed"
    if recipe.narrow:
        yield f"if counts[-1] > {INT32_ENTRIES}:"
        yield '    raise ValueError("the result has more entries than its int32 indices count")'
    for made in recipe.made:
        if recipe.shared is not None and recipe.shared.gaps and made.ends and not made.used:
            yield f"np.maximum.accumulate({made.param}, out={made.param})"
    yield f"found = dict(zip({recipe.results!r}, counts))"
    shape = ", ".join(f"n_{i}" for i in recipe.indices)
    yield f'result = {{"shape": ({shape}{"," if len(recipe.indices) == 1 else ""})}}'
    for made in recipe.made:
        cut = f'[: found["{made.used}"]{" + 1" if made.ends else ""}]' if made.used else ""
        yield f'result["{made.array}"] = {made.param}{cut}'
    yield "return result"


def _value(argument: Argument, unit: Unit) -> str:
    match argument.kind:
        case "array" | "low" | "high":
            return f"{argument.tensor}_{argument.name}"
        case "size":
            return _size(argument, unit.group.sources[argument.tensor].layout, unit.recipe)
        case "mode":
            return f"{argument.tensor}_shape[{argument.name}]"
        case "extent":
            return f"n_{argument.name}"
        case "end":
            assert unit.recipe.shared is not None
            return _value(unit.recipe.shared.extent, unit)
        case "begin" | "first" | "counted" | "split" | "guessed":
            return "0"
        case "past":
            return "room"
        case _:
            return argument.name


def _size(argument: Argument, layout: Layout, recipe: Recipe) -> str:
    """A parameter of a layout: an extent, or the length of an array that the kernel takes."""
    if argument.name in layout.extents:
        return f"{argument.tensor}_shape[{layout.extents.index(argument.name)}]"
    wanted = terms.var(argument.name)
    given = {a.name for a in recipe.arguments if a.kind == "array" and a.tensor == argument.tensor}
    for array, axes in layout.lengths.items():
        for axis, length in enumerate(axes):
            if length == wanted and array in given:
                return f"{argument.tensor}_{array}.shape[{axis}]"
    raise PlanError(f"no array gives the size {argument.name} of {argument.tensor}")


def _number(value: complex) -> str:
    if isinstance(value, float) and not isfinite(value):
        return f'float("{value}")'
    return repr(value)
