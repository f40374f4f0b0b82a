"""Functions of a user's own in expressions: scalar functions that Numba compiles.

Takes: a Numba dispatcher.  Gives: a function of expressions, backed by an operator of the
table.  Invariant: the operator's name holds the hash of everything the function reads, so that
a kernel on disk is that of this very function; its text stands in the generated module.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, overload

import numpy as np

from sparsedsl.contraction.operators import OPERATORS, Annihilator, Operator, register
from sparsedsl.errors import NotationError, NotationTypeError
from sparsedsl.frontend.spans import here
from sparsedsl.frontend.surface import Value, combine
from sparsedsl.frontend.user_text import text_of

_TRIED = (-2, 1, 3)
"""Values at which a stated zero is tried."""

_SEARCHED = 2
"""Other arguments that are tried in every combination; what is beyond stays 1."""

_BESIDE = (-np.inf, -2.0, -0.0, 0.0, 0.5, 1.0, 3.0, np.inf, np.nan)
"""Values of the other arguments at which the sign of a zero is tried."""


@overload
def function(fn: Callable[..., Any], /) -> Callable[..., Value]: ...
@overload
def function(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    zeros: Sequence[int] = (),
    derivatives: Sequence[Callable[..., Any]] | None = None,
) -> Any: ...
def function(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    zeros: Sequence[int] = (),
    derivatives: Sequence[Callable[..., Any]] | None = None,
) -> Any:
    """Make a scalar function that Numba compiles a function of expressions.

    Where its arguments are at their fill the result is the function of the fills, as for any
    operator: ``f(A[i, j])`` stays sparse where ``f(0) == 0``.

    Parameters
    ----------
    fn:
        A function of scalars under ``@numba.njit``, a ``def`` whose result depends on its
        arguments alone.  It may read ``numpy``, ``math``, numbers and other such functions.
    zeros:
        Positions of arguments at which 0 gives 0 whatever the others are, NaN included: with
        ``zeros=(0,)`` entries of ``f(A[i, j], B[i, j])`` are those of ``A`` at most.
    derivatives:
        For each argument the function that is the derivative by it; without them a gradient
        through the function is refused.

    Raises
    ------
    NotationError
        If it is no such function, or a stated zero is none.

    Examples
    --------
    >>> import numba, numpy as np, scipy.sparse as sp, sparsedsl as sd
    >>> @sd.function
    ... @numba.njit
    ... def shrink(x):
    ...     return np.sign(x) * max(abs(x) - 1.0, 0.0)
    >>> @sd.kernel
    ... def shrunk(A):
    ...     i, j = sd.indices("i j")
    ...     C = sd.output()
    ...     C[i, j] = shrink(A[i, j])
    ...     return C
    >>> shrunk(sp.csr_array([[0.5, -3.0], [0.0, 2.0]])).toarray()
    array([[ 0., -2.],
           [ 0.,  1.]])
    """
    if fn is None:
        return partial(function, zeros=zeros, derivatives=derivatives)
    name = _registered(fn, tuple(zeros), derivatives)
    arity = OPERATORS[name].arity

    def applied(*arguments: Any) -> Value:
        if len(arguments) != arity:
            raise NotationTypeError(
                f"{applied.__name__} takes {arity} argument{'s' * (arity > 1)}, "
                f"found {len(arguments)}",
                span=here(),
            )
        return combine(name, *arguments)

    applied.__name__ = applied.__qualname__ = fn.__name__
    applied.__doc__ = fn.__doc__
    applied.operator = name  # pyright: ignore[reportFunctionMemberAccess]
    return applied


def _registered(
    fn: Any, zeros: tuple[int, ...], derivatives: Sequence[Callable[..., Any]] | None
) -> str:
    """Return the name of the operator of a function, made if there is none yet."""
    known = getattr(fn, "operator", None)
    if known is not None:
        return known
    if not hasattr(fn, "py_func") or not hasattr(fn, "overloads"):
        off = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
        raise NotationError(
            f"expected a function that Numba compiles, found {type(fn).__name__}",
            hint="unset NUMBA_DISABLE_JIT, under which @numba.njit leaves functions as they are"
            if off
            else "write @numba.njit below @sd.function",
        )
    arity = len(inspect.signature(fn.py_func).parameters)
    partials = None
    if derivatives is not None:
        if len(derivatives) != arity:
            raise NotationError(
                f"expected {arity} derivatives of {fn.__name__}, found {len(derivatives)}"
            )
        partials = tuple(_registered(d, (), None) for d in derivatives)
    name, text = text_of(fn, f"{zeros} {partials}")
    if name not in OPERATORS:
        scalar = _Scalar(fn)
        facts = tuple(Annihilator(position, 0, 0) for position in zeros)
        _try_zeros(scalar, arity, zeros)
        register(
            Operator(
                name,
                arity,
                scalar,
                scalar.result,
                None,
                facts,
                signs=_signs(scalar, arity, zeros),
                source=text,
                partials=partials,
            )
        )
    return name


class _Scalar:
    """A dispatcher as NumPy would see it: elementwise, with the dtype that Numba infers."""

    def __init__(self, dispatcher: Any) -> None:
        self.dispatcher = dispatcher
        self._known: dict[tuple[str, ...], str] = {}

    def result(self, dtypes: tuple[str, ...]) -> str:
        """Return the dtype for arguments of ``dtypes``; TypeError where Numba finds none."""
        found = self._known.get(dtypes)
        if found is None:
            dispatcher = self.dispatcher
            types = tuple(dispatcher.typeof_pyval(np.dtype(d).type(1)) for d in dtypes)
            try:
                dispatcher.compile(types)
                found = np.dtype(str(dispatcher.overloads[types].signature.return_type)).name
            except Exception as error:  # of Numba's own, which has many
                raise TypeError from error
            self._known[dtypes] = found
        return found

    def __call__(self, *arguments: Any) -> Any:
        arrays = np.broadcast_arrays(*(np.asarray(a) for a in arguments))
        found = np.empty(arrays[0].shape, self.result(tuple(a.dtype.name for a in arrays)))
        with np.errstate(all="ignore"):
            for place in np.ndindex(found.shape):
                found[place] = self._at(*(a[place] for a in arrays))
        return found[()]

    def _at(self, *values: Any) -> Any:
        try:
            return self.dispatcher.py_func(*values)  # divides by zero as NumPy does
        except (ValueError, OverflowError, TypeError):
            # ``math`` refuses what it gives NaN or infinity for when compiled
            return self.dispatcher(*values)


def _try_zeros(scalar: _Scalar, arity: int, zeros: tuple[int, ...]) -> None:
    for position in zeros:
        if not 0 <= position < arity:
            raise NotationError(f"zeros: expected positions below {arity}, found {position}")
        for value in (*_TRIED, np.inf, np.nan):
            given = [np.float64(0 if n == position else value) for n in range(arity)]
            found = scalar(*given)
            if found != 0:
                shown = ", ".join(str(x) for x in given)
                raise NotationError(
                    f"zeros: expected 0 where argument {position} is 0, found "
                    f"{scalar.dispatcher.__name__}({shown}) = {found}",
                    hint="leave the position out: every coordinate is then visited",
                )


def _signs(scalar: _Scalar, arity: int, zeros: tuple[int, ...]) -> tuple[int, ...]:
    """Return the positions at which zeros of either sign do not give the same."""
    try:
        scalar.result(("float64",) * arity)
    except TypeError:
        return ()  # of integers alone, which have one zero
    return tuple(n for n in range(arity) if n not in zeros and _sign_shows(scalar, arity, n))


def _sign_shows(scalar: _Scalar, arity: int, position: int) -> bool:
    for others in product(_BESIDE, repeat=min(arity - 1, _SEARCHED)):
        given = [*others, *(1.0,) * (arity - 1 - len(others))]
        found = [scalar(*(np.float64(x) for x in _with(given, position, z))) for z in (0.0, -0.0)]
        if not np.array_equal(*found, equal_nan=True):
            return True
    return False


def _with(given: list[float], position: int, value: float) -> list[float]:
    return [*given[:position], value, *given[position:]]
