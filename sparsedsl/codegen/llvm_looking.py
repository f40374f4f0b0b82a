"""The machine code that compares a call's arguments with the records of ``codegen.looking``.

Takes: nothing.  Gives: ``Code``, the same for all records; the action that may follow is built in
``codegen.llvm_acting``.  Invariant: nothing is written, and no object is read as an array before
its type was compared; where the fields of an array lie is said in ``codegen.machine``.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

from llvmlite import binding, ir

from sparsedsl.codegen import llvm_target
from sparsedsl.codegen.llvm_acting import act, declared, each
from sparsedsl.codegen.looking import BEFORE, Ask
from sparsedsl.codegen.machine import AXES, HEAD, Code

_TYPE = ctypes.sizeof(ctypes.c_void_p)
_RANK = HEAD + 8
_DTYPE, _FLAGS = HEAD + 40, HEAD + 48
"""Bytes before the fields of an array object; data, rank, lengths, strides and base come first."""

_WIDTH = 64
"""Bytes of the vectors that values are read in."""

_USAGE, _FAULTS = 18, (8, 9)
"""Words of Linux's ``struct rusage``, and those that count faults: minor and major ones."""

_UNROLLED = 4
"""Vectors of values between two branches."""

_LANES = 16
"""Indices in a vector."""

_WORD, _INT, _HALF, _BYTE, _BIT = (ir.IntType(bits) for bits in (64, 32, 16, 8, 1))
_POINTER, _WORDS = _BYTE.as_pointer(), _WORD.as_pointer()
_OBJECTS = _POINTER.as_pointer()


def code() -> Code:
    """Return the code: a function called with two tables, what is to be kept, and arguments."""
    module = binding.parse_assembly(str(_module()))
    needs = tuple(f.name for f in module.functions if f.is_declaration)
    return llvm_target.code(module, "sparsedsl_look", needs)


def _module() -> ir.Module:
    """Return a function of CPython's calling convention."""
    module = ir.Module("sparsedsl_look")
    compare = _comparison(module)
    truth = ir.Function(module, ir.FunctionType(_POINTER, [_WORD]), "PyBool_FromLong")
    kind = ir.FunctionType(_POINTER, [_POINTER, _OBJECTS, _WORD])
    function = ir.Function(module, kind, "sparsedsl_look")
    _, given, count = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    differs = function.append_basic_block()
    no = ir.IRBuilder(differs)
    no.ret(no.call(truth, [_WORD(0)]))
    table = _field(builder, builder.load(given), HEAD, _WORDS)
    records, wanted, last = (builder.load(builder.gep(table, [_WORD(k)])) for k in range(3))
    wanted = builder.add(wanted, _WORD(BEFORE))
    _go_on_if(builder, builder.icmp_signed("==", count, wanted), differs)
    at = builder.alloca(_WORDS)
    builder.store(builder.gep(table, [_WORD(3)]), at)
    counts = builder.icmp_unsigned("!=", last, _WORD(0))
    last = builder.inttoptr(last, _WORDS)
    faults, quiet = _faults(builder, counts, last)
    with each(builder, records):
        record = builder.load(at)
        _go_on_if(builder, builder.call(compare, [given, record, quiet]), differs)
        builder.store(builder.gep(record, [builder.load(record)]), at)
    with builder.if_then(counts):
        builder.store(faults, last)
    action = _field(builder, builder.load(builder.gep(given, [_WORD(1)])), HEAD, _WORDS)
    acts = builder.icmp_unsigned("!=", builder.load(action), _WORD(0))
    with builder.if_then(acts, likely=True):
        act(builder, action, given)
    builder.ret(builder.call(truth, [_WORD(1)]))
    return module


def _faults(builder: ir.IRBuilder, counts: Any, last: Any) -> tuple[Any, Any]:
    """Return how many faults the process had, and whether it had as many the last time.

    Nothing is asked, and nothing known, unless ``counts``.
    """
    now, quiet = builder.alloca(_WORD), builder.alloca(_BIT)
    usage = builder.alloca(_WORD, _WORD(_USAGE))
    builder.store(_WORD(-1), now)
    builder.store(_BIT(0), quiet)
    with builder.if_then(counts):
        ask = declared(builder, "getrusage", _INT, _INT, _WORDS)
        answer = builder.call(ask, [_INT(0), usage])
        minor, major = (builder.load(builder.gep(usage, [_WORD(k)])) for k in _FAULTS)
        total = builder.add(minor, major)
        same = builder.icmp_unsigned("==", total, builder.load(last))
        builder.store(total, now)
        builder.store(builder.and_(same, builder.icmp_signed("==", answer, _INT(0))), quiet)
    return builder.load(now), builder.load(quiet)


def _field(builder: ir.IRBuilder, start: Any, offset: Any, kind: Any) -> Any:
    """Return the value of type ``kind`` so many bytes after ``start``."""
    at = builder.gep(start, [offset if isinstance(offset, ir.Value) else _WORD(offset)])
    return builder.load(builder.bitcast(at, kind.as_pointer()), align=1)


def _comparison(module: ir.Module) -> ir.Function:
    """Add and return what says whether one object is and holds what its record says."""
    kind = ir.FunctionType(_BIT, [_OBJECTS, _WORDS, _BIT])
    function = ir.Function(module, kind, "sparsedsl_compare")
    function.linkage = "internal"
    given, start, quiet = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    differs = function.append_basic_block()
    ir.IRBuilder(differs).ret(_BIT(0))
    place, address = (builder.load(builder.gep(start, [_WORD(k)])) for k in (1, 2))
    argument = builder.load(builder.gep(given, [place]))
    here = builder.icmp_unsigned("==", place, _WORD(0))
    item = builder.select(here, builder.inttoptr(address, _POINTER), argument)
    record = builder.gep(start, [_WORD(2)])

    def word(place: Any) -> Any:
        return builder.load(builder.gep(record, [place]))

    def require(found: Any, wanted: Any) -> None:
        _go_on_if(builder, builder.icmp_unsigned("==", found, wanted), differs)

    array, other = function.append_basic_block(), function.append_basic_block()
    builder.cbranch(builder.icmp_unsigned("==", word(_WORD(1)), _WORD(0)), other, array)
    builder.position_at_end(other)
    require(builder.ptrtoint(item, _WORD), word(_WORD(2)))
    with builder.if_then(builder.icmp_unsigned("!=", word(_WORD(3)), _WORD(0))):
        _attributes(builder, item, builder.gep(record, [_WORD(3)]), differs)
    builder.ret(_BIT(1))
    builder.position_at_end(array)
    require(_field(builder, item, _TYPE, _WORD), word(_WORD(1)))
    require(_field(builder, item, _DTYPE, _WORD), word(_WORD(2)))
    flags = builder.zext(_field(builder, item, _FLAGS, _INT), _WORD)
    require(builder.and_(flags, word(_WORD(3))), word(_WORD(3)))
    rank = builder.zext(_field(builder, item, _RANK, _INT), _WORD)
    require(rank, word(_WORD(4)))
    lengths = _field(builder, item, AXES, _WORDS)
    with each(builder, rank) as axis:
        wanted = word(builder.add(axis, _WORD(5)))
        require(builder.load(builder.gep(lengths, [axis])), wanted)
    asked = builder.gep(record, [builder.add(rank, _WORD(5))])
    ask, count, size = (builder.load(builder.gep(asked, [_WORD(k)])) for k in range(3))
    rest = builder.gep(asked, [_WORD(3)])
    data = _field(builder, item, HEAD, _POINTER)
    blocks = {ask: function.append_basic_block(ask.name.lower()) for ask in Ask}
    choice = builder.switch(ask, differs)
    for ask, block in blocks.items():
        choice.add_case(_WORD(ask), block)
    holds = ir.IRBuilder(blocks[Ask.NOTHING])
    holds.ret(_BIT(1))
    builder.position_at_end(blocks[Ask.WHOLE])
    memcmp = ir.Function(module, ir.FunctionType(_INT, [_POINTER, _POINTER, _WORD]), "memcmp")
    difference = builder.call(memcmp, [data, builder.bitcast(rest, _POINTER), size])
    builder.ret(builder.icmp_signed("==", difference, _INT(0)))
    for ask, element in ((Ask.PLACES_4, _INT), (Ask.PLACES_8, _WORD)):
        builder.position_at_end(blocks[ask])
        seen = builder.bitcast(builder.gep(rest, [count]), element.as_pointer())
        with each(builder, count) as k:
            found = _field(builder, data, builder.load(builder.gep(rest, [k])), element)
            require(found, builder.load(builder.gep(seen, [k])))
        builder.branch(blocks[Ask.NOTHING])
    builder.position_at_end(blocks[Ask.UNTOUCHED])
    # without a fault nothing was written to: a page is only written to after one
    asks = builder.and_(builder.icmp_signed(">=", count, _WORD(0)), builder.not_(quiet))
    _untouched(builder, memcmp, data, (asks, count, size), rest, differs)
    builder.branch(blocks[Ask.NOTHING])
    for ask, real in ((Ask.FINITE, ir.DoubleType()), (Ask.FINITE_4, ir.FloatType())):
        builder.position_at_end(blocks[ask])
        _finite_values(builder, data, count, real, differs)
        builder.branch(blocks[Ask.NOTHING])
    builder.position_at_end(blocks[Ask.NARROW])
    _narrow_values(builder, data, count, rest, differs)
    builder.branch(blocks[Ask.NOTHING])
    return function


def _untouched(
    builder: ir.IRBuilder,
    memcmp: ir.Function,
    data: Any,
    question: tuple[Any, Any, Any],
    words: Any,
    differs: ir.Block,
) -> None:
    """Go to ``differs`` if an array lies elsewhere or the system says it was written to.

    The ``question`` is whether to ask it, then file and request.
    """
    asks, file, request = question
    address, asked, generation, mark, before, start, after = (
        builder.load(builder.gep(words, [_WORD(k)])) for k in range(7)
    )
    here = builder.icmp_unsigned("==", builder.ptrtoint(data, _WORD), address)
    _go_on_if(builder, here, differs)
    ends = builder.bitcast(builder.gep(words, [_WORD(7)]), _POINTER)
    for place, held, length in (
        (data, ends, before),
        (builder.gep(data, [start]), builder.gep(ends, [before]), after),
    ):
        difference = builder.call(memcmp, [place, held, length])
        _go_on_if(builder, builder.icmp_signed("==", difference, _INT(0)), differs)
    kind = ir.FunctionType(_INT, [_INT, _WORD], var_arg=True)
    control = ir.Function(builder.module, kind, "ioctl")
    with builder.if_then(asks):
        found = builder.call(control, [builder.trunc(file, _INT), request, asked])
        _go_on_if(builder, builder.icmp_signed("==", found, _INT(0)), differs)
    # read after the system was asked: whoever protects the pages again changes it before
    now = builder.load(builder.inttoptr(generation, _WORDS))
    _go_on_if(builder, builder.icmp_unsigned("==", now, mark), differs)


def _attributes(builder: ir.IRBuilder, item: Any, pairs: Any, differs: ir.Block) -> None:
    """Go to ``differs`` if the attributes of an object are not those counted and listed."""

    def python(name: str, result: Any, *values: Any) -> Any:
        return builder.call(declared(builder, name, result, *[x.type for x in values]), values)

    attributes = python("PyObject_GenericGetDict", _POINTER, item, ir.Constant(_POINTER, None))
    missing, found = (builder.append_basic_block() for _ in range(2))
    builder.cbranch(
        builder.icmp_unsigned("==", attributes, ir.Constant(_POINTER, None)), missing, found
    )
    builder.position_at_end(missing)
    python("PyErr_Clear", ir.VoidType())
    builder.branch(differs)
    builder.position_at_end(found)
    same = builder.alloca(_WORD)
    builder.store(_WORD(1), same)
    get = ir.Function(
        builder.module, ir.FunctionType(_POINTER, [_POINTER, _POINTER]), "PyDict_GetItem"
    )
    with each(builder, builder.load(pairs)) as k:
        at = builder.add(builder.mul(k, _WORD(2)), _WORD(1))
        name, wanted = (
            builder.load(builder.gep(pairs, [builder.add(at, _WORD(n))])) for n in range(2)
        )
        value = builder.call(get, [attributes, builder.inttoptr(name, _POINTER)])
        equal = builder.icmp_unsigned("==", builder.ptrtoint(value, _WORD), wanted)
        builder.store(builder.and_(builder.load(same), builder.zext(equal, _WORD)), same)
    python("Py_DecRef", ir.VoidType(), attributes)
    _go_on_if(builder, builder.icmp_unsigned("!=", builder.load(same), _WORD(0)), differs)


def _finite_values(
    builder: ir.IRBuilder, data: Any, count: Any, real: Any, differs: ir.Block
) -> None:
    """Go to ``differs`` if one of so many values of a float type is infinite or NaN."""
    width = _WIDTH // (8 if real == ir.DoubleType() else 4)
    lanes = ir.VectorType(real, width)
    values = builder.bitcast(data, real.as_pointer())

    def check(kind: Any, places: Sequence[Any], mask: Any) -> None:
        # a product with zero is NaN but for finite values, and so is any sum it is in
        zero = ir.Constant(kind, [0.0] * width if kind is lanes else 0.0)
        total = zero
        for place in places:
            at = builder.bitcast(builder.gep(values, [place]), kind.as_pointer())
            found = builder.load(at, align=_WIDTH // width)
            total = builder.fadd(total, builder.fmul(found, zero))
        bits = builder.bitcast(builder.fcmp_ordered("ord", total, total), mask)
        _go_on_if(builder, builder.icmp_signed("==", bits, mask(-1)), differs)

    step = width * _UNROLLED
    whole = builder.sdiv(count, _WORD(step))
    with each(builder, whole) as k:
        first = builder.mul(k, _WORD(step))
        places = [builder.add(first, _WORD(width * n)) for n in range(_UNROLLED)]
        check(lanes, places, ir.IntType(width))
    done = builder.mul(whole, _WORD(step))
    with each(builder, builder.sub(count, done)) as k:
        check(real, [builder.add(done, k)], ir.IntType(1))


def _narrow_values(
    builder: ir.IRBuilder, data: Any, count: Any, held: Any, differs: ir.Block
) -> None:
    """Go to ``differs`` unless so many integers of 32 bits are those held in 16 bits each."""
    values = builder.bitcast(data, _INT.as_pointer())
    narrow = builder.bitcast(held, _HALF.as_pointer())

    def difference(lanes: int, place: Any) -> Any:
        wide, short = (ir.VectorType(kind, lanes) for kind in (_INT, _HALF))
        at = builder.bitcast(builder.gep(values, [place]), wide.as_pointer())
        kept = builder.bitcast(builder.gep(narrow, [place]), short.as_pointer())
        wanted = builder.zext(builder.load(kept, align=2), wide)
        return builder.xor(builder.load(at, align=4), wanted)

    def check(lanes: int, places: Sequence[Any]) -> None:
        differences = [difference(lanes, place) for place in places]
        total: Any = functools.reduce(builder.or_, differences)
        differing = builder.icmp_unsigned("!=", total, ir.Constant(total.type, [0] * lanes))
        mask = ir.IntType(lanes)
        bits = builder.bitcast(differing, mask)
        _go_on_if(builder, builder.icmp_unsigned("==", bits, mask(0)), differs)

    step = _LANES * _UNROLLED
    whole = builder.sdiv(count, _WORD(step))
    with each(builder, whole) as k:
        first = builder.mul(k, _WORD(step))
        check(_LANES, [builder.add(first, _WORD(_LANES * n)) for n in range(_UNROLLED)])
    done = builder.mul(whole, _WORD(step))
    with each(builder, builder.sub(count, done)) as k:
        check(1, [builder.add(done, k)])


def _go_on_if(builder: ir.IRBuilder, condition: Any, otherwise: ir.Block) -> None:
    following = builder.append_basic_block()
    builder.cbranch(condition, following, otherwise)
    builder.position_at_end(following)
