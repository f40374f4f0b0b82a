"""How many bytes a kernel's copies and workspaces take, from extents and entry counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from sparsedsl.iteration.counted import loaded_from
from sparsedsl.iteration.nodes import Conversion
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops.nodes import INT, Allocate, Binary, Cast, Const, Expr, Length, Var
from sparsedsl.loops.text import expression
from sparsedsl.loops.walk import statements
from sparsedsl.lowering.hashed import LEAST
from sparsedsl.pipeline.groups import Group
from sparsedsl.pipeline.stages import Unit


def announced_bytes(unit: Unit) -> int:
    """Return the bytes of everything that a kernel takes beside its operands and result."""
    if unit.parts:
        return sum(map(announced_bytes, unit.parts))
    copies = sum(copied_bytes(conversion, unit.group) for conversion in unit.nest.conversions)
    return copies + sum(size or 0 for _, _, size in workspaces(unit))


def copied_bytes(conversion: Conversion, group: Group) -> int:
    """Return about how many bytes a copy takes: its values and a coordinate a mode each.

    What the values of a sparse one were is kept too, to see when they change.
    """
    source = group.sources[conversion.source]
    entries = max(source.entries.values(), default=1.0)
    if conversion.tensor.total:
        return int(entries) * np.dtype(conversion.tensor.dtype).itemsize
    wide = "int64" in source.index_dtypes.values()
    index, value = 8 if wide else 4, np.dtype(conversion.tensor.dtype).itemsize
    pointers = 0 if conversion.thin else source.shape[conversion.order[0]] + 1
    return int(entries * (2 * value + (len(conversion.order) - 1) * index) + pointers * index)


def workspaces(unit: Unit) -> Iterator[tuple[str, str, int | None]]:
    """Yield the name, the shape as text and the bytes of what the kernel allocates.

    The bytes are None where the shape depends on the data; those of a hash table of the output
    are about the most that its longest row can take.
    """
    extents = {extent_name(i): n for i, n in unit.group.extents.items()} | _slots(unit)
    extents |= _lengths(unit)
    if unit.nest.assembly.ordering == "hash" and loaded_from(unit.nest):
        extents[f"{unit.nest.output.name}_entries"] = _longest(unit, extents)
    for statement in statements(unit.kernel.body):
        if isinstance(statement, Allocate):
            shape = ", ".join(expression(s) for s in statement.shape)
            counts = [_value(s, extents) for s in statement.shape]
            dtype = np.dtype("int64" if statement.dtype == INT else statement.dtype)
            size = dtype.itemsize
            for count in counts:
                if count is None:
                    yield statement.array, f"{dtype.name}[{shape}]", None
                    break
                size *= count
            else:
                yield statement.array, f"{dtype.name}[{shape}]", size


def _slots(unit: Unit) -> dict[str, int]:
    """Return how many slots the hash tables of finds have, by the variable that holds it.

    Such a table is of all entries of an operand's dimension, and less than half full.
    """
    hashed = {variable for variable, algorithm, _ in unit.choices if algorithm == "hash"}
    rooms: dict[str, int] = {}
    for nest in (*unit.within, unit.nest):
        for place, chain in enumerate(nest.chains):
            for operand in chain.operands:
                source = unit.group.sources.get(operand.tensor.name)
                for dim, count in () if source is None else source.entries.items():
                    variable = f"{operand.name}_{dim}"
                    if variable in hashed:
                        room = f"{variable}_{place}_room" if place else f"{variable}_room"
                        rooms[room] = 1 << max(int(2 * count) - 1, 15).bit_length()
    return rooms


def _longest(unit: Unit, extents: Mapping[str, int]) -> int:
    """Return about how many entries a hash table has room for: a power of two."""
    nest, most = unit.nest, 0.0
    for chain, array in zip(nest.chains, loaded_from(nest), strict=True):
        holder = next(o for o in chain.operands if array in dict(o.functions).values())
        most += max(unit.group.sources[holder.tensor.name].entries.values(), default=1.0)
    extent = extents[extent_name(nest.coordinates[nest.assembly.modes[-1]])]
    return 1 << max(int(min(most, extent)), LEAST - 1).bit_length()


def _lengths(unit: Unit) -> dict[str, int]:
    """Return the lengths of the arrays of dense operands."""
    operands = [o for chain in unit.nest.chains for o in chain.operands if o.total]
    return {
        _length(o.value.function, axis): extent
        for o in operands
        if o.tensor.name in unit.group.sources
        for axis, extent in enumerate(unit.group.sources[o.tensor.name].shape)
    }


def _length(array: str, axis: int) -> str:
    """Return a name for the length of an array."""
    return f"{array} {axis}"


def _value(node: Expr, known: Mapping[str, int]) -> int | None:
    """Return the value of a length, None where it is not one of the extents alone."""
    match node:
        case Const(value, _):
            return int(value.real)
        case Var(name, _):
            return known.get(name)
        case Length(array, axis):
            return known.get(_length(array, axis))
        case Cast(operand, _):
            return _value(operand, known)
        case Binary(operator, left, right, _):
            a, b = _value(left, known), _value(right, known)
            return None if a is None or b is None else _combined(operator, a, b)
        case _:
            return None


def _combined(operator: str, a: int, b: int) -> int | None:
    match operator:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "//":
            return a // b
        case ">>":
            return a >> b
        case "<<":
            return a << b
        case "max":
            return max(a, b)
        case "min":
            return min(a, b)
        case _:
            return None


def size_text(count: int) -> str:
    """Return a number of bytes for people.

    >>> size_text(800), size_text(3_200_000)
    ('800 bytes', '3.2 MB')
    """
    size, unit = float(count), "bytes"
    for bigger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, bigger
    return f"{count} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
