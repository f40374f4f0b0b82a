"""Tensor expressions to test with, each with how to draw arguments for it.

An operand is written ``A[ik]``: a capital is a tensor whose layout varies, a small letter a
plain array.  A mode is an index's letter, or a digit ``d`` for an extent of at least ``d + 1``
or ``+`` and two letters for the extent of their sum: ``A[+ij]`` has ``n_i + n_j - 1``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Expression:
    """``body(*operands)`` is traced; ``rtol`` is 0 where small integers make results exact."""

    body: Callable
    operands: tuple[tuple[str, str], ...]
    rtol: float = 0.0

    def sparse(self):
        """Names and ranks of the operands whose layout varies."""
        return [(n, len(modes(m))) for n, m in self.operands if n[0].isupper()]


def modes(text):
    return re.findall(r"\+..|.", text)


EXPRESSIONS: dict[str, Expression] = {}


def expression(name, operands, rtol=0.0):
    def put(body):
        named = re.findall(r"(\w+)\[([^\]]*)\]", operands)
        EXPRESSIONS[name] = Expression(body, tuple(named), rtol)
        return body

    return put
