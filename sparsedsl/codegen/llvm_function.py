"""A function of LLVM's while it is written: blocks, variables, arrays and their memory.

Takes: what expressions and statements ask for.  Gives: LLVM instructions.  Invariant: variables are
memory on the stack, which LLVM's first pass puts in registers; every workspace that is no result is
freed on each way out, and a function that runs out of memory returns 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from sparsedsl.codegen.llvm_scalars import (
    WORD,
    NeedsNumbaError,
    Value,
    llvm_type,
    stored_type,
)
from sparsedsl.codegen.processor import locality
from sparsedsl.loops.nodes import BOOL

BYTES = ir.IntType(8).as_pointer()
STATUS = ir.IntType(32)

ALIGNED = 64
"""Bytes to a multiple of which workspaces are aligned: a cache line."""


@dataclass(slots=True)
class Array:
    """An array: how its address and lengths are got, and, of a workspace, where they are kept."""

    dtype: str
    address: Callable[[], Value]
    length: Callable[[int], Value]
    place: Value = None
    lengths: tuple[Value, ...] = ()
    memory: Value = None


class Function:
    """Writes the body of one function; ``fast`` are the freedoms of its operations on floats.

    Where ``passing``, stores that may go past the caches do.
    """

    def __init__(self, function: Any, fast: tuple[str, ...]) -> None:
        self.function = function
        self.fast = fast
        self.entry = function.append_basic_block("entry")
        self.builder: Any = ir.IRBuilder(function.append_basic_block("body"))
        self.variables: dict[str, tuple[Value, str]] = {}
        self.arrays: dict[str, Array] = {}
        self.exits: list[Any] = []
        self.passing = False
        self.failed = function.append_basic_block("failed")

    def leave(self, status: int, kept: Collection[str] = ()) -> None:
        """Free the workspaces that are not ``kept`` and return."""
        for name, array in self.arrays.items():
            if array.memory is not None and name not in kept:
                self.builder.call(self.free(), [self.builder.load(array.memory)])
        self.builder.ret(STATUS(status))

    def reserve(self, kind: Any, start: Value = None) -> Value:
        """Return memory on the stack; it holds ``start`` when the function begins."""
        builder = ir.IRBuilder(self.entry)
        place = builder.alloca(kind)
        if start is not None:
            builder.store(start, place)
        return place

    def nowhere(self, kind: Any) -> Value:
        """Return memory on the stack of which LLVM does not know that nothing reads it.

        It would branch around what is stored there.
        """
        builder = ir.IRBuilder(self.entry)
        place = builder.alloca(kind)
        return builder.asm(ir.FunctionType(place.type, [place.type]), "", "=r,0", [place], False)

    def variable(self, name: str, type: str) -> Value:
        """Return where a variable is kept."""
        found = self.variables.get(name)
        if found is None:
            found = self.variables[name] = self.reserve(llvm_type(type)), type
        if found[1] != type:
            raise NeedsNumbaError(f"two types of {name}")
        return found[0]

    def block(self, name: str) -> Any:
        """Return a new block, to be written later."""
        return self.function.append_basic_block(name)

    def go(self, block: Any) -> None:
        """End the block being written with a jump, unless it has ended."""
        if not self.builder.block.is_terminated:
            self.builder.branch(block)

    def place(self, name: str, subscripts: Sequence[Value]) -> Value:
        """Return the address of an element; all subscripts are in range."""
        array, builder = self.arrays[name], self.builder
        offset = WORD(0)
        for axis, subscript in enumerate(subscripts):
            step = WORD(1)
            for inner in range(axis + 1, len(subscripts)):
                step = builder.mul(step, array.length(inner))
            offset = builder.add(offset, builder.mul(subscript, step))
        return builder.gep(array.address(), [offset])

    def loaded(self, place: Value, dtype: str) -> Value:
        """Return what lies at an address."""
        value = self.builder.load(place)
        if dtype == BOOL:
            return self.builder.icmp_unsigned("!=", value, value.type(0))
        return value

    def each(self, count: Value, body: Callable[[Value], Any]) -> None:
        """Write a loop over ``0 .. count``."""
        counter = self.reserve(WORD)
        self.builder.store(WORD(0), counter)
        head, inside, after = self.block("each"), self.block("turn"), self.block("after")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        k = self.builder.load(counter)
        self.builder.cbranch(self.builder.icmp_signed("<", k, count), inside, after)
        self.builder.position_at_end(inside)
        body(k)
        self.builder.store(self.builder.add(k, WORD(1), flags=("nsw",)), counter)
        self.builder.branch(head)
        self.builder.position_at_end(after)

    def workspace(self, name: str, dtype: str, axes: int) -> Array:
        """Return an array whose memory is got when the kernel runs."""
        if name in self.arrays:
            return self.arrays[name]
        pointer = stored_type(dtype).as_pointer()
        place = self.reserve(pointer, ir.Constant(pointer, None))
        lengths = tuple(self.reserve(WORD, WORD(0)) for _ in range(axes))
        memory = self.reserve(BYTES, ir.Constant(BYTES, None))

        def address() -> Value:
            return self.builder.load(place)

        def length(axis: int) -> Value:
            return self.builder.load(lengths[axis])

        found = self.arrays[name] = Array(dtype, address, length, place, lengths, memory)
        return found

    def renew(self, array: Array, sizes: list[Value]) -> None:
        """Give back the memory that an array had, if any, and get it some for these lengths."""
        self.builder.call(self.free(), [self.builder.load(array.memory)])
        self.builder.store(ir.Constant(BYTES, None), array.memory)
        self.provide(array, sizes)

    def provide(self, array: Array, sizes: list[Value]) -> None:
        """Get memory for an array of these lengths; what it had is the caller's to give back."""
        builder = self.builder
        total = WORD(np.dtype(array.dtype).itemsize)
        for size in sizes:
            both = builder.smul_with_overflow(total, size)
            self.fail_if(builder.extract_value(both, 1))
            total = builder.extract_value(both, 0)
        # negative, or so much that the sum leaves 64 bits
        self.fail_if(builder.icmp_unsigned(">", total, WORD(2**62)))
        memory = builder.call(self.malloc(), [builder.add(total, WORD(ALIGNED))])
        self.fail_if(builder.icmp_unsigned("==", memory, ir.Constant(BYTES, None)))
        builder.store(memory, array.memory)
        end = builder.add(builder.ptrtoint(memory, WORD), WORD(ALIGNED - 1))
        # by way of an int: where LLVM knew that the memory is not that of index arrays, it would
        # fill tables by scattering vectors, which is slower where rows are short
        data = builder.inttoptr(builder.and_(end, WORD(-ALIGNED)), array.place.type.pointee)
        builder.store(data, array.place)
        for place, size in zip(array.lengths, sizes, strict=True):
            builder.store(size, place)

    def resize(self, name: str, wanted: Value) -> None:
        """Copy what is kept of a workspace to memory of another length."""
        array, builder = self.arrays[name], self.builder
        if array.memory is None:
            raise NeedsNumbaError("an argument resized")
        old, memory = array.address(), builder.load(array.memory)
        had = array.length(0)
        self.provide(array, [wanted])
        kept = builder.select(builder.icmp_signed("<", had, wanted), had, wanted)
        new = array.address()

        def copy(k: Value) -> None:
            builder.store(builder.load(builder.gep(old, [k])), builder.gep(new, [k]))

        self.each(kept, copy)
        builder.call(self.free(), [memory])

    def prefetch(self, place: Value, *, to_store: bool, of_row: bool) -> None:
        """Have the memory at an address fetched, to be written to or only read."""
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), (BYTES, word, word, word))
        function = self.declared("llvm.prefetch.p0i8", kind)
        purpose, to_keep, of_data = word(int(to_store)), word(locality(of_row=of_row)), word(1)
        address = self.builder.bitcast(place, BYTES)
        self.builder.call(function, (address, purpose, to_keep, of_data))

    def fail_if(self, bad: Value) -> None:
        """Go on only where a condition does not hold; memory ran out where it does."""
        fine = self.block("fine")
        self.builder.cbranch(bad, self.failed, fine)
        self.builder.position_at_end(fine)

    def malloc(self) -> Any:
        """Return C's function of this name."""
        return self.declared("malloc", ir.FunctionType(BYTES, [WORD]))

    def free(self) -> Any:
        """Return C's function of this name, which takes null, too."""
        return self.declared("free", ir.FunctionType(ir.VoidType(), [BYTES]))

    def declared(self, name: str, kind: Any) -> Any:
        """Return a function of C's."""
        module = self.function.module
        return module.globals.get(name) or ir.Function(module, kind, name)
