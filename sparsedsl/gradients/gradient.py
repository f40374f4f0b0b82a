"""``grad``: the gradient of a kernel, called like the kernel.

Takes: a kernel and the names of arguments.  Gives: a function of the same arguments and of a
cotangent.  Invariant: the gradient by a sparse argument has the argument's index arrays and one
value for each stored value; entries that are not stored have none.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsedsl.calls.choices import Choices
from sparsedsl.calls.specialisation import Specialisation
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.extent import check_shapes, output_shapes
from sparsedsl.errors import NotationError, TensorTypeError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.trace import Traced
from sparsedsl.gradients.reverse import Names, names_of, plainly_read, reverse
from sparsedsl.interop import asarray
from sparsedsl.kernel import Engine, Kernel
from sparsedsl.layouts.catalogue import coordinates
from sparsedsl.layouts.levels import total
from sparsedsl.lowered import Lowered
from sparsedsl.runtime.attached import Attached
from sparsedsl.runtime.tensor import Tensor, bound


@dataclass(frozen=True, slots=True)
class _Selection:
    """A tensor's selector, and the place in its value array of each selected entry."""

    selector: Tensor
    places: np.ndarray


_selections: Attached[_Selection] = Attached()


def _selection(x: Tensor) -> _Selection:
    found = _selections.get(x)
    if found is None:
        numbered = np.arange(x.values.size).reshape(x.values.shape)
        arrays = {**x.arrays, x.layout.value.function: numbered}
        coords, places = Tensor(x.layout, x.shape, arrays, 0, x.sizes).coordinates()
        count = len(places)
        layout = coordinates(x.ndim + 1)
        columns = [np.arange(count), *coords]
        given = dict(zip(layout.functions, columns, strict=True))
        values = {**given, layout.value.function: np.ones(count, x.dtype)}
        shape = (count, *x.shape)
        found = _Selection(bound(layout, shape, values, 0), places)
        _selections.put(x, found)
    return found


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The engine of a gradient for one specialisation of the kernel."""

    special: Specialisation
    engine: Engine
    names: Names


class Gradient:
    """The gradient of a kernel; made by `grad`."""

    def __init__(self, kernel: Kernel, wrt: str | Sequence[str]) -> None:
        if not isinstance(kernel, Kernel):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise NotationError(
                f"expected a kernel to differentiate, found {type(kernel).__name__}",
                hint="decorate the function with @sd.kernel",
            )
        if not isinstance(wrt, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise NotationError(
                f"expected wrt to be the name of an argument, or several, found {wrt!r}",
                hint='such as sd.grad(kernel, "A") or sd.grad(kernel, ("A", "x"))',
            )
        self.kernel = kernel
        self.wrt = (wrt,) if isinstance(wrt, str) else tuple(wrt)
        self._single = isinstance(wrt, str)
        self._prepared: dict[int, _Prepared] = {}
        known = tuple(inspect.signature(kernel.function).parameters)
        for name in self.wrt:
            if name not in known or self.wrt.count(name) > 1:
                raise NotationError(
                    f"expected distinct arguments of the kernel as wrt, found {name!r}",
                    hint=f"the kernel takes {', '.join(known)}",
                )

    def __repr__(self) -> str:
        return f"<gradient of {self.kernel!r} by {', '.join(self.wrt)}>"

    def __call__(self, *args: Any, cotangent: Any = None) -> Any:
        """Return the gradients by ``wrt`` at these arguments.

        Parameters
        ----------
        cotangent:
            What the results are weighted with before they are summed: one for each result,
            of its shape.  Left out for a scalar result, where it is 1.

        Returns
        -------
        A NumPy array for a dense argument; for a sparse one the argument with other values,
        in scipy's classes for scipy's.  A tuple where ``wrt`` was one.
        """
        tensors = [asarray(x) for x in args]
        prepared, given = self._given(tensors, cotangent)
        special = prepared.engine.specialise(given)
        inputs = [t.name for t in special.traced.program.inputs]
        values = special.run(dict(zip(inputs, given, strict=True)))
        named = dict(zip(inputs, zip(tensors, args, strict=False), strict=False))
        found: list[Any] = []
        for name in self.wrt:
            tensor, original = named[name]
            made = values[prepared.names.gradients[name]].to_numpy()
            found.append(_like(tensor, original, made, name in prepared.names.selectors))
        return found[0] if self._single else tuple(found)

    def lower(self, *args: Any, cotangent: Any = None) -> Lowered:
        """Plan and prove the gradient for these arguments without running it."""
        prepared, given = self._given([asarray(x) for x in args], cotangent)
        return prepared.engine.lower(given)

    def _given(self, tensors: list[Tensor], cotangent: Any) -> tuple[_Prepared, list[Tensor]]:
        """The engine for these arguments, and all of its own: cotangents and selectors too."""
        special = self.kernel.engine.specialise(tensors)
        prepared = self._prepared.get(id(special))
        if prepared is None:
            prepared = self._prepare(special, tensors)
            self._prepared[id(special)] = prepared
        program = special.traced.program
        named = dict(zip((t.name for t in program.inputs), tensors, strict=True))
        selectors = [_selection(named[n]).selector for n in prepared.names.selectors]
        extents = check_shapes(program, {n: t.shape for n, t in named.items()})
        weights = _cotangents(program, cotangent, output_shapes(program, extents))
        return prepared, [*tensors, *weights, *selectors]

    def _prepare(self, special: Specialisation, tensors: list[Tensor]) -> _Prepared:
        program = special.traced.program
        named = dict(zip((t.name for t in program.inputs), tensors, strict=True))
        for name in self.wrt:
            if named[name].dtype.kind != "f":
                raise TensorTypeError(
                    f"expected {name} of a floating dtype, found {named[name].dtype}",
                    hint="gradients are of real functions of real values",
                )
        selected = frozenset(
            n for n in self.wrt if not total(named[n].layout) or not plainly_read(program, n)
        )
        names = names_of(program, self.wrt, selected)
        count = len(tensors)

        def tracer(infos: list[ArgumentInfo]) -> Traced:
            called = [*names.cotangents.values(), *names.selectors.values()]
            added = [
                ct.Tensor(name, len(info.shape), info.dtype, info.fill, info.total)
                for name, info in zip(called, infos[count:], strict=True)
            ]
            made = reverse(program, self.wrt, names, added)
            return Traced(made, dict.fromkeys(names.gradients.values(), "dense"), True)

        return _Prepared(special, Engine(tracer, Choices(semantics="annihilator")), names)


def _cotangents(
    program: ct.Program, given: Any, shapes: Mapping[str, tuple[int, ...]]
) -> list[Tensor]:
    results = [program.tensor(name) for name in program.results]
    for result in results:
        if np.dtype(result.dtype).kind != "f":
            raise TensorTypeError(
                f"expected results of a floating dtype, {result.name} has {result.dtype}",
                hint="gradients are of real functions of real values",
            )
    if given is None:
        if any(r.rank for r in results):
            raise NotationError(
                "expected a cotangent for results that are no scalars",
                hint="give cotangent=, an array of the result's shape (a tuple for several)",
            )
        return [asarray(np.ones((), r.dtype)) for r in results]
    parts: list[Any] = list(given) if isinstance(given, tuple) else [given]
    if len(parts) != len(results):
        raise NotationError(f"expected {len(results)} cotangents, found {len(parts)}")
    weights = [asarray(x) for x in parts]
    for result, weight in zip(results, weights, strict=True):
        if weight.shape != shapes[result.name]:
            raise NotationError(
                f"expected a cotangent of shape {shapes[result.name]}, found {weight.shape}",
                hint="a cotangent has the shape of the result",
            )
    return weights


def _like(x: Tensor, original: Any, gradient: np.ndarray, selected: bool) -> Any:
    """The gradient as the argument is given: an array, or the argument with other values."""
    gradient = gradient.astype(x.dtype, copy=False)
    if not selected:
        return gradient[()] if gradient.ndim == 0 else gradient
    values = np.zeros(x.values.size, x.dtype)
    np.add.at(values, _selection(x).places, gradient)
    arrays = {**x.arrays, x.layout.value.function: values.reshape(x.values.shape)}
    made = Tensor(x.layout, x.shape, arrays, 0, x.sizes)
    if total(x.layout):
        return made.to_numpy()
    scipys = type(original).__module__.startswith("scipy.sparse")
    return made.to_scipy() if scipys else made


def grad(kernel: Kernel, wrt: str | Sequence[str]) -> Gradient:
    """Return the gradient of a kernel with respect to some of its arguments.

    The gradient is compiled like any kernel, by reverse accumulation: one program computes the
    gradients by all of ``wrt``.  The gradient by a sparse argument is one number for each
    stored value; no gradient of its dense shape is formed.

    Parameters
    ----------
    kernel:
        A function decorated with ``sd.kernel``.
    wrt:
        The name of an argument, or several.

    Raises
    ------
    NotationError
        For a name that is no argument.
    PlanError
        When called, for a reduction without a derivative (products, ``any``, ``all``).
    TensorTypeError
        When called, for arguments or results that are not floating.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsedsl as sd
    >>> @sd.kernel
    ... def energy(A, x):
    ...     i, j = sd.indices("i j")
    ...     e = sd.output()
    ...     e[()] = x[i] * A[i, j] * x[j]
    ...     return e
    >>> A = sp.csr_array(np.diag([1.0, 2.0]))
    >>> dA, dx = sd.grad(energy, ("A", "x"))(A, np.array([3.0, 4.0]))
    >>> dx
    array([ 6., 16.])
    >>> dA.data
    array([ 9., 16.])
    """
    return Gradient(kernel, wrt)
