"""Equal indices as the pattern of a tensor without arrays, so that loops go along a diagonal.

Takes: a program and what is known of its inputs.  Gives: an equivalent program that asks for
stored entries where it compared indices, and what is to be known of the tensors it asks.
Invariant: such a tensor is true exactly where the indices were equal; no kernel reads it, since
its coordinates follow from its layout alone.

    L[i, j] = d[i] * (i == j) - A[i, j]
        =>  L[i, j] = d[i] * pattern(i_is_j)[i, j] - A[i, j]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from sparsedsl.contraction.nodes import (
    Affine,
    Call,
    Expression,
    IndexValue,
    Program,
    Reduce,
    Stored,
    Tensor,
)
from sparsedsl.layouts.layout import Layout
from sparsedsl.pipeline.source import Source


@lru_cache(maxsize=64)
def diagonal(offset: int) -> Layout:
    """Return the layout of what is stored at ``[i, i + offset]``, wherever that is."""
    return Layout(
        f"diagonal {offset:+d}" if offset else "diagonal",
        f"[I, J] -> {{ [d] -> [i, j] : 0 <= d < I and i = d and j = d + {offset} and 0 <= j < J }}",
        value="one(d)",
    )


def along_diagonals(
    program: Program, sources: Mapping[str, Source], extents: Mapping[str, int]
) -> tuple[Program, Mapping[str, Source]]:
    """Return the program with comparisons of two indices for equality made patterns."""
    made = _Diagonals(program, extents, dict(sources))
    statements = tuple(replace(s, expression=made.put(s.expression)) for s in program.statements)
    inputs = (*program.inputs, *made.inputs)
    return replace(program, inputs=inputs, statements=statements), made.sources


@dataclass(slots=True)
class _Diagonals:
    program: Program
    extents: Mapping[str, int]
    sources: dict[str, Source]
    inputs: list[Tensor] = field(default_factory=list[Tensor])

    def put(self, node: Expression) -> Expression:
        """Put patterns in place of comparisons."""
        match node:
            case Call("eq", (IndexValue(left), IndexValue(right))):
                return self._pattern(left, right) or node
            case Call(operator, arguments):
                return Call(operator, tuple(self.put(a) for a in arguments))
            case Reduce(monoid, indices, body):
                return Reduce(monoid, indices, self.put(body))
            case _:
                return node

    def _pattern(self, left: Affine, right: Affine) -> Stored | None:
        """Return where ``i + a = j + b``; None for comparisons of another form."""
        names = [*left.terms, *right.terms]
        if len(left.terms) != 1 or len(right.terms) != 1 or left.terms == right.terms:
            return None
        if any(factor != 1 for _, factor in names):
            return None
        (row, _), (column, _) = names
        name = self._name(row, column, left.constant - right.constant)
        return Stored(name, (Affine.of(row), Affine.of(column)))

    def _name(self, row: str, column: str, offset: int) -> str:
        """Name the tensor of a comparison, and add it when it is met for the first time."""
        sign = "minus" if offset > 0 else "plus"
        name = f"{row}_is_{column}" + (f"_{sign}_{abs(offset)}" if offset else "")
        given = {t.name for t in (*self.program.inputs, *self.program.outputs)}
        while name in given:
            name += "_"
        if name not in self.sources:
            shape = (self.extents[row], self.extents[column])
            entries = {"d": float(min(shape))}
            self.sources[name] = Source(diagonal(offset), shape, entries, {}, implied=True)
            self.inputs.append(Tensor(name, len(shape), "bool", False))
        return name
