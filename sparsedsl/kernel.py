"""Kernels as users hold them: traced once a signature, compiled when first needed, called often.

Takes: a program and arguments.  Gives: ``Kernel``, ``Lowered`` and ``Compiled``.  Invariant:
a specialisation is reused only for arguments of the same layouts, dtypes, fills and orders of
magnitude; a kernel found on disk is used without loading the solver or the polyhedral library.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sparsedsl import pipeline
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.extent import check_shapes
from sparsedsl.contraction.text import program_text
from sparsedsl.errors import InvalidTensorError, NotationError, PlanError
from sparsedsl.find.algorithms import ALGORITHMS
from sparsedsl.find.smt import Proof
from sparsedsl.frontend.handles import ArgumentInfo
from sparsedsl.frontend.trace import Traced, parameters, trace
from sparsedsl.interop import asarray
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import total
from sparsedsl.options import Options, current
from sparsedsl.runtime import cache, execute
from sparsedsl.runtime.recipe import Recipe
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.sources import ShapeOf, info_of, signature_of, source_of


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user fixed when making a kernel; see ``kernel`` for the meaning of each."""

    out: Any = None
    order: str | None = None
    find: Any = "auto"
    parallel: Any = "auto"
    workspace: str = "auto"
    deterministic: bool = True
    semantics: str = "ieee"

    def __post_init__(self) -> None:
        if self.semantics not in ("ieee", "annihilator"):
            raise PlanError(
                f"expected semantics to be 'ieee' or 'annihilator', found {self.semantics!r}",
                hint="'ieee' is as dense NumPy, 'annihilator' skips implicit zeros always",
            )
        if not (self.parallel == "auto" or isinstance(self.parallel, bool)):
            raise PlanError(
                f"expected parallel to be 'auto', True or False, found {self.parallel!r}"
            )
        if not isinstance(self.find, str | Mapping):
            raise PlanError(
                f"expected find to be a name or a mapping from operand to name, found "
                f"{type(self.find).__name__}",
                hint='such as find="merge" or find={"B": "gallop"}',
            )
        wanted = [self.find] if isinstance(self.find, str) else list(self.find.values())
        known = ("auto", *(a.name for a in ALGORITHMS))
        for name in wanted:
            if name not in known:
                raise PlanError(f"expected find to be one of {', '.join(known)}, found {name!r}")
        if self.order is not None and not isinstance(self.order, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PlanError(
                f"expected order to be text, found {type(self.order).__name__}",
                hint='such as order="i k j"',
            )

    def settings(self, options: Options) -> pipeline.Settings:
        """Return what of it, and of the options in force, the pipeline reads."""
        find = self.find if isinstance(self.find, str) else tuple(sorted(self.find.items()))
        return pipeline.Settings(
            order=None if self.order is None else tuple(self.order.split()),
            find=find,
            workspace=self.workspace,
            solver_timeout_ms=options.solver_timeout_ms,
            safe=options.safe,
            share=self.parallel is not False,
        )


@dataclass(frozen=True, slots=True)
class Ready:
    """One group with its kernel: loaded from disk, or compiled just now (then with a unit)."""

    group: pipeline.Group
    recipe: Recipe
    entry: cache.Entry
    unit: pipeline.Unit | None


@dataclass(slots=True)
class Specialisation:
    """A traced program for one signature of arguments, and its kernels as they get ready."""

    traced: Traced
    sources: Mapping[str, pipeline.Source]
    choices: Choices
    settings: pipeline.Settings
    extents: Mapping[str, int]
    unusual: frozenset[str] = frozenset()
    groups: tuple[pipeline.Group, ...] = ()
    ready: dict[int, Ready] = field(default_factory=dict[int, Ready])
    variants: dict[frozenset[str], Specialisation] = field(
        default_factory=dict[frozenset[str], "Specialisation"]
    )
    shapes: dict[tuple[tuple[int, ...], ...], Mapping[str, int]] = field(
        default_factory=dict[tuple[tuple[int, ...], ...], Mapping[str, int]]
    )

    def __post_init__(self) -> None:
        program = self.traced.program
        self.groups = pipeline.split(
            program,
            {t.name: self._wanted(t) for t in program.outputs},
            self.sources,
            self.extents,
            ieee=self.choices.semantics == "ieee",
            unusual=self.unusual,
        )

    def _wanted(self, output: ct.Tensor) -> Layout | None:
        asked = self.traced.layouts.get(output.name)
        results = self.traced.program.results
        if asked is None and output.name in results:
            out = self.choices.out
            asked = out.get(output.name) if isinstance(out, Mapping) else out
        return None if asked is None else resolve(asked, output.rank)

    def prepare(self, place: int) -> Ready:
        """Return the kernel of a group, from memory, from disk or compiled."""
        found = self.ready.get(place)
        if found is not None:
            return found
        group = self.groups[place]
        key = pipeline.describe(group, self.settings)
        store = cache.default()
        entry = store.lookup(key)
        unit = None
        if entry is None:
            unit = pipeline.compile_group(group, self.settings)
            entry = store.store(key, unit.source, {"recipe": unit.recipe.to_json()})
        recipe = Recipe.from_json(entry.metadata["recipe"])
        ready = Ready(group, recipe, entry, unit)
        self.ready[place] = ready
        return ready

    def unit(self, place: int) -> pipeline.Unit:
        """Return the plan and proofs of a group, made anew if its kernel came from disk."""
        ready = self.prepare(place)
        if ready.unit is None:
            unit = pipeline.compile_group(self.groups[place], self.settings)
            ready = replace(ready, unit=unit)
            self.ready[place] = ready
        assert ready.unit is not None
        return ready.unit

    def run(
        self, tensors: dict[str, Tensor], out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Tensor]:
        """Compute every output; ``out`` gives arrays for dense ones."""
        extents = self._extents(tensors)
        values = dict(tensors)
        for place, group in enumerate(self.groups):
            ready = self.prepare(place)
            recipe = ready.recipe
            bad = execute.unusual(recipe, values)
            if bad:
                return self._variant(bad).run(tensors, out)
            execute.make_copies(recipe, values)
            target = self._target(recipe, extents, out)
            kernel = ready.entry.load()
            made = execute.call(
                recipe,
                group.assembled,
                kernel,
                values,
                extents,
                target,
                self.choices.parallel,
            )
            values[recipe.output] = made.convert(group.layout)
        return values

    def _target(
        self,
        recipe: Recipe,
        extents: Mapping[str, int],
        out: Mapping[str, np.ndarray] | None,
    ) -> np.ndarray | None:
        given = None if out is None else out.get(recipe.output)
        if given is None:
            return None
        shape = tuple(extents[recipe.indices[m]] for m in recipe.places)
        if given.shape != shape or given.dtype != np.dtype(recipe.dtype):
            raise InvalidTensorError(
                f"expected out to be {recipe.dtype} of shape {shape}, found {given.dtype} of "
                f"shape {given.shape}"
            )
        if recipe.kind != "dense" or not given.flags.c_contiguous or not given.flags.writeable:
            raise InvalidTensorError("expected out to be a writeable C-contiguous dense array")
        given.fill(recipe.initial)
        return given

    def _variant(self, bad: frozenset[str]) -> Specialisation:
        names = self.unusual | bad
        if names not in self.variants:
            self.variants[names] = replace(self, unusual=names, ready={}, variants={}, shapes={})
        return self.variants[names]

    def _extents(self, tensors: Mapping[str, Tensor]) -> Mapping[str, int]:
        shapes = tuple(t.shape for t in tensors.values())
        found = self.shapes.get(shapes)
        if found is None:
            named = {n: t.shape for n, t in tensors.items()}
            found = check_shapes(self.traced.program, named)
            if len(self.shapes) > 64:
                self.shapes.clear()
            self.shapes[shapes] = found
        return found


class Engine:
    """Runs programs: traces once a signature, compiles once a signature, keeps both.

    ``tracer`` returns the program for arguments of which only descriptions are given.
    """

    def __init__(self, tracer: Callable[[list[ArgumentInfo]], Traced], choices: Choices) -> None:
        self.tracer = tracer
        self.choices = choices
        self._specialisations: dict[Any, Specialisation] = {}
        self._options: Options | None = None
        self._settings = pipeline.Settings()

    def settings(self) -> pipeline.Settings:
        """Return the choices and options in force, as the pipeline reads them."""
        options = current()
        if options is not self._options:
            self._options, self._settings = options, self.choices.settings(options)
        return self._settings

    def run(self, given: Sequence[Any]) -> Any:
        """Compute the results for these arguments."""
        tensors = [asarray(x) for x in given]
        special = self.specialise(tensors)
        names = [t.name for t in special.traced.program.inputs]
        values = special.run(dict(zip(names, tensors, strict=True)))
        return results_of(special.traced, values, given)

    def specialise(self, given: Sequence[Tensor | ShapeOf]) -> Specialisation:
        """Return the specialisation for arguments like these."""
        settings = self.settings()
        key = (settings, tuple(signature_of(x) for x in given))
        found = self._specialisations.get(key)
        if found is not None and found.traced.shape_dependent:
            key = (*key, tuple(tuple(x.shape) for x in given))
            found = self._specialisations.get(key)
        if found is None:
            found = specialise(self.trace(given), given, self.choices, settings)
            self._specialisations[key] = found
            if found.traced.shape_dependent:
                self._specialisations[(*key[:2], tuple(tuple(x.shape) for x in given))] = found
        return found

    def trace(self, given: Sequence[Tensor | ShapeOf]) -> Traced:
        """Return the program for arguments like these."""
        return self.tracer([info_of(x) for x in given])

    def lower(self, given: Sequence[Any]) -> Lowered:
        """Plan and prove for these arguments without running."""
        return Lowered(self.specialise([_tensor(x) for x in given]))


class Kernel:
    """A tensor program made from a Python function by ``sparsedsl.kernel``; call it.

    Arguments are scipy sparse arrays or matrices, NumPy arrays, scalars or ``Tensor``.
    """

    def __init__(self, function: Callable[..., Any], choices: Choices) -> None:
        self.function = function
        self.engine = Engine(functools.partial(trace, function), choices)
        parameters(function)
        self._signature = inspect.signature(function)
        functools.update_wrapper(self, function)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", "kernel")
        return f"<sparsedsl kernel {name}{self._signature}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.engine.run(self._positional(args, kwargs))

    def _positional(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
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


def specialise(
    traced: Traced,
    given: Sequence[Tensor | ShapeOf],
    choices: Choices,
    settings: pipeline.Settings,
) -> Specialisation:
    """Return the specialisation of a traced program for arguments like ``given``."""
    names = [t.name for t in traced.program.inputs]
    shapes = {n: tuple(x.shape) for n, x in zip(names, given, strict=True)}
    sources = {n: source_of(x) for n, x in zip(names, given, strict=True)}
    extents = check_shapes(traced.program, shapes)
    return Specialisation(traced, sources, choices, settings, extents)


def _tensor(x: Any) -> Tensor | ShapeOf:
    return x if isinstance(x, ShapeOf) else asarray(x)


def results_of(traced: Traced, values: Mapping[str, Tensor], given: Sequence[Any]) -> Any:
    """Return what the kernel returns: a result, or a tuple of them."""
    plain = tuple(_result(values[name], given) for name in traced.program.results)
    return plain if traced.result_is_tuple else plain[0]


def _result(value: Tensor, given: Sequence[Any]) -> Any:
    """Return a result as its user expects it: NumPy, scipy, or a tensor."""
    if total(value.layout):
        return execute.densified(value)
    sparse = [x for x in given if not isinstance(x, np.ndarray) and not np.isscalar(x)]
    scipys = all(type(x).__module__.startswith("scipy.sparse") for x in sparse)
    if value.ndim == 2 and sparse and scipys and not value.fill_value:
        return value.to_scipy()
    return value


class Lowered:
    """A kernel planned and proved for given arguments, before it is compiled."""

    def __init__(self, special: Specialisation) -> None:
        self._special = special

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
        """Return the statement, layouts, plan, finds, proofs and copies as text."""
        from sparsedsl.explain import explanation

        return explanation(program_text(self.program), self.units)

    def compile(self) -> Compiled:
        """Return the compiled kernel."""
        return Compiled(self._special)


class Compiled:
    """A compiled kernel: call it with arguments of the layouts it was compiled for."""

    def __init__(self, special: Specialisation) -> None:
        self._special = special
        for place in range(len(special.groups)):
            special.prepare(place)

    def __call__(self, *args: Any) -> Any:
        return self._run(args, None)

    def compute(self, *args: Any, out: np.ndarray) -> np.ndarray:
        """Compute a dense result into ``out`` and return it."""
        name = self._special.traced.program.results[0]
        self._run(args, {name: out})
        return out

    def _run(self, args: tuple[Any, ...], out: Mapping[str, np.ndarray] | None) -> Any:
        program = self._special.traced.program
        if len(args) != len(program.inputs):
            raise NotationError(
                f"expected {len(program.inputs)} arguments, found {len(args)}",
                hint="call with " + ", ".join(t.name for t in program.inputs),
            )
        tensors: dict[str, Tensor] = {}
        for tensor, x in zip(program.inputs, args, strict=True):
            bound = asarray(x)
            wanted = self._special.sources[tensor.name]
            dtypes = {a: bound.arrays[a].dtype.name for a in bound.layout.functions}
            same = bound.layout == wanted.layout and dtypes == dict(wanted.index_dtypes)
            if not same or bound.dtype.name != tensor.dtype:
                raise InvalidTensorError(
                    f"expected {tensor.name} as {tensor.dtype} in layout "
                    f"{wanted.layout.label}, found {bound.dtype} in {bound.layout.label}",
                    hint="call the kernel itself, which compiles for any layout, or convert",
                )
            tensors[tensor.name] = bound
        values = self._special.run(tensors, out)
        return results_of(self._special.traced, values, args)

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
