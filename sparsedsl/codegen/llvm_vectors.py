"""Vectors of which only the first lanes are used, in LLVM's instructions.

Takes: a builder and values of LLVM's.  Gives: values of LLVM's.  Invariant: memory of lanes that
are not used is not touched, and they are zero.  Processors with masks have an instruction for each.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

_WORD, _INT = ir.IntType(64), ir.IntType(32)


def used(builder: Any, count: Any, lanes: int) -> Any:
    """Return which lanes are among the first ``count``, an int64 that may be negative."""
    numbers = ir.Constant(ir.VectorType(_WORD, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, broadcast(builder, count, lanes))


def broadcast(builder: Any, value: Any, lanes: int) -> Any:
    """Return a vector of so many times one value."""
    kind = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _INT(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_INT, lanes), None))


def loaded(builder: Any, address: Any, mask: Any) -> Any:
    """Return the neighbouring elements from an address on that a mask says."""
    element, lanes = address.type.pointee, mask.type.count
    kind = ir.VectorType(element, lanes)
    place = builder.bitcast(address, kind.as_pointer())
    suffix = f"v{lanes}{_letter(element)}"
    types = [place.type, _INT, mask.type, kind]
    function = _declared(builder, f"llvm.masked.load.{suffix}.p0{suffix}", kind, types)
    return builder.call(function, [place, _INT(_width(element)), mask, ir.Constant(kind, None)])


def loaded_through(builder: Any, address: Any, places: Any, mask: Any) -> Any:
    """Return the elements of an array that begins at an address, at the places that a mask says."""
    element, lanes = address.type.pointee, mask.type.count
    kind, wide = ir.VectorType(element, lanes), ir.VectorType(_WORD, lanes)
    if places.type.element != _WORD:
        places = builder.sext(places, wide)
    steps = builder.mul(places, ir.Constant(wide, [_width(element)] * lanes))
    start = broadcast(builder, builder.ptrtoint(address, _WORD), lanes)
    pointers = builder.inttoptr(
        builder.add(start, steps), ir.VectorType(element.as_pointer(), lanes)
    )
    letter = _letter(element)
    name = f"llvm.masked.gather.v{lanes}{letter}.v{lanes}p0{letter}"
    function = _declared(builder, name, kind, [pointers.type, _INT, mask.type, kind])
    return builder.call(function, [pointers, _INT(_width(element)), mask, ir.Constant(kind, None)])


def kept(builder: Any, value: Any, mask: Any) -> Any:
    """Return a vector with the lanes that a mask does not say set to zero."""
    return builder.select(mask, value, ir.Constant(value.type, None))


def sum_of(builder: Any, value: Any, fast: tuple[str, ...] = ()) -> Any:
    """Return the sum of the elements: the halves are added until one is left.

    ``fast`` are LLVM's names of what the additions may do.
    """
    count = value.type.count
    while count > 1:
        count //= 2
        low, high = (
            builder.shuffle_vector(
                value,
                ir.Constant(value.type, ir.Undefined),
                ir.Constant(ir.VectorType(_INT, count), list(range(start, start + count))),
            )
            for start in (0, count)
        )
        value = builder.fadd(low, high, flags=fast)
    return builder.extract_element(value, _INT(0))


def _width(element: Any) -> int:
    """Return the bytes of an element."""
    if isinstance(element, ir.IntType):
        return element.width // 8
    return 8 if isinstance(element, ir.DoubleType) else 4


def _letter(element: Any) -> str:
    """Return what LLVM's names call a type."""
    return f"{'i' if isinstance(element, ir.IntType) else 'f'}{8 * _width(element)}"


def _declared(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    module = builder.module
    kind = ir.FunctionType(result, arguments)
    return module.globals.get(name) or ir.Function(module, kind, name)
