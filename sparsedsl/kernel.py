"""Kernels as users hold them: traced once a signature, compiled when first needed, called often.

Takes: a program and arguments.  Gives: ``Kernel``.  Invariant: a call does nothing that an
earlier call with arguments of the same kinds has done already.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparsedsl.calls.choices import Choices
from sparsedsl.calls.runner import Runner
from sparsedsl.calls.seen import MISS
from sparsedsl.calls.sources import ShapeOf, info_of, signature_of, unevenness_of
from sparsedsl.calls.specialisation import Specialisation, specialise
from sparsedsl.calls.unevenness import matters
from sparsedsl.contraction import nodes as ct
from sparsedsl.errors import NotationError, NotationTypeError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.trace import Traced, parameters, trace
from sparsedsl.frontend.weak import Weak
from sparsedsl.interop import Numbers, argument, as_arrays, kinds_of_numbers, with_numbers
from sparsedsl.locks import compiling
from sparsedsl.lowered import Compiled, Lowered, bound_arguments
from sparsedsl.options import Options, current
from sparsedsl.pipeline.groups import Settings
from sparsedsl.runtime import by_value
from sparsedsl.runtime.tensor import Tensor


class Engine:
    """Runs programs: traces once a signature, compiles once a signature, keeps both.

    ``tracer`` returns the program for arguments of which only descriptions are given.  ``again``
    returns the result for arguments like those before, or ``MISS``: then ``anew`` does.
    """

    def __init__(
        self,
        tracer: Callable[[list[ArgumentInfo]], Traced],
        choices: Choices,
        names: Sequence[str] = (),
    ) -> None:
        self.tracer = tracer
        self.names = names
        self.choices = choices
        self._options: Options | None = None
        self._settings = Settings()
        self._known: dict[Settings, dict[Any, Specialisation]] = {}
        self._current: dict[Any, Specialisation] = {}
        self._traced: dict[Any, Traced] = {}
        self._weak: dict[Any, Numbers] = {}
        self._looking: dict[Any, bool] = {}
        self._runner = Runner()
        self.again = self._runner.again

    def settings(self) -> Settings:
        """Return the choices and options in force, as the pipeline reads them."""
        options = current()
        if options is not self._options:
            self._settings = self.choices.settings(options)
            self._current = self._known.setdefault(self._settings, {})
            self._options = options
        return self._settings

    def run(self, given: Sequence[Any]) -> Any:
        """Compute the results for these arguments."""
        found = self.again(given)
        return self.anew(given) if found is MISS else found

    def anew(self, given: Sequence[Any]) -> Any:
        """Compute the results for arguments that are not like those of a call before."""
        numbers, given, tensors = self.bound(given)
        return self._runner.of(numbers).run(self.specialise(tensors), tensors, given)

    def bound(
        self, given: Sequence[Any], bind: Callable[[Any], Any] = argument
    ) -> tuple[Numbers, Sequence[Any], list[Any]]:
        """Return the dtypes of Python numbers, the arguments with arrays for them, and tensors."""
        kinds = kinds_of_numbers(given)
        arrays = as_arrays(given) or given
        tensors = bound_arguments(arrays, self.names, bind)
        if not kinds:
            return (), arrays, tensors
        numbers = self._numbers(kinds, tensors)
        if all(tensors[place].dtype == dtype for place, _, dtype in numbers):
            return numbers, arrays, tensors
        arrays = with_numbers(given, numbers)
        if arrays is None:
            dtypes = " and ".join(dict.fromkeys(dtype.name for _, _, dtype in numbers))
            raise NotationTypeError(
                f"an integer among the arguments does not fit {dtypes}, the dtype of what it meets",
                hint="make it a NumPy scalar of a wider dtype: np.int64(...)",
            )
        arrays = as_arrays(arrays) or arrays
        return numbers, arrays, bound_arguments(arrays, self.names, bind)

    def _numbers(self, kinds: Mapping[int, type], given: Sequence[Tensor | ShapeOf]) -> Numbers:
        """Return the dtypes that Python numbers take beside the other arguments."""
        infos = [info_of(x) for x in given]
        key = (_traced_alike(infos), tuple(kinds.items()))
        found = self._weak.get(key)
        if found is None:
            weak = {place: Weak(kind) for place, kind in kinds.items()}
            traced = self.tracer(
                [replace(info, weak=weak.get(place)) for place, info in enumerate(infos)]
            )
            found = tuple((place, x.kind, x.dtype) for place, x in weak.items())
            if not traced.shape_dependent:
                self._weak[key] = found
        return found

    def specialise(self, given: Sequence[Tensor | ShapeOf]) -> Specialisation:
        """Return the specialisation for arguments like these."""
        settings = self.settings()
        key: Any = tuple([signature_of(x) for x in given])
        if key not in self._looking:
            self._looking[key] = matters(self.trace(given).program)
        looking = self._looking[key]
        if looking:
            key = (key, unevenness_of(given))
        base, found = key, self._current.get(key)
        if found is not None and found.traced.shape_dependent:
            key = (base, tuple(tuple(x.shape) for x in given))
            found = self._current.get(key)
        if found is None:
            traced = self.trace(given)
            with compiling:
                found = specialise(traced, given, self.choices, settings, looking=looking)
            self._current.setdefault(key, found)
            if found.traced.shape_dependent:
                shapes = tuple(tuple(x.shape) for x in given)
                self._current[base, shapes] = found
        return found

    def trace(self, given: Sequence[Tensor | ShapeOf]) -> Traced:
        """Return the program for arguments like these, of any shapes where it reads none."""
        infos = [info_of(x) for x in given]
        key = _traced_alike(infos)
        traced = self._traced.get(key)
        if traced is None:
            traced = self.tracer(infos)
            if not traced.shape_dependent:
                self._traced[key] = traced
        return traced

    def lower(self, given: Sequence[Any]) -> Lowered:
        """Plan and prove for these arguments without running."""
        _, _, tensors = self.bound(given, _tensor)
        return Lowered(self.specialise(tensors), tensors)


class Kernel:
    """A tensor program made from a Python function by ``sparsedsl.kernel``; call it.

    Arguments are scipy sparse arrays or matrices, NumPy arrays, scalars or ``Tensor``.  A Python
    number takes the dtype that NumPy gives it beside what it meets: 2.0 times ``float32`` is
    ``float32``.  Where it meets several dtypes it takes the widest.
    """

    def __init__(self, function: Callable[..., Any], choices: Choices) -> None:
        self.function = function
        names = tuple(p.name for p in parameters(function))
        self.engine = Engine(functools.partial(trace, function), choices, names)
        self._count = len(names)
        self._signature = inspect.signature(function)
        functools.update_wrapper(self, function)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", "kernel")
        return f"<sparsedsl kernel {name}{self._signature}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != self._count:
            args = self._positional(args, kwargs)
        engine = self.engine
        found = engine.again(args)
        return engine.anew(args) if found is MISS else found

    def _positional(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        if not kwargs and len(args) == self._count:
            return args
        try:
            return self._signature.bind(*args, **kwargs).args
        except TypeError as error:
            name = getattr(self.function, "__name__", "kernel")
            wanted = [*self._signature.parameters]
            hint = f"the kernel takes ({', '.join(wanted)})"
            if wanted[:1] == ["self"]:
                hint += "; in a class write @staticmethod above @sd.kernel, and leave self out"
            raise NotationError(f"{name}: {error}", hint=hint) from None

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name where a module holds it, as functions are, else with its function."""
        module = self.function.__module__
        named: Any = sys.modules.get(module)
        for part in self.function.__qualname__.split("."):
            named = getattr(named, part, None)
        # what __main__ holds here it may not hold elsewhere
        by_name = named is self and module != "__main__"
        return self.function.__qualname__ if by_name else (unpacked, (packed(self),))

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Plan and prove for these arguments without running; ``ShapeOf`` will do for data."""
        return self.engine.lower(self._positional(args, kwargs))

    def compile(self, *args: Any, **kwargs: Any) -> Compiled:
        """Compile for arguments like these; the result is called with the same layouts."""
        return self.lower(*args, **kwargs).compile()

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """Return the plan for these arguments as text; see ``Lowered.explain``."""
        return self.lower(*args, **kwargs).explain()

    def contraction(self, *args: Any, **kwargs: Any) -> Contraction:
        """Return the program these arguments give, with their shapes and entry counts."""
        _, _, given = self.engine.bound(self._positional(args, kwargs), _tensor)
        traced = self.engine.trace(given)
        names = [t.name for t in traced.program.inputs]
        return Contraction(
            traced.program,
            {n: tuple(x.shape) for n, x in zip(names, given, strict=True)},
            {n: int(x.nnz) for n, x in zip(names, given, strict=True)},
        )


def packed(kernel: Kernel) -> bytes:
    """Return a kernel's function and choices as bytes that any process can make it of."""
    return by_value.dumps((kernel.function, kernel.engine.choices))


@functools.lru_cache(maxsize=64)
def unpacked(code: bytes) -> Kernel:
    """Return the kernel that ``packed`` gave these bytes for, one a process: it is traced once."""
    return Kernel(*by_value.loads(code))


@dataclass(frozen=True, slots=True)
class Contraction:
    """A kernel's contraction program; ``shapes`` and ``nnz`` are those of its inputs."""

    program: ct.Program
    shapes: Mapping[str, tuple[int, ...]]
    nnz: Mapping[str, int]


def _traced_alike(infos: Sequence[ArgumentInfo]) -> tuple[Any, ...]:
    return tuple([(len(x.shape), x.dtype, x.fill, x.total) for x in infos])


def _tensor(x: Any) -> Any:
    return x if isinstance(x, ShapeOf) else argument(x)
