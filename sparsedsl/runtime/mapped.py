"""Values mapped where they lie: a result in the layout of the operands it is a function of.

Takes: an expression over the values of tensors at one place and over numbers.  Gives: a tensor of
the layout that they have.  Invariant: it has the entries that a kernel would give, or there is no
result and a kernel is to give it; values are those of NumPy's functions, a part of the array after
the other, so that what an expression needs in between stays in the cache.

NumPy computes functions such as ``exp`` several values an instruction; and no layout has to be
filled anew that the operands have already.  Several operands are mapped row by row of their values
(``runtime.aligned``), the fill where one has no row.  Padding is mapped with the values, and what
that gives at places of the shape is the fill: it is put back where the function does not keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, TypeAlias, assert_never

import numpy as np

from sparsedsl.contraction.algebra import support
from sparsedsl.contraction.expressions import children, dtype_of, walk
from sparsedsl.contraction.nodes import (
    Access,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
)
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact, packed, total
from sparsedsl.options import current
from sparsedsl.runtime import blocks
from sparsedsl.runtime.aligned import Indices, Part, align, rows_of
from sparsedsl.runtime.form import Form, fill_scalar
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.threads import each

PART = 1 << 16
"""Values that are mapped at a time: what they are mapped by stays in a core's cache."""

ROWS = 1 << 17
"""Values of rows that are put together at a time: each step of them is a call of NumPy's."""

VALUE = 0.7
"""Nanoseconds that a value is estimated to take, to say whether threads pay."""

FORMS = 16
"""Forms of operands of which that of the result is known."""

Values: TypeAlias = "np.ndarray[Any, Any]"

Given: TypeAlias = "dict[str, Any]"
"""Some values of each operand, and numbers, by the name of the tensor."""

Function: TypeAlias = "Callable[[Given], Any]"

Store: TypeAlias = "Callable[[Given, Values], object]"
"""What writes the values of a result."""


class Mapped:
    """An output that maps the values of ``operands``, which are stored in ``layout``.

    Parameters
    ----------
    operands, layout, kept:
        The tensors, their layout and their fill.
    scalars:
        Tensors without modes.
    fill, store:
        The fill of the result, and what writes its values.
    needed:
        The sets of operands, by their places, one of which has an entry where the result has.
    short:
        Whether nothing is needed in between, to be kept in the cache.
    """

    def __init__(
        self,
        operands: tuple[str, ...],
        layout: Layout,
        kept: np.generic,
        scalars: tuple[str, ...],
        fill: np.generic,
        store: Store,
        needed: tuple[frozenset[int], ...],
        *,
        short: bool,
    ) -> None:
        self.operands, self.layout, self.scalars = operands, layout, scalars
        self._kept, self._fill, self._store = kept, fill, store
        self._needed, self._short = needed, short
        self._rows = rows_of(layout) if len(operands) > 1 else None
        self._padded = not exact(layout) and not total(layout)
        self._packed = packed(layout)
        self._looked = exact(layout) and not total(layout)
        self._value = layout.value.function
        self._clear = None if scalars else self._clearing({})
        self._forms: dict[int, tuple[Form, Form]] = {}

    def __call__(self, tensors: Mapping[str, Tensor], parallel: bool | str) -> Tensor | None:
        """Return the result, or None where an entry became the fill, which is not stored.

        ``parallel`` is True, False or ``"auto"``.
        """
        sources = [tensors[name].kept() for name in self.operands]
        numbers = {name: tensors[name].values[()] for name in self.scalars}
        held, source = sources[0].held, sources[0]
        aligned = None if self._rows is None else align(self._rows, sources, self._needed)
        if self._rows is not None and aligned is None:
            return None
        values = [x.held[self._value] for x in sources]
        shape, threads = values[0].shape, _threads(parallel, values[0].size)
        if aligned is not None and (aligned.parts or not aligned.count):
            made = blocks.empty((aligned.count, *shape[1:]), self._fill.dtype)
            self._merged(values, aligned.parts, numbers, made, threads)
            arrays = {name: _copied(aligned.arrays[name]) for name in self.layout.functions}
            arrays[self._value] = made
            form = Form(self.layout, source.shape, self._fill, aligned.sizes)
            return Tensor.of(form, arrays)
        made = blocks.empty(shape, self._fill.dtype)
        kept = self._filled([x.reshape(-1) for x in values], numbers, made.reshape(-1), threads)
        if kept is None or (kept and kept != made.size - source.nnz):
            return None
        arrays = {name: _copied(held[name]) for name in self.layout.functions}
        arrays[self._value] = made
        result = Tensor.of(self._form(source.form), arrays)
        return result.counted(source.nnz) if kept else result

    def _filled(
        self, values: list[Values], numbers: Given, made: Values, threads: int
    ) -> int | None:
        """Write all values, part by part; None where an entry became the fill.

        Else the slots that hold the fill and did before: those that no entry has, if no entry
        was stored as the fill.  They are counted where entries that are the fill are not stored.
        """
        lost: list[int] = []
        kept: list[int] = []
        clear = self._clearing(numbers) if numbers else self._clear
        once = self._short and threads < 2 and clear is None and not self._looked
        size = max(made.size, 1) if once else PART

        def run(start: int) -> None:
            if lost:
                return
            given, target = dict(numbers), made[start : start + size]
            for name, x in zip(self.operands, values, strict=True):
                given[name] = x[start : start + size]
            self._store(given, target)
            if clear is not None:
                clear(given, target)
            elif self._looked:
                became, empty = self._became(given, target)
                kept.append(empty)
                if became:
                    lost.append(start)

        _quietly(range(0, made.size, size), run, threads)
        return None if lost else sum(kept)

    def _merged(
        self,
        values: list[Values],
        parts: tuple[Part, ...],
        numbers: Given,
        made: Values,
        threads: int,
    ) -> None:
        """Write all values, some rows at a time, of operands that have other rows."""
        if not parts:
            return
        clear = self._clearing(numbers) if numbers else self._clear
        flat = made.reshape(len(made), -1)
        operands = [x.reshape(len(x), flat.shape[1]) for x in values]
        size = max(ROWS // max(flat.shape[1], 1), 1)
        tasks = [(part, k) for part in parts for k in range(0, len(part.rows), size)]

        def run(task: int) -> None:
            part, start = tasks[task]
            rows, given, spare = part.rows[start : start + size], dict(numbers), None
            for name, x, own in zip(self.operands, operands, part.given, strict=True):
                here = None if own is None else own[start : start + size]
                given[name] = self._kept if here is None else _view(x, here)
                if here is not None and given[name] is None:
                    given[name] = spare = _taken(x, here)
            target = _view(flat, rows)
            found = spare if target is None else target
            # what was taken is written over, unless it is looked at again
            if found is None or found.dtype != flat.dtype or (found is spare and clear):
                found = np.empty((len(rows), flat.shape[1]), flat.dtype)
            self._store(given, found)
            if clear is not None:
                clear(given, found)
            if target is None:
                _whole(flat).put(rows, _whole(found), mode="clip")

        _quietly(range(len(tasks)), run, threads)

    def _form(self, source: Form) -> Form:
        """Return the form of the result, one for each of the operand's."""
        known = self._forms.get(id(source))
        if known is None or known[0] is not source:
            if len(self._forms) > FORMS:
                self._forms.clear()
            known = source, Form(self.layout, source.shape, self._fill, source.sizes)
            self._forms[id(source)] = known
        return known[1]

    def _became(self, given: Given, target: Values) -> tuple[bool, int]:
        """Whether entries became the fill, and how many slots hold it as they did before.

        NaN is equal to no fill: entries that are NaN are stored.
        """
        filled = target == self._fill
        if self._packed or not filled.any():
            return bool(filled.any()), 0
        empty = filled & self._empty(given)
        kept = int(np.count_nonzero(empty))
        return kept < int(np.count_nonzero(filled)), kept

    def _empty(self, given: Given) -> Values:
        """Where all operands hold their fill."""
        first, *others = (np.asarray(given[name] == self._kept) for name in self.operands)
        for other in others:
            first = first & other
        return first

    def _clearing(self, numbers: Given) -> Store | None:
        """Return what keeps padding the fill, None where there is none or the function does."""
        if not self._padded:
            return None
        fill, found = self._fill, np.empty(1, self._fill.dtype)
        with np.errstate(all="ignore"):
            self._store(numbers | dict.fromkeys(self.operands, np.full(1, self._kept)), found)
        if found.tobytes() == fill.tobytes():
            return None
        if found[0] == fill == 0:  # zeros of the other sign
            return lambda _, target: np.add(target, fill, out=target)
        return lambda given, target: np.copyto(target, fill, where=self._empty(given))


def _threads(parallel: bool | str, count: int) -> int:
    """Return how many threads may map so many values."""
    if parallel is False:
        return 1
    options = current()
    long = count * VALUE >= options.parallel_threshold
    return options.thread_count if parallel is True or long else 1


def _view(values: Values, rows: Indices) -> Values | None:
    """Return rows as they lie, None where they are not side by side."""
    first, last = int(rows[0]), int(rows[-1])
    beside = last - first + 1 == len(rows) and bool((rows[1:] > rows[:-1]).all())
    return values[first : last + 1] if beside else None


def _taken(values: Values, rows: Indices) -> Values:
    """Return a copy of some rows of an operand."""
    # "clip" has no copy made first, in case that a place is out of range; none is
    return _whole(values).take(rows, mode="clip").view(values.dtype).reshape(len(rows), -1)


def _whole(values: Values) -> Values:
    """Return rows as elements, which are moved as they are."""
    return values.view(np.dtype((np.void, values.shape[1] * values.itemsize)))[:, 0]


def _quietly(starts: range, run: Callable[[int], None], threads: int) -> None:
    """Run all parts; NumPy says nothing of what it computes."""

    def apart(start: int) -> None:
        with np.errstate(all="ignore"):  # each thread has its own
            run(start)

    if threads > 1 and len(starts) > 1:
        each(starts, apart, threads)
        return
    with np.errstate(all="ignore"):
        for start in starts:
            run(start)


def mapping(
    expression: Expression,
    program: Program,
    output: str,
    operands: tuple[str, ...],
    layout: Layout,
    *,
    annihilating: bool,
) -> Mapped:
    """Return what maps the values of ``operands``, stored in ``layout``, to those of ``output``."""
    given, made = program.tensor(operands[0]), program.tensor(output)
    accesses = {part.tensor for part in walk(expression) if isinstance(part, Access)}
    dtype = np.dtype(made.dtype)
    places = {name: place for place, name in enumerate(operands)}
    needed = tuple(
        frozenset(places[access.tensor] for access in group)
        for group in support(expression, program, annihilating)
    )
    return Mapped(
        operands,
        layout,
        fill_scalar(given.fill, np.dtype(given.dtype)),
        tuple(sorted(accesses - {*operands})),
        fill_scalar(made.fill, dtype),
        _stored(expression, program, dtype),
        needed,
        short=all(isinstance(e, Access | Literal) for e in children(expression)),
    )


def _stored(expression: Expression, program: Program, dtype: np.dtype) -> Store:
    """Return what writes the values of an expression; the last function writes them itself."""
    if isinstance(expression, Call) and dtype_of(expression, program) == dtype.name:
        called, parts = _called(expression, program)
        if isinstance(called, np.ufunc):
            return lambda given, target: called(*[f(given) for f in parts], out=target)
    value, real = _function(expression, program), dtype.kind != "c"

    def cast(given: Given, target: Values) -> None:
        found = value(given)
        np.copyto(target, np.real(found) if real else found, casting="unsafe")

    return cast


def _function(expression: Expression, program: Program) -> Function:
    match expression:
        case Literal(value, dtype):
            number = np.dtype(dtype).type(value)
            return lambda _: number
        case Access(name):
            return itemgetter(name)
        case Call():
            called, parts = _called(expression, program)
            return lambda given: called(*[f(given) for f in parts])
        case Stored() | IndexValue() | Extent() | Reduce():
            raise AssertionError(f"{expression} is no function of values")
        case _:
            assert_never(expression)


def _called(call: Call, program: Program) -> tuple[Callable[..., Any], tuple[Function, ...]]:
    """Return what is called for an operator, NumPy's own function if that agrees on the dtype.

    Squares are products.  Numbers are given to it in the dtype that it computes in: where it has to
    convert one, it copies the values to buffers, too.
    """
    operator, arguments = OPERATORS[call.operator], call.arguments
    function, wanted = operator.numpy, dtype_of(call, program)
    match call:
        case Call("pow", (first, Literal(value, _))) if value == 2:
            function, arguments = np.square, (first,)
        case _:
            pass
    if isinstance(function, np.ufunc):
        names = [np.dtype(dtype_of(a, program)) for a in arguments]
        *taken, found = function.resolve_dtypes((*names, None))
        if found.name == wanted:
            parts = zip(arguments, taken, strict=True)
            return function, tuple(_argument(a, dtype, program) for a, dtype in parts)
    return operator.evaluate, tuple(_function(a, program) for a in call.arguments)


def _argument(expression: Expression, dtype: np.dtype, program: Program) -> Function:
    value = _function(expression, program)
    if isinstance(expression, Literal):
        number = value({}).astype(dtype)
        return lambda _: number
    if isinstance(expression, Access) and not expression.subscripts:
        return lambda given: value(given).astype(dtype)
    return value


def _copied(array: Values) -> Values:
    if array.nbytes < blocks.LEAST:
        return array.copy()
    made = blocks.empty(array.shape, array.dtype)
    np.copyto(made, array)
    return made
