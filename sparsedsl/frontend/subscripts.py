"""What stands between the brackets: subscripts, and the handles they select from.

Takes: ``name[key]``.  Gives: affine subscripts.  Invariant: as many as the tensor has modes.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from sparsedsl.contraction.expressions import walk
from sparsedsl.contraction.nodes import Access, Affine
from sparsedsl.errors import NotationError, NotationTypeError, Span
from sparsedsl.frontend.spans import here
from sparsedsl.frontend.surface import Operand, Value, affine_of

GATHER = (
    "no tensor stands in a subscript: a gather x[p[i]] is the product P[i, j] * x[j] with "
    "P = scipy.sparse.csr_array((numpy.ones(len(p)), p, numpy.arange(len(p) + 1)), "
    "shape=(len(p), len(x)))"
)
"""What to write instead of a subscript that is read from a tensor."""


class Handle(Operand):
    """A tensor inside a kernel; `Argument` and `Output` have what they share here."""

    __slots__ = ()
    name: str

    def value(self) -> Value:
        """Return the value of a scalar, which needs no subscripts."""
        raise NotImplementedError

    def _unsubscripted(self, rank: int | None) -> NoReturn:
        raise NotationError(
            f"{self.called} is used without subscripts",
            span=here(),
            hint=f"say which element is meant: {_example(self.called, rank or 2)}",
        )

    @property
    def called(self) -> str:
        """The name by which the user knows the tensor."""
        return self.name

    def __iter__(self) -> NoReturn:
        raise NotationTypeError(
            f"{self.name} cannot be iterated over",
            span=here(),
            hint=f"an index stands for every position: {self.name}[i, j]",
        )

    def __len__(self) -> NoReturn:
        raise NotationTypeError(
            f"{self.name} has no length", span=here(), hint=f"use {self.name}.shape[0]"
        )

    def __matmul__(self, other: Any) -> NoReturn:
        del other
        raise NotationTypeError(
            "'@' has no meaning inside a kernel",
            span=here(),
            hint="write the indices: C[i, j] = A[i, k] * B[k, j]",
        )

    __rmatmul__ = __matmul__


def subscripts_of(name: str, key: Any, rank: int | None, span: Span | None) -> tuple[Affine, ...]:
    """Return the affine subscripts of ``name[key]``; NotationError says what is wrong."""
    parts: tuple[Any, ...] = key if isinstance(key, tuple) else (key,)
    subscripts = tuple(_subscript(name, part, span) for part in parts)
    if rank is not None and len(subscripts) != rank:
        modes = "1 mode" if rank == 1 else f"{rank} modes"
        found = "1 subscript" if len(subscripts) == 1 else f"{len(subscripts)} subscripts"
        raise NotationError(
            f"{name} has {modes}, found {found}",
            span=span,
            hint=f"a scalar is read as {name}[()] or plain {name}"
            if rank == 0
            else f"give one for each mode: {_example(name, rank)}",
        )
    return subscripts


def _example(name: str, rank: int) -> str:
    return f"{name}[{', '.join('ijklmnop'[:rank])}]"


def _subscript(name: str, part: Any, span: Span | None) -> Affine:
    affine = affine_of(part)
    if affine is not None:
        return affine
    hint: str | None = None
    found = repr(part)
    match part:
        case str():
            hint = f'make it an index first: {part.split(",")[0]} = sd.index("...")'
        case slice():
            found = "a slice"
            hint = "an index stands for a whole mode: write A[i, j] instead of A[i, :]"
        case Handle():
            found = f"the tensor {part.name}"
            hint = GATHER
        case Value() if any(isinstance(e, Access) for e in walk(part.expression)):
            found, hint = f"'{part}'", GATHER
        case Operand():
            found = f"'{part}'"
            hint = "subscripts are sums of indices times integers, such as 2*i + j + 1"
        case _ if part is None or part is Ellipsis:
            hint = "give one subscript per mode"
        case list() | np.ndarray():
            hint = "take these positions outside of the kernel: A[:, [0, 1]] as an argument"
        case _:
            hint = "an index stands for every position, an integer for one: A[i, 0]"
    raise NotationError(
        f"{name}: expected an index or an integer as a subscript, found {found}",
        span=span,
        hint=hint,
    )


def check_left(subscripts: tuple[Affine, ...], span: Span | None) -> None:
    """Refuse subscripts that cannot stand on the left of ``=``."""
    for n, subscript in enumerate(subscripts):
        if subscript.name is None:
            raise NotationError(
                f"expected a plain index on the left of '=', found '{subscript}'",
                span=span,
                hint="move the offset to the right side: C[i] = A[i + 1]"
                if subscript.indices
                else "an index stands for every position, without a loop over them: C[i] = ...; "
                f"one element is given by C = sd.output(shape=...) and C[i] = "
                f"sd.where(i == {subscript}, ..., 0)",
            )
        if subscript in subscripts[:n]:
            raise NotationError(
                f"index {subscript} stands twice on the left of '='",
                span=span,
                hint="give each mode an index of its own and select with sd.where(i == j, ..., 0)",
            )
