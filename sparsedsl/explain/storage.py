"""How many bytes a kernel's copies and workspaces take, from extents and entry counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from sparsedsl.groups import Group
from sparsedsl.iteration.counted import loaded_from
from sparsedsl.iteration.nodes import Conversion
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops.nodes import INT, Allocate, Binary, Cast, Const, Expr, Var
from sparsedsl.loops.text import expression
from sparsedsl.loops.walk import statements
from sparsedsl.lowering.hashed import LEAST
from sparsedsl.pipeline import Unit


def copied_bytes(conversion: Conversion, group: Group) -> int:
    """Return about how many bytes a copy takes: its values and a coordinate a mode each."""
    source = group.sources[conversion.source]
    entries = max(source.entries.values(), default=1.0)
    wide = "int64" in source.index_dtypes.values()
    entry = np.dtype(conversion.tensor.dtype).itemsize + len(conversion.order) * (8 if wide else 4)
    return int(entries * entry)


def workspaces(unit: Unit) -> Iterator[tuple[str, str, int | None]]:
    """Yield the name, the shape as text and the bytes of what the kernel allocates.

    The bytes are None where the shape depends on the data; those of a hash table are about the
    most that the longest row of the output can take.
    """
    extents = {extent_name(i): n for i, n in unit.group.extents.items()}
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


def _longest(unit: Unit, extents: Mapping[str, int]) -> int:
    """Return about how many entries a hash table has room for: a power of two."""
    nest, most = unit.nest, 0.0
    for chain, array in zip(nest.chains, loaded_from(nest), strict=True):
        holder = next(o for o in chain.operands if array in dict(o.functions).values())
        most += max(unit.group.sources[holder.tensor.name].entries.values(), default=1.0)
    extent = extents[extent_name(nest.coordinates[nest.assembly.modes[-1]])]
    return 1 << max(int(min(most, extent)), LEAST - 1).bit_length()


def _value(node: Expr, known: Mapping[str, int]) -> int | None:
    """Return the value of a length, None where it is not one of the extents alone."""
    match node:
        case Const(value, _):
            return int(value.real)
        case Var(name, _):
            return known.get(name)
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
