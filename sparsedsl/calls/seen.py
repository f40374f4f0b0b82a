"""The operands of a call, seen again: whether the next call's are those, or like them.

Takes: the arguments of one call and the tensors bound for them.  Gives: ``Seen``, which says of
other arguments whether they are the same objects that hold the same indices, or plain arrays of
the same dtypes and shapes.  Invariant: it says yes only where what was planned and proved for the
first arguments holds for these, and keeps no operand alive.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from sparsedsl.interop import Known, known
from sparsedsl.runtime.looks import (
    Followed,
    as_copied,
    as_watched,
    fact_of,
    in_one_step,
    kind_of,
    object_of,
)
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.unchanged import SELDOM, Watch, still_holds

if TYPE_CHECKING:
    from sparsedsl.codegen.looking import Record, Source

FIRST_LOOK = 8
"""Calls after which machine code looks at the operands: it takes some milliseconds to make."""


MISS = object()
"""Returned for arguments that need the long way."""

Checks: TypeAlias = "tuple[tuple[str, str], ...]"
"""Facts that must hold of the values of which tensors."""


class _Held(NamedTuple):
    """An operand that must be the very tensor of the last call, not checked anew since."""

    place: int
    tensor: weakref.ref[Tensor]
    watch: weakref.ref[Watch] | None
    facts: tuple[str, ...]


class _Foreign(NamedTuple):
    """An operand that must be the scipy object of the last call, and hold what it held."""

    place: int
    known: weakref.ref[Known]
    facts: tuple[str, ...]


class _Plain(NamedTuple):
    """An operand that must be a plain array like that of the last call."""

    place: int
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    facts: tuple[str, ...]


def _nothing(_: object) -> None:
    """Make nothing of what looks: the call takes more than one step."""


@dataclass(slots=True)
class Seen:
    """What the arguments of a call must be.

    ``plain`` are those of which only dtype and shape count.  ``look`` says of the arguments in one
    step whether they are what they were, but for ``facts``, what was found of bound tensors and
    must hold; ``long_looks`` counts the calls that were looked at array by array.  ``watches`` are
    those of arrays that ``look`` does not read from end to end, and ``turns`` counts its calls
    then.  ``run``, which ``act`` makes of what looks, looks and makes the call in the same step; it
    gives False where the arguments are others, or where more than that is to be done.  ``places``
    are those of the arguments that must be the very objects, and ``mark`` is that of these.
    ``drop`` is called once one of the operands is gone.
    """

    count: int
    drop: Callable[[], None]
    held: tuple[_Held, ...] = ()
    foreign: tuple[_Foreign, ...] = ()
    plain: tuple[_Plain, ...] = ()
    facts: tuple[tuple[Mapping[str, int], str], ...] = ()
    look: functools.partial[bool] | None = None
    run: Callable[..., Any] | None = None
    act: Callable[[functools.partial[bool]], Callable[..., Any] | None] = _nothing
    watches: tuple[Watch, ...] = ()
    places: tuple[int, ...] = ()
    mark: int = 0
    long_looks: int = 0
    turns: int = 0
    gone: bool = False

    def again(self, given: Sequence[Any]) -> bool:
        """Whether these arguments will do."""
        look = self.look
        if self.watches and look is not None:
            # machine code samples long arrays: now and then they are read from end to end
            self.turns += 1
            if not self.turns % SELDOM and not all(w.holds_wholly() for w in self.watches):
                self.forget(None)
                return False
        seen = look is not None and look(*given)
        return (seen and self.facts_hold()) or self.one_by_one(given)

    def facts_hold(self) -> bool:
        """Whether no fact was forgotten: one that was is looked for again, one by one."""
        hold = True
        for found, fact in self.facts:
            hold = hold and bool(found.get(fact))
        return hold

    def one_by_one(self, given: Sequence[Any]) -> bool:
        """Whether these arguments will do, looked at array by array."""
        if len(given) != self.count or self.gone:
            return False
        for place, _, dtype, shape, _ in self.plain:
            x = given[place]
            if type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype:
                return False
            flags = x.flags
            if not (flags.c_contiguous and flags.aligned):
                return False
        for place, reference, watch, facts in self.held:
            x = given[place]
            if reference() is not x or not x.keeps():
                return False
            if x.watch is not (None if watch is None else watch()):
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
        for place, _, _, _, facts in self.plain:
            for fact in facts:
                if not still_holds(fact, given[place]):
                    return False
        self.long_looks += 1
        if self.long_looks >= FIRST_LOOK and not self.long_looks & (self.long_looks - 1):
            # values may have been written to since: what is seen now is what counts from here on
            self._learn(given)
        return True

    def _learn(self, given: Sequence[Any]) -> None:
        """Make ready to look at all operands in one step, where that can be done."""
        asked: list[tuple[Source, Record | Followed | None]] = []
        watches: list[Watch] = []
        for place, *_ in self.held:
            asked.append((place, object_of(given[place], {})))
            watch = given[place].watch
            if watch is None:
                # whoever gets its arrays later would go unnoticed: the next call is met anew
                given[place].watched()
                return
            watches.append(watch)
            asked.append((watch.values, kind_of(watch.values)))
            asked += [(watched.array, as_watched(watched)) for watched in watch.seen]
        for place, reference, facts in self.foreign:
            bound = reference()
            if bound is None or bound.shape is not None:
                return
            parts = dict(zip(bound.names, bound.parts, strict=True))
            asked.append((place, object_of(given[place], parts)))
            watches.append(bound.watch)
            asked.append((bound.watch.values, kind_of(bound.watch.values)))
            asked += [(watched.array, as_watched(watched)) for watched in bound.watch.seen]
            if bound.copied is not None:
                asked.append((bound.watch.values, as_copied(bound.watch.values, bound.copied)))
            for fact in facts:
                values = bound.tensor.values
                asked.append((values, fact_of(values, fact)))
        for place, _, _, _, facts in self.plain:
            x = given[place]
            for record in (kind_of(x), *[fact_of(x, fact) for fact in facts]):
                asked.append((place, record))
        self.look = in_one_step(asked, len(given))
        self.watches = tuple(watch for watch in watches if watch.sampled)
        self.run = None
        if self.look is not None and not self.watches:
            self.run = self.act(self.look)

    def replaced_by(self, other: Seen) -> bool:
        """Whether the other one is about the same objects, and plain arrays of the same kinds."""
        return (self.mark, self.places, self.plain) == (other.mark, other.places, other.plain)

    def forget(self, _: object) -> None:
        """Let go of the arrays: one of the operands is gone."""
        self.gone, self.look, self.run, self.watches = True, None, None, ()
        self.drop()


def seen(
    given: Sequence[Any],
    tensors: Mapping[str, Tensor],
    checks: Sequence[tuple[str, str]],
    drop: Callable[[], None],
) -> Seen | None:
    """Return what arguments like these must be; None where some cannot be known again.

    ``checks`` are the facts that must hold of which tensors.
    """
    made = Seen(len(given), drop)
    for place, (x, (name, tensor)) in enumerate(zip(given, tensors.items(), strict=True)):
        facts = tuple(dict.fromkeys(fact for fact, checked in checks if checked == name))
        if type(x) is np.ndarray and tensor.values is x:
            made.plain += (_Plain(place, name, x.dtype, x.shape, facts),)
        elif x is tensor:
            watch = None if tensor.watch is None else weakref.ref(tensor.watch)
            made.held += (_Held(place, weakref.ref(tensor, made.forget), watch, facts),)
            made.facts += tuple((tensor.found, fact) for fact in facts)
        elif (bound := known(x)) is not None and bound.tensor is tensor:
            made.foreign += (_Foreign(place, weakref.ref(bound, made.forget), facts),)
        else:
            return None
    made.places = tuple(sorted(operand.place for operand in (*made.held, *made.foreign)))
    made.mark = mark(made.places, given)
    return made


def mark(places: Sequence[int], given: Sequence[Any]) -> int:
    """Return a number for the objects at some places, which others hardly ever have."""
    # objects lie at even distances in memory: sums of places would be alike for many pairs
    return hash(tuple([id(given[place]) for place in places]))
