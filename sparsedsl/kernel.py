"""Kernels as users hold them: traced once a signature, compiled when first needed, called often.

Takes: a program and arguments.  Gives: ``Kernel``, ``Lowered`` and ``Compiled``.  Invariant:
a call does nothing that an earlier call with arguments of the same kinds has done already.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsedsl import pipeline
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.text import program_text
from sparsedsl.errors import InvalidTensorError, NotationError, PlanError
from sparsedsl.find.smt import Proof
from sparsedsl.frontend.handles import ArgumentInfo
from sparsedsl.frontend.trace import Traced, parameters, trace
from sparsedsl.interop import argument, scipy_maker
from sparsedsl.locks import compiling
from sparsedsl.options import Options, current
from sparsedsl.prepared import MISS, Prepared, prepare
from sparsedsl.reuse import store, target_of
from sparsedsl.runtime.execute import Call
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.values import refused
from sparsedsl.sources import ShapeOf, info_of, signature_of
from sparsedsl.specialisation import Choices, Specialisation, specialise


class Engine:
    """Runs programs: traces once a signature, compiles once a signature, keeps both.

    ``tracer`` returns the program for arguments of which only descriptions are given.
    """

    def __init__(self, tracer: Callable[[list[ArgumentInfo]], Traced], choices: Choices) -> None:
        self.tracer = tracer
        self.choices = choices
        self._options: Options | None = None
        self._settings = pipeline.Settings()
        self._known: dict[pipeline.Settings, dict[Any, Specialisation]] = {}
        self._current: dict[Any, Specialisation] = {}
        self._runner = Runner()

    def settings(self) -> pipeline.Settings:
        """Return the choices and options in force, as the pipeline reads them."""
        options = current()
        if options is not self._options:
            self._settings = self.choices.settings(options)
            self._current = self._known.setdefault(self._settings, {})
            self._options = options
        return self._settings

    def run(self, given: Sequence[Any]) -> Any:
        """Compute the results for these arguments."""
        found = self._runner.again(given)
        if found is not MISS:
            return found
        tensors = [argument(x) for x in given]
        return self._runner.run(self.specialise(tensors), tensors, given)

    def specialise(self, given: Sequence[Tensor | ShapeOf]) -> Specialisation:
        """Return the specialisation for arguments like these."""
        settings = self.settings()
        key: Any = tuple([signature_of(x) for x in given])
        found = self._current.get(key)
        if found is not None and found.traced.shape_dependent:
            key = (key, tuple(tuple(x.shape) for x in given))
            found = self._current.get(key)
        if found is None:
            traced = self.trace(given)
            with compiling:
                found = specialise(traced, given, self.choices, settings)
            self._current.setdefault(key, found)
            if found.traced.shape_dependent:
                shapes = tuple(tuple(x.shape) for x in given)
                self._current[tuple(signature_of(x) for x in given), shapes] = found
        return found

    def trace(self, given: Sequence[Tensor | ShapeOf]) -> Traced:
        """Return the program for arguments like these."""
        return self.tracer([info_of(x) for x in given])

    def lower(self, given: Sequence[Any]) -> Lowered:
        """Plan and prove for these arguments without running."""
        tensors = [_tensor(x) for x in given]
        return Lowered(self.specialise(tensors), tensors)


class Kernel:
    """A tensor program made from a Python function by ``sparsedsl.kernel``; call it.

    Arguments are scipy sparse arrays or matrices, NumPy arrays, scalars or ``Tensor``.
    """

    def __init__(self, function: Callable[..., Any], choices: Choices) -> None:
        self.function = function
        self.engine = Engine(functools.partial(trace, function), choices)
        self._count = len(parameters(function))
        self._signature = inspect.signature(function)
        functools.update_wrapper(self, function)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", "kernel")
        return f"<sparsedsl kernel {name}{self._signature}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.engine.run(self._positional(args, kwargs))

    def _positional(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        if not kwargs and len(args) == self._count:
            return args
        try:
            return self._signature.bind(*args, **kwargs).args
        except TypeError as error:
            name = getattr(self.function, "__name__", "kernel")
            wanted = ", ".join(self._signature.parameters)
            raise NotationError(f"{name}: {error}", hint=f"the kernel takes ({wanted})") from None

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
        given = [_tensor(x) for x in self._positional(args, kwargs)]
        traced = self.engine.trace(given)
        names = [t.name for t in traced.program.inputs]
        return Contraction(
            traced.program,
            {n: tuple(x.shape) for n, x in zip(names, given, strict=True)},
            {n: int(x.nnz) for n, x in zip(names, given, strict=True)},
        )


@dataclass(frozen=True, slots=True)
class Contraction:
    """A kernel's contraction program; ``shapes`` and ``nnz`` are those of its inputs."""

    program: ct.Program
    shapes: Mapping[str, tuple[int, ...]]
    nnz: Mapping[str, int]


def _tensor(x: Any) -> Tensor | ShapeOf:
    return x if isinstance(x, ShapeOf) else argument(x)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What the types of a call's arguments say: which values to look at, what to return."""

    fresh: tuple[bool, ...]
    scipy: bool


@functools.lru_cache(maxsize=1024)
def _kinds(types: tuple[type, ...]) -> _Kinds:
    plain = (np.ndarray, np.generic, bool, int, float, complex)
    sparse = [t for t in types if not issubclass(t, plain)]
    scipys = all(t.__module__.startswith("scipy.sparse") for t in sparse)
    return _Kinds(tuple(t is not Tensor for t in types), bool(sparse) and scipys)


class Runner:
    """Runs specialisations, and prepares the next call where two alike follow each other."""

    def __init__(self) -> None:
        self._last: Specialisation | None = None
        self._prepared: Prepared | None = None

    def again(self, given: Sequence[Any]) -> Any:
        """Return the result of a call like the last one, or ``MISS``."""
        prepared = self._prepared
        if prepared is None or prepared.options is not current():
            return MISS
        try:
            return prepared(given)
        except ValueError as error:
            raise refused(error) from None

    def again_into(self, given: Sequence[Any], target: Tensor) -> bool:
        """Store the sparse result of a call like the last one; False where it is not like it."""
        prepared = self._prepared
        if prepared is None or prepared.options is not current() or not prepared.call.stores:
            return False
        arguments, call = prepared.gathered(given), prepared.call
        if arguments is None:
            return False
        extents, parallel = prepared.extents, prepared.parallel
        try:
            counts = call.assemble(arguments, extents, prepared.stored, parallel)
        except ValueError as error:
            raise refused(error) from None
        store(call.form(extents), call.arrays(arguments, counts), target)
        return True

    def run(
        self,
        special: Specialisation,
        tensors: Sequence[Tensor],
        given: Sequence[Any],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> Any:
        """Return what the user expects of a specialisation: a result, or a tuple of them."""
        scipy = _kinds(tuple(map(type, given))).scipy
        values = self.values(special, tensors, given, out)
        found = tuple(_result(values[name], kind, scipy) for name, kind in special.results)
        return found if special.traced.result_is_tuple else found[0]

    def values(
        self,
        special: Specialisation,
        tensors: Sequence[Tensor],
        given: Sequence[Any],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, Tensor]:
        """Return every tensor of a specialisation, computed for these arguments."""
        kinds = _kinds(tuple(map(type, given)))
        named = dict(zip(special.names, tensors, strict=True))
        fresh = {name for name, new in zip(special.names, kinds.fresh, strict=True) if new}
        special = special.matching(named)
        try:
            values = special.run(named, out, fresh)
        except ValueError as error:
            raise refused(error) from None
        if out is None and special is self._last:
            self._prepare(special, named, given, kinds.scipy)
        self._last = special
        return values

    def _prepare(
        self,
        special: Specialisation,
        named: Mapping[str, Tensor],
        given: Sequence[Any],
        scipy: bool,
    ) -> None:
        self._prepared = None
        if len(special.groups) != 1 or special.traced.result_is_tuple:
            return
        ready = special.prepare(0)
        ((_, kind),) = special.results
        call = ready.call
        dense = call.recipe.kind == "dense"
        if ready.group.layout is not ready.group.assembled or (kind == "plain") != dense:
            return
        extents = special.extents_of(named)
        finish = None if dense else _finish(call, extents, scipy)
        parallel = special.choices.parallel
        self._prepared = prepare(call, current(), given, named, extents, parallel, finish)


def _finish(
    call: Call, extents: Mapping[str, int], scipy: bool
) -> Callable[[list[Any], tuple[int, ...]], Any]:
    """Return what makes a sparse result, as its user expects it, of arguments and counts."""
    form = call.form(extents)
    if scipy and call.stores and not form.fill_value:
        make = scipy_maker(form.layout, form.shape)
        if make is not None:
            return lambda arguments, counts: make(call.arrays(arguments, counts))
    if not scipy:
        return lambda arguments, counts: call.tensor(arguments, counts, form)
    return lambda arguments, counts: _result(call.tensor(arguments, counts, form), "sparse", True)


def _result(value: Tensor, kind: str, scipy: bool) -> Any:
    """Return a result as its user expects it: NumPy, scipy, or a tensor."""
    if kind != "sparse":
        array = value.values if kind == "plain" else value.to_numpy()
        return array if array.ndim else array[()]
    return value.to_scipy() if scipy and value.ndim == 2 and not value.fill_value else value


EXPLAINED_NS = 1e9
"""Estimated nanoseconds up to which an explanation runs the kernel to measure it."""


class Lowered:
    """A kernel planned and proved for given arguments, before it is compiled."""

    def __init__(self, special: Specialisation, given: Sequence[Tensor | ShapeOf] = ()) -> None:
        self._special = special
        self._given = given

    @property
    def units(self) -> tuple[pipeline.Unit, ...]:
        """One record an output, in the order they run."""
        return tuple(self._special.unit(k) for k in range(len(self._special.groups)))

    @property
    def program(self) -> ct.Program:
        """The contraction program."""
        return self._special.traced.program

    @property
    def iteration_space(self) -> str:
        """The joint iteration space of each case, in isl's notation."""
        from sparsedsl.explain import iteration_space

        return "\n".join(iteration_space(u.nest) for u in self.units)

    @property
    def plan(self) -> str:
        """The loop nests, one line a step."""
        from sparsedsl.explain import plan_text

        return "\n".join(plan_text(u) for u in self.units)

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """Every question asked of the solver: goal, verdict, seconds, what it allows."""
        return tuple(p for u in self.units for p in u.proofs)

    @property
    def source(self) -> str:
        """The generated Python."""
        return "\n\n".join(u.source for u in self.units)

    @property
    def cost(self) -> float:
        """The estimated time in nanoseconds; only ratios between plans mean much."""
        return sum(u.nest.cost for u in self.units)

    def explain(self) -> str:
        """Return the statement, layouts, plan, alternatives, bounds and proofs as text.

        Where the arguments are data, not ``ShapeOf``, and the estimate is below a second, the
        kernel is run a few times and the time it took stands beside the estimate.
        """
        from sparsedsl.explain import explanation

        special, measured = self._special, self._measured()
        return explanation(
            program_text(self.program), self.units, special.settings, special.alike, measured
        )

    def _measured(self) -> list[float]:
        tensors = [x for x in self._given if isinstance(x, Tensor)]
        names = self._special.names
        if not names or len(tensors) != len(names) or self.cost > EXPLAINED_NS:
            return []
        return self._special.measure(dict(zip(names, tensors, strict=True)))

    def compile(self) -> Compiled:
        """Return the compiled kernel."""
        return Compiled(self._special)


class Compiled:
    """A compiled kernel: call it with arguments of the layouts it was compiled for."""

    def __init__(self, special: Specialisation) -> None:
        self._special = special
        self._accepted: set[tuple[Any, ...]] = set()
        self._runner = Runner()
        for place in range(len(special.groups)):
            special.prepare(place)

    def __call__(self, *args: Any) -> Any:
        found = self._runner.again(args)
        return self._run(self._bound(args), args, None) if found is MISS else found

    def assemble(self, *args: Any) -> Any:
        """Compute a result whose arrays ``compute`` may write to again.

        Examples
        --------
        >>> import numpy as np, scipy.sparse as sp, sparsedsl as sd
        >>> @sd.kernel
        ... def scaled(A, x):
        ...     i, j = sd.indices("i j")
        ...     C = sd.output()
        ...     C[i, j] = A[i, j] * x[j]
        ...     return C
        >>> A, x = sp.eye_array(3, format="csr"), np.array([1.0, 2.0, 3.0])
        >>> compiled = scaled.compile(A, x)
        >>> C = compiled.assemble(A, x)
        >>> compiled.compute(A, 2 * x, out=C) is C
        True
        >>> C.data
        array([2., 4., 6.])
        """
        found = self._run(self._bound(args), args, None)
        if isinstance(found, tuple):
            raise self._several()
        return found

    def compute(self, *args: Any, out: Any) -> Any:
        """Compute into ``out``, an array or what ``assemble`` returned, and return it.

        The index arrays of a sparse ``out`` are kept: the result must have its pattern.  It is
        computed beside ``out``, compared and copied, so that this saves no time over a call.

        Raises
        ------
        InvalidTensorError
            For another shape, dtype or layout, an array that is an operand too, or a result
            of another pattern.  A sparse ``out`` is then as it was.
        """
        special = self._special
        if len(special.results) != 1:
            raise self._several()
        ((name, kind),) = special.results
        if kind == "sparse":
            self._compute_into(name, args, target_of(out))
            return out
        tensors = self._bound(args)
        if isinstance(out, np.ndarray):
            if any(np.may_share_memory(out, x.values) for x in tensors):
                raise InvalidTensorError("expected out to be no operand, found one in its memory")
            self._run(tensors, args, {name: out})
            return out
        raise InvalidTensorError(f"expected out to be an array, found {type(out).__name__}")

    def _compute_into(self, name: str, args: tuple[Any, ...], target: Tensor) -> None:
        if not self._runner.again_into(args, target):
            found = self._runner.values(self._special, self._bound(args), args)[name]
            store(found.form, found.arrays, target)

    def _several(self) -> PlanError:
        return PlanError(
            f"expected a kernel of one result, found {len(self._special.results)}",
            hint="write a kernel for each result",
        )

    def _bound(self, args: tuple[Any, ...]) -> list[Tensor]:
        """Return the arguments as tensors, of the layouts and dtypes compiled for."""
        names = self._special.names
        if len(args) != len(names):
            raise NotationError(
                f"expected {len(names)} arguments, found {len(args)}",
                hint="call with " + ", ".join(names),
            )
        tensors = [argument(x) for x in args]
        key = tuple([signature_of(x) for x in tensors])
        if key not in self._accepted:
            self._check(tensors)
            self._accepted.add(key)
        return tensors

    def _run(
        self,
        tensors: Sequence[Tensor],
        args: tuple[Any, ...],
        out: Mapping[str, np.ndarray] | None,
    ) -> Any:
        return self._runner.run(self._special, tensors, args, out)

    def _check(self, tensors: Sequence[Tensor]) -> None:
        """Raise unless these arguments have the layouts and dtypes compiled for."""
        for tensor, x in zip(self._special.traced.program.inputs, tensors, strict=True):
            wanted = self._special.sources[tensor.name]
            dtypes = {a: x.arrays[a].dtype.name for a in x.layout.functions}
            same = x.layout == wanted.layout and dtypes == dict(wanted.index_dtypes)
            if not same or x.dtype.name != tensor.dtype:
                raise InvalidTensorError(
                    f"expected {tensor.name} as {tensor.dtype} in layout "
                    f"{wanted.layout.label}, found {x.dtype} in {x.layout.label}",
                    hint="call the kernel itself, which compiles for any layout, or convert",
                )

    @property
    def source(self) -> str:
        """The generated Python."""
        ready = [self._special.prepare(k) for k in range(len(self._special.groups))]
        return "\n\n".join(r.entry.source for r in ready)

    @property
    def njit(self) -> Any:
        """The plain Numba dispatcher, callable from ``@njit`` code.

        Its parameters are the arrays and extents that ``njit.py_func`` names; a dense result
        is written to the array given for it, which starts at the fill value.
        """
        if len(self._special.groups) != 1:
            raise PlanError(
                f"expected a kernel of one loop nest, found {len(self._special.groups)}",
                hint="write one statement a kernel to call it from @njit code",
            )
        settings = replace(self._special.settings, share=False)
        alone = replace(self._special, settings=settings, ready={}, variants={}, shapes={})
        return alone.prepare(0).entry.load()

    def __repr__(self) -> str:
        return f"<compiled {program_text(self._special.traced.program)}>"
