"""All operands of a call looked at in one step of machine code, and the call made in the same.

Takes: what is known of each operand and its arrays: a ``Sample``, a fact about values, a kind; and
the ``Action`` that follows.  Gives: a function of the call's arguments.  Invariant: it says yes
only where ``unchanged`` would, array by array; where machine code cannot tell, there is no
function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

import numpy as np

from sparsedsl.locks import compiling
from sparsedsl.runtime import cache
from sparsedsl.runtime.pages import Tracked
from sparsedsl.runtime.spans import asking, costly
from sparsedsl.runtime.unchanged import WHOLE, Copied, Sample, Watched, found_to_hold

if TYPE_CHECKING:
    from sparsedsl.codegen.looking import Action, Record, Source
    from sparsedsl.codegen.machine import Code


class Followed(NamedTuple):
    """An array that the system is to be asked about."""

    array: np.ndarray
    seen: Tracked


def object_of(x: Any, attributes: Mapping[str, Any]) -> Record:
    """Ask for ``x`` itself, its attributes being these objects; it is not kept alive."""
    from sparsedsl.codegen import looking

    return looking.owning(x, attributes)


def kind_of(array: np.ndarray) -> Record | None:
    """Ask for a plain array of the same dtype and shape."""
    from sparsedsl.codegen import looking

    return looking.like(array)


def as_watched(watched: Watched) -> Record | Followed | None:
    """Ask for an index array that is as it was; None where it is to be read from end to end."""
    array, sample, follow = watched
    if sample.places is None or watched.sampled:
        return _as_seen(array, sample)
    return _as_seen(array, follow.tracked)


def as_copied(array: np.ndarray, copied: Copied) -> Record | Followed | None:
    """Ask for an array that holds what was copied; None where it is to be read from end to end."""
    if copied.values.size <= WHOLE:
        return _as_seen(array, Sample.of(copied.values))
    return _as_seen(array, copied.follow.tracked)


def _as_seen(array: np.ndarray, seen: Tracked | Sample | None) -> Record | Followed | None:
    """Ask for an array that holds what was seen of it; None where that is not known."""
    from sparsedsl.codegen import looking

    match seen:
        case None:
            return None
        case Sample():
            return looking.holding(array, seen.places, seen.seen)
        case Tracked():
            return Followed(array, seen)
        case _ as never:
            assert_never(never)


def fact_of(array: np.ndarray, fact: str) -> Record | Followed | None:
    """Ask for a fact of ``values.FACTS``, which holds; None where only NumPy can tell."""
    from sparsedsl.codegen import looking

    if array.size > WHOLE:
        return _as_seen(array, found_to_hold(fact, array))
    if fact == "finite":
        return looking.finite(array) if array.dtype.kind in "fc" else looking.like(array)
    return None


def in_one_step(
    asked: Sequence[tuple[Source, Record | Followed | None]], count: int
) -> functools.partial[bool] | None:
    """Return what says whether the arguments of a call, so many, are as asked for."""
    from sparsedsl.codegen import looking

    look = _machine_code()
    if look is None:
        return None
    questions = asking([what.seen for _, what in asked if isinstance(what, Followed)])
    if questions is None:
        return None
    following = iter(questions)
    records: list[tuple[Source, Record | None]] = []
    for source, what in asked:
        if isinstance(what, Followed):
            array, (address, _, _, _, before, after) = what
            question = looking.Question(*next(following))
            records.append((source, looking.untouched(array, address, before, after, question)))
        else:
            records.append((source, what))
    faults = np.full(1, -1, np.int64) if costly(questions) else None
    return looking.looker(look, records, count, faults)


def acting(look: functools.partial[bool], action: Action) -> Callable[..., Any]:
    """Return what does an action where arguments are as ``look`` asks for, and else gives False."""
    from sparsedsl.codegen import looking

    return looking.acting(look, action)


@functools.cache
def _machine_code() -> Callable[..., Any] | None:
    """Return what looks, from disk or compiled; None where arrays cannot be read."""
    from sparsedsl.codegen import machine
    from sparsedsl.runtime import object_files

    with compiling:
        if not machine.readable():
            return None
        return machine.linked(object_files.kept(cache.default().directory, "look", _compiled))


def _compiled() -> Code:
    from sparsedsl.codegen import llvm_looking

    return llvm_looking.code()
