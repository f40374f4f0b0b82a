"""Kernels before they are called: planned and proved for given arguments, then compiled for them.

Takes: a specialisation.  Gives: ``Lowered``, which tells what was planned and proved, and
``Compiled``, which is called with arguments of the same layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from sparsedsl.calls.reuse import store, target_of
from sparsedsl.calls.runner import Runner
from sparsedsl.calls.seen import MISS
from sparsedsl.calls.sources import ShapeOf, signature_of
from sparsedsl.calls.specialisation import Specialisation
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.text import program_text
from sparsedsl.errors import InvalidTensorError, NotationError, PlanError, SparseDSLError
from sparsedsl.interop import Numbers, argument, as_arrays, kinds_of_numbers, with_numbers
from sparsedsl.pipeline.groups import Settings, limits
from sparsedsl.runtime.tensor import Tensor

if TYPE_CHECKING:
    from sparsedsl.find.smt import Proof
    from sparsedsl.pipeline.stages import Unit


def bound_arguments(
    given: Sequence[Any], names: Sequence[str], bind: Callable[[Any], Any] = argument
) -> list[Any]:
    """Return the arguments as ``bind`` makes tensors of them; an error names its argument."""
    tensors: list[Any] = []
    known: dict[int, Any] = {}
    try:
        for x in given:
            tensor = known.get(id(x))
            tensors.append(bind(x) if tensor is None else tensor)
            known[id(x)] = tensors[-1]
    except SparseDSLError as error:
        place = len(tensors)
        name = names[place] if place < len(names) else f"operand {place}"
        error.message = f"{name}: {error.message}"
        raise
    return tensors


def _only_here(what: str) -> PlanError:
    return PlanError(
        f"{what} holds machine code of this process and cannot be pickled or copied",
        hint="send the kernel itself: where it arrives it is loaded from the cache or compiled",
    )


EXPLAINED_NS = 1e9
"""Estimated nanoseconds up to which an explanation runs the kernel to measure it."""


class Lowered:
    """A kernel planned and proved for given arguments, before it is compiled."""

    def __init__(self, special: Specialisation, given: Sequence[Tensor | ShapeOf] = ()) -> None:
        self._special = special
        self._given = given
        self._units: tuple[Unit, ...] = ()

    def __reduce__(self) -> NoReturn:
        raise _only_here("a lowered kernel")

    @property
    def units(self) -> tuple[Unit, ...]:
        """One record a pass, in the order they run, with the sizes of the arguments given."""
        if not self._units:
            special, given = self._special, self._given
            every = range(len(special.groups))
            self._units = tuple(special.unit_for(k, given) for k in every)
        return self._units

    @property
    def program(self) -> ct.Program:
        """The contraction program."""
        return self._special.traced.program

    @property
    def settings(self) -> Settings:
        """The choices and options that it was planned with."""
        return self._special.settings

    @property
    def iteration_space(self) -> str:
        """The joint iteration space of each case, in isl's notation."""
        from sparsedsl.explain import iteration_space

        units = [each for unit in self.units for each in unit.turn]
        return "\n".join(iteration_space(n) for u in units for n in (*u.within, u.nest))

    @property
    def plan(self) -> str:
        """The loop nests, one line a step."""
        from sparsedsl.explain import plan_text

        return "\n".join(plan_text(u) for u in self.units)

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """Every question asked of the solver: goal, verdict, seconds, what it allows."""
        return tuple(p for unit in self.units for u in unit.turn for p in u.proofs)

    @property
    def source(self) -> str:
        """The generated Python."""
        return "\n\n".join(u.source for u in self.units)

    @property
    def cost(self) -> float:
        """The estimated nanoseconds of a call on one thread, copies that are kept left out."""
        return sum(u.cost for u in self.units)

    def explain(self) -> str:
        """Return the statement, layouts, plan, alternatives, bounds and proofs as text.

        Where the arguments are data, not ``ShapeOf``, and the estimate is below a second, the
        kernel is run a few times and the time it took stands beside the estimate.
        """
        from sparsedsl.explain import explanation

        special, measured = self._special, self._measured()
        units = self.units
        trials = [special.prepare(place).trials for place in range(len(units))]
        text = program_text(self.program)
        alike, apart, same = special.alike, special.apart, self._same()
        return explanation(text, units, special.settings, alike, same, measured, trials, apart)

    def _same(self) -> str:
        """Say how long a call takes where operands have one pattern; "" where they have not."""
        named = self._data()
        version = self._special.matching(named) if named else self._special
        if version is self._special:
            return ""
        given = tuple(named.values())
        cost = sum(version.unit_for(k, given).cost for k in range(len(version.groups)))
        took = sum(version.measure(named)) if cost <= EXPLAINED_NS else None
        measured = "" if took is None else f", measured {1e3 * took:.3g} ms"
        return (
            "these operands have one pattern: a call runs a version without searches, estimated "
            f"{cost / 1e6:.3g} ms{measured}; what follows is for others"
        )

    def _data(self) -> dict[str, Tensor]:
        """The arguments by name, none where some are no data."""
        tensors = [x for x in self._given if isinstance(x, Tensor)]
        names = self._special.names
        same = bool(names) and len(tensors) == len(names)
        return dict(zip(names, tensors, strict=True)) if same else {}

    def _measured(self) -> list[float]:
        named = self._data()
        return self._special.measure(named) if named and self.cost <= EXPLAINED_NS else []

    def compile(self) -> Compiled:
        """Return the compiled kernel."""
        return Compiled(self._special)


class Compiled:
    """A compiled kernel: call it with arguments of the layouts it was compiled for."""

    def __init__(self, special: Specialisation) -> None:
        self._special = special
        self._accepted: set[tuple[Any, ...]] = set()
        self._runner = Runner()
        for place, group in enumerate(special.groups):
            if not group.mapped:
                special.prepare(place)

    def __reduce__(self) -> NoReturn:
        raise _only_here("a compiled kernel")

    def __call__(self, *args: Any) -> Any:
        found = self._runner.again(args)
        if found is not MISS:
            return found
        numbers = self._numbers(args)
        args = self._arrays(args, numbers)
        args = as_arrays(args) or args
        return self._runner.of(numbers).run(self._special, self._bound(args), args)

    def _arrays(self, args: tuple[Any, ...], numbers: Numbers) -> tuple[Any, ...]:
        """Return the arguments with arrays for Python numbers."""
        return tuple(with_numbers(args, numbers) or args) if numbers else args

    def _numbers(self, args: tuple[Any, ...]) -> Numbers:
        """Return the dtypes compiled for of Python numbers that these hold."""
        inputs, found = self._special.traced.program.inputs, list[tuple[int, type, np.dtype]]()
        for place, kind in kinds_of_numbers(args).items():
            if place >= len(inputs) or inputs[place].rank:
                continue
            usual, wanted = np.result_type(kind), np.dtype(inputs[place].dtype)
            holds = np.result_type(wanted, kind(0)) == wanted
            found.append((place, kind, wanted if holds else usual))
        return tuple(found)

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
        args = self._arrays(args, self._numbers(args))
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
        args = self._arrays(args, self._numbers(args))
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
        tensors = bound_arguments(args, names)
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
            if x.ndim != tensor.rank:
                raise InvalidTensorError(
                    f"expected {tensor.name} with {_modes(tensor.rank)}, found {_modes(x.ndim)}",
                    hint="call the kernel itself, which compiles for any tensors",
                )
            same = x.layout == wanted.layout and dtypes == dict(wanted.index_dtypes)
            if not same or x.dtype.name != tensor.dtype:
                raise InvalidTensorError(
                    f"expected {tensor.name} as {tensor.dtype} in layout "
                    f"{wanted.layout.label}, found {x.dtype} in {x.layout.label}",
                    hint="call the kernel itself, which compiles for any layout, or convert",
                )
        self._check_sizes(tensors)

    def _check_sizes(self, tensors: Sequence[Tensor]) -> None:
        """Raise for extents so much larger that index values may leave their width."""
        special = self._special
        extents = special.extents_of(dict(zip(special.names, tensors, strict=True)))
        for place, group in enumerate(special.groups):
            if group.mapped:
                continue
            recipe = special.prepare(place).call.recipe
            for index, least in limits(group, grows=recipe.grows, narrow=recipe.narrow).items():
                if extents.get(index, 0) >= least:
                    raise PlanError(
                        f"index values of {group.output.name} may leave the integers that it was "
                        f"compiled with: expected less than {least} values of {index}, found "
                        f"{extents[index]}",
                        hint="compile for operands of these sizes, or call the kernel itself",
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
        count = sum(len(group.turn) for group in self._special.groups)
        if count != 1:
            raise PlanError(
                f"expected a kernel of one loop nest, found {count}",
                hint="write one kernel for each statement to call them from @njit code",
            )
        settings = replace(self._special.settings, share=False, turn=False)
        alone = replace(self._special, settings=settings, ready={}, maps={}, variants={}, shapes={})
        return alone.prepare(0).entry.load()

    def __repr__(self) -> str:
        return f"<compiled {program_text(self._special.traced.program)}>"


def _modes(count: int) -> str:
    return "1 mode" if count == 1 else f"{count} modes"
