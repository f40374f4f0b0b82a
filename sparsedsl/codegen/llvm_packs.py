"""Elements that a mask keeps, stored one behind the other, in LLVM's instructions.

Takes: a builder and values of LLVM's; a mask is an int64 with a bit for each element.  Gives:
instructions that store.  Invariant: as many elements are stored as bits are set, and no other
memory is touched.  Elements are moved together in a register and stored under a mask: the
instruction that does both at once takes hundreds of cycles on some processors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from sparsedsl.codegen import llvm_vectors as vectors
from sparsedsl.codegen.processor import packs_bytes

_BIT, _BYTE, _INT, _WORD = (ir.IntType(width) for width in (1, 8, 32, 64))

REGISTER = 512
"""Bits of a register."""


def differing(builder: Any, value: Any, other: Any, count: Any) -> Any:
    """Return the bits of those of the first ``count`` elements that are not ``other``."""
    lanes = value.type.count
    unlike = builder.fcmp_unordered("!=", value, vectors.broadcast(builder, other, lanes))
    kept = builder.and_(unlike, vectors.used(builder, count, lanes))
    return builder.zext(builder.bitcast(kept, ir.IntType(lanes)), _WORD)


def nans(builder: Any, value: Any) -> Any:
    """Return the bits of the elements that are NaN."""
    found = builder.fcmp_unordered("uno", value, value)
    return builder.zext(builder.bitcast(found, ir.IntType(value.type.count)), _WORD)


def lower(builder: Any, value: Any, other: Any, count: Any) -> Any:
    """Return the bits of the first ``count`` indices less than ``other``, a vector or an int64."""
    element, lanes = value.type.element, value.type.count
    if other.type == _WORD:
        bound = other if element == _WORD else builder.trunc(other, element)
        other = vectors.broadcast(builder, bound, lanes)
    less = builder.icmp_signed("<", value, other)
    less = builder.and_(less, vectors.used(builder, count, lanes))
    return builder.zext(builder.bitcast(less, ir.IntType(lanes)), _WORD)


def alike(builder: Any, left: Any, count: Any, right: Any, others: Any) -> Any:
    """Return bit ``8 * i + k`` where the ``i``-th of ``count`` is the ``k``-th of the ``others``.

    Both are vectors of 8 indices, of which a register holds each several times over.  What is not
    among them becomes two numbers that are no indices.
    """
    element = left.type.element
    left = vectors.kept(builder, left, vectors.used(builder, count, 8), element(-1))
    right = vectors.kept(builder, right, vectors.used(builder, others, 8), element(-2))
    lanes = REGISTER // vectors.bits(element)
    turned = _chosen(builder, right, [k % 8 for k in range(lanes)])
    found = _WORD(0)
    for start in range(0, 64, lanes):
        spread = _chosen(builder, left, [(start + k) // 8 for k in range(lanes)])
        equal = builder.icmp_signed("==", spread, turned)
        wide = builder.zext(builder.bitcast(equal, ir.IntType(lanes)), _WORD)
        found = builder.or_(found, builder.shl(wide, _WORD(start)))
    return found


def where_equal(builder: Any, keys: Any, key: Any, yes: Any, no: Any) -> Any:
    """Return elements of ``yes`` where an index of a vector is ``key``, else of ``no``."""
    element = keys.type.element
    sought = key if element == _WORD else builder.trunc(key, element)
    equal = builder.icmp_signed("==", keys, vectors.broadcast(builder, sought, keys.type.count))
    return builder.select(equal, yes, no)


def _chosen(builder: Any, value: Any, places: list[int]) -> Any:
    """Return a vector of the elements at some places of another one."""
    chosen = ir.Constant(ir.VectorType(_INT, len(places)), places)
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), chosen)


def pack(builder: Any, address: Any, value: Any, kept: Any) -> None:
    """Store the kept elements of a vector from an address on, a register at a time."""
    element = value.type.element
    lanes = min(REGISTER // vectors.bits(element), value.type.count)
    for start in range(0, value.type.count, lanes):
        part = _lanes(builder, value, start, lanes)
        mask = _mask(builder, kept, start, lanes)
        count = builder.ctpop(builder.zext(builder.bitcast(mask, ir.IntType(lanes)), _WORD))
        together = _together(builder, part, mask)
        vectors.stored(builder, address, together, vectors.used(builder, count, lanes))
        address = builder.gep(address, [count])


def pack_through(builder: Any, address: Any, source: Any, kept: Any, lanes: int) -> None:
    """Store those of the elements at ``source`` that are kept, converted to those at an address."""
    word = ir.IntType(lanes)
    mask = builder.bitcast(builder.trunc(kept, word), ir.VectorType(_BIT, lanes))
    value = vectors.loaded(builder, source, mask)
    pack(builder, address, _as(builder, value, address.type.pointee), kept)


def pack_numbers(builder: Any, address: Any, first: Any, kept: Any, lanes: int) -> None:
    """Store the numbers from ``first`` on that are kept."""
    element = address.type.pointee
    start = builder.trunc(first, element) if element != _WORD else first
    if lanes == 64 and packs_bytes():
        _numbers_in_bytes(builder, address, start, kept)
        return
    kind = ir.VectorType(element, lanes)
    numbers = ir.Constant(kind, list(range(lanes)))
    pack(builder, address, builder.add(numbers, vectors.broadcast(builder, start, lanes)), kept)


def _numbers_in_bytes(builder: Any, address: Any, first: Any, kept: Any) -> None:
    """Store the numbers of set bits: 64 bytes are moved together, then widened as far as needed."""
    element = address.type.pointee
    kind = ir.VectorType(_BYTE, 64)
    mask = builder.bitcast(kept, ir.VectorType(_BIT, 64))
    together = _together(builder, ir.Constant(kind, list(range(64))), mask)
    count = builder.ctpop(kept)
    lanes = REGISTER // vectors.bits(element)
    base = vectors.broadcast(builder, first, lanes)

    def store(start: int) -> None:
        part = builder.zext(_lanes(builder, together, start, lanes), base.type)
        left = builder.sub(count, _WORD(start))
        place = builder.gep(address, [_WORD(start)])
        used = vectors.used(builder, left, lanes)
        vectors.stored(builder, place, builder.add(part, base), used)

    store(0)
    with builder.if_then(builder.icmp_signed(">", count, _WORD(lanes)), likely=False):
        for start in range(lanes, 64, lanes):
            store(start)


def _mask(builder: Any, kept: Any, start: int, lanes: int) -> Any:
    shifted = builder.lshr(kept, _WORD(start)) if start else kept
    word = shifted if lanes == 64 else builder.trunc(shifted, ir.IntType(lanes))
    return builder.bitcast(word, ir.VectorType(_BIT, lanes))


def _lanes(builder: Any, value: Any, start: int, lanes: int) -> Any:
    """Return some neighbouring elements of a vector."""
    if lanes == value.type.count:
        return value
    chosen = ir.Constant(ir.VectorType(_INT, lanes), list(range(start, start + lanes)))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), chosen)


def _together(builder: Any, value: Any, mask: Any) -> Any:
    """Return a vector with the elements that a mask says first."""
    kind = value.type
    name = f"llvm.x86.avx512.mask.compress.v{kind.count}{vectors.letter(kind.element)}"
    arguments = [kind, kind, mask.type]
    function = vectors.declared(builder, name, kind, arguments)
    return builder.call(function, [value, ir.Constant(kind, None), mask])


def _as(builder: Any, value: Any, element: Any) -> Any:
    """Return a vector of ints as one of another width."""
    kind = ir.VectorType(element, value.type.count)
    if element.width == value.type.element.width:
        return value
    wider = element.width > value.type.element.width
    return builder.sext(value, kind) if wider else builder.trunc(value, kind)
