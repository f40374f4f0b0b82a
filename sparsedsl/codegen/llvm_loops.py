"""Loops that LLVM is to leave element by element, and how it is told.

Takes: loops of the loop IR.  Gives: metadata of the branch back to a loop's start.  Invariant: what
is computed is the same; sums are taken in another order only where that is free.

Where gathers are slow, LLVM makes vectors of what a loop reads at scattered places one element
after the other, and of the places too, to take them out again: with several sums of single
elements more of what is read is under way.
"""

from __future__ import annotations

import re
from typing import Any

from llvmlite import ir

from sparsedsl.codegen.processor import gathers
from sparsedsl.loops.nodes import Assign, Expr, For, Load, Stmt, Var
from sparsedsl.loops.walk import bodies, expressions, operands

AT_A_TIME = 4
"""Elements that are worked on at a time."""

_MARK = "sparsedsl.scattered"

_TOLD = re.compile(rf'^!(\d+) = !\{{ !"{_MARK}", i64 \d+ \}}$', re.MULTILINE)

_HINTS = (
    '!{!"llvm.loop.vectorize.width", i32 1}',
    f'!{{!"llvm.loop.interleave.count", i32 {AT_A_TIME}}}',
)


def mark(branch: Any, loop: For) -> None:
    """Mark the branch back to the start of a loop that is better left without vectors."""
    if gathers() or not _scattered(loop.body):
        return
    module = branch.parent.parent.module
    told = ir.MetaDataString(module, _MARK), ir.Constant(ir.IntType(64), len(module.metadata))
    branch.set_metadata("llvm.loop", module.add_metadata(list(told)))


def told(text: str) -> str:
    """Return the text of a module with its marks as LLVM knows them: each loop's is its own."""
    return _TOLD.sub(rf"!\1 = distinct !{{!\1, {', '.join(_HINTS)}}}", text)


def _scattered(body: tuple[Stmt, ...]) -> bool:
    """Whether a loop without others inside reads elements where an index array says.

    Not so where one index tells of several elements, as in blocks: those are near each other.
    """
    found: set[str] = set()
    for statement in body:
        if bodies(statement):
            return False
        places = [p for operand in operands(statement) for p in _subscripts(operand)]
        if any(_is_loaded(place, found) for place in places):
            return True
        if isinstance(statement, Assign) and _is_loaded(statement.value, found):
            found.add(statement.variable.name)
    return False


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
