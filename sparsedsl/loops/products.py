"""Loops over rows whose products are added up in an accumulator, and taken from touched blocks.

    for i in a .. b:
        for p in ptr[i] .. ptr[i + 1]:
            k = j[p]
            for q in ...:
                sums[c[q]] += A[p] * B[q]
                blocks[c[q] >> 5] = 1
        take sums from touched blocks
        end[i + 1] = n

Takes: a loop, what comes before it, and the arrays of operands in rows.  Gives: its parts, if it
does this and nothing else.  Invariant: what is read and done at an entry follows from its indices;
from its values and its row nothing but the terms do, which are sums and products of values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sparsedsl.loops import build
from sparsedsl.loops.effects import changed, changes, reads, straight_names, touched, uses
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Apply,
    Assign,
    Binary,
    Break,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Load,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.vectors import ARITHMETIC, vector
from sparsedsl.loops.walk import expressions, operands, statements

HALF = 0.5
"""Part of a register that the sums of one column fill."""


@dataclass(frozen=True, slots=True)
class Product:
    """A loop over ``rows``: over the ``entries`` of one, then the ``rest``, which takes its sums.

    The ranges of entries are those of ``pointer``; ``indices`` are the arrays that tell what is
    read at an entry, ``values`` the variables that hold its values, with their arrays.  They are
    added to ``sums``, of zeros, of which ``marks`` has the touched blocks of ``1 << shift``.
    """

    rows: For
    entries: For
    rest: tuple[Stmt, ...]
    pointer: str
    indices: tuple[str, ...]
    values: Mapping[Var, str]
    sums: Allocate
    marks: Allocate
    shift: int


def product_of(loop: For, before: list[Stmt], given: Mapping[str, str]) -> Product | None:
    """Return a loop over rows whose products are taken from touched blocks, None for another."""
    match loop:
        case For(row, body=(For(_, Load(pointer, (at,)), Load(past, (after,))) as entries, *rest)):
            whole = pointer == past and at == row and after == build.add(row, 1)
        case _:
            return None
    added = [s for s in statements(entries.body) if isinstance(s, Store)]
    if loop.step != 1 or entries.step != 1 or not whole or len(added) != 2 or pointer not in given:
        return None
    term, mark = added
    sums, marks = (_zeros(store.array, before) for store in added)
    shift = _shift(term, mark)
    if sums is None or marks is None or shift is None or sums.dtype not in ("float64", "float32"):
        return None
    read = _at_entries(entries, given)
    if read is None or {given[array] for array in read[1].values()} != {sums.dtype}:
        return None
    found = Product(loop, entries, tuple(rest), pointer, *read, sums, marks, shift)
    return found if _is_alone(found, term) and _is_taken(found) else None


def _zeros(array: str, before: list[Stmt]) -> Allocate | None:
    """Return what allocates an array of zeros."""
    made = [s for s in before if isinstance(s, Allocate) and s.array == array]
    match made:
        case [Allocate(shape=(_,), value=Const(value)) as zeros] if value == 0:
            return zeros
        case _:
            return None


def _shift(term: Store, mark: Store) -> int | None:
    """Return the logarithm of the size of the blocks that are marked as terms are added."""
    match term, mark:
        case (
            Store(_, (place,), _, "add", True, None),
            Store(_, (Binary(">>", of, Const(shift)),), Const(1), None, True, None),
        ) if of == place:
            return int(shift.real)
        case _:
            return None


def _at_entries(
    entries: For, given: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[Var, str]] | None:
    """Return the arrays of indices that are read at entries, and the variables of their values."""
    entry = entries.variable
    indices: dict[str, None] = {}
    values: dict[Var, str] = {}
    for statement in statements(entries.body):
        match statement:
            case Assign(variable, Load(array, (place,), type, True)) if (
                place == entry and type != INT and array in given and statement in entries.body
            ):
                values[variable] = array
                continue
            case _:
                pass
        for operand in operands(statement):
            turns = sum(part == entry for part in expressions(operand))
            for part in expressions(operand):
                match part:
                    case Load(array, (place,), "int", True) if place == entry and array in given:
                        indices[array] = None
                        turns -= 1
                    case _:
                        pass
            if turns:
                return None
    return (tuple(indices), values) if indices and values else None


def _is_alone(product: Product, term: Store) -> bool:
    """Whether entries do nothing but add terms, and nothing but their indices decides of which."""
    body, own = product.entries.body, {variable.name for variable in product.values}
    inside = tuple(statements(body))
    if not all(isinstance(s, Assign | Store | For | If | While | Break | Comment) for s in inside):
        return False
    added = {product.sums.array, product.marks.array}
    local = changes(body) - added
    every = (operand for s in inside for operand in operands(s))
    decides = {name for operand in every if operand is not term.value for name in reads(operand)}
    outside = {product.rows.variable.name, *added}
    return (
        local <= straight_names(body)
        and not local & {*uses(product.rest)}
        and not outside & {*decides, *reads(term.value)}
        and not own & decides
        and sum(changed(s) <= own for s in inside if isinstance(s, Assign)) == len(own)
        and lifted(term.value, product, dict.fromkeys(product.values, term.value)) is not None
    )


def lifted(node: Expr, product: Product, left: Mapping[Var, Expr]) -> Expr | None:
    """Return a term as a vector of those of several rows, None where it has none.

    ``left`` are the vectors of the values that an entry has in these rows.
    """
    dtype = product.sums.dtype
    if isinstance(node, Var) and node in left:
        return left[node]
    if not reads(node) & {variable.name for variable in left}:
        return Cast(node, vector(dtype, HALF)) if node.type == dtype else None
    match node:
        case Apply(function, arguments, type) if function in ARITHMETIC and type == dtype:
            parts = [lifted(argument, product, left) for argument in arguments]
            found = tuple(part for part in parts if part is not None)
            whole = len(found) == len(parts)
            return Apply(function, found, vector(dtype, HALF)) if whole else None
        case _:
            return None


def _is_taken(product: Product) -> bool:
    """Whether the rest of a row takes all sums of touched blocks, and nothing else of them."""
    first, *others = product.rest
    left = {name for s in statements(tuple(others)) for name in (*touched(s), *uses((s,)))}
    sums, marks = product.sums.array, product.marks.array
    return flushed(product, first, lambda loop: loop) is not None and not {sums, marks} & left


def flushed(product: Product, statement: Stmt, change: Callable[[For], For]) -> Stmt | None:
    """Return what takes the sums of all touched blocks, with each loop over a block changed.

    That is the loop over all blocks; None where it is not known to take and to empty them.
    """
    match statement:
        case If(condition, (first,), (second,)):
            parts = [flushed(product, part, change) for part in (first, second)]
            found = tuple(part for part in parts if part is not None)
            if len(found) < len(parts) or product.marks.array in reads(condition):
                return None
            return If(condition, found[:1], found[1:])
        case For(block, start, stop, (If(some, (cleared, For() as taken), ()),), 1):
            marks, begin = product.marks, build.shift_left(block, product.shift)
            zero = build.store(marks.array, (block,), build.const(0, marks.dtype))
            end = build.add(begin, 1 << product.shift)
            if (start, stop) != (build.i(0), build.length(marks.array)):
                return None
            if some != build.ne(build.load(marks.array, block), 0) or cleared != zero:
                return None
            whole = (taken.start, taken.stop, taken.step) == (begin, end, 1)
            return change(statement) if whole and _empties(taken, product.sums) else None
        case _:
            return None


def _empties(loop: For, sums: Allocate) -> bool:
    """Whether a loop puts each sum back to zero, and touches no other ones."""
    own = back(loop, sums)
    inside = tuple(statements(loop.body))
    others = [s for s in inside if isinstance(s, Store) and s.array == sums.array and s != own]
    parts = (part for s in inside for operand in operands(s) for part in expressions(operand))
    read = [p.subscripts for p in parts if isinstance(p, Load) and p.array == sums.array]
    return own in loop.body and not others and set(read) == {(loop.variable,)}


def back(loop: For, sums: Allocate) -> Stmt:
    """Return what puts a sum back to zero."""
    return Store(sums.array, (loop.variable,), sums.value or build.const(0, sums.dtype))
