"""Bound tensors: arrays that keep what their layout promises.

Takes: a layout, a shape and checked arrays.  Gives: ``Tensor``.  Invariant: layout and shape
never change after binding, and index arrays that were written to are checked again before they
are followed; stored values may change, see ``Tensor``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from html import escape
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from sparsedsl.errors import InvalidTensorError, TensorAttributeError, TensorTypeError
from sparsedsl.layouts import convert as conversion
from sparsedsl.layouts.catalogue import AnyLayout, dense_order, known, plain, resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact, packed, total
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.options import current
from sparsedsl.runtime import conversions, operations
from sparsedsl.runtime.asked import by_constructor_of_scipy, by_operator_of_scipy
from sparsedsl.runtime.checked import checked
from sparsedsl.runtime.form import Form, fill_scalar, form_of
from sparsedsl.runtime.memory import require_memory
from sparsedsl.runtime.operators import Operators
from sparsedsl.runtime.unchanged import Watch
from sparsedsl.runtime.values import holds

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


LONG = 1 << 24
"""Extent from which the memory of a conversion is compared with the machine's first."""

_SPARSE = "call .to_scipy() for a scipy array"


class Tensor(Operators):
    """A tensor stored in a layout; make one with ``asarray`` or ``from_arrays``.

    Parameters
    ----------
    layout, shape, arrays:
        Trusted: nothing is checked here.
    fill_value:
        The value at coordinates that are not stored.
    sizes:
        The value of every parameter of the layout.

    Attributes
    ----------
    held:
        What ``arrays`` gives, for those who only read and pass none of it on.
    form:
        All that was given but the arrays.

    Notes
    -----
    The arrays are shared with whoever gave them.  Index arrays should not be changed after
    binding: kernels look whether they were (``runtime.unchanged`` says how), and check them
    again.  Stored values may be changed, with one rule: whether they are finite (or, where
    a kernel needs that, nonzero or bounded) is found out when a kernel first asks and then
    remembered, so that after storing the first infinity, NaN or zero call ``validate``, or bind
    the arrays anew.
    """

    __slots__ = ("__weakref__", "_facts", "_watch", "form", "held")

    held: Mapping[str, np.ndarray]
    form: Form
    _facts: dict[str, int]
    _watch: Watch | None

    def __init__(
        self,
        layout: Layout,
        shape: Sequence[int],
        arrays: Mapping[str, np.ndarray],
        fill_value: object = 0,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        if not isinstance(layout, Layout):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TensorTypeError(
                f"expected a layout, found {type(layout).__name__}",
                hint="make tensors with sd.asarray(x, layout) or sd.from_arrays(layout, shape, "
                "arrays), which check what they are given",
            )
        values = dict(zip(layout.extents, shape, strict=True)) if sizes is None else sizes
        dtype = arrays[layout.value.function].dtype
        form = Form(
            layout,
            tuple(int(extent) for extent in shape),
            fill_scalar(fill_value, dtype),
            MappingProxyType({name: int(size) for name, size in values.items()}),
        )
        self._fill(form, MappingProxyType({name: arrays[name] for name in layout.arrays}))

    def _fill(self, form: Form, arrays: Mapping[str, np.ndarray]) -> None:
        put = object.__setattr__
        put(self, "form", form)
        put(self, "held", arrays)
        put(self, "_facts", {})
        put(self, "_watch", None)

    @staticmethod
    def of(form: Form, arrays: Mapping[str, np.ndarray]) -> Tensor:
        """A tensor of a known form; ``arrays`` are those of its layout, in order."""
        made = object.__new__(Tensor)
        made._fill(form, MappingProxyType(arrays))
        return made

    def __setattr__(self, name: str, value: object) -> None:
        del value
        raise TensorAttributeError(
            f"a bound tensor is immutable; cannot set '{name}'",
            hint="convert(), astype() and np.transpose make tensors of another layout or dtype",
        )

    def __delattr__(self, name: str) -> None:
        raise TensorAttributeError(f"a bound tensor is immutable; cannot delete '{name}'")

    def __reduce__(self) -> tuple[Any, ...]:
        fill = self.fill_value.item()
        arrays = dict(self.kept().held)  # what is made of these is not checked
        return Tensor, (self.layout, self.shape, arrays, fill, dict(self.sizes))

    @property
    def layout(self) -> Layout:
        """The layout, of the tensor's order."""
        return self.form.layout

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents, one for each mode."""
        return self.form.shape

    @property
    def fill_value(self) -> np.generic:
        """The value at coordinates that are not stored, a scalar of ``dtype``."""
        return self.form.fill_value

    @property
    def sizes(self) -> Mapping[str, int]:
        """The value of every parameter of the layout."""
        return self.form.sizes

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """Read-only mapping from array name to array; from now on index arrays are looked at."""
        if self._watch is None:
            self.watched()
        return self.held

    @property
    def values(self) -> np.ndarray:
        """The array of stored values, padding included."""
        return self.held[self.form.layout.value.function]

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """Number of logical modes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of coordinates, stored or not (a Python int without limit)."""
        return prod(self.shape)

    def holds(self, fact: str) -> bool:
        """Whether a fact holds of all stored values, as found when first asked."""
        known = self._facts.get(fact)
        if known is None:
            known = self._facts[fact] = holds(fact, self.values)
        return bool(known)

    @property
    def found(self) -> Mapping[str, int]:
        """Facts found of all stored values so far; emptied when they are written to."""
        return self._facts

    @property
    def nnz(self) -> int:
        """Number of stored entries, explicit fill values included."""
        return self.fact("nnz", self._count)

    def fact(self, name: str, find: Callable[[], int]) -> int:
        """A number that tells of the stored entries, as found when first asked."""
        known = self._facts.get(name)
        if known is None:
            known = self._facts[name] = find()
        return known

    def counted(self, nnz: int) -> Tensor:
        """Remember how many entries are stored, which whoever made the tensor knows."""
        self._facts["nnz"] = nnz
        return self

    def _count(self) -> int:
        if total(self.layout):
            return self.size
        if packed(self.layout):
            return self.values.size
        return self.coordinates()[0].shape[1]

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates, int64 of shape ``(ndim, nnz)``, and values, in storage order."""
        self.kept()
        return conversion.stored(self.layout, self.shape, self.held, self.sizes)

    def to_numpy(self) -> np.ndarray:
        """A NumPy array of ``shape``; a view where the layout is a plain array.

        Raises
        ------
        InvalidTensorError
            When the array would not fit in memory addresses.
        """
        if self.size * self.dtype.itemsize >= 2**62:
            raise InvalidTensorError(
                f"a dense array of shape {self.shape} does not fit in memory",
                hint="keep the tensor sparse: use .coordinates() or .convert(layout)",
            )
        order = dense_order(self.layout)
        if order is None:
            return self.convert(plain(self.ndim)).values
        return self.values.transpose(sorted(range(self.ndim), key=order.__getitem__))

    def to_scipy(self) -> Any:
        """A scipy sparse array, sharing memory where scipy has the layout (2-D, fill 0)."""
        if self.kept().watch is None:
            self.watched()
        return operations.apply("to_scipy", self)

    def __binsparse_descriptor__(self) -> dict[str, Any]:
        """The binsparse descriptor: format, shape and dtypes."""
        return operations.apply("to_binsparse", self)[0]

    def __binsparse__(self) -> dict[str, np.ndarray]:
        """The arrays under their binsparse names, shared."""
        return operations.apply("to_binsparse", self)[1]

    def convert(self, layout: AnyLayout | str) -> Tensor:
        """The same tensor in another layout (the tensor itself when it is in it already).

        Arrays that are the same in both layouts may be shared, as the columns and values of
        sorted coordinates are with compressed rows; ``copy()`` of the result takes them apart.

        Raises
        ------
        LayoutError
            For unknown layouts, or one that cannot be built.
        InvalidTensorError
            When the layout has no place for an entry.
        """
        target = resolve(layout, self.ndim)
        if target == self.layout:
            return self
        self.kept()
        try:
            return self._converted(target)
        except MemoryError:
            raise InvalidTensorError(
                f"a tensor of shape {self.shape} in layout {target.label} does not fit in memory",
                hint="coo, csf, dcsr and dcsc take memory for entries alone",
            ) from None

    def _converted(self, target: Layout) -> Tensor:
        if max(self.shape, default=0) > LONG:
            require_memory(target, self.shape, self.values.size, self.dtype)
        fill = self.fill_value
        given = self.layout, target, self.shape, self.held
        arrays = conversions.convert(*given, fill=fill, sizes=self.sizes)
        made = bound(target, self.shape, arrays, fill)
        told = packed(self.layout) or "nnz" in self._facts
        if told and exact(self.layout) and exact(target) and not self.layout.repeats:
            made.counted(self.nnz)
        if self._watch is None:
            return made
        # arrays that may be shared are known to others
        pairs = ((self.held[a], arrays[b]) for a in self.layout.functions for b in target.functions)
        return made.watched() if any(np.may_share_memory(*pair) for pair in pairs) else made

    def astype(self, dtype: DTypeLike) -> Tensor:
        """The same tensor with values of another dtype; the index arrays are shared."""
        arrays = {**self.kept().held, self.layout.value.function: self.values.astype(dtype)}
        fill = self.fill_value.astype(dtype)
        return Tensor(self.layout, self.shape, arrays, fill, self.sizes).watched()

    def copy(self) -> Tensor:
        """A tensor with arrays of its own."""
        arrays = {name: array.copy() for name, array in self.kept().held.items()}
        return Tensor(self.layout, self.shape, arrays, self.fill_value, self.sizes)

    def view(self) -> Tensor:
        """A tensor of the same arrays, of whose values nothing is known yet."""
        return Tensor.of(self.form, dict(self.held)).watched()

    def watched(self) -> Tensor:
        """Look at the index arrays as they are now, which others may write to; return itself."""
        value = self.form.layout.value.function
        watch = Watch.of((a for name, a in self.held.items() if name != value), self.values)
        object.__setattr__(self, "_watch", watch)
        return self

    def keeps(self) -> bool:
        """Whether the index arrays seem to hold what they held when they were last looked at."""
        watch = self._watch
        # nobody else has arrays that were never handed out
        return watch is None or watch.holds()

    @property
    def watch(self) -> Watch | None:
        """What was seen of the index arrays when last checked; None while no other has them."""
        return self._watch

    def kept(self) -> Tensor:
        """Check the arrays again if index arrays were written to; return the tensor itself.

        Raises
        ------
        InvalidTensorError
            Where they do not keep what the layout promises, or hold another number of entries.
        """
        if current().safe or not self.keeps():
            self.validate()
        return self

    def validate(self) -> Tensor:
        """Check the arrays against the layout again; return the tensor itself.

        What was remembered of the values is forgotten.

        Raises
        ------
        InvalidTensorError
            Naming the array, the place and the broken property.
        """
        checked(self.layout, self.shape, self.held)
        sizes = infer_sizes(self.layout, self.shape, self.held)
        changed = [name for name, size in sizes.items() if self.sizes.get(name, size) != size]
        if changed:
            raise InvalidTensorError(
                f"expected {changed[0]} = {self.sizes[changed[0]]} as it was bound, found "
                f"{sizes[changed[0]]}: index arrays were written to",
                hint="bind the arrays anew",
            )
        self._facts.clear()
        return self.watched()

    def forget(self) -> None:
        """Forget what was found of the values: they were written to."""
        kept = {n: k for n, k in self._facts.items() if n == "nnz" or n.startswith("uneven ")}
        self._facts.clear()
        self._facts.update(kept)

    @property
    def T(self) -> Tensor:  # noqa: N802
        """The tensor with its modes reversed; shares all arrays."""
        if self.ndim < 2:
            return self
        layout = _reversed(self.layout)
        return bound(layout, self.shape[::-1], self.kept().held, self.fill_value).watched()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if not total(self.layout):
            frame = inspect.currentframe()
            if frame is not None and by_operator_of_scipy(frame.f_back):
                # scipy leaves an operator to its right operand where that is an object to it
                opaque = np.empty((), dtype=object)
                opaque[()] = self
                return opaque
            raise TensorTypeError(
                f"a {self.layout.label} tensor does not become dense by itself",
                hint=f"{_SPARSE}, .to_numpy() to store every coordinate",
            )
        return np.array(self.to_numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return operations.apply("ufunc", ufunc, method, *inputs, **options)

    def __array_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        del types
        return operations.apply("function", func, args, kwargs)

    def __bool__(self) -> bool:
        if self.ndim:
            raise TensorTypeError(
                "a tensor has no truth value",
                hint="reduce it: np.any(x), np.all(x == y), or compare .nnz",
            )
        return bool(self.to_numpy())

    def __iter__(self) -> NoReturn:
        raise TensorTypeError(
            "a tensor is not iterated over", hint="x.coordinates() gives the stored entries"
        )

    def __getitem__(self, key: Any) -> NoReturn:
        del key
        raise TensorTypeError(
            "a tensor has no subscripts outside a kernel",
            hint='give it to a kernel as an argument, sd.evaluate("y[j] = A[3, j]", A=A), or index '
            "x.to_scipy() or x.to_numpy()",
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TensorTypeError("a tensor without modes has no len()", hint="use .shape")
        return self.shape[0]

    def __repr__(self) -> str:
        return (
            f"<{self.layout.label} tensor shape={self.shape} dtype={self.dtype} "
            f"nnz={self.nnz} fill={self.fill_value.item()}>"
        )

    def __format__(self, specification: str) -> str:
        text = object.__format__(self, specification)
        frame = inspect.currentframe()
        # constructors raise an error of their own with this text, which hides ours
        refused = frame is not None and by_constructor_of_scipy(frame.f_back)
        return f"{text}; {_SPARSE}" if refused else text

    def _repr_html_(self) -> str:
        rows = {
            "layout": self.layout.label,
            "shape": str(self.shape),
            "dtype": str(self.dtype),
            "nnz": str(self.nnz),
            "fill": str(self.fill_value.item()),
            "relation": self.layout.text,
        }
        for name, array in self.arrays.items():
            rows[name] = f"{array.dtype} {array.shape}"
        cells = "".join(
            f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>"
            for key, value in rows.items()
        )
        return f"<table>{cells}</table>"

    def rmatvec(self, x: Any) -> Any:
        """The product of the conjugate transpose with ``x``."""
        return np.conj(self.T @ np.conj(x))

    rmatmat = rmatvec


@lru_cache(maxsize=1024)
def _reversed(layout: Layout) -> Layout:
    """The layout of the same arrays for the modes in reverse."""
    return known(layout(order=tuple(reversed(range(layout.rank)))))


def trusted(
    layout: Layout,
    shape: tuple[int, ...],
    arrays: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
) -> Tensor:
    """A tensor of fill 0, from arrays in the order of ``layout`` that are known to be right."""
    return Tensor.of(form_of(layout, shape, arrays[layout.value.function].dtype, sizes), arrays)


def bound(
    layout: Layout, shape: Sequence[int], arrays: Mapping[str, np.ndarray], fill_value: object
) -> Tensor:
    """A tensor from arrays that are known to be right; sizes are read off their lengths."""
    return Tensor(layout, shape, arrays, fill_value, infer_sizes(layout, shape, arrays))
