"""The arguments of a kernel while it is traced, and the ways to read a tensor there.

Takes: subscripts.  Gives: accesses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from sparsedsl.contraction.nodes import Access, Scalar, Stored
from sparsedsl.errors import NotationError, NotationTypeError
from sparsedsl.frontend.outputs import Output, Trace
from sparsedsl.frontend.spans import here
from sparsedsl.frontend.subscripts import Handle, subscripts_of
from sparsedsl.frontend.surface import Value
from sparsedsl.frontend.weak import Weak


@dataclass(frozen=True, slots=True)
class ArgumentInfo:
    """What tracing needs to know of an argument.

    ``shape`` is only shown to the kernel, and its length is the rank.  ``dtype`` is a NumPy
    dtype name; ``fill`` the value of entries not stored; ``total`` says all are stored.
    ``weak`` notes what a Python number meets.
    """

    shape: tuple[int, ...]
    dtype: str
    fill: Scalar = 0
    total: bool = False
    weak: Weak | None = None


class Argument(Handle):
    """An argument of the kernel under trace."""

    __slots__ = ("_info", "_trace", "name")

    def __init__(self, name: str, info: ArgumentInfo, trace: Trace) -> None:
        self.name = name
        self._info = info
        self._trace = trace

    @property
    def shape(self) -> tuple[int, ...]:
        """The argument's shape; a kernel that reads it is specialised for it."""
        self._trace.shape_used = True
        return self._info.shape

    @property
    def ndim(self) -> int:
        """Number of modes."""
        return len(self._info.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The argument's dtype."""
        return np.dtype(self._info.dtype)

    @property
    def fill_value(self) -> Scalar:
        """The value of entries that are not stored."""
        return self._info.fill

    def __getitem__(self, key: Any) -> Value:
        span = here()
        subscripts = subscripts_of(self.name, key, self.ndim, span)
        return Value(Access(self.name, subscripts, span), self._info.dtype, self._weak())

    def _weak(self) -> tuple[Weak, ...]:
        return () if self._info.weak is None else (self._info.weak,)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        del key, value
        raise NotationError(
            f"'{self.name}' is an argument and cannot be assigned to",
            span=here(),
            hint="make a result with sd.output()",
        )

    def value(self) -> Value:
        """Return a scalar argument's value."""
        if self.ndim:
            self._unsubscripted(self.ndim)
        return Value(Access(self.name, (), here()), self._info.dtype, self._weak())

    def __repr__(self) -> str:
        return f"<argument {self.name}: {self._info.dtype}, {self.ndim} modes>"


@dataclass(frozen=True, slots=True)
class Padded:
    """``padded(A)``: subscript it to read A beyond its edges too."""

    argument: Argument | Output

    def __getitem__(self, key: Any) -> Value:
        read = self.argument[key].value()
        access = read.expression
        assert isinstance(access, Access)
        subscripts = tuple(
            s if s.name is not None else replace(s, padded=True) for s in access.subscripts
        )
        return Value(replace(access, subscripts=subscripts), read.dtype)


def padded(tensor: Any) -> Padded:
    """Return a tensor that may be read beyond its edges: ``padded(A)[i - 1, j]``.

    What lies there is the tensor's fill value, 0 for a plain array.  An index that nothing else
    gives an extent runs over that of the mode: ``padded(x)[i + k - 1] * w[k]`` has as many
    results as ``x`` has elements.

    Examples
    --------
    >>> import numpy as np, sparsedsl as sd
    >>> @sd.kernel
    ... def laplacian(x):
    ...     i = sd.index("i")
    ...     y = sd.output()
    ...     y[i] = sd.padded(x)[i - 1] - 2 * x[i] + sd.padded(x)[i + 1]
    ...     return y
    >>> laplacian(np.array([1.0, 4.0, 9.0]))
    array([  2.,   2., -14.])

    Raises
    ------
    NotationTypeError
        For anything but a tensor of the kernel.
    """
    if not isinstance(tensor, Argument | Output):
        raise NotationTypeError(
            f"expected a tensor, found {type(tensor).__name__}",
            span=here(),
            hint="pad the tensor first and subscript it: sd.padded(A)[i - 1, j]",
        )
    return Padded(tensor)


@dataclass(frozen=True, slots=True)
class Pattern:
    """``pattern(A)``: subscript it to ask where A stores entries."""

    argument: Argument | Output

    def __getitem__(self, key: Any) -> Value:
        span = here()
        if isinstance(self.argument, Output):
            access = self.argument[key].value().expression
            assert isinstance(access, Access)
            return Value(Stored(access.tensor, access.subscripts, span), "bool")
        argument = self.argument
        subscripts = subscripts_of(argument.name, key, argument.ndim, span)
        return Value(Stored(argument.name, subscripts, span), "bool")


def pattern(tensor: Any) -> Pattern:
    """Return the pattern of a tensor: ``pattern(A)[i, j]`` is true where A stores an entry.

    Raises
    ------
    NotationTypeError
        For anything but a tensor of the kernel.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsedsl as sd
    >>> @sd.kernel
    ... def masked(M, x):
    ...     i, j = sd.indices("i j")
    ...     C = sd.output()
    ...     C[i, j] = sd.where(sd.pattern(M)[i, j], x[i] * x[j], 0)
    ...     return C
    >>> masked(sp.eye_array(3, format="csr"), np.arange(1.0, 4.0)).data
    array([1., 4., 9.])
    """
    if not isinstance(tensor, Argument | Output):
        raise NotationTypeError(
            f"expected a tensor, found {type(tensor).__name__}",
            span=here(),
            hint="take the pattern first and subscript it: sd.pattern(A)[i, j]",
        )
    return Pattern(tensor)
