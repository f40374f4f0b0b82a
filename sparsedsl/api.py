"""What users call: ``kernel``, ``einsum``, ``evaluate``, ``convert``, ``storage_bytes``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import Any, TypeAlias, overload

from sparsedsl.calls.choices import Choices
from sparsedsl.calls.seen import MISS
from sparsedsl.errors import NotationError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.einsum import einsum_program
from sparsedsl.frontend.string import parse_statement
from sparsedsl.frontend.trace import Traced
from sparsedsl.interop import asarray
from sparsedsl.kernel import Engine, Kernel
from sparsedsl.layouts.catalogue import AnyLayout, resolve
from sparsedsl.layouts.measure import converted_bytes
from sparsedsl.runtime.tensor import Tensor


@overload
def kernel(fn: Callable[..., Any], /) -> Kernel: ...
@overload
def kernel(
    fn: None = None,
    /,
    *,
    out: Any = None,
    order: str | None = None,
    find: Any = "auto",
    parallel: Any = "auto",
    workspace: str = "auto",
    deterministic: bool = True,
    semantics: str = "ieee",
) -> Callable[[Callable[..., Any]], Kernel]: ...
def kernel(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    out: Any = None,
    order: str | None = None,
    find: Any = "auto",
    parallel: Any = "auto",
    workspace: str = "auto",
    deterministic: bool = True,
    semantics: str = "ieee",
) -> Kernel | Callable[[Callable[..., Any]], Kernel]:
    """Make a kernel of a function that holds tensor expressions.

    The function runs once for each combination of layouts and dtypes, with handles for its
    arguments; nothing of its source is parsed.  What it assigns to ``sd.output()`` is
    compiled when first called, and again only for arguments of another kind.

    Parameters
    ----------
    out:
        The layout of the result, where ``sd.output`` names none; a mapping by output name for
        several results.  By default a result is sparse where its operands make it so.
    order:
        The order of the loops, such as ``"i k j"``.
    find:
        How matching entries are found: ``"auto"``, ``"table"``, ``"spread"``, ``"bitmap"``,
        ``"merge"``, ``"gallop"``, ``"binary"``, ``"hash"``, ``"count"`` or ``"linear"``, or a
        mapping from argument to one of them.
    parallel:
        ``"auto"``, True or False.  The outermost loop is shared among threads where its turns
        are proved to write apart.  Sparse results are assembled in pieces that count their
        entries first; a sum over everything is made in pieces that follow from sizes.
    workspace:
        How the values of a row of a sparse result are gathered where they do not come in order:
        ``"dense"`` (in an array over the columns), ``"hash"`` (in a table that grows with the
        entries of a row), ``"sort"`` (all are listed, sorted and combined) or ``"auto"``.
    deterministic:
        Results do not depend on the number of threads; always so in this version, since no
        sum is split by it.
    semantics:
        ``"ieee"``: as dense NumPy would give, so that an implicit zero times infinity is NaN.
        ``"annihilator"``: implicit zeros annihilate whatever they meet.

    Raises
    ------
    NotationError
        When the function cannot be a kernel, at once; for what it does inside, when called.
    PlanError
        For an unknown choice.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsedsl as sd
    >>> @sd.kernel
    ... def spmv(A, x):
    ...     i, j = sd.indices("i j")
    ...     y = sd.output()
    ...     y[i] = A[i, j] * x[j]
    ...     return y
    >>> spmv(sp.eye_array(3, format="csr"), np.array([1.0, 2.0, 3.0]))
    array([1., 2., 3.])
    """
    choices = Choices(out, order, find, parallel, workspace, deterministic, semantics)
    if fn is None:
        return partial(Kernel, choices=choices)
    return Kernel(fn, choices)


def einsum(
    spec: str,
    *operands: Any,
    out: AnyLayout | str | None = None,
    combine: str = "mul",
    reduce: str = "sum",
    semantics: str = "ieee",
) -> Any:
    """Evaluate NumPy's einsum notation on sparse and dense operands.

    Parameters
    ----------
    spec:
        Such as ``"ik,kj->ij"``; repeated letters, implicit outputs and ``...`` are as in
        ``numpy.einsum``.
    operands:
        scipy sparse, NumPy or ``Tensor``.
    out:
        The layout of the result.
    combine, reduce:
        Another product and another sum, such as ``combine="add", reduce="min"``.  The products
        ``"pair"`` (1), ``"first"`` and ``"second"`` (that factor) are of stored entries alone.
    semantics:
        As in ``kernel``: with ``"annihilator"`` every product and sum is over stored entries
        alone, as in GraphBLAS, and an entry that no product reaches has the identity of the sum.

    Raises
    ------
    NotationError
        With a caret into ``spec``.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsedsl as sd
    >>> sd.einsum("ij,j->i", sp.eye_array(2, format="csr"), np.array([3.0, 4.0]))
    array([3., 4.])

    Two steps along the edges of a graph, the shortest way:

    >>> graph = sp.csr_array(([2.0, 3.0], ([0, 1], [1, 2])), shape=(3, 3))
    >>> paths = sd.einsum(
    ...     "ik,kj->ij", graph, graph, combine="add", reduce="min", semantics="annihilator"
    ... )
    >>> paths.nnz, float(paths.to_numpy()[0, 2]), float(paths.fill_value)
    (1, 5.0, inf)
    """
    if not isinstance(spec, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise NotationError(
            f"expected the specification as text, found {type(spec).__name__}",
            hint='such as sd.einsum("ij,j->i", A, x)',
        )
    try:
        engine = _einsum_engine(spec, combine, reduce, _key(out), semantics)
    except TypeError:  # no hash, so not text
        raise NotationError(
            f"expected combine, reduce and semantics as text, found {combine!r}, {reduce!r} "
            f"and {semantics!r}",
            hint='such as combine="add", reduce="min"',
        ) from None
    return engine.run(operands)


def _hashable(value: Any) -> bool:
    """Whether a value has a hash; a tuple is one by its type, but may hold a list."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


class _Boxed:
    """A layout as a dictionary key that gives the layout back."""

    def __init__(self, layout: Any) -> None:
        self.layout = layout
        self.key: Hashable = layout if _hashable(layout) else id(layout)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Boxed) and self.key == other.key


def _key(layout: Any) -> _Boxed:
    return _Boxed(layout)


@lru_cache(maxsize=512)
def _einsum_engine(spec: str, combine: str, reduce: str, out: _Boxed, semantics: str) -> Engine:
    def tracer(infos: list[ArgumentInfo]) -> Traced:
        program = einsum_program(spec, infos, combine, reduce, stored=semantics == "annihilator")
        return Traced(program, {}, shape_dependent="..." in spec)

    return Engine(tracer, Choices(out=out.layout, semantics=semantics))


def evaluate(
    statement: str,
    /,
    *,
    out: AnyLayout | str | None = None,
    dtype: Any = None,
    fill_value: Any = 0,
    semantics: str = "ieee",
    **tensors: Any,
) -> Any:
    """Evaluate one statement written as text.

    Parameters
    ----------
    statement:
        Such as ``"C[i,j] = A[i,k] * B[k,j]"``; names are those of the keyword arguments.
    out, dtype, fill_value:
        The layout, dtype and fill value of the result.
    semantics:
        As in ``kernel``.

    Raises
    ------
    NotationError
        With a caret into ``statement``.

    Examples
    --------
    >>> import numpy as np, sparsedsl as sd
    >>> sd.evaluate("y[i] = A[i,j] * x[j]", A=np.eye(2), x=np.array([3.0, 4.0]))
    array([3., 4.])
    """
    if not isinstance(statement, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise NotationError(
            f"expected the statement as text, found {type(statement).__name__}",
            hint='such as sd.evaluate("y[i] = A[i,j] * x[j]", A=A, x=x)',
        )
    names = tuple(tensors)
    if out is None and dtype is None and type(fill_value) is int and not fill_value:
        known = _usual.get(statement)
        if known is None or known[0] != names or known[1] != semantics:
            known = _usual_engine(statement, names, semantics)
        engine, given = known[2], tuple(tensors.values())
        found = engine.again(given)
        return engine.anew(given) if found is MISS else found
    given = (str(dtype) if dtype is not None else None, repr(fill_value))
    engine = _evaluate_engine(
        statement, names, _key(out), given, _key((dtype, fill_value)), semantics
    )
    return engine.run(tuple(tensors.values()))


_Usual: TypeAlias = "tuple[tuple[str, ...], str, Engine]"

_usual: dict[str, _Usual] = {}
"""Of statements whose result is as it comes: names and semantics last met, and the engine."""

USUAL = 512
"""Statements of which they are kept."""


def _usual_engine(statement: str, names: tuple[str, ...], semantics: str) -> _Usual:
    """Return what is kept of a statement whose result is as it comes, and keep it."""
    usual = _key(None), (None, "0"), _key((None, 0))
    found = names, semantics, _evaluate_engine(statement, names, *usual, semantics)
    if len(_usual) >= USUAL:
        _usual.clear()
    _usual[statement] = found
    return found


@lru_cache(maxsize=512)
def _evaluate_engine(
    statement: str,
    names: tuple[str, ...],
    out: _Boxed,
    given: tuple[str | None, str],
    result: _Boxed,
    semantics: str,
) -> Engine:
    del given
    dtype, fill_value = result.layout

    choices = Choices(out=out.layout, semantics=semantics)
    return statement_engine(statement, names, choices, dtype, fill_value)


def statement_engine(
    statement: str, names: Sequence[str], choices: Choices, dtype: Any = None, fill_value: Any = 0
) -> Engine:
    """Return what runs and explains a statement whose inputs come in the order of ``names``."""

    def tracer(infos: list[ArgumentInfo]) -> Traced:
        named = dict(zip(names, infos, strict=True))
        return Traced(parse_statement(statement, named, dtype=dtype, fill_value=fill_value))

    return Engine(tracer, choices, names)


def convert(x: Any, layout: AnyLayout | str) -> Tensor:
    """Store a tensor in another layout.

    Parameters
    ----------
    x:
        scipy sparse, NumPy or ``Tensor``.
    layout:
        A layout, a family or a name of ``sd.layouts``.

    Raises
    ------
    LayoutError
        For unknown layouts, or one that cannot be built.
    InvalidTensorError
        When the layout has no place for an entry.

    Examples
    --------
    >>> import numpy as np, sparsedsl as sd
    >>> sd.convert(np.eye(2), "csr").nnz
    2
    """
    return asarray(x, layout)


def storage_bytes(x: Any, layout: AnyLayout | str) -> int:
    """The bytes of all arrays of ``sd.convert(x, layout)``, which is not built for that.

    Whether the layout has a place for every entry is left to the conversion.

    Parameters
    ----------
    x:
        scipy sparse, NumPy or ``Tensor``.
    layout:
        A layout, a family or a name of ``sd.layouts``.

    Raises
    ------
    LayoutError
        For unknown layouts, or one that cannot be built.

    Examples
    --------
    >>> import numpy as np, sparsedsl as sd
    >>> x = np.diag([1.0, 2.0, 3.0])
    >>> sd.storage_bytes(x, "csr"), sd.storage_bytes(x, "dia")
    (52, 28)
    """
    tensor = asarray(x).kept()
    target, held = resolve(layout, tensor.ndim), tensor.held
    if target == tensor.layout:
        return sum(array.nbytes for array in held.values())
    given = tensor.layout, target, tensor.shape, held
    return converted_bytes(*given, fill=tensor.fill_value, sizes=tensor.sizes)
