"""Machine code that looks whether arrays are as they were: one call for all operands of a call.

Takes: a ``Record`` for each array: what it must be, and what it must hold.  Gives: ``Looker``,
called with the arrays.  Invariant: nothing is written, and no object is read as an array before
its type was compared; where the fields of an array lie is said in ``codegen.machine``.

A record is words of 64 bits: how many there are; the type, the dtype and the flags of the array
object, the number and the lengths of its axes; then what is asked of its data (``_Ask``), a count
and a size in bytes; then so many places, in bytes from the start of the data, and the bytes that
must be there.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from llvmlite import binding, ir

from sparsedsl.codegen import llvm_target
from sparsedsl.codegen.machine import AXES, HEAD, linked, readable
from sparsedsl.locks import compiling

_TYPE = ctypes.sizeof(ctypes.c_void_p)
_RANK = HEAD + 8
_DTYPE, _FLAGS = HEAD + 40, HEAD + 48
"""Bytes before the fields of an array object; data, rank, lengths, strides and base come first."""

_PLAIN = 0x0101
"""The flags of an array that is C-contiguous and aligned."""

_LANES = 8


class _Ask(IntEnum):
    NOTHING = 0
    WHOLE = 1
    PLACES_4 = 2
    PLACES_8 = 3
    FINITE = 4


_SAMPLED = {4: _Ask.PLACES_4, 8: _Ask.PLACES_8}


@dataclass(frozen=True, slots=True)
class Record:
    """What one array must be and hold; its dtype is compared by address, and so kept."""

    words: bytes
    dtype: np.dtype


def _record(array: np.ndarray, ask: _Ask, count: int, size: int, *parts: bytes) -> Record | None:
    if type(array) is not np.ndarray or not (array.flags.c_contiguous and array.flags.aligned):
        return None
    body = b"".join(parts)
    body += bytes(-len(body) % 8)
    dtype = array.dtype
    head = (id(np.ndarray), id(dtype), _PLAIN, array.ndim, *array.shape, ask, count, size)
    words = np.array((1 + len(head) + len(body) // 8, *head), np.int64)
    return Record(words.tobytes() + body, dtype)


def like(array: np.ndarray) -> Record | None:
    """Ask for a plain array of this dtype and shape; None where that cannot be asked."""
    return _record(array, _Ask.NOTHING, 0, 0)


def holding(array: np.ndarray, places: np.ndarray | None, seen: bytes) -> Record | None:
    """Ask for an array like this one that holds ``seen``, at ``places`` or as a whole."""
    if places is None:
        return _record(array, _Ask.WHOLE, 0, len(seen), seen)
    size = array.itemsize
    if size not in _SAMPLED:
        return None
    offsets = (places * size).astype(np.int64)
    return _record(array, _SAMPLED[size], places.size, size, offsets.tobytes(), seen)


def finite(array: np.ndarray) -> Record | None:
    """Ask for an array like this one without infinities and NaNs; None if not float64."""
    return _record(array, _Ask.FINITE, array.size, 8) if array.dtype == np.float64 else None


class Looker:
    """Compares arrays with the records made for them, in their order."""

    __slots__ = ("_dtypes", "_look", "_table", "_wanted")

    def __init__(self, look: Callable[..., Any], records: Sequence[Record]) -> None:
        self._look = look
        self._table = np.frombuffer(b"".join(r.words for r in records), np.int64)
        self._dtypes = [r.dtype for r in records]
        self._wanted = len(records)

    def __call__(self, arrays: Sequence[Any]) -> bool:
        """Whether each array, as many as there are records, is and holds what its record says."""
        return self._look(self._table, *arrays) == self._wanted


def looker(records: Sequence[Record | None]) -> Looker | None:
    """Return what compares arrays with ``records``; None where machine code cannot."""
    known = [record for record in records if record is not None]
    look = _function() if len(known) == len(records) and readable() else None
    return None if look is None else Looker(look, known)


@functools.cache
def _function() -> Callable[..., Any] | None:
    """Return what counts the arrays that are as they were, up to the first that is not."""
    with compiling:
        module = binding.parse_assembly(str(_module()))
        needs = tuple(f.name for f in module.functions if f.is_declaration)
        return linked(llvm_target.code(module, "sparsedsl_look", needs))


_WORD, _BYTE, _INT = ir.IntType(64), ir.IntType(8), ir.IntType(32)
_POINTER, _WORDS = _BYTE.as_pointer(), _WORD.as_pointer()


def _module() -> ir.Module:
    """Return the code: a function of CPython's calling convention."""
    module = ir.Module("sparsedsl_look")
    compare = _comparison(module)
    number = ir.Function(module, ir.FunctionType(_POINTER, [_WORD]), "PyLong_FromLongLong")
    kind = ir.FunctionType(_POINTER, [_POINTER, _POINTER.as_pointer(), _WORD])
    function = ir.Function(module, kind, "sparsedsl_look")
    _, given, count = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    table = _field(builder, builder.load(given), HEAD, _WORDS)
    start, body, after, more = (function.append_basic_block() for _ in range(4))
    entry = builder.block
    builder.branch(start)
    builder.position_at_end(start)
    place, record = builder.phi(_WORD), builder.phi(_WORDS)
    place.add_incoming(_WORD(1), entry)
    record.add_incoming(table, entry)
    builder.cbranch(builder.icmp_signed("<", place, count), body, after)
    builder.position_at_end(body)
    item = builder.load(builder.gep(given, [place]))
    builder.cbranch(builder.call(compare, [item, record]), more, after)
    builder.position_at_end(more)
    place.add_incoming(builder.add(place, _WORD(1)), more)
    record.add_incoming(builder.gep(record, [builder.load(record)]), more)
    builder.branch(start)
    builder.position_at_end(after)
    builder.ret(builder.call(number, [builder.sub(place, _WORD(1))]))
    return module


def _field(builder: ir.IRBuilder, start: Any, offset: Any, kind: Any) -> Any:
    """Return the value of type ``kind`` so many bytes after ``start``."""
    at = builder.gep(start, [offset if isinstance(offset, ir.Value) else _WORD(offset)])
    return builder.load(builder.bitcast(at, kind.as_pointer()), align=1)


def _comparison(module: ir.Module) -> ir.Function:
    """Add and return what says whether one array is and holds what its record says."""
    kind = ir.FunctionType(ir.IntType(1), [_POINTER, _WORDS])
    function = ir.Function(module, kind, "sparsedsl_compare")
    function.linkage = "internal"
    item, record = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    differs = function.append_basic_block()
    ir.IRBuilder(differs).ret(ir.IntType(1)(0))

    def word(place: Any) -> Any:
        return builder.load(builder.gep(record, [place]))

    def require(found: Any, wanted: Any) -> None:
        _go_on_if(builder, builder.icmp_unsigned("==", found, wanted), differs)

    require(_field(builder, item, _TYPE, _WORD), word(_WORD(1)))
    require(_field(builder, item, _DTYPE, _WORD), word(_WORD(2)))
    flags = builder.zext(_field(builder, item, _FLAGS, _INT), _WORD)
    require(builder.and_(flags, word(_WORD(3))), word(_WORD(3)))
    rank = builder.zext(_field(builder, item, _RANK, _INT), _WORD)
    require(rank, word(_WORD(4)))
    lengths = _field(builder, item, AXES, _WORDS)
    with _each(builder, rank) as axis:
        wanted = word(builder.add(axis, _WORD(5)))
        require(builder.load(builder.gep(lengths, [axis])), wanted)
    asked = builder.gep(record, [builder.add(rank, _WORD(5))])
    ask, count, size = (builder.load(builder.gep(asked, [_WORD(k)])) for k in range(3))
    rest = builder.gep(asked, [_WORD(3)])
    data = _field(builder, item, HEAD, _POINTER)
    blocks = {ask: function.append_basic_block(ask.name.lower()) for ask in _Ask}
    choice = builder.switch(ask, differs)
    for ask, block in blocks.items():
        choice.add_case(_WORD(ask), block)
    holds = ir.IRBuilder(blocks[_Ask.NOTHING])
    holds.ret(ir.IntType(1)(1))
    builder.position_at_end(blocks[_Ask.WHOLE])
    memcmp = ir.Function(module, ir.FunctionType(_INT, [_POINTER, _POINTER, _WORD]), "memcmp")
    difference = builder.call(memcmp, [data, builder.bitcast(rest, _POINTER), size])
    builder.ret(builder.icmp_signed("==", difference, _INT(0)))
    for ask, element in ((_Ask.PLACES_4, _INT), (_Ask.PLACES_8, _WORD)):
        builder.position_at_end(blocks[ask])
        seen = builder.bitcast(builder.gep(rest, [count]), element.as_pointer())
        with _each(builder, count) as k:
            found = _field(builder, data, builder.load(builder.gep(rest, [k])), element)
            require(found, builder.load(builder.gep(seen, [k])))
        builder.branch(blocks[_Ask.NOTHING])
    builder.position_at_end(blocks[_Ask.FINITE])
    _finite_values(builder, data, count, differs)
    builder.branch(blocks[_Ask.NOTHING])
    return function


def _finite_values(builder: ir.IRBuilder, data: Any, count: Any, differs: ir.Block) -> None:
    """Go to ``differs`` if one of so many float64 values is infinite or NaN."""
    real = ir.DoubleType()
    lanes = ir.VectorType(real, _LANES)
    values = builder.bitcast(data, real.as_pointer())

    def check(kind: Any, place: Any, mask: Any) -> None:
        at = builder.bitcast(builder.gep(values, [place]), kind.as_pointer())
        # a product with zero is NaN but for finite values
        zero = ir.Constant(kind, [0.0] * _LANES if kind is lanes else 0.0)
        product = builder.fmul(builder.load(at, align=8), zero)
        ordered = builder.fcmp_ordered("ord", product, product)
        bits = builder.bitcast(ordered, mask)
        _go_on_if(builder, builder.icmp_signed("==", bits, mask(-1)), differs)

    whole = builder.sdiv(count, _WORD(_LANES))
    with _each(builder, whole) as k:
        check(lanes, builder.mul(k, _WORD(_LANES)), ir.IntType(_LANES))
    done = builder.mul(whole, _WORD(_LANES))
    with _each(builder, builder.sub(count, done)) as k:
        check(real, builder.add(done, k), ir.IntType(1))


def _go_on_if(builder: ir.IRBuilder, condition: Any, otherwise: ir.Block) -> None:
    following = builder.append_basic_block()
    builder.cbranch(condition, following, otherwise)
    builder.position_at_end(following)


@contextlib.contextmanager
def _each(builder: ir.IRBuilder, count: Any) -> Generator[Any, None, None]:
    """Repeat what is built inside for every number below ``count``."""
    start, body, after = (builder.append_basic_block() for _ in range(3))
    before = builder.block
    builder.branch(start)
    builder.position_at_end(start)
    k = builder.phi(_WORD)
    k.add_incoming(_WORD(0), before)
    builder.cbranch(builder.icmp_signed("<", k, count), body, after)
    builder.position_at_end(body)
    yield k
    k.add_incoming(builder.add(k, _WORD(1)), builder.block)
    builder.branch(start)
    builder.position_at_end(after)
