"""Tensor expressions to test with: a table that modules of one kind each fill, and arguments."""

from expressions import products  # noqa: I001  (the table keeps the order of these lines)
from expressions import elementwise
from expressions import rearranged
from expressions import reductions
from expressions import functions
from expressions import several
from expressions.draw import draw, small_integers
from expressions.table import EXPRESSIONS, Expression

__all__ = [
    "EXPRESSIONS",
    "Expression",
    "draw",
    "elementwise",
    "functions",
    "products",
    "rearranged",
    "reductions",
    "several",
    "small_integers",
]
