"""The results of a kernel while it is traced.

Takes: subscripts and values.  Gives: statements, recorded in the trace under way.
Invariant: an output's dtype is known from its first assignment on.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from sparsedsl.contraction.algebra import fill_of
from sparsedsl.contraction.expressions import dtype_of, same_value
from sparsedsl.contraction.nodes import (
    VALUE_DTYPES,
    Access,
    Affine,
    Assign,
    Program,
    Scalar,
    Tensor,
)
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.errors import NotationError, NotationTypeError, Span
from sparsedsl.frontend.spans import bounded_depth, here, user_frame
from sparsedsl.frontend.subscripts import Handle, check_left, subscripts_of
from sparsedsl.frontend.sums import bind
from sparsedsl.frontend.surface import Value, as_value, combine, settled

INFER = object()
"""The fill of an output that takes whatever fill its expression has."""


@dataclass(slots=True)
class Trace:
    """Statements, outputs and extents given so far."""

    inputs: dict[str, Tensor]
    outputs: list[Output] = field(default_factory=list["Output"])
    statements: list[Assign] = field(default_factory=list[Assign])
    extents: dict[str, int] = field(default_factory=dict[str, int])
    shape_used: bool = False

    def give_extents(
        self, subscripts: tuple[Affine, ...], shape: tuple[int | None, ...], span: Span | None
    ) -> None:
        """Let the shape of an output give its indices their extents."""
        for subscript, size in zip(subscripts, shape, strict=True):
            index = subscript.indices[0]
            if size is not None and self.extents.setdefault(index, size) != size:
                raise NotationError(
                    f"index {index}: expected {self.extents[index]} (the shape of another "
                    f"output), found {size}",
                    span=span,
                )

    def name_output(self, output: Output) -> str:
        """Return a name for an output: that of the user's variable, made unique."""
        wanted = output.name or _variable_name(output) or "out"
        taken = set(self.inputs) | {o.name for o in self.outputs if o is not output}
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        return name


current: ContextVar[Trace | None] = ContextVar("sparsedsl_trace", default=None)


def _variable_name(output: Output) -> str | None:
    frame = user_frame()
    for name, value in {} if frame is None else frame.f_locals.items():
        if value is output and name.isidentifier() and name.isascii():
            return name
    return None


@dataclass(frozen=True, slots=True)
class Accumulation:
    """What ``C[i, j] += value`` hands to ``C[i, j] = ...``."""

    output: Output
    subscripts: tuple[Affine, ...]
    value: Value


class OutputAccess(Value):
    """``C[i, j]``, which may be read, or accumulated into even before it has a value."""

    __slots__ = ("output", "span", "subscripts")

    def __init__(self, output: Output, subscripts: tuple[Affine, ...], span: Span | None) -> None:
        super().__init__(Access(output.name or "the output", subscripts, span), output.dtype or "")
        self.output = output
        self.subscripts = subscripts
        self.span = span

    def value(self) -> Value:
        """Return the access, now that it is read."""
        return self.output.read(self)

    def __iadd__(self, other: Any) -> Any:
        return Accumulation(self.output, self.subscripts, as_value(other))

    def __isub__(self, other: Any) -> Any:
        return Accumulation(self.output, self.subscripts, combine("neg", other))

    def _no_accumulation(self, other: Any) -> NoReturn:
        del other
        raise NotationError(
            "an output can be accumulated into by += and -= only",
            span=here(),
            hint="use a second sd.output() for the new value",
        )

    __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __ipow__ = _no_accumulation
    __iand__ = __ior__ = __ixor__ = _no_accumulation


class Output(Handle):
    """A result or an intermediate of the kernel under trace."""

    __slots__ = (
        "_explicit",
        "_fill",
        "_read",
        "_shape",
        "_trace",
        "dtype",
        "layout",
        "name",
        "rank",
    )

    def __init__(
        self,
        trace: Trace,
        layout: Any,
        dtype: Any,
        fill: Any,
        name: str = "",
        shape: tuple[int | None, ...] | None = None,
    ) -> None:
        self._trace = trace
        self._shape = shape
        self._fill = _number(fill)
        self._explicit = dtype is not None
        self._read = False
        self.layout = layout
        self.dtype: str | None = None if dtype is None else _dtype_name(dtype)
        self.name = name
        self.rank: int | None = None

    def __getitem__(self, key: Any) -> OutputAccess:
        span = here()
        return OutputAccess(self, self._subscripts(key, span), span)

    def __setitem__(self, key: Any, value: Any) -> None:
        span = here()
        subscripts = self._subscripts(key, span)
        accumulating = isinstance(value, Accumulation)
        if isinstance(value, Accumulation):
            if value.output is not self or value.subscripts != subscripts:
                raise NotationError("+= reads and writes different places", span=span)
            value = value.value
        first = self.rank is None
        if not first and not accumulating:
            raise NotationError(
                f"'{self.name}' is assigned twice",
                span=span,
                hint="use += to accumulate, or a second sd.output()",
            )
        check_left(subscripts, span)
        given = settled(value)
        left = frozenset(n for s in subscripts for n in s.indices)
        with bounded_depth():
            bound = Value(bind(given.expression, left), "")
            bound.dtype = self._dtype_of(bound)
        if first and accumulating and self._fill is not INFER and self._fill != 0:
            bound = combine("add", self._fill, bound)
        if first:
            self._define(subscripts, bound, span)
        else:
            self._widen(bound.dtype, span)
        accumulate = "add" if accumulating and not first else None
        self._trace.statements.append(
            Assign(self.name, subscripts, bound.expression, accumulate, span)
        )

    def value(self) -> Value:
        """Return a scalar output's value."""
        if self.rank != 0:
            self._unsubscripted(self.rank)
        return self[()].value()

    @property
    def called(self) -> str:
        """The name by which the user knows the output."""
        return self.name or _variable_name(self) or "output"

    def read(self, access: OutputAccess) -> Value:
        """Return the value of an access to this output."""
        if self.rank is None or self.dtype is None:
            raise NotationError(
                f"'{self.called}' is read before anything is assigned to it", span=access.span
            )
        self._read = True
        return Value(Access(self.name, access.subscripts, access.span), self.dtype)

    def tensor(self) -> Tensor:
        """Return the output as the program declares it."""
        assert self.rank is not None
        assert self.dtype is not None
        return Tensor(self.name, self.rank, self.dtype, self._fill_in(self.dtype))

    def _subscripts(self, key: Any, span: Span | None) -> tuple[Affine, ...]:
        return subscripts_of(self.called, key, self.rank, span)

    def _dtype_of(self, value: Value) -> str:
        return dtype_of(value.expression, self._trace_program())

    def _trace_program(self) -> Program:
        outputs = tuple(o.tensor() for o in self._trace.outputs if o.rank is not None)
        return Program(tuple(self._trace.inputs.values()), outputs, (), ())

    def _define(self, subscripts: tuple[Affine, ...], value: Value, span: Span | None) -> None:
        self.name = self._trace.name_output(self)
        if self.dtype is None:
            self.dtype = value.dtype
        if self._fill is INFER:
            found = fill_of(value.expression, self._trace_program())
            self._fill = 0 if found is None else found
        if self._shape is not None and len(self._shape) != len(subscripts):
            raise NotationError(
                f"expected {len(self._shape)} subscripts, as many as the shape {self._shape} "
                f"that '{self.name}' was given, found {len(subscripts)}",
                span=span,
            )
        if self._shape is not None:
            self._trace.give_extents(subscripts, self._shape, span)
        self.rank = len(subscripts)
        self._fill_in(self.dtype, span)

    def _widen(self, dtype: str, span: Span | None) -> None:
        """Let an accumulated value widen a dtype that was inferred."""
        assert self.dtype is not None
        if self._explicit:
            return
        wider = OPERATORS["add"].result((self.dtype, dtype))
        if wider != self.dtype and self._read:
            raise NotationTypeError(
                f"'{self.name}' has dtype {self.dtype} where it is read, and {dtype} values are "
                "added to it later",
                span=span,
                hint=f'give its dtype: sd.output(dtype="{wider}")',
            )
        self.dtype = wider

    def _fill_in(self, dtype: str, span: Span | None = None) -> Scalar:
        """Return the fill as a value of the dtype."""
        complex_needed = isinstance(self._fill, complex) and self._fill.imag != 0
        found = None
        if not complex_needed or np.dtype(dtype).kind == "c":
            plain = self._fill if np.dtype(dtype).kind == "c" else np.real(self._fill)
            with np.errstate(all="ignore"), suppress(OverflowError):
                found = np.asarray(plain).astype(dtype)
        same = found is not None and same_value(found.item(), self._fill)
        if found is None or not same:
            raise NotationError(
                f"expected a fill value of dtype {dtype}, found {self._fill!r}",
                span=span,
                hint="give sd.output a dtype that holds the fill value",
            )
        return found.item()

    def __repr__(self) -> str:
        return f"<output {self.name or '(unassigned)'}>"


def _dtype_name(dtype: Any) -> str:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in VALUE_DTYPES:
        raise NotationTypeError(
            f"expected one of the dtypes {', '.join(VALUE_DTYPES)}, found {dtype!r}", span=here()
        )
    return found.name


def _number(fill: Any) -> Any:
    """Return a fill value as a Python number."""
    if isinstance(fill, np.generic):
        fill = fill.item()
    if fill is not INFER and not isinstance(fill, bool | int | float | complex):
        raise NotationTypeError(
            f"expected a number as fill_value, found {type(fill).__name__}", span=here()
        )
    return fill


def _checked_shape(shape: Any) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    parts: list[Any] = list(shape) if isinstance(shape, tuple | list) else [shape]
    for part in parts:
        whole = isinstance(part, int | np.integer) and not isinstance(part, bool)
        if part is not None and not (whole and part >= 0):
            raise NotationError(
                f"expected a shape of extents, each at least 0 or None, found {shape!r}",
                span=here(),
                hint="None leaves an extent to the operands: sd.output(shape=(None, 4))",
            )
    return tuple(None if part is None else int(part) for part in parts)


def output(
    layout: Any = None, dtype: Any = None, fill_value: Any = 0, *, shape: Any = None
) -> Output:
    """Make a result of the kernel under trace; assign to it with ``C[i, j] = ...``.

    Parameters
    ----------
    layout:
        A layout or its name; None lets the compiler choose.
    dtype:
        The result's dtype; None takes the expression's.
    fill_value:
        The value of entries that are not stored.
    shape:
        The result's extents, for indices that subscript no operand (``C[i, j] = x[i]``); None
        in it leaves an extent to the operands.

    Raises
    ------
    NotationError
        Outside a kernel, or for a fill value that the dtype does not hold.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsedsl as sd
    >>> @sd.kernel
    ... def doubled(A):
    ...     i, j = sd.indices("i j")
    ...     C = sd.output("csc", dtype="float32")
    ...     C[i, j] = 2 * A[i, j]
    ...     return C
    >>> doubled(sp.eye_array(2, format="csr")).dtype
    dtype('float32')
    """
    trace = current.get()
    if trace is None:
        raise NotationError(
            "sd.output() is used outside a kernel",
            span=here(),
            hint="call it inside a function decorated with @sd.kernel",
        )
    made = Output(trace, layout, dtype, fill_value, shape=_checked_shape(shape))
    trace.outputs.append(made)
    return made
