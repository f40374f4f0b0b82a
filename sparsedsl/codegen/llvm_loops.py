"""Loops that LLVM is to leave element by element, and how it is told.

Takes: loops of the loop IR.  Gives: metadata of the branch back to a loop's start, and the sums
that a loop takes in parts.  Invariant: what is computed is the same; sums are taken in another
order only where that is free.

Where gathers are slow, LLVM makes vectors of what a loop reads at scattered places one element
after the other, and of the places too, to take them out again: with several sums of single
elements more of what is read is under way.  In which order a sum is taken follows from how often
the loop turns, and from nothing else that it does: beside other outputs it has the same bits.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

import numpy as np
from llvmlite import ir

from sparsedsl.codegen.processor import gathers
from sparsedsl.loops.nodes import Apply, Assign, Break, Expr, For, If, Load, Stmt, Store, Var
from sparsedsl.loops.vectors import lanes
from sparsedsl.loops.walk import bodies, expressions, operands

PARTS = 4
"""Sums of every fourth turn, which do not wait for each other."""

MANY = 8
"""Turns from which on a loop takes its sums in parts.

Fewer are done sooner one by one: the processor guesses one way out of the loop, not also those
into and out of what is left over.
"""

_MARK = "sparsedsl.scattered"

_TOLD = re.compile(rf'^!(\d+) = !\{{ !"{_MARK}", i64 (\d+), i64 \d+ \}}$', re.MULTILINE)


class Hints(Enum):
    """What LLVM is told about a loop."""

    NONE = ()
    ONE_BY_ONE = (
        '!{!"llvm.loop.vectorize.width", i32 1}',
        '!{!"llvm.loop.interleave.count", i32 1}',
        '!{!"llvm.loop.unroll.disable"}',
    )
    WHOLE = ('!{!"llvm.loop.unroll.full"}',)
    SEVERAL = (
        '!{!"llvm.loop.vectorize.width", i32 1}',
        '!{!"llvm.loop.interleave.count", i32 4}',
    )


_IN_ORDER = tuple(Hints)


def hints(loop: For) -> Hints:
    """Return how a loop is worked through.

    A block has several sums already: where two are read in a turn, and there is one more, what is
    read is not one stream to the processor.  Turns that are kept or not are few (``loops.heads``).
    """
    if any(isinstance(s, If) and s.even for s in loop.body):
        return Hints.WHOLE
    if gathers():
        return Hints.NONE
    if _in_blocks(loop):
        return Hints.ONE_BY_ONE
    return Hints.SEVERAL if _scattered(loop.body) else Hints.NONE


def sums_in_parts(loop: For) -> tuple[Var, ...]:
    """Return the sums that a loop takes in parts: it reads what it adds up at scattered places."""
    if hints(loop) is not Hints.SEVERAL or loop.step != 1:
        return ()
    if any(isinstance(s, Break) for s in loop.body):
        return ()
    found = tuple(v for s in loop.body if (v := _sum(s)) is not None)
    used = [name for s in loop.body for operand in operands(s) for name in _names(operand)]
    changed = [s.variable for s in loop.body if isinstance(s, Assign)]
    return tuple(v for v in found if used.count(v.name) == 1 and changed.count(v) == 1)


def as_told(loop: For) -> bool:
    """Whether what a loop adds up itself is added in the order of its turns, or in told parts."""
    sums = {v for s in loop.body if (v := _sum(s)) is not None}
    return sums <= {*sums_in_parts(loop)} and all(_lies_anywhere(loop, s) for s in _adding(loop))


def mark(branch: Any, hints: Hints) -> None:
    """Mark the branch back to the start of a loop with what LLVM is told about it."""
    if hints is Hints.NONE:
        return
    module = branch.parent.parent.module
    numbers = _IN_ORDER.index(hints), len(module.metadata)
    told = ir.MetaDataString(module, _MARK), *(ir.Constant(ir.IntType(64), n) for n in numbers)
    branch.set_metadata("llvm.loop", module.add_metadata(list(told)))


def told(text: str) -> str:
    """Return the text of a module with its marks as LLVM knows them: each loop's is its own."""

    def own(mark: re.Match[str]) -> str:
        name, which = mark.groups()
        return f"!{name} = distinct !{{!{name}, {', '.join(_IN_ORDER[int(which)].value)}}}"

    return _TOLD.sub(own, text)


def in_order(loop: For) -> bool:
    """Whether operations on floats in a loop are done in the order that is written.

    So it is wherever they are not vectors.
    """
    lone = not any(bodies(s) for s in loop.body)
    stored = lone and any(_lies_anywhere(loop, s) for s in _adding(loop))
    return stored or any(map(_goes_on, loop.body)) or hints(loop) is not Hints.NONE


def _goes_on(statement: Stmt) -> bool:
    """Whether a vector of sums is stored again with several terms more."""
    match statement:
        case Store(array, places, Apply("add", (Apply("add", (first, _)), _), type)):
            while isinstance(first, Apply):
                first = first.arguments[0]
            return lanes(type) > 1 and first == Load(array, places, type)
        case _:
            return False


def _adding(loop: For) -> list[Store]:
    """Return the statements of a loop that combine elements with values."""
    return [s for s in loop.body if isinstance(s, Store) and s.combine is not None]


def _lies_anywhere(loop: For, store: Store) -> bool:
    """Whether an index that the loop loads tells where an element is."""
    found = _indices(loop.body)
    return any(_is_loaded(place, found) for place in store.subscripts)


def _in_blocks(loop: For) -> bool:
    """Whether a loop without others inside reads a block in each turn."""
    if any(bodies(statement) for statement in loop.body):
        return False
    parts = (e for s in loop.body for operand in operands(s) for e in expressions(operand))
    return any(
        isinstance(e, Load) and e.subscripts[0] == loop.variable and len(e.subscripts) > 2
        for e in parts
    )


def _scattered(body: tuple[Stmt, ...]) -> bool:
    """Whether a loop without others inside reads elements where an index array says.

    Not so where one index tells of several elements, as in blocks: those are near each other.
    """
    if any(bodies(statement) for statement in body):
        return False
    found = _indices(body)
    places = (p for s in body for operand in operands(s) for p in _subscripts(operand))
    return any(_is_loaded(place, found) for place in places)


def _indices(body: tuple[Stmt, ...]) -> set[str]:
    """Return the variables that hold an index that is loaded."""
    found: set[str] = set()
    for statement in body:
        if isinstance(statement, Assign) and _is_loaded(statement.value, found):
            found.add(statement.variable.name)
    return found


def _subscripts(node: Expr) -> list[Expr]:
    """Return every subscript in an expression."""
    return [s for part in expressions(node) if isinstance(part, Load) for s in part.subscripts]


def _is_loaded(node: Expr, found: set[str]) -> bool:
    """Whether an expression is an index that is loaded, or a variable that holds one."""
    match node:
        case Load(type="int"):
            return True
        case Var(name):
            return name in found
        case _:
            return False


def _sum(statement: Stmt) -> Var | None:
    """Return the variable that a statement adds to, None where it is another one."""
    match statement:
        case Assign(Var(type=type) as total, Apply("add", (first, _))) if (
            first == total and lanes(type) == 1 and np.dtype(type).kind in "fiu"
        ):
            return total
        case _:
            return None


def _names(node: Expr) -> list[str]:
    return [part.name for part in expressions(node) if isinstance(part, Var)]
