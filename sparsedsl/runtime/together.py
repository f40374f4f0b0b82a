"""Several sparse outputs that one kernel appends to, assembled on one thread or by several.

Takes: the calls of the outputs, in the order in which the kernel counts them, and its arguments.
Gives: the counts of each, with its arrays among the arguments.  Invariant: the kernel appends
nothing unless there is room for all entries of all outputs; where there is too little of some, it
says how much each needs, and is called once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from operator import le
from typing import TYPE_CHECKING, Any, TypeAlias

from sparsedsl.options import current
from sparsedsl.runtime.outputs import INT32_ENTRIES, Rooms, check_entries, check_room, make_arrays

if TYPE_CHECKING:
    from sparsedsl.runtime.execute import Call

Counts: TypeAlias = "tuple[tuple[int, ...], ...]"
"""Of each output the entries that room is needed for, and those of each level."""


class Together:
    """The sparse outputs of one kernel, of which there are several.

    Parameters
    ----------
    calls:
        That of the kernel, and those of the outputs beside its own.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = tuple(calls)
        self._ends = calls[0].gather.ends
        ends = [0, *accumulate(len(call.recipe.results) for call in calls)]
        self._counts = [slice(a, b) for a, b in pairwise(ends)]
        self._rooms: tuple[tuple[int, ...] | None, Sequence[Rooms]] = (None, ())

    def assemble(
        self,
        arguments: list[Any],
        extents: Mapping[str, int],
        stored: int,
        parallel: bool | str,
    ) -> Counts:
        """Run the kernel, put the arrays of its outputs among the arguments, return the counts.

        Each output is first given as much room as if it were alone (``execute.Call.assemble``).
        """
        rooms = self._rooms_of(extents)
        found = self._shared(arguments, rooms, parallel)
        if found is None:
            found = self._alone(arguments, rooms, stored)
        for call, counts in zip(self.calls, found, strict=True):
            if counts[-1] > INT32_ENTRIES:
                check_entries(call.recipe, counts[-1])
        return found

    def _rooms_of(self, extents: Mapping[str, int]) -> Sequence[Rooms]:
        """Return how to make the arrays of each output, those of the extents of the last call."""
        sizes = tuple(extents.values())
        before, rooms = self._rooms
        if before != sizes:
            rooms = tuple(call.rooms(extents) for call in self.calls)
            self._rooms = sizes, rooms
        return rooms

    def _alone(self, arguments: list[Any], rooms: Sequence[Rooms], stored: int) -> Counts:
        """Run the kernel on one thread."""
        main = self.calls[0]
        room = [call.expected(stored) for call in self.calls]
        while True:
            self._make(arguments, rooms, room)
            for ends, own in zip(self._ends, room, strict=True):
                if "past" in ends:
                    arguments[ends["past"]] = own
            found = self._told(main.loaded(arguments)(*arguments))
            needed = [max(counts[0], counts[-1]) for counts in found]
            if all(map(le, needed, room)):
                for call, own in zip(self.calls, needed, strict=True):
                    call.expect(stored, own)
                if main.sharing is not None:
                    main.sharing.close_gaps(arguments)
                return found
            room = needed
            self._check(room)

    def _shared(
        self, arguments: list[Any], rooms: Sequence[Rooms], parallel: bool | str
    ) -> Counts | None:
        """Have threads share the loop of the kernel, if that is worth it."""
        main = self.calls[0]
        if parallel is False or main.sharing is None:
            return None
        if not main.sharing.worth(parallel, current()):
            return None
        # what is as long as an extent is made first: counting writes nothing to it
        self._make(arguments, rooms, (0,) * len(rooms))
        grown = [tuple(room for room in own if room[3] is None) for own in rooms]

        def make(totals: Sequence[int]) -> None:
            self._check(totals)
            self._make(arguments, grown, totals)

        return main.sharing.append(main.loaded(arguments), arguments, make)

    def _make(self, arguments: list[Any], rooms: Sequence[Rooms], room: Sequence[int]) -> None:
        for own, entries in zip(rooms, room, strict=True):
            make_arrays(arguments, own, entries)

    def _check(self, room: Sequence[int]) -> None:
        for call, entries in zip(self.calls, room, strict=True):
            check_room(call.recipe, entries)

    def _told(self, counts: tuple[int, ...]) -> Counts:
        """Return the counts of each output, of those that the kernel returns one after another."""
        return tuple([counts[own] for own in self._counts])
