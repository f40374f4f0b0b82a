"""What machine code does for a call whose operands are as they were (``codegen.looking``).

Takes: a ``Call`` that ran before, its arguments, and how its result is made of arrays.  Gives: an
``Action``, or None for a call that takes more than to make arrays, run the kernel and hand them
over.  Invariant: it gives what ``execute`` gives; False where there was too little room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsedsl.codegen.looking import Action, Given, Made, Maker
from sparsedsl.runtime import blocks
from sparsedsl.runtime.execute import Call, cut_to
from sparsedsl.runtime.outputs import INT32_ENTRIES, Rooms


def given(arguments: Sequence[Any], holes: Sequence[tuple[int, int]]) -> list[Any]:
    """Return arguments with those in place that a call gives: by its place and theirs."""
    filled = list(arguments)
    for place, hole in holes:
        filled[hole] = Given(place)
    return filled


def dense(call: Call, arguments: Sequence[Any], shape: tuple[int, ...]) -> Action | None:
    """Return what makes a dense array and runs the kernel, holes of ``arguments`` for the array."""
    if call.kernel is None:
        return None
    filled = list(arguments)
    for hole in call.gather.holes.values():
        filled[hole] = Made(0)
    return Action(((call.maker(shape), shape, call.dtype),), call.kernel, tuple(filled), None)


def arrays(
    call: Call,
    arguments: Sequence[Any],
    shapes: Sequence[tuple[int, ...]],
    holes: Sequence[tuple[int, int]],
    results: Sequence[int],
    several: bool,
) -> Action | None:
    """Return what makes the dense arrays of a call and its sides, of these shapes, and runs it.

    ``holes`` say which of the arrays goes where among the arguments, ``results`` which the user
    gets, in order; ``several``: as a tuple.
    """
    if call.kernel is None:
        return None
    filled = list(arguments)
    for number, hole in (*holes, *[(0, hole) for hole in call.gather.holes.values()]):
        filled[hole] = Made(number)
    makers = tuple(
        (each.maker(shape), shape, each.dtype)
        for each, shape in zip((call, *call.sides), shapes, strict=True)
    )

    def finish(*made: np.ndarray) -> Any:
        found = tuple([made[number] for number in results])
        return found if several else found[0]

    return Action(makers, call.kernel, tuple(filled), finish)


def sparse(
    call: Call,
    arguments: Sequence[Any],
    rooms: Rooms,
    stored: int,
    deliver: Callable[[dict[str, np.ndarray]], Any],
) -> Action | None:
    """Return what makes the arrays of a sparse output, runs the kernel and delivers them.

    They have the room that a call with so many ``stored`` values took last.
    """
    room = call.room(stored)
    gaps = call.sharing is not None and call.sharing.gaps
    if call.kernel is None or room is None or room > INT32_ENTRIES or gaps or not call.stores:
        return None
    filled, past = list(arguments), call.gather.piece.get("past")
    if past is not None:
        filled[past] = room
    for number, (place, *_) in enumerate(rooms):
        filled[place] = Made(number)
    makers = tuple(
        _maker(make, room + ends if length is None else length, dtype)
        for _, make, dtype, length, ends in rooms
    )
    places = {place: number for number, (place, *_) in enumerate(rooms)}
    parts = tuple((name, places[place], used, ends) for name, place, used, ends in call.stored_in)

    def finish(*made: Any) -> Any:
        counts = made[-1]
        if counts[0] > room or counts[-1] > room:
            return False
        return deliver(cut_to(parts, made, counts))

    return Action(makers, call.kernel, tuple(filled), finish)


def _maker(make: Callable[..., np.ndarray], length: int, dtype: np.dtype) -> Maker:
    if make is blocks.empty:
        make = blocks.part_maker(length, dtype)
    return make, length, dtype
