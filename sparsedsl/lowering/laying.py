"""Rows of a narrow sparse operand laid out whole: a matrix with the fill where nothing is stored.

Takes: the scan of ``iteration.laid``.  Gives: statements that fill the matrix once a kernel, and
the loop and the element that stand for the scan and its value.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.iteration.laid import Laid
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, Allocate, Comment, Expr, For, Load, Stmt, Var
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.spf import terms


def lay_out(laid: Laid, emitter: Emitter) -> list[Stmt]:
    """Store every entry by row and coordinate.

    Rows are those of the index that says which is read, else all that the pointer array bounds:
    each of their entries is one of the operand's, with a coordinate inside of the extent.
    """
    operand, name = laid.operand, laid.scan.variable
    row, entry = emitter.bind(f"{name}_row"), emitter.bind(name)
    here = terms.var(row.name)
    low, high = (
        replace(emitter.load(laid.pointer, (place,), INT), proved=True)
        for place in (here, terms.add(here, terms.const(1)))
    )
    rows: Expr = lb.sub(lb.length(laid.pointer), 1)
    if laid.index is not None:
        rows = emitter.variable(extent_name(laid.index))
    column = emitter.term(laid.column.value)
    value = emitter.load(operand.value.function, operand.value.arguments, operand.tensor.dtype)
    fill = dl.constant(operand.tensor.fill, operand.tensor.dtype)
    scatter = lb.store(_name(laid), (row, column), value)
    return [
        Comment(f"rows of {operand.name} laid out whole"),
        Allocate(_name(laid), operand.tensor.dtype, (rows, extent(laid, emitter)), fill),
        For(row, lb.i(0), rows, (For(entry, low, high, (scatter,)),)),
    ]


def row(laid: Laid, emitter: Emitter) -> tuple[Var, Load]:
    """Return the variable of the loop over a row, and the value that it has there."""
    place, variable = emitter.term(laid.row), emitter.bind(laid.column.variable)
    proved = emitter.is_nonnegative(laid.row)
    dtype = laid.operand.tensor.dtype
    return variable, lb.load(_name(laid), place, variable, type=dtype, proved=proved)


def extent(laid: Laid, emitter: Emitter) -> Expr:
    """Return the number of coordinates that a row has."""
    return emitter.variable(extent_name(laid.column.variable))


def _name(laid: Laid) -> str:
    return f"{laid.scan.variable}_rows"
