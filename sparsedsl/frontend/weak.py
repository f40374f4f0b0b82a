"""Python numbers among the arguments: the dtypes that they take beside arrays.

Takes: what a traced kernel combines a number with.  Gives: its dtype, that of NumPy's promotion of
Python numbers.  Invariant: a number has one dtype in the whole kernel, the usual one (bool, int64,
float64, complex128) unless all that it meets agree on another kind of narrower or wider numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_ALIKE = frozenset({"add", "sub", "mul", "div", "neg", "pos"})
"""Operators after which a floating number and a literal are still a number for the next one."""

_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


@dataclass(slots=True, eq=False)
class Weak:
    """A Python number among the arguments, and the dtypes that it met while it was traced."""

    kind: type
    met: set[np.dtype] = field(default_factory=set[np.dtype])

    @property
    def usual(self) -> np.dtype:
        """The dtype of the number alone."""
        return np.result_type(self.kind)

    @property
    def dtype(self) -> np.dtype:
        """The dtype that the number takes.

        >>> alone, beside = Weak(float), Weak(float)
        >>> beside.met.add(np.dtype("float32"))
        >>> alone.dtype.name, beside.dtype.name
        ('float64', 'float32')
        """
        if len({dtype.kind for dtype in self.met}) != 1:
            return self.usual
        return np.result_type(*self.met)

    def alone(self) -> None:
        """Say that the number stands where it has its usual dtype."""
        self.met.add(self.usual)


def meet(
    operator: str, strong: Sequence[str], weak: Sequence[tuple[str, Sequence[Weak]]]
) -> tuple[Weak, ...]:
    """Note what numbers meet in an operation; return those that its result stands for.

    ``weak`` are dtype and numbers of each operand that stands for numbers, ``strong`` the dtypes of
    the others, without literals.
    """
    if strong:
        for dtype, numbers in weak:
            found = np.result_type(*map(np.dtype, strong), np.dtype(dtype).type(0).item())
            if operator in _COMPARISONS and found.kind in "iu":
                found = np.dtype(np.int64)  # 300 is compared with int8
            for number in numbers:
                number.met.add(found)
        return ()
    if operator in _ALIKE and len(weak) == 1 and np.dtype(weak[0][0]).kind in "fc":
        return tuple(weak[0][1])
    # computed in full: 1e200 * 1e-200, 100 * 3
    for _, numbers in weak:
        for number in numbers:
            number.alone()
    return ()
