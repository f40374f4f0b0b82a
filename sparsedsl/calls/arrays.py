"""Calls that give several plain arrays, like the call before, with nothing left to look up.

Takes: a specialisation and the tensors of one call.  Gives: ``PreparedArrays``, which runs the
next call if its arguments were ``seen``.  Invariant: it computes exactly what the specialisation
would, and keeps no operand alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsedsl.calls.learnt import acting_fast
from sparsedsl.calls.seen import MISS, Checks, Seen
from sparsedsl.calls.specialisation import Specialisation
from sparsedsl.layouts.catalogue import plain
from sparsedsl.options import Options
from sparsedsl.runtime.execute import Call
from sparsedsl.runtime.splits import Splits
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.values import holds


@dataclass(slots=True)
class _Gathered:
    """One kernel of several that each give a plain array of ``shape``, its arguments gathered.

    ``checks`` are the facts that must hold of what the kernels before give, ``after`` those of
    what it gives itself, ``holes`` says which arguments are arrays that a call gives, or a kernel
    before.  ``sides`` are the shapes of the arrays that it fills besides, ``splits`` those of the
    operands, for threads.
    """

    call: Call
    checks: Checks
    after: Checks
    arguments: list[Any]
    holes: tuple[tuple[int, str], ...]
    shape: tuple[int, ...]
    sides: tuple[tuple[int, ...], ...]
    splits: Splits = field(default_factory=Splits)


@dataclass(slots=True)
class PreparedArrays:
    """Kernels that run one after another and give plain arrays.

    ``given`` are the plain arrays of a call, by place and name; ``results`` names those that the
    user gets, ``several`` says that they are a tuple.
    """

    options: Options
    steps: tuple[_Gathered, ...]
    extents: Mapping[str, int]
    parallel: bool | str
    results: tuple[str, ...]
    several: bool
    seen: Seen | None = None
    given: tuple[tuple[int, str], ...] = ()

    def run(self, given: Sequence[Any]) -> Any:
        """Return the result for these arguments, or ``MISS``."""
        seen = self.seen
        if seen is None:
            return MISS
        if seen.run is not None and (not seen.facts or seen.facts_hold()):
            found = seen.run(*given)
            if found is not False:
                return found
        if not (seen.again(given) if seen.run is None else seen.one_by_one(given)):
            return MISS
        arrays: dict[str, np.ndarray] = {name: given[place] for place, name in self.given}
        for step in self.steps:
            for fact, name in step.checks:
                if not holds(fact, arrays[name]):
                    return MISS
            arguments, call = step.arguments.copy(), step.call
            for side, shape in zip(call.sides, step.sides, strict=True):
                arrays[side.recipe.output] = side.fresh(shape)
            for hole, name in step.holes:
                arguments[hole] = arrays[name]
            made = arrays[call.recipe.output] = call.fresh(step.shape)
            call.compute(arguments, self.extents, made, self.parallel, step.splits)
            for fact, name in step.after:
                if not holds(fact, arrays[name]):
                    return MISS
        found = tuple([a if a.ndim else a[()] for a in map(arrays.__getitem__, self.results)])
        return found if self.several else found[0]

    def leave_out(self, place: int, name: str) -> None:
        """Take the array called ``name`` from the arguments of each call."""
        self.given += ((place, name),)
        for step in self.steps:
            step.holes += left_out(step.call, step.arguments, name)

    def act(self, look: functools.partial[bool]) -> Callable[..., Any] | None:
        """Return what looks at operands and makes the call; None where there is more to do."""
        from sparsedsl.runtime import actions

        if len(self.steps) != 1:
            return None
        (step,) = self.steps
        if step.checks or step.after or self._shared(step.call):
            return None
        shapes = (step.shape, *step.sides)
        outputs = [each.recipe.output for each in (step.call, *step.call.sides)]
        places = {name: place for place, name in self.given}
        given = [(places[name], hole) for hole, name in step.holes if name in places]
        made = [(outputs.index(name), hole) for hole, name in step.holes if name in outputs]
        results = [outputs.index(name) for name in self.results]
        if len(given) + len(made) < len(step.holes) or not all(shapes):
            return None
        filled = actions.given(step.arguments, given)
        action = actions.arrays(step.call, filled, shapes, made, results, self.several)
        return None if action is None else acting_fast(look, action, step.call)

    def _shared(self, call: Call) -> bool:
        """Whether threads may share the kernel's loop."""
        sharing = call.sharing
        return sharing is not None and sharing.worth(self.parallel, self.options)

    def drop(self) -> None:
        """Let go of the arrays."""
        self.steps, self.seen = (), None


def left_out(call: Call, arguments: list[Any], name: str) -> tuple[tuple[int, str], ...]:
    """Take the arrays of a tensor from a kernel's arguments; return where they were."""
    places = [
        k for k, a in enumerate(call.recipe.arguments) if (a.tensor, a.kind) == (name, "array")
    ]
    for place in places:
        arguments[place] = None
    return tuple((place, name) for place in places)


def prepared_arrays(
    special: Specialisation,
    options: Options,
    tensors: Mapping[str, Tensor],
    extents: Mapping[str, int],
) -> PreparedArrays | None:
    """Return the preparation of kernels that all give plain arrays and read no copies."""
    steps: list[_Gathered] = []
    values = dict(tensors)
    if any(group.mapped for group in special.groups):
        return None
    for place, group in enumerate(special.groups):
        call = special.prepare(place).call
        if any(g.layout != plain(g.output.rank) for g in group.turn) or call.recipe.copies:
            return None
        for side in call.sides:
            values[side.recipe.output] = _to_come(side, extents)
        later = tuple((fact, name) for fact, name in call.checks if name not in tensors)
        arguments = call.gather(values, extents)
        before = [name for name in values if name not in tensors]
        holes = tuple(hole for name in before for hole in left_out(call, arguments, name))
        sides = tuple(side.axes(extents) for side in call.sides)
        shape = call.axes(extents)
        steps.append(_Gathered(call, later, group.after, arguments, holes, shape, sides))
        values[call.recipe.output] = _to_come(call, extents)
    results, several = special.results, special.traced.result_is_tuple
    names = tuple(name for name, _ in results)
    parallel = special.choices.parallel
    return PreparedArrays(options, tuple(steps), extents, parallel, names, several)


def _to_come(call: Call, extents: Mapping[str, int]) -> Tensor:
    """Return what stands for the tensor that a kernel will give, whose form is known."""
    return Tensor.of(call.form(extents), {call.layout.value.function: np.empty(0)})
