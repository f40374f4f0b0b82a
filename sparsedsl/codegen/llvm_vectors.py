"""Vectors of which only the first lanes are used, in LLVM's instructions.

Takes: a builder and values of LLVM's.  Gives: values of LLVM's.  Invariant: memory of lanes that
are not used is not touched, and they are zero.  Processors with masks have an instruction for each.
"""

from __future__ import annotations

from collections.abc import Callable
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
    suffix = f"v{lanes}{letter(element)}"
    types = [place.type, _INT, mask.type, kind]
    function = declared(builder, f"llvm.masked.load.{suffix}.p0{suffix}", kind, types)
    return builder.call(function, [place, _INT(bits(element) // 8), mask, ir.Constant(kind, None)])


def loaded_apart(builder: Any, address: Any, count: Any, lanes: int, apart: int) -> Any:
    """Return the first ``count`` of elements so many places apart, from an address on.

    They are taken out of all that lie between the first and the last: a few instructions.
    """
    total = builder.sub(builder.mul(count, _WORD(apart)), _WORD(apart - 1))
    every = loaded(builder, address, used(builder, total, lanes * apart))
    chosen = ir.Constant(ir.VectorType(_INT, lanes), list(range(0, lanes * apart, apart)))
    return builder.shuffle_vector(every, ir.Constant(every.type, ir.Undefined), chosen)


def loaded_through(builder: Any, address: Any, places: Any, mask: Any) -> Any:
    """Return the elements of an array that begins at an address, at the places that a mask says."""
    element, lanes = address.type.pointee, mask.type.count
    kind, wide = ir.VectorType(element, lanes), ir.VectorType(_WORD, lanes)
    if places.type.element != _WORD:
        places = builder.sext(places, wide)
    steps = builder.mul(places, ir.Constant(wide, [bits(element) // 8] * lanes))
    start = broadcast(builder, builder.ptrtoint(address, _WORD), lanes)
    pointers = builder.inttoptr(
        builder.add(start, steps), ir.VectorType(element.as_pointer(), lanes)
    )
    short = letter(element)
    name = f"llvm.masked.gather.v{lanes}{short}.v{lanes}p0{short}"
    function = declared(builder, name, kind, [pointers.type, _INT, mask.type, kind])
    return builder.call(
        function, [pointers, _INT(bits(element) // 8), mask, ir.Constant(kind, None)]
    )


def stored(builder: Any, address: Any, value: Any, mask: Any) -> None:
    """Store the elements of a vector that a mask says, each at its place from an address on."""
    kind = value.type
    place = builder.bitcast(address, kind.as_pointer())
    suffix = f"v{kind.count}{letter(kind.element)}"
    types = [kind, place.type, _INT, mask.type]
    function = declared(builder, f"llvm.masked.store.{suffix}.p0{suffix}", ir.VoidType(), types)
    builder.call(function, [value, place, _INT(bits(kind.element) // 8), mask])


def kept(builder: Any, value: Any, mask: Any, other: Any) -> Any:
    """Return a vector with the lanes that a mask does not say set to ``other``."""
    return builder.select(mask, value, broadcast(builder, other, value.type.count))


def folded(builder: Any, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Return what the elements come to: the halves are combined until one is left."""
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
        value = combine(low, high)
    return builder.extract_element(value, _INT(0))


def extreme(builder: Any, symbol: str, left: Any, right: Any) -> Any:
    """Return the smaller (``<``) or larger (``>``) of floats, or the first that is NaN."""
    better = builder.fcmp_ordered(f"{symbol}=", left, right)
    stays = builder.or_(better, builder.fcmp_unordered("uno", left, left))
    return builder.select(stays, left, right)


def farther(builder: Any, symbol: str, left: Any, right: Any) -> Any:
    """Return the smaller (``<``) or larger (``>``) floats, those on the left where one is NaN.

    x86 has an instruction for this, and not for what is NaN where either is.
    """
    return builder.select(builder.fcmp_ordered(symbol, right, left), right, left)


def selected(builder: Any, condition: Any, yes: Any, no: Any) -> Any:
    """Return one of two scalars, without a branch.

    Floats are taken as ints of the same bits: of floats, processors without masks have LLVM branch.
    """
    kind = yes.type
    is_float = isinstance(kind, ir.FloatType | ir.DoubleType)
    if is_float:
        word = ir.IntType(bits(kind))
        yes, no = builder.bitcast(yes, word), builder.bitcast(no, word)
    found = builder.select(condition, yes, no)
    if isinstance(found, ir.Instruction):
        found.set_metadata("unpredictable", builder.module.add_metadata([]))
    return builder.bitcast(found, kind) if is_float else found


def bits(element: Any) -> int:
    """Return the bits of an element."""
    if isinstance(element, ir.IntType):
        return element.width
    return 64 if isinstance(element, ir.DoubleType) else 32


def letter(element: Any) -> str:
    """Return what LLVM's names call a type."""
    return f"{'i' if isinstance(element, ir.IntType) else 'f'}{bits(element)}"


def declared(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Return a function of LLVM's."""
    module = builder.module
    kind = ir.FunctionType(result, arguments)
    return module.globals.get(name) or ir.Function(module, kind, name)
