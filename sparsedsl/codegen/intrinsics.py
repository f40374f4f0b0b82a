"""Bit counts, vectors and prefetches as single machine instructions.

Bit counts take and give int64.  A vector is a number of neighbouring elements along an array's
last axis, held in registers; ``+``, ``-`` and ``*`` work on each.  Outside compiled code all are
plain Python functions, and vectors NumPy arrays, so that a generated kernel's ``py_func`` runs
under the interpreter too.  A prefetch changes nothing: it has the memory of an element fetched.

>>> cttz(8), ctpop(-1)
(3, 64)
>>> import numpy as np
>>> a = np.arange(16.0).reshape(2, 8)
>>> store_vector(a, (0, 0), vector(a, (1, 0), 8) + spread(a[0, 2], 8))
>>> a[0]
array([10., 11., 12., 13., 14., 15., 16., 17.])
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, models, register_model, type_callable
from numba.np.arrayobj import make_array

from sparsedsl.codegen import llvm_packs
from sparsedsl.codegen.choosing import chosen as chosen
from sparsedsl.codegen.llvm_vectors import farther, folded, kept, loaded, loaded_through, used


def cttz(word: int) -> int:
    """Return the number of trailing zero bits of a nonzero int64."""
    return (word & -word).bit_length() - 1


def ctpop(word: int) -> int:
    """Return the number of one bits of an int64."""
    return (int(word) % 2**64).bit_count()


def _typer(context: Any) -> Any:  # noqa: ARG001
    def typer(word: Any) -> Any:
        # other ints are converted to int64 by the signature
        return types.int64(types.int64) if isinstance(word, types.Integer) else None

    return typer


for _function in (cttz, ctpop):
    type_callable(_function)(_typer)


@lower_builtin(cttz, types.int64)
def _generate_cttz(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    # the second operand lets LLVM leave the result of zero undefined: one instruction
    return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))


@lower_builtin(ctpop, types.int64)
def _generate_ctpop(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    return builder.ctpop(arguments[0])


class Vector(types.Type):
    """Several values of one type, in registers."""

    def __init__(self, dtype: Any, count: int) -> None:
        self.dtype = dtype
        self.count = count
        super().__init__(name=f"vector({dtype} x {count})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        value = manager.lookup(kind.dtype).get_data_type()
        super().__init__(manager, kind, ir.VectorType(value, kind.count))


def vector(array: Any, place: tuple[int, ...], count: int) -> Any:
    """Return ``count`` elements of ``array`` from ``place`` on, along its last axis."""
    *outer, first = (int(p) for p in place)
    return array[(*outer, slice(first, first + count))].copy()


def store_vector(array: Any, place: tuple[int, ...], value: Any) -> None:
    """Store ``value`` to the elements of ``array`` from ``place`` on, along its last axis."""
    *outer, first = (int(p) for p in place)
    array[(*outer, slice(first, first + len(value)))] = value


def spread(value: Any, count: int) -> Any:
    """Return a vector of ``count`` times one value."""
    return np.full(count, value)


def part(array: Any, place: int, count: int, lanes: int) -> Any:
    """Return a vector: the first ``count`` elements of ``array`` from ``place`` on, then zeros."""
    found = np.zeros(lanes, array.dtype)
    count = min(max(int(count), 0), lanes)
    found[:count] = array[int(place) : int(place) + count]
    return found


def part_through(array: Any, places: Any, place: int, count: int, lanes: int) -> Any:
    """Return a vector: those of ``array`` at the first ``count`` of ``places``, then zeros."""
    count = min(max(int(count), 0), lanes)
    found = np.zeros(lanes, array.dtype)
    found[:count] = array[places[int(place) : int(place) + count]]
    return found


def first(value: Any, count: int, other: float) -> Any:
    """Return a vector with all but the first ``count`` elements set to ``other``."""
    return np.where(np.arange(len(value)) < count, value, np.full_like(value, other))


def larger(left: Any, right: Any) -> Any:
    """Return the larger elements of two vectors, those on the left where one is NaN."""
    return np.where(right > left, right, left)


def smaller(left: Any, right: Any) -> Any:
    """Return the smaller elements of two vectors, those on the left where one is NaN."""
    return np.where(right < left, right, left)


def total(value: Any) -> Any:
    """Return the sum of a vector's elements: the halves are added until one is left."""
    while len(value) > 1:
        value = value[: len(value) // 2] + value[len(value) // 2 :]
    return value[0]


def largest(value: Any) -> Any:
    """Return the largest element of a vector that has no NaN."""
    while len(value) > 1:
        value = larger(value[: len(value) // 2], value[len(value) // 2 :])
    return value[0]


def smallest(value: Any) -> Any:
    """Return the smallest element of a vector that has no NaN."""
    while len(value) > 1:
        value = smaller(value[: len(value) // 2], value[len(value) // 2 :])
    return value[0]


def differing(value: Any, other: Any, count: int) -> int:
    """Return the bits of the first ``count`` elements of a vector that are not ``other``."""
    return sum(int(x != other) << k for k, x in enumerate(value[: max(int(count), 0)]))


def nans(value: Any) -> int:
    """Return the bits of the elements of a vector that are NaN."""
    return sum(int(x != x) << k for k, x in enumerate(value))


def lower(value: Any, other: Any, count: int) -> int:
    """Return the bits of the first ``count`` indices that are less than an int, or a vector's."""
    return sum(int(less) << k for k, less in enumerate((value < other)[: max(int(count), 0)]))


def pack(array: Any, place: int, value: Any, kept: int) -> None:
    """Store the elements of a vector whose bits are set in ``kept`` from ``place`` on."""
    found = [x for k, x in enumerate(value) if int(kept) >> k & 1]
    array[int(place) : int(place) + len(found)] = found


def pack_numbers(array: Any, place: int, first: int, kept: int, lanes: int) -> None:
    """Store ``first + k`` for each bit ``k`` of ``kept`` that is set, from ``place`` on."""
    pack(array, place, [int(first) + k for k in range(lanes)], kept)


def pack_through(array: Any, place: int, source: Any, start: int, kept: int, lanes: int) -> None:
    """Store ``source[start + k]`` for each bit ``k`` of ``kept`` that is set, from ``place`` on."""
    found = [source[int(start) + k] for k in range(lanes) if int(kept) >> k & 1]
    array[int(place) : int(place) + len(found)] = found


def prefetch(array: Any, place: tuple[int, ...]) -> None:
    """Have the memory of an element fetched that is loaded soon; it may be no element at all."""


def prefetch_to_store(array: Any, place: tuple[int, ...]) -> None:
    """Have the memory of an element fetched that is stored to soon; it may be no element at all."""


def _define_prefetch(function: Any, *, to_store: bool) -> None:
    """Let a function fetch memory."""

    @type_callable(function)
    def _(context: Any) -> Any:  # noqa: ARG001
        def typer(array: Any, place: Any) -> Any:  # noqa: ARG001
            return types.none

        return typer

    @lower_builtin(function, types.Array, types.BaseTuple)
    def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, place = zip(signature.args, arguments, strict=True)
        address = _address(context, builder, array, place)
        memory, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), (memory, word, word, word))
        called = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        purpose, to_keep, of_data = word(int(to_store)), word(3), word(1)
        builder.call(called, (builder.bitcast(address, memory), purpose, to_keep, of_data))
        return context.get_dummy_value()


_define_prefetch(prefetch, to_store=False)
_define_prefetch(prefetch_to_store, to_store=True)


@type_callable(vector)
def _type_vector(context: Any) -> Any:  # noqa: ARG001
    def typer(array: Any, place: Any, count: Any) -> Any:  # noqa: ARG001
        literal = isinstance(count, types.IntegerLiteral)
        return Vector(array.dtype, count.literal_value) if literal else None

    return typer


@type_callable(store_vector)
def _type_store(context: Any) -> Any:  # noqa: ARG001
    def typer(array: Any, place: Any, value: Any) -> Any:  # noqa: ARG001
        return types.none

    return typer


@type_callable(spread)
def _type_spread(context: Any) -> Any:  # noqa: ARG001
    def typer(value: Any, count: Any) -> Any:
        literal = isinstance(count, types.IntegerLiteral)
        return Vector(value, count.literal_value) if literal else None

    return typer


def _pointer(context: Any, builder: Any, vector: Any, array: Any, place: Any) -> Any:
    """Return the address of an element as that of a vector; the last two are (type, value)."""
    address = _address(context, builder, array, place)
    return builder.bitcast(address, context.get_value_type(vector).as_pointer())


def _address(context: Any, builder: Any, array: Any, place: Any) -> Any:
    """Return the address of an element; array and place are (type, value)."""
    (kind, value), (kinds, values) = array, place
    made = make_array(kind)(context, builder, value)
    strides = cgutils.unpack_tuple(builder, made.strides)
    shape = cgutils.unpack_tuple(builder, made.shape)
    subscripts = zip(kinds, cgutils.unpack_tuple(builder, values), strict=True)
    places = [context.cast(builder, v, t, types.uint64) for t, v in subscripts]
    return cgutils.get_item_pointer2(
        context, builder, made.data, shape, strides, "C", places, wraparound=False
    )


@lower_builtin(vector, types.Array, types.BaseTuple, types.Any)
def _generate_vector(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, place, _ = zip(signature.args, arguments, strict=True)
    loaded = builder.load(_pointer(context, builder, signature.return_type, array, place))
    loaded.align = array[0].dtype.bitwidth // 8
    return loaded


@lower_builtin(store_vector, types.Array, types.BaseTuple, Vector)
def _generate_store(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, place, (kind, value) = zip(signature.args, arguments, strict=True)
    stored = builder.store(value, _pointer(context, builder, kind, array, place))
    stored.align = array[0].dtype.bitwidth // 8
    return context.get_dummy_value()


@lower_builtin(spread, types.Float, types.Any)
@lower_builtin(spread, types.Integer, types.Any)
def _generate_spread(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kind = context.get_value_type(signature.return_type)
    zero, chosen = ir.IntType(32)(0), ir.VectorType(ir.IntType(32), kind.count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), arguments[0], zero)
    return builder.shuffle_vector(first, first, ir.Constant(chosen, None))


@type_callable(part)
def _type_part(context: Any) -> Any:  # noqa: ARG001
    def typer(array: Any, place: Any, count: Any, lanes: Any) -> Any:  # noqa: ARG001
        literal = isinstance(lanes, types.IntegerLiteral)
        return Vector(array.dtype, lanes.literal_value) if literal else None

    return typer


@type_callable(part_through)
def _type_part_through(context: Any) -> Any:  # noqa: ARG001
    def typer(array: Any, places: Any, place: Any, count: Any, lanes: Any) -> Any:  # noqa: ARG001
        literal = isinstance(lanes, types.IntegerLiteral)
        return Vector(array.dtype, lanes.literal_value) if literal else None

    return typer


@lower_builtin(part, types.Array, types.Integer, types.Integer, types.Any)
def _generate_part(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, place, count, _ = zip(signature.args, arguments, strict=True)
    mask = _mask(context, builder, count, signature.return_type)
    return loaded(builder, _element(context, builder, array, place), mask)


@lower_builtin(part_through, types.Array, types.Array, types.Integer, types.Integer, types.Any)
def _generate_part_through(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, places, place, count, _ = zip(signature.args, arguments, strict=True)
    mask = _mask(context, builder, count, signature.return_type)
    found = loaded(builder, _element(context, builder, places, place), mask)
    start = make_array(array[0])(context, builder, array[1]).data
    return loaded_through(builder, start, found, mask)


def _mask(context: Any, builder: Any, count: Any, vector: Any) -> Any:
    """Return the mask of the first lanes; ``count`` is (type, value)."""
    return used(builder, int64_of(context, builder, count), vector.count)


def _element(context: Any, builder: Any, array: Any, place: Any) -> Any:
    """Return the address of an element of an array with one axis; both are (type, value)."""
    number = context.cast(builder, place[1], place[0], types.int64)
    return builder.gep(make_array(array[0])(context, builder, array[1]).data, [number])


@type_callable(first)
def _type_first(context: Any) -> Any:  # noqa: ARG001
    def typer(value: Any, count: Any, other: Any) -> Any:  # noqa: ARG001
        return value if isinstance(value, Vector) else None

    return typer


@lower_builtin(first, Vector, types.Integer, types.Float)
def _generate_first(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    value, count, (kind, other) = zip(signature.args, arguments, strict=True)
    rest = context.cast(builder, other, kind, value[0].dtype)
    return kept(builder, value[1], _mask(context, builder, count, value[0]), rest)


_COMBINED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda builder, left, right: builder.fadd(left, right),
    "sub": lambda builder, left, right: builder.fsub(left, right),
    "mul": lambda builder, left, right: builder.fmul(left, right),
    "minimum": lambda builder, left, right: farther(builder, "<", left, right),
    "maximum": lambda builder, left, right: farther(builder, ">", left, right),
}
"""What operators are of floats, as in ``codegen.llvm_scalars``.  Modules compiled ahead of time
hold the text of this module and of ``codegen.llvm_vectors``, but not of that."""


def _define_fold(function: Any, operator: str) -> None:
    """Let a function combine the elements of a vector by an operator."""

    @type_callable(function)
    def _(context: Any) -> Any:  # noqa: ARG001
        def typer(value: Any) -> Any:
            return value.dtype if isinstance(value, Vector) else None

        return typer

    @lower_builtin(function, Vector)
    def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        def combine(left: Any, right: Any) -> Any:
            return _COMBINED[operator](builder, left, right)

        return folded(builder, arguments[0], combine)


_define_fold(total, "add")
_define_fold(largest, "maximum")
_define_fold(smallest, "minimum")


def _type_bits(context: Any) -> Any:  # noqa: ARG001
    def typer(value: Any, other: Any, count: Any) -> Any:  # noqa: ARG001
        return types.int64 if isinstance(value, Vector) else None

    return typer


for _function in (differing, lower):
    type_callable(_function)(_type_bits)


@type_callable(nans)
def _type_nans(context: Any) -> Any:  # noqa: ARG001
    def typer(value: Any) -> Any:
        return types.int64 if isinstance(value, Vector) else None

    return typer


@lower_builtin(nans, Vector)
def _generate_nans(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    return llvm_packs.nans(builder, arguments[0])


@lower_builtin(differing, Vector, types.Float, types.Integer)
def _generate_differing(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    (vector, value), (kind, other), (ints, count) = zip(signature.args, arguments, strict=True)
    constant = context.cast(builder, other, kind, vector.dtype)
    number = context.cast(builder, count, ints, types.int64)
    return llvm_packs.differing(builder, value, constant, number)


@lower_builtin(lower, Vector, types.Any, types.Integer)
def _generate_lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    (_, value), other, count = zip(signature.args, arguments, strict=True)
    bound = other[1] if isinstance(other[0], Vector) else int64_of(context, builder, other)
    return llvm_packs.lower(builder, value, bound, int64_of(context, builder, count))


@type_callable(pack)
def _type_pack(context: Any) -> Any:  # noqa: ARG001
    def typer(array: Any, place: Any, value: Any, kept: Any) -> Any:  # noqa: ARG001
        return types.none if isinstance(value, Vector) else None

    return typer


@type_callable(pack_numbers)
def _type_numbers(context: Any) -> Any:  # noqa: ARG001
    def typer(array: Any, place: Any, first: Any, kept: Any, lanes: Any) -> Any:  # noqa: ARG001
        return types.none

    return typer


@type_callable(pack_through)
def _type_through(context: Any) -> Any:  # noqa: ARG001
    def typer(array: Any, place: Any, source: Any, start: Any, kept: Any, lanes: Any) -> Any:  # noqa: ARG001
        return types.none

    return typer


@lower_builtin(pack, types.Array, types.Integer, Vector, types.Integer)
def _generate_pack(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, place, (_, value), kept = zip(signature.args, arguments, strict=True)
    into = _element(context, builder, array, place)
    llvm_packs.pack(builder, into, value, int64_of(context, builder, kept))
    return context.get_dummy_value()


@lower_builtin(pack_numbers, types.Array, types.Integer, types.Integer, types.Integer, types.Any)
def _generate_numbers(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, place, first, kept, lanes = zip(signature.args, arguments, strict=True)
    into = _element(context, builder, array, place)
    numbers = int64_of(context, builder, first), int64_of(context, builder, kept)
    llvm_packs.pack_numbers(builder, into, *numbers, lanes[1].constant)
    return context.get_dummy_value()


@lower_builtin(
    pack_through,
    *(types.Array, types.Integer, types.Array, types.Integer, types.Integer, types.Any),
)
def _generate_through(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, place, source, start, kept, lanes = zip(signature.args, arguments, strict=True)
    into = _element(context, builder, array, place)
    held = _element(context, builder, source, start)
    mask = int64_of(context, builder, kept)
    llvm_packs.pack_through(builder, into, held, mask, lanes[1].constant)
    return context.get_dummy_value()


def int64_of(context: Any, builder: Any, number: Any) -> Any:
    """Return an int as int64; ``number`` is (type, value)."""
    return context.cast(builder, number[1], number[0], types.int64)


def _define_operator(function: Any, name: str) -> None:
    """Let a function, or an operator of Python, work on two vectors."""

    @type_callable(function)
    def _(context: Any) -> Any:  # noqa: ARG001
        def typer(left: Any, right: Any) -> Any:
            return left if isinstance(left, Vector) and left == right else None

        return typer

    @lower_builtin(function, Vector, Vector)
    def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return _COMBINED[name](builder, *arguments)


_define_operator(operator.add, "add")
_define_operator(operator.sub, "sub")
_define_operator(operator.mul, "mul")
_define_operator(larger, "maximum")
_define_operator(smaller, "minimum")
