"""What the operators of ``Tensor`` mean: elementwise ones, products, reductions, transposes.

Takes: tensors, arrays and numbers.  Gives: what ``einsum`` and ``evaluate`` give for the same
expression.  Invariant: nothing becomes dense that ``evaluate`` would not make dense.
"""

from __future__ import annotations

import operator as python
from collections.abc import Container
from functools import lru_cache, partial
from typing import Any

import numpy as np

from sparsedsl.api import einsum, evaluate
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.errors import NotationError, NotationTypeError, TensorTypeError
from sparsedsl.frontend.outputs import INFER
from sparsedsl.frontend.spans import here
from sparsedsl.interop import asarray
from sparsedsl.layouts.levels import total
from sparsedsl.runtime.operations import register
from sparsedsl.runtime.tensor import Tensor

LETTERS = "ijklmnopqrstuvwxyzabcdefgh"

_LONG = 2**1023
"""Integers below it are floating numbers, too."""


def _bound(operands: tuple[Any, ...], constants: Container[int]) -> dict[int, Tensor]:
    """Bind operands that are no constants; a Python number takes the dtype that NumPy gives it.

    Raises
    ------
    NotationTypeError
        For an integer that this dtype does not hold.
    """
    dtypes = [x.dtype for x in operands if hasattr(x, "dtype")]
    found: dict[int, Tensor] = {}
    for place, x in enumerate(operands):
        if place in constants:
            continue
        if isinstance(x, bool | int | float | complex):
            dtype = np.result_type(*dtypes, type(x)(0))
            try:
                x = np.array(x, dtype)
            except OverflowError:
                raise NotationTypeError(
                    f"{x} does not fit {dtype.name}",
                    span=here(),
                    hint="make the number a NumPy scalar of a wider dtype: np.int64(...)",
                ) from None
        found[place] = asarray(x)
    return found


def _constants(operands: tuple[Any, ...]) -> dict[int, str]:
    """Return the numbers that are part of the expression, so that the result's fill is known.

    A NumPy scalar is not, if it makes the result wider than a Python number does.
    """
    scalars = {n: x for n, x in enumerate(operands) if isinstance(x, np.generic | np.ndarray)}
    scalars = {n: x for n, x in scalars.items() if not x.ndim}
    dtypes = [x.dtype for n, x in enumerate(operands) if hasattr(x, "dtype") and n not in scalars]
    found: dict[int, str] = {}
    for place, x in enumerate(operands):
        number = x.item() if place in scalars else x
        if not isinstance(number, int | float):
            continue
        weak = np.result_type(*dtypes, type(number)(0))
        wider = place in scalars and np.result_type(*dtypes, x.dtype) != weak
        if not wider:
            found[place] = f"({number!r})"
    return found


def elementwise(name: str, *operands: Any) -> Any:
    """Apply an operator of the table to tensors of one shape, or tensors and numbers.

    Raises
    ------
    NotationError
        For operands of several shapes: a kernel says which indices they share.
    """
    if name == "div":  # a quotient is floating
        operands = tuple(1.0 * x if type(x) is int and abs(x) < _LONG else x for x in operands)
    # factors are operands: a kernel for each would be compiled where one serves all
    constants = {} if name in ("mul", "div") else _constants(operands)
    return _evaluated(_template(name), operands, constants)


def composed(template: str, *operands: Any) -> Any:
    """Evaluate an expression of operands of one shape and numbers, named ``{0}``, ``{1}``, ...

    Raises
    ------
    NotationError
        For operands of several shapes.

    Examples
    --------
    >>> composed("where({0} > {1}, {0}, -{0})", np.array([1.0, 3.0]), 2)
    array([-1.,  3.])
    """
    return _evaluated(template, operands, _constants(operands))


def _evaluated(template: str, operands: tuple[Any, ...], constants: dict[int, str]) -> Any:
    tensors = _bound(operands, constants)
    shapes = dict.fromkeys(t.shape for t in tensors.values() if t.ndim)
    if len(shapes) > 1:
        raise NotationError(
            f"expected operands of one shape, found {' and '.join(map(str, shapes))}",
            span=here(),
            hint="transpose one with .T where that is meant; nothing is broadcast: a kernel says "
            "which indices are shared, such as C[i, j] = A[i, j] * x[j]",
        )
    named: dict[str, Any] = {f"x{n}": t for n, t in tensors.items()}
    places = range(len(operands))
    parts = tuple([constants[n] if n in constants else tensors[n].ndim for n in places])
    return evaluate(_statement(template, parts), fill_value=INFER, **named)


@lru_cache(maxsize=64)
def _template(name: str) -> str:
    """The expression of an operator of the table.

    >>> _template("add"), _template("sqrt")
    ('{0} + {1}', 'sqrt({0})')
    """
    operator = OPERATORS[name]
    places = [f"{{{n}}}" for n in range(operator.arity)]
    if operator.symbol is None:
        return f"{name}({', '.join(places)})"
    return f" {operator.symbol} ".join(places) if len(places) > 1 else operator.symbol + places[0]


@lru_cache(maxsize=1024)
def _statement(template: str, operands: tuple[str | int, ...]) -> str:
    """The statement of an expression of constants, as text, and tensors of so many modes.

    >>> _statement("{0} + {1}", (2, "(1.5)"))
    'result[i, j] = x0[i, j] + (1.5)'
    """
    letters = ", ".join(LETTERS[: max(x for x in operands if isinstance(x, int))])
    place = f"[{letters}]" if letters else "[()]"
    accesses = [
        x if isinstance(x, str) else f"x{n}{place}" if x else f"x{n}"
        for n, x in enumerate(operands)
    ]
    return f"result{place} = {template.format(*accesses)}"


def _operand(x: Any) -> Any:
    """What has a shape and can be given to a kernel as it is; a tensor for what has not."""
    return x if type(x) in (Tensor, np.ndarray) else asarray(x)


def matmul(left: Any, right: Any) -> Any:
    """Multiply matrices and vectors."""
    a, b = _operand(left), _operand(right)
    if not 1 <= a.ndim <= 2 or not 1 <= b.ndim <= 2:
        raise NotationError(
            f"expected matrices or vectors around @, found {a.ndim} and {b.ndim} modes",
            span=here(),
            hint='use sd.einsum for tensors, such as sd.einsum("ijk,kl->ijl", A, B)',
        )
    if a.shape[-1] != b.shape[0]:
        raise NotationError(
            f"expected as many rows on the right of @ as columns on the left, {a.shape[-1]}, found "
            f"{b.shape[0]}: shapes {a.shape} and {b.shape}",
            span=here(),
            hint=_fitting(a, b),
        )
    rows, columns = ("i" if a.ndim == 2 else ""), ("j" if b.ndim == 2 else "")
    return einsum(f"{rows}k,k{columns}->{rows}{columns}", a, b)


def _fitting(a: Tensor, b: Tensor) -> str:
    """Which transposes could be multiplied."""
    lefts, rights = [("x", a.shape[-1])], [("y", b.shape[0])]
    if a.ndim == 2:
        lefts.append(("x.T", a.shape[0]))
    if b.ndim == 2:
        rights.append(("y.T", b.shape[1]))
    fits = [f"{x} @ {y}" for x, n in lefts for y, m in rights if n == m]
    if fits:
        return f"{' and '.join(fits)} would fit"
    return "the last extent on the left and the first on the right must be the same"


def reduce(kind: str, x: Any, axis: Any = None) -> Any:
    """Reduce a tensor over ``axis`` (an integer, several, or None for all).

    As in NumPy, sums and products of bools and narrow integers are of 64 bits.

    Examples
    --------
    >>> reduce("sum", np.array([True, False, True]))
    np.int64(2)
    """
    tensor = asarray(x)
    kept = [n for n in range(tensor.ndim) if n not in axes_of(tensor, axis)]
    if len(kept) == tensor.ndim and kind in ("any", "all"):
        return truth(tensor)
    letters = LETTERS[: tensor.ndim]
    result = "".join(letters[n] for n in kept)
    wide = np.add.reduce(np.empty(0, tensor.dtype)).dtype
    if kind in ("sum", "prod") and wide != tensor.dtype:
        return einsum(f"{letters},->{result}", tensor, wide.type(1), reduce=kind)
    return einsum(f"{letters}->{result}", tensor, reduce=kind)


def truth(x: Any) -> Any:
    """Return whether each value differs from zero."""
    tensor = asarray(x)
    return tensor if tensor.dtype == bool else elementwise("ne", tensor, 0)


def axes_of(x: Tensor, axis: Any) -> set[int]:
    """Return the modes that ``axis`` names: an integer, several, or None for all."""
    if axis is None:
        return set(range(x.ndim))
    try:
        given = [python.index(a) for a in (axis if isinstance(axis, tuple) else (axis,))]
    except TypeError:
        raise TensorTypeError(
            f"expected axis to be an integer or a tuple of integers, found {axis!r}"
        ) from None
    found = {a % x.ndim for a in given if -x.ndim <= a < x.ndim}
    if len(found) != len(given):
        raise NotationError(
            f"expected distinct axes of a tensor of {x.ndim} modes, found {axis}",
            span=here(),
            hint=f"axes are counted from 0 to {x.ndim - 1}, or from the end from -1 to {-x.ndim}"
            if x.ndim
            else "a tensor without modes has no axes",
        )
    return found


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """NumPy's ``tensordot``; with ``einsum`` and ``transpose``, what opt_einsum asks of us.

    Raises
    ------
    NotationError
        For axes that do not name as many modes of both.

    Examples
    --------
    >>> tensordot(np.eye(2), np.array([3.0, 4.0]), axes=1)
    array([3., 4.])
    """
    left, right = asarray(a), asarray(b)
    if isinstance(axes, int):
        axes = (range(left.ndim - axes, left.ndim), range(axes))
    mine, other = ([n] if isinstance(n, int) else [*n] for n in axes)
    letters = LETTERS[: left.ndim]
    second = list(LETTERS[left.ndim : left.ndim + right.ndim])
    if len(mine) != len(other) or not set(other) <= set(range(-right.ndim, right.ndim)):
        raise NotationError(f"expected as many axes of both operands, found {axes}")
    for m, n in zip(mine, other, strict=True):
        second[n] = letters[m]
    kept = [c for c in (*letters, *second) if (c in letters) != (c in second)]
    return einsum(f"{letters},{''.join(second)}->{''.join(kept)}", left, right)


def transpose(x: Any, axes: Any = None) -> Any:
    """NumPy's ``transpose``.

    Examples
    --------
    >>> transpose(np.ones((2, 3))).shape
    (3, 2)
    """
    tensor = asarray(x)
    order = list(range(tensor.ndim))[::-1] if axes is None else [int(n) for n in axes]
    if order == list(range(tensor.ndim))[::-1]:
        moved = tensor.T
        return moved.to_numpy() if total(moved.layout) else moved
    letters = LETTERS[: tensor.ndim]
    return einsum(f"{letters}->{''.join(letters[n] for n in order)}", tensor)


for _name in ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg", "pos", "abs"):
    register(_name, partial(elementwise, _name))
for _name in ("and", "or", "xor", "not", "eq", "ne", "lt", "le", "gt", "ge"):
    register(_name, partial(elementwise, _name))
register("matmul", matmul)
register("sum", partial(reduce, "sum"))
