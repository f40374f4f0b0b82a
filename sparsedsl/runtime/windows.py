"""Sparse outputs assembled in pieces of a loop: each in memory of its own, then put where it goes.

Takes: a kernel that appends the entries of a piece of its loop, and the pieces.  Gives: the arrays
of the whole output, or of several.  Invariant: they are what one call for the whole loop appends,
whatever the pieces are and whoever runs them.

Where a piece goes is known once all pieces before it are done, long before the last one is: a
thread puts its pieces there while they are still in its cache, and no entry is moved in memory.
Arrays as long as an extent, in which rows are ended, are written to where they are; unless
rows may be missing, so that a piece has to tell which ones are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from threading import Lock, get_ident
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.runtime import blocks
from sparsedsl.runtime.arguments import Gather
from sparsedsl.runtime.recipe import Recipe
from sparsedsl.runtime.threads import each

Kernel: TypeAlias = "Callable[..., tuple[int, ...]]"

LINE = 64
"""Bytes of a line of the cache: arrays begin at one."""

SPARE = 3
"""Windows for each thread: one it writes to, and others that wait for the pieces before theirs."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Turns ``begin .. end`` of the loop, and about how many entries they append at most.

    ``counted``: no more than these.
    """

    begin: int
    end: int
    room: int
    counted: bool


def grouped(ranges: Sequence[tuple[int, int]], rooms: Sequence[int], pieces: int) -> list[Piece]:
    """Join neighbouring ranges into at most ``pieces`` of about equal work.

    ``rooms`` are the entries that each range may append, which stand for its work.

    >>> [(p.begin, p.end, p.room) for p in grouped([(0, 2), (2, 3), (3, 9)], [4, 4, 8], 2)]
    [(0, 3, 8), (3, 9, 8)]
    """
    before = [0, *accumulate(rooms)]
    goals = [before[-1] * k / pieces for k in range(1, pieces)]
    ends = {int(end) for end in np.searchsorted(before, goals)} | {len(ranges)}
    bounds = [0, *sorted(ends - {0})]
    return [
        Piece(ranges[a][0], ranges[b - 1][1], before[b] - before[a], counted=True)
        for a, b in pairwise(bounds)
    ]


@dataclass(frozen=True, slots=True)
class Stored:
    """An array of an output as long as there is room: its place among the arguments.

    ``ends``: it is one longer, and ends what the entries of a level have below them.  ``output``
    is the place of its output among those of the kernel.
    """

    hole: int
    dtype: np.dtype
    ends: int
    level: int
    output: int


@dataclass(frozen=True, slots=True)
class Rows:
    """An array of an output as long as an extent, in which rows of the entries of a level end.

    ``gaps`` says whether rows may be missing.
    """

    hole: int
    level: int
    gaps: bool


@dataclass(frozen=True, slots=True)
class Output:
    """The arrays of the sparse outputs of a kernel, and what a piece of the loop is given.

    ``piece`` says where its ends stand among the arguments, ``ends`` where those of the entries of
    each output do.  ``levels`` says of each output where its levels begin among those of all, and
    after the last one how many there are.
    """

    stored: tuple[Stored, ...]
    rows: tuple[Rows, ...]
    piece: Mapping[str, int]
    ends: tuple[Mapping[str, int], ...]
    levels: tuple[int, ...]

    @staticmethod
    def of(recipe: Recipe, gather: Gather) -> Output:
        """Return the arrays of the outputs that a kernel assembles."""
        holes, stored, rows, levels = gather.holes, list[Stored](), list[Rows](), [0]
        for place, one in enumerate(recipe.appended):
            at, names = levels[-1], one.results[1:]
            gaps = one.shared is not None and one.shared.gaps
            for m in one.made:
                hole = holes[m.param]
                if m.length == "room":
                    level = at + names.index(m.used)
                    stored.append(Stored(hole, np.dtype(m.dtype), int(m.ends), level, place))
                else:
                    rows.append(Rows(hole, at, gaps))
            levels.append(at + len(names))
        return Output(tuple(stored), tuple(rows), gather.piece, gather.ends, tuple(levels))

    @property
    def gaps(self) -> bool:
        """Whether rows of an output may be missing."""
        return any(rows.gaps for rows in self.rows)

    def told(self, counts: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the room that each output needs, and the entries of each level of all."""
        if len(self.ends) == 1:
            return counts[:1], counts[1:]
        begins = [at + place for place, at in enumerate(self.levels[:-1])]
        needed = tuple([counts[at] for at in begins])
        return needed, tuple([n for at, n in enumerate(counts) if at not in begins])

    def each(self, totals: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Return for each output what its kernel returns alone, of the entries of each level."""
        parts = (tuple(totals[a:b]) for a, b in pairwise(self.levels))
        return tuple((own[-1], *own) for own in parts)

    def size(self, room: int) -> int:
        """Return the bytes of memory with room for a piece."""
        return sum(self._sizes(room))

    def within(
        self,
        arguments: Sequence[Any],
        room: int,
        memory: np.ndarray | None = None,
        *,
        rows: bool = True,
    ) -> list[Any]:
        """Return the arguments with arrays that have room for a piece.

        They lie in ``memory``, if it is given.  ``rows``: also with those of its own in which rows
        are ended, if some may be missing.
        """
        given, sizes, at = list(arguments), self._sizes(room), 0
        rest = np.empty(sum(sizes), np.uint8) if memory is None else memory
        for array, size in zip(self.stored, sizes, strict=True):
            used = (room + array.ends) * array.dtype.itemsize
            given[array.hole] = rest[at : at + used].view(array.dtype)
            at += size
        for hole in (r.hole for r in self.rows if r.gaps and rows):
            given[hole] = np.zeros_like(given[hole])
        return given

    def _sizes(self, room: int) -> list[int]:
        """Return the bytes that each array takes, whole lines of the cache."""
        bytes_of = ((room + a.ends) * a.dtype.itemsize for a in self.stored)
        return [-(-size // LINE) * LINE for size in bytes_of]


@dataclass(slots=True)
class _Window:
    """Arguments of the kernel with memory for ``room`` entries of each output.

    ``whole`` is the room of each, where there is more of some; ``place`` is that of the piece.
    """

    arguments: list[Any]
    room: int
    place: int = 0
    whole: tuple[int, ...] = ()


class Windows:
    """An output that is assembled in pieces.

    Parameters
    ----------
    output, arguments:
        The arrays of the output, and the arguments of the kernel; arrays are long enough.
    pieces:
        The pieces, in the order of the loop.

    Attributes
    ----------
    counts:
        How many entries each level has of each piece.
    """

    def __init__(self, output: Output, arguments: Sequence[Any], pieces: Sequence[Piece]) -> None:
        self._output, self._arguments, self._pieces = output, arguments, pieces
        self.counts: list[tuple[int, ...] | None] = [None] * len(pieces)
        self._before = [(0,) * output.levels[-1]]
        self._waiting: dict[int, list[_Window]] = {}
        self._free: dict[int, list[_Window]] = {}
        self._lock = Lock()

    def fill(self, kernel: Kernel, threads: int) -> tuple[int, ...]:
        """Run every piece; return how many entries each level has."""
        rooms = sorted(piece.room for piece in self._pieces[1:])
        # all pieces fit in, unless some are much longer than others
        room = min(rooms[-1], 2 * rooms[len(rooms) // 2]) if rooms else 0
        spare = self._windows(min(SPARE * threads, len(rooms)), room) if rooms else []

        def work(place: int) -> None:
            mine = get_ident()
            if not place:
                # the first piece is where it belongs
                room = self._room_given()
                whole = _Window(list(self._arguments), min(room), whole=room)
                self.counts[0] = self._run(kernel, whole, self._pieces[0])
            else:
                free = self._free.setdefault(mine, [])
                window = self._filled(kernel, place, free or spare)
                self._waiting.setdefault(mine, []).append(window)
            self._put(mine)

        each(range(len(self._pieces)), work, threads)
        each([w for waiting in self._waiting.values() for w in waiting], self._place, threads)
        return self._before[-1]

    def _filled(self, kernel: Kernel, place: int, windows: list[_Window]) -> _Window:
        """Append a piece to a window, a longer one where there is too little room."""
        piece = self._pieces[place]
        try:
            window = windows.pop()
        except IndexError:
            window = self._window(piece.room)
        if piece.counted and window.room < piece.room:
            window = self._window(piece.room)
        window.place = place
        self.counts[place] = self._run(kernel, window, piece)
        return window

    def _run(self, kernel: Kernel, window: _Window, piece: Piece) -> tuple[int, ...]:
        """Append a piece at the start of a window, and return how many entries each level has."""
        given, at = window.arguments, self._output.piece
        given[at["begin"]], given[at["end"]] = piece.begin, piece.end
        rooms = window.whole or (window.room,) * len(self._output.ends)
        for ends, room in zip(self._output.ends, rooms, strict=True):
            given[ends["first"]], given[ends["past"]] = 0, room
        if len(rooms) == 1 and "counted" in at:
            given[at["counted"]] = piece.room if piece.counted else 0
        needed, counts = self._output.told(kernel(*given))
        if any(most > room for most, room in zip(needed, rooms, strict=True)):
            longer = self._window(max(needed))
            window.arguments, window.room = longer.arguments, longer.room
            return self._run(kernel, window, piece)
        return counts

    def _room_given(self) -> tuple[int, ...]:
        """Return the entries of each output that there is room for."""
        lengths = [len(self._arguments[a.hole]) - a.ends for a in self._output.stored]
        return tuple(
            min(n for n, a in zip(lengths, self._output.stored, strict=True) if a.output == place)
            for place in range(len(self._output.ends))
        )

    def _put(self, mine: int) -> None:
        """Put the pieces of a thread in their places, as far as these are known."""
        with self._lock:
            while (known := len(self._before)) <= len(self._pieces):
                counts = self.counts[known - 1]
                if counts is None:
                    break
                before = zip(self._before[-1], counts, strict=True)
                self._before.append(tuple([a + b for a, b in before]))
        waiting = self._waiting.get(mine, [])
        while waiting and waiting[0].place < known:
            self._place(waiting[0])
            self._free[mine].append(waiting.pop(0))

    def _place(self, window: _Window) -> None:
        """Put the entries of a piece behind those of the pieces before, and count on from them."""
        before, counts = self._before[window.place], self.counts[window.place]
        assert counts is not None
        for stored in self._output.stored:
            array, given = self._arguments[stored.hole], window.arguments[stored.hole]
            level, ends = stored.level, stored.ends
            at, count = before[level] + ends, counts[level]
            if ends:
                # a level's ends are places of the level below
                np.add(given[1 : count + 1], before[level + 1], out=array[at : at + count])
            else:
                array[at : at + count] = given[:count]
        piece = self._pieces[window.place]
        for ended in self._output.rows:
            array, given = self._arguments[ended.hole], window.arguments[ended.hole]
            rows = slice(piece.begin + 1, piece.end + 1)
            if ended.gaps:
                own = given.nonzero()[0]
                rows = slice(own[0], own[-1] + 1) if len(own) else slice(0)
                array[rows] = given[rows]
                given[rows] = 0  # for the next piece in this window
            array[rows] += before[ended.level]

    def _windows(self, count: int, room: int) -> list[_Window]:
        """Return windows in one block of memory, which is used again by the next call."""
        size = self._output.size(room)
        memory = blocks.empty(max(count * size, blocks.LEAST), np.dtype(np.uint8))
        return [self._window(room, memory[k * size :]) for k in range(count)]

    def _window(self, room: int, memory: np.ndarray | None = None) -> _Window:
        """Return room for a piece, in memory of its own unless some is given."""
        return _Window(self._output.within(self._arguments, room, memory), room)
