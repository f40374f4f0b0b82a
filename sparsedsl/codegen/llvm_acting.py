"""What machine code does once it found a call's operands as they were (``codegen.looking``).

Takes: where the words of an action and the arguments of the call lie.  Gives: instructions that
return the result.  Invariant: every reference that is taken is given back, errors included, and
all that an action names is kept alive by who calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from llvmlite import ir

_WORD, _BYTE = ir.IntType(64), ir.IntType(8)
_POINTER = _BYTE.as_pointer()
_OBJECTS = _POINTER.as_pointer()
_NULL = ir.Constant(_POINTER, None)

_HEAD = 4
"""Words before those of the arrays that are made: kernel, finish, and how many of each."""

_MAKER, _ARGUMENT = 3, 2
"""Words of each array that is made, and of each argument."""

_TO_MAKE = 2
"""Arguments that an array is made of."""


def act(builder: ir.IRBuilder, action: Any, given: Any) -> None:
    """Make the arrays of an action, call its kernel and return the result.

    ``given`` is where the arguments lie that the machine code was called with.
    """
    call = declared(builder, "PyObject_Vectorcall", _POINTER, _POINTER, _OBJECTS, _WORD, _POINTER)
    release = declared(builder, "Py_DecRef", ir.VoidType(), _POINTER)

    def word(place: Any) -> Any:
        return builder.load(builder.gep(action, [place]))

    def called(function: Any, arguments: Any, count: Any) -> Any:
        return builder.call(call, [function, arguments, count, _NULL])

    kernel, finish, made_count, count = (word(_WORD(k)) for k in range(_HEAD))
    kernel, finish = (builder.inttoptr(x, _POINTER) for x in (kernel, finish))
    # behind the arrays is place for what the kernel returns
    made = builder.alloca(_POINTER, builder.add(made_count, _WORD(1)))
    arguments = builder.alloca(_POINTER, count)
    with each(builder, builder.add(made_count, _WORD(1))) as k:
        builder.store(_NULL, builder.gep(made, [k]))

    def give_back() -> None:
        with each(builder, builder.add(made_count, _WORD(1))) as k:
            builder.call(release, [builder.load(builder.gep(made, [k]))])

    def unless_failed(found: Any) -> None:
        with builder.if_then(builder.icmp_unsigned("==", found, _NULL), likely=False):
            give_back()
            builder.ret(_NULL)

    with each(builder, made_count) as k:
        at = builder.add(builder.mul(k, _WORD(_MAKER)), _WORD(_HEAD))
        maker = builder.inttoptr(word(at), _POINTER)
        needs = builder.gep(action, [builder.add(at, _WORD(1))])
        found = called(maker, builder.bitcast(needs, _OBJECTS), _WORD(_TO_MAKE))
        builder.store(found, builder.gep(made, [k]))
        unless_failed(found)
    start = builder.add(builder.mul(made_count, _WORD(_MAKER)), _WORD(_HEAD))
    with each(builder, count) as k:
        at = builder.add(start, builder.mul(k, _WORD(_ARGUMENT)))
        kind, value = word(at), word(builder.add(at, _WORD(1)))
        # an object lies in its own word, others among arguments and arrays
        place = builder.gep(action, [builder.add(at, _WORD(1))])
        place = builder.bitcast(place, _OBJECTS)
        for number, held in ((1, given), (2, made)):
            this = builder.icmp_unsigned("==", kind, _WORD(number))
            place = builder.select(this, builder.gep(held, [value]), place)
        builder.store(builder.load(place), builder.gep(arguments, [k]))
    found = called(kernel, arguments, count)
    builder.store(found, builder.gep(made, [made_count]))
    unless_failed(found)
    first = builder.load(made)
    whole = builder.icmp_unsigned("==", finish, _NULL)
    with builder.if_then(whole, likely=True):
        builder.call(release, [found])
        builder.ret(first)
    result = called(finish, made, builder.add(made_count, _WORD(1)))
    give_back()
    builder.ret(result)


def declared(builder: ir.IRBuilder, name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of the process, declared once."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


@contextlib.contextmanager
def each(builder: ir.IRBuilder, count: Any) -> Generator[Any, None, None]:
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
