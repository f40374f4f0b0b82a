"""What statements and expressions read and change: the names that passes reason about.

Different arrays of a kernel are taken to be different memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sparsedsl.loops.nodes import (
    Allocate,
    ArrayParam,
    Assign,
    Expr,
    For,
    Kernel,
    Length,
    Load,
    Pack,
    Part,
    Resize,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.walk import bodies, expressions, operands, statements


def names(kernel: Kernel) -> set[str]:
    """Return every name of the kernel: parameters, variables and arrays."""
    return {param.name for param in kernel.params} | changes(kernel.body)


def array_dtypes(kernel: Kernel) -> dict[str, str]:
    """Return the dtype of every array of the kernel, given or made."""
    found = {p.name: p.dtype for p in kernel.params if isinstance(p, ArrayParam)}
    return found | {s.array: s.dtype for s in statements(kernel.body) if isinstance(s, Allocate)}


def fresh(name: str, taken: set[str]) -> str:
    """Return ``name``, or one with a number that is not ``taken``, and take it.

    >>> taken = {"y_sum"}
    >>> fresh("y_sum", taken), fresh("y_sum", taken)
    ('y_sum2', 'y_sum3')
    """
    found, again = name, 1
    while found in taken:
        again += 1
        found = f"{name}{again}"
    taken.add(found)
    return found


def changed(statement: Stmt) -> set[str]:
    """Return the variable or array that ``statement`` itself changes."""
    match statement:
        case Assign(variable) | For(variable):
            return {variable.name}
        case Store(array) | Allocate(array) | Resize(array) | Pack(array):
            return {array}
        case _:
            return set()


def changes(body: Iterable[Stmt]) -> set[str]:
    """Return the variables and arrays that ``body`` changes, inner loops included."""
    return {name for statement in statements(tuple(body)) for name in changed(statement)}


def reads(node: Expr) -> set[str]:
    """Return the variables and arrays that ``node`` reads."""
    variables = {part.name for part in expressions(node) if isinstance(part, Var)}
    return variables | set(arrays(node))


def arrays(node: Expr) -> list[str]:
    """Return the arrays that ``node`` reads, once a use."""
    parts = list(expressions(node))
    through = [part.through for part in parts if isinstance(part, Part) and part.through]
    return [part.array for part in parts if isinstance(part, Load | Part | Length)] + through


def touched(statement: Stmt) -> list[str]:
    """Return the arrays that ``statement`` itself reads or changes, once a use."""
    found = [name for operand in operands(statement) for name in arrays(operand)]
    if isinstance(statement, Store | Allocate | Resize | Pack):
        found.append(statement.array)
    if isinstance(statement, Pack) and statement.through:
        found.append(statement.through)
    return found


def uses(body: Iterable[Stmt]) -> Iterator[str]:
    """Yield the variables and arrays that ``body`` reads, once a use."""
    for statement in statements(tuple(body)):
        for operand in operands(statement):
            yield from reads(operand)
        if isinstance(statement, Pack) and statement.through:
            yield statement.through


def straight_names(body: tuple[Stmt, ...]) -> set[str]:
    """Return the variables of which every read sees one assignment, earlier in a straight line.

    The value then goes nowhere else: not round a loop, not out of the block it is assigned in.
    """
    broken: set[str] = set()

    def walk(block: tuple[Stmt, ...], known: frozenset[str]) -> None:
        for statement in block:
            inner = bodies(statement)
            lost = frozenset(changes(part for b in inner for part in b))
            for operand in operands(statement):
                entered = isinstance(statement, While)
                broken.update(reads(operand) - (known - lost if entered else known))
            for part in inner:
                walk(part, (known - lost) | frozenset(changed(statement)))
            known -= lost
            if isinstance(statement, Assign):
                known |= {statement.variable.name}

    walk(body, frozenset())
    return changes(body) - broken
