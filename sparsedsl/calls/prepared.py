"""A call with arguments like those of the call before, with nothing left to look up.

Takes: a specialisation and the arguments of one call.  Gives: ``Prepared``, which runs the
next call if its arguments are the same objects, or plain arrays of the same dtypes and shapes.
Invariant: it computes exactly what the specialisation would, and keeps no operand alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsedsl.interop import Known, known
from sparsedsl.options import Options
from sparsedsl.runtime.execute import Call, Rooms
from sparsedsl.runtime.looks import as_sampled, fact_of, in_one_step, kind_of, object_of
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.unchanged import still_holds

if TYPE_CHECKING:
    from sparsedsl.codegen.looking import Record, Source

MISS = object()
"""Returned for arguments that need the long way."""


FIRST_LOOK = 8
"""Calls after which machine code looks at the operands: it takes some milliseconds to make."""


class _Held(NamedTuple):
    """An operand that must be the very tensor of the last call."""

    place: int
    tensor: weakref.ref[Tensor]
    facts: tuple[str, ...]


class _Foreign(NamedTuple):
    """An operand that must be the scipy object of the last call, and hold what it held."""

    place: int
    known: weakref.ref[Known]
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plain:
    """An operand that must be a plain array like that of the last call: where it goes."""

    place: int
    dtype: np.dtype
    shape: tuple[int, ...]
    arguments: tuple[int, ...]
    facts: tuple[str, ...]


@dataclass(slots=True)
class Prepared:
    """One kernel with its operands gathered.

    ``options`` are those it was made under.  ``finish`` makes what the user gets of the arguments
    and counts of a sparse output; without it the dense array is returned.  ``look`` says of the
    arguments in one step whether they are what they were, but for ``facts``, what was found of
    bound tensors and must hold; ``long_looks`` counts the calls that were looked at array by array.
    """

    options: Options
    call: Call
    held: tuple[_Held, ...]
    foreign: tuple[_Foreign, ...]
    plain: tuple[_Plain, ...]
    arguments: list[Any]
    extents: Mapping[str, int]
    rooms: Rooms
    stored: int
    count: int
    parallel: bool | str
    finish: Callable[[list[Any], tuple[int, ...]], Any] | None
    shape: tuple[int, ...]
    facts: tuple[tuple[Mapping[str, int], str], ...] = ()
    look: Callable[..., bool] | None = None
    long_looks: int = 0

    def __call__(self, given: Sequence[Any]) -> Any:
        """Return the result for these arguments, or ``MISS``."""
        arguments = self.gathered(given)
        if arguments is None:
            return MISS
        call = self.call
        if self.finish is not None:
            counts = call.assemble(arguments, self.rooms, self.stored, self.parallel)
            return self.finish(arguments, counts)
        array = call.fresh(self.shape)
        call.compute(arguments, self.extents, array, self.parallel)
        return array if self.shape else array[()]

    def gathered(self, given: Sequence[Any]) -> list[Any] | None:
        """Return what the kernel is called with, holes for its output; None for a miss."""
        look = self.look
        seen = look is not None and look(*given)
        for found, fact in self.facts:
            # a fact that is forgotten is looked for again, one by one
            seen = seen and found.get(fact)
        if not seen and not self._unchanged_one_by_one(given):
            return None
        arguments = self.arguments.copy()
        for plain in self.plain:
            for place in plain.arguments:
                arguments[place] = given[plain.place]
        return arguments

    def _unchanged_one_by_one(self, given: Sequence[Any]) -> bool:
        if len(given) != self.count or not self.arguments:
            return False
        for place, reference, facts in self.held:
            x = given[place]
            if reference() is not x or not x.keeps():
                return False
            for fact in facts:
                if not x.holds(fact):
                    return False
        for place, reference, facts in self.foreign:
            bound = reference()
            if bound is None or not bound.keeps(given[place]):
                return False
            for fact in facts:
                if not still_holds(fact, bound.tensor.values):
                    return False
        for plain in self.plain:
            x = given[plain.place]
            if type(x) is not np.ndarray or x.shape != plain.shape or x.dtype != plain.dtype:
                return False
            flags = x.flags
            if not (flags.c_contiguous and flags.aligned):
                return False
            for fact in plain.facts:
                if not still_holds(fact, x):
                    return False
        self.long_looks += 1
        if self.long_looks >= FIRST_LOOK and not self.long_looks & (self.long_looks - 1):
            # values may have been written to since: what is seen now is what counts from here on
            self._learn(given)
        return True

    def _learn(self, given: Sequence[Any]) -> None:
        """Make ready to look at all operands in one step, where that can be done."""
        asked: list[tuple[Source, Record | None]] = []
        for place, _, _ in self.held:
            asked.append((place, object_of(given[place], {})))
            for array, sample in given[place].samples:
                asked.append((array, as_sampled(array, sample)))
        for place, reference, facts in self.foreign:
            bound = reference()
            if bound is None or bound.copied is not None or bound.shape is not None:
                return
            parts = dict(zip(bound.names, bound.parts, strict=True))
            asked.append((place, object_of(given[place], parts)))
            for array, sample in bound.samples:
                asked.append((array, as_sampled(array, sample)))
            for fact in facts:
                values = bound.tensor.values
                asked.append((values, fact_of(values, fact)))
        for plain in self.plain:
            x = given[plain.place]
            for record in (kind_of(x), *[fact_of(x, fact) for fact in plain.facts]):
                asked.append((plain.place, record))
        self.look = in_one_step(asked, len(given))

    def forget(self, _: object) -> None:
        """Let go of the arrays: one of the operands is gone."""
        self.arguments, self.look = [], None


def prepare(
    call: Call,
    options: Options,
    given: Sequence[Any],
    tensors: Mapping[str, Tensor],
    extents: Mapping[str, int],
    parallel: bool | str,
    finish: Callable[[list[Any], tuple[int, ...]], Any] | None,
) -> Prepared | None:
    """Return the preparation of calls like this one; None where the long way must be taken."""
    recipe, sharing = call.recipe, call.sharing
    if recipe.copies or options.safe:
        return None
    arguments = call.gather(tensors, extents)
    held: list[_Held] = []
    foreign: list[_Foreign] = []
    plain: list[_Plain] = []
    stored = call.stored(tensors)
    made = Prepared(
        options=options,
        call=call,
        held=(),
        foreign=(),
        plain=(),
        arguments=arguments,
        extents=extents,
        rooms=call.rooms(extents),
        stored=stored,
        count=len(given),
        parallel=parallel if sharing is not None and sharing.worth(parallel, options) else False,
        finish=finish,
        shape=call.axes(extents),
    )
    for place, (x, (name, tensor)) in enumerate(zip(given, tensors.items(), strict=True)):
        facts = tuple(fact for fact, checked in call.checks if checked == name)
        if type(x) is np.ndarray and tensor.values is x:
            own = [k for k, a in enumerate(recipe.arguments) if a.tensor == name]
            places = tuple(k for k in own if recipe.arguments[k].kind == "array")
            plain.append(_Plain(place, x.dtype, x.shape, places, facts))
            for k in places:
                arguments[k] = None
        elif x is tensor:
            held.append(_Held(place, weakref.ref(tensor, made.forget), facts))
            made.facts += tuple((tensor.found, fact) for fact in facts)
        elif (bound := known(x)) is not None and bound.tensor is tensor:
            foreign.append(_Foreign(place, weakref.ref(bound, made.forget), facts))
        else:
            return None
    made.held, made.foreign, made.plain = tuple(held), tuple(foreign), tuple(plain)
    return made
