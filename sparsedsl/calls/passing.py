"""Calls with operands that were not met before: looked at, used and not remembered.

Takes: the arguments of a call.  Gives: its result where a call with arguments of their kinds has
shown the kernel, else ``MISS`` for the long way.  Invariant: it gives what the long way would;
operands that are no bound tensors are small, and checked whole at each call; none is kept.

To bind an operand, and to know it again, takes several times as long as a small product.  A
program that makes new matrices at every step would pay that at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsedsl.calls.prepared import alone
from sparsedsl.calls.results import delivering_any, finish
from sparsedsl.calls.seen import MISS
from sparsedsl.calls.sources import signature_of
from sparsedsl.calls.specialisation import Specialisation
from sparsedsl.contraction.extent import Told, read_off
from sparsedsl.interop import Operand, in_passing
from sparsedsl.options import Options
from sparsedsl.runtime.execute import Call
from sparsedsl.runtime.outputs import check_memory
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.unchanged import WHOLE, still_holds
from sparsedsl.runtime.values import FACTS

KINDS = 1024
"""Kinds of arguments of which the kernels are known."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The one kernel for arguments of some kinds; ``scipy``: sparse results are to be scipy's.

    ``facts`` must hold of the operands at which places.  ``deliver`` makes a sparse result of its
    shape and arrays, where no more is to be done.
    """

    special: Specialisation
    options: Options
    call: Call
    told: tuple[Told, ...]
    facts: tuple[tuple[str, int], ...]
    scipy: bool
    deliver: Callable[[tuple[int, ...], dict[str, np.ndarray]], Any] | None

    def run(self, operands: Sequence[Operand | Tensor]) -> Any:
        """Return the result for these operands, or ``MISS``."""
        special, call = self.special, self.call
        extents = read_off(self.told, [x.shape for x in operands])
        if extents is None:
            return MISS
        for fact, place in self.facts:
            x = operands[place]
            if type(x) is Tensor:
                holds = x.holds(fact)
            elif len(x.values) <= WHOLE:
                holds = FACTS[fact](x.values)
            else:
                holds = still_holds(fact, x.values)
            if not holds:
                return MISS
        named = dict(zip(special.names, operands, strict=True))
        arguments, parallel = call.gather(named, extents), special.choices.parallel
        if call.recipe.kind != "dense":
            rooms, stored = call.rooms(extents), call.stored(named)
            counts = call.assemble(arguments, rooms, stored, parallel)
            if self.deliver is not None:
                return self.deliver(call.shape(extents), call.arrays(arguments, counts))
            return finish(call, extents, self.scipy)(arguments, counts)
        shape = call.axes(extents)
        check_memory(call.recipe, shape)
        array = call.fresh(shape)
        call.compute(arguments, extents, array, parallel)
        return array if shape else array[()]


class Plans:
    """The kernels of calls that were made, by the kinds of their arguments."""

    def __init__(self) -> None:
        self._plans: dict[tuple[Any, ...], Plan] = {}

    def find(
        self, given: Sequence[Any], options: Options
    ) -> tuple[Plan, tuple[Operand | Tensor, ...]] | None:
        """Return the plan for these arguments and what it takes of them, found right."""
        if not self._plans or options.safe:
            return None
        operands = _operands(given)
        if operands is None:
            return None
        plan = self._plans.get(_kinds(operands))
        if plan is None or plan.options is not options:
            return None
        right = all(x.keeps() if isinstance(x, Tensor) else x.right() for x in operands)
        return (plan, operands) if right else None

    def learn(
        self, special: Specialisation, given: Sequence[Any], options: Options, scipy: bool
    ) -> None:
        """Keep the kernel that these arguments were run with, if it makes the one result."""
        if 0 not in special.ready or special.told is None or options.safe or options.tune:
            return
        ready = alone(special)
        longer = ready is None or ready.group.reduced or ready.group.factored
        operands = None if longer else _operands(given)
        if ready is None or operands is None:
            return
        if len(self._plans) >= KINDS:
            self._plans.clear()
        deliver = delivering_any(ready.call, scipy)
        facts = tuple((fact, special.names.index(name)) for fact, name in ready.call.checks)
        plan = Plan(special, options, ready.call, special.told, facts, scipy, deliver)
        self._plans[_kinds(operands)] = plan


def _kinds(operands: Sequence[Operand | Tensor]) -> tuple[Any, ...]:
    """Return what of each operand choosing a kernel depends on."""
    return tuple([signature_of(x) if isinstance(x, Tensor) else x.kind for x in operands])


def _operands(given: Sequence[Any]) -> tuple[Operand | Tensor, ...] | None:
    """Return tensors, and others as they lie; None where one must be bound, or all are plain."""
    if {*map(type, given)} == {np.ndarray}:
        return None  # arrays of one shape are known again without being remembered
    found: list[Operand | Tensor] = []
    for x in given:
        operand = x if type(x) is Tensor else in_passing(x)
        if operand is None:
            return None
        found.append(operand)
    return tuple(found)
