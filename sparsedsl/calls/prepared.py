"""A call with arguments like those of the call before, with nothing left to look up.

Takes: a specialisation and the arguments of one call.  Gives: ``Prepared``, or ``PreparedSteps`` or
``calls.arrays`` for several kernels or results, which run the next call if its arguments were
``seen``.  Invariant: they compute exactly what the specialisation would, and keep no operand alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsedsl.calls.arrays import PreparedArrays, left_out, prepared_arrays
from sparsedsl.calls.kernels import Ready
from sparsedsl.calls.learnt import acting_fast
from sparsedsl.calls.results import Finish, delivering, finish, is_finite, result
from sparsedsl.calls.seen import MISS, Checks, Seen, seen
from sparsedsl.calls.specialisation import Specialisation
from sparsedsl.interop import scipy_maker
from sparsedsl.options import Options
from sparsedsl.pipeline.groups import Group
from sparsedsl.runtime.execute import Call
from sparsedsl.runtime.form import Form
from sparsedsl.runtime.outputs import Rooms
from sparsedsl.runtime.places import Places
from sparsedsl.runtime.splits import Splits
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.values import all_finite

if TYPE_CHECKING:
    from sparsedsl.codegen.looking import Action


@dataclass(slots=True)
class Prepared:
    """One kernel with its operands gathered.

    ``options`` are those it was made under.  ``holes`` says of plain arrays where among the
    arguments they go.  ``finish`` makes what the user gets of the arguments and counts of a sparse
    output; without it the dense array is returned.  ``factored``: a result that is not finite is
    computed the long way.  ``splits`` and ``places`` are those of the operands, for threads.
    """

    options: Options
    call: Call
    arguments: list[Any]
    extents: Mapping[str, int]
    rooms: Rooms
    stored: int
    parallel: bool | str
    finish: Finish | None
    deliver: Callable[[dict[str, np.ndarray]], Any] | None
    factored: bool
    shape: tuple[int, ...]
    seen: Seen | None = None
    holes: tuple[tuple[int, int], ...] = ()
    splits: Splits = field(default_factory=Splits)
    places: Places | None = None

    def run(self, given: Sequence[Any]) -> Any:
        """Return the result for these arguments, or ``MISS``."""
        seen = self.seen
        if seen is None:
            return MISS
        if seen.run is not None and (not seen.facts or seen.facts_hold()):
            found = seen.run(*given)
            if found is not False:
                return found
        arguments = self.gathered(given, looked=seen.run is not None)
        if arguments is None:
            return MISS
        call = self.call
        if self.finish is not None:
            counts = call.assemble(arguments, self.rooms, self.stored, self.parallel, self.places)
            found = self.finish(arguments, counts)
        else:
            array = call.fresh(self.shape)
            call.compute(arguments, self.extents, array, self.parallel, self.splits)
            found = array if self.shape else array[()]
        return MISS if self.factored and not is_finite(found) else found

    def gathered(self, given: Sequence[Any], *, looked: bool = False) -> list[Any] | None:
        """Return what the kernel is called with, holes for its output; None for a miss.

        ``looked``: in one step, which did not do.
        """
        seen = self.seen
        if seen is None or not (seen.one_by_one(given) if looked else seen.again(given)):
            return None
        arguments = self.arguments.copy()
        for place, hole in self.holes:
            arguments[hole] = given[place]
        return arguments

    def leave_out(self, place: int, name: str) -> None:
        """Take the array called ``name`` from the arguments of each call."""
        holes = left_out(self.call, self.arguments, name)
        self.holes += tuple((place, hole) for hole, _ in holes)

    def act(self, look: functools.partial[bool]) -> Callable[..., Any] | None:
        """Return what looks at operands and makes the call; None where there is more to do."""
        action = self._action()
        return None if action is None else acting_fast(look, action, self.call)

    def _action(self) -> Action | None:
        """Return what machine code does for a call; None where there is more to do."""
        from sparsedsl.runtime import actions

        if self.factored or self.parallel is not False:
            return None
        given = actions.given(self.arguments, self.holes)
        if self.finish is None:
            return actions.dense(self.call, given, self.shape) if self.shape else None
        if self.deliver is None:
            return None
        return actions.sparse(self.call, given, self.rooms, self.stored, self.deliver)

    def drop(self) -> None:
        """Let go of the arrays."""
        # names of modules are gone where the interpreter ends
        self.arguments, self.seen = [], None
        self.splits.forget()
        if self.places is not None:
            self.places.forget()


@dataclass(slots=True)
class PreparedSteps:
    """Outputs computed one after another, each with those before it.

    ``steps`` give the name of each, and the facts that must hold of what the steps before give,
    and of what it gives itself.
    ``tensors`` are the operands that are no plain arrays, ``forms`` are of the others, with place
    and name, and ``finish`` makes what the user gets of all tensors.
    """

    options: Options
    special: Specialisation
    steps: tuple[tuple[str, Checks, Checks], ...]
    tensors: dict[str, Tensor]
    extents: Mapping[str, int]
    finish: Callable[[Mapping[str, Tensor]], Any]
    seen: Seen | None = None
    forms: tuple[tuple[int, str, Form], ...] = ()

    def run(self, given: Sequence[Any]) -> Any:
        """Return the result for these arguments, or ``MISS``."""
        if self.seen is None or not self.seen.again(given):
            return MISS
        values = self.tensors.copy()
        for place, name, form in self.forms:
            values[name] = Tensor.of(form, {form.layout.value.function: given[place]})
        for place, (output, checks, after) in enumerate(self.steps):
            for fact, name in checks:
                if not values[name].holds(fact):
                    return MISS
            made = values[output] = self.special.computed(place, values, self.extents)
            if self.special.groups[place].factored and not all_finite(made.values):
                return MISS
            for fact, name in after:
                if not values[name].holds(fact):
                    return MISS
        return self.finish(values)

    def leave_out(self, place: int, name: str) -> None:
        """Take the array called ``name`` from the arguments of each call."""
        self.forms += ((place, name, self.tensors.pop(name).form),)

    def drop(self) -> None:
        """Let go of the tensors."""
        self.tensors, self.seen = {}, None


def prepare(
    special: Specialisation,
    options: Options,
    given: Sequence[Any],
    tensors: Mapping[str, Tensor],
    scipy: bool,
) -> Prepared | PreparedArrays | PreparedSteps | None:
    """Return the preparation of calls like this one; None where the long way must be taken.

    ``scipy`` says that sparse results are to be scipy's.
    """
    extents = special.extents_of(tensors)
    if options.safe or any(group.constant(extents) is not None for group in special.groups):
        return None
    if len(special.groups) > 1 and any(group.factored for group in special.groups):
        return None  # what each kernel gives is looked at
    checks = [check for group in special.groups for check in group.checks]
    made = (
        _one(special, options, tensors, extents, scipy)
        or prepared_arrays(special, options, tensors, extents)
        or _several(special, options, tensors, extents, scipy)
    )
    made.seen = seen(given, tensors, checks, made.drop)
    if made.seen is None:
        return None
    if not isinstance(made, PreparedSteps):
        made.seen.act = made.act
    for operand in made.seen.plain:
        made.leave_out(operand.place, operand.name)
    return made


def alone(special: Specialisation) -> Ready | None:
    """Return the one kernel of a specialisation that makes the one result as it is wanted."""
    if len(special.groups) != 1 or special.traced.result_is_tuple or special.groups[0].mapped:
        return None
    ready, ((_, kind),) = special.prepare(0), special.results
    apart = ready.group.layout is not ready.group.assembled or bool(ready.group.beside)
    if apart or (kind == "plain") != (ready.call.recipe.kind == "dense"):
        return None
    return None if ready.call.recipe.copies else ready


def _one(
    special: Specialisation,
    options: Options,
    tensors: Mapping[str, Tensor],
    extents: Mapping[str, int],
    scipy: bool,
) -> Prepared | None:
    """Return the preparation of one kernel that makes the one result as it is wanted."""
    ready = alone(special)
    if ready is None:
        return None
    call, sharing = ready.call, ready.call.sharing
    parallel, sparse = special.choices.parallel, ready.call.recipe.kind != "dense"
    placed = sharing is not None and sharing.placeable
    placed = placed and sharing is not None and sharing.worth(parallel, options, placed=True)
    shared = sharing is not None and sharing.worth(parallel, options)
    return Prepared(
        options=options,
        call=call,
        arguments=call.gather(tensors, extents),
        extents=extents,
        rooms=call.rooms(extents),
        stored=call.stored(tensors),
        parallel=parallel if shared or placed else False,
        finish=finish(call, extents, scipy) if sparse else None,
        deliver=delivering(call, extents, scipy) if sparse else None,
        factored=ready.group.factored,
        shape=call.axes(extents),
        places=Places() if placed else None,
    )


def _several(
    special: Specialisation,
    options: Options,
    tensors: Mapping[str, Tensor],
    extents: Mapping[str, int],
    scipy: bool,
) -> PreparedSteps:
    steps = tuple(
        (
            group.output.name,
            tuple(check for check in group.checks if check[1] not in tensors),
            group.after,
        )
        for group in special.groups
    )
    several = special.traced.result_is_tuple
    groups = {each.output.name: each for group in special.groups for each in group.turn}
    finished = tuple(
        (name, _finished(groups[name], kind, extents, scipy)) for name, kind in special.results
    )

    def made(values: Mapping[str, Tensor]) -> Any:
        found = tuple([finish(values[name]) for name, finish in finished])
        return found if several else found[0]

    return PreparedSteps(options, special, steps, dict(tensors), extents, made)


def _finished(
    group: Group, kind: str, extents: Mapping[str, int], scipy: bool
) -> Callable[[Tensor], Any]:
    """Return what makes what the user gets of an output."""
    shape = tuple(extents[s.name or ""] for s in group.statements[0].subscripts)
    if scipy and kind == "sparse" and not group.output.fill:
        make = scipy_maker(group.layout, shape)
        if make is not None:
            return lambda value: make(value.held)
    return lambda value: result(value, kind, scipy)
