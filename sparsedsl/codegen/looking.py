"""Machine code that looks whether operands are as they were: one call for all of a call's.

Takes: a ``Record`` for each object and array: what it must be, what it must hold, and where it is
to be found; and an ``Action``, what is then done.  Gives: functions of the arguments of a call.
Invariant: LLVM is not needed; the code (``codegen.llvm_looking``) is the same for all records and
actions, so that it is kept on disk.

Records are preceded by their number, by that of the arguments, and by where the count of faults is
(below), or 0.  A record is words of 64 bits: how many there are; where the object is: its place
among the arguments, or 0 and its address; then what it must be.  Of an array: its type, its dtype,
its flags, the number and the lengths of its axes; then what is asked of its data (``Ask``), a count
and a size in bytes; then so many places, in bytes from the start of the data, and the bytes that
must be there.  What the system is asked about memory (``untouched``) is told by seven words, then
come the bytes that must begin and end the data.  Of another object: 0, its address, a count, and so
many names of attributes and the objects that these must be.

A page that the system follows is written to only after a fault, which it counts.  That there was
none since the last look says as much as all questions about memory, and costs as much as the
shortest one.

An action is words, too: the kernel, or 0 where nothing is done; what makes the result, or 0; how
many arrays are made and how many arguments the kernel has; then of each array the function that
makes it and its two arguments, and of each argument its kind and the object or its place.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np

_PLAIN = 0x0101
"""The flags of an array that is C-contiguous and aligned."""


class Ask(IntEnum):
    """What is asked of an array's data."""

    NOTHING = 0
    WHOLE = 1
    PLACES_4 = 2
    PLACES_8 = 3
    FINITE = 4
    FINITE_4 = 5
    UNTOUCHED = 6
    NARROW = 7


_SAMPLED = {4: Ask.PLACES_4, 8: Ask.PLACES_8}
_REALS = {"f": Ask.FINITE_4, "d": Ask.FINITE, "F": Ask.FINITE_4, "D": Ask.FINITE}
"""What is asked of floats of each of NumPy's letters; complex ones are two."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one object must be and hold; what is compared by address is ``kept``."""

    words: bytes
    kept: tuple[Any, ...]


Source: TypeAlias = "int | np.ndarray"
"""Where a record's object is found: its place among the arguments, or the array itself."""


def _record(array: np.ndarray, ask: Ask, count: int, size: int, *parts: bytes) -> Record | None:
    if type(array) is not np.ndarray or not (array.flags.c_contiguous and array.flags.aligned):
        return None
    body = b"".join(parts)
    body += bytes(-len(body) % 8)
    dtype = array.dtype
    head = (id(np.ndarray), id(dtype), _PLAIN, array.ndim, *array.shape, ask, count, size)
    return Record(np.array(head, np.int64).tobytes() + body, (dtype,))


def owning(x: Any, attributes: Mapping[str, Any]) -> Record:
    """Ask for the very object ``x``, its attributes being these objects; ``x`` is not kept.

    The address must not be compared any more once ``x`` is gone.
    """
    pairs = [id(part) for pair in attributes.items() for part in pair]
    words = np.array((0, id(x), len(attributes), *pairs), np.int64)
    return Record(words.tobytes(), tuple(attributes.items()))


def like(array: np.ndarray) -> Record | None:
    """Ask for a plain array of this dtype and shape; None where that cannot be asked."""
    return _record(array, Ask.NOTHING, 0, 0)


def holding(array: np.ndarray, places: np.ndarray | None, seen: bytes) -> Record | None:
    """Ask for an array like this one that holds ``seen``, at ``places`` or as a whole."""
    if places is None:
        narrow = _narrow(array.dtype, seen)
        if narrow is None:
            return _record(array, Ask.WHOLE, 0, len(seen), seen)
        return _record(array, Ask.NARROW, narrow.size, narrow.itemsize, narrow.tobytes())
    size = array.itemsize
    if size not in _SAMPLED:
        return None
    offsets = (places * size).astype(np.int64)
    return _record(array, _SAMPLED[size], places.size, size, offsets.tobytes(), seen)


def _narrow(dtype: np.dtype, seen: bytes) -> np.ndarray | None:
    """Return elements as numbers of 16 bits; None for those that are not all indices so small.

    What is compared is read as fast as the cache gives it: this is three quarters as much.
    """
    if dtype != np.int32:
        return None
    elements = np.frombuffer(seen, np.int32)
    narrow = elements.astype(np.uint16)
    return narrow if np.array_equal(narrow, elements) else None


def finite(array: np.ndarray) -> Record | None:
    """Ask for an array like this one without infinities and NaNs; None if it has other floats."""
    ask = _REALS.get(array.dtype.char) if array.dtype.isnative else None
    if ask is None:
        return None
    size = 8 if ask is Ask.FINITE else 4
    return _record(array, ask, array.nbytes // size, size)


@dataclass(frozen=True, slots=True)
class Question:
    """What the system is asked of memory: ``ioctl(file, request, asked)`` is to give zero.

    ``generation`` holds ``mark`` for as long as nobody asked otherwise.  ``asked`` is written to.
    ``file`` is -1 where a question before was about this memory, too.
    """

    file: int
    request: int
    asked: Any
    generation: np.ndarray
    mark: int
    kept: Any = None


def untouched(
    array: np.ndarray, address: int, before: bytes, after: bytes, question: Question
) -> Record | None:
    """Ask for an array like this one that lies at ``address`` and was not written to since.

    The system tells of what lies between the bytes ``before`` and ``after``.
    """
    places = ctypes.addressof(question.asked), question.generation.ctypes.data
    lengths = len(before), array.nbytes - len(after), len(after)
    words = np.array((address, *places, question.mark, *lengths), np.int64).tobytes()
    told = question.file, question.request
    record = _record(array, Ask.UNTOUCHED, *told, words, before, after)
    return record and replace(record, kept=(*record.kept, question))


@dataclass(frozen=True, slots=True)
class Given:
    """An argument of the call, by its place."""

    place: int


@dataclass(frozen=True, slots=True)
class Made:
    """An array that is made for this call, by its place among those."""

    place: int


Maker: TypeAlias = "tuple[Callable[..., Any], Any, Any]"
"""A function that makes an array, and its two arguments."""


@dataclass(frozen=True, slots=True)
class Action:
    """A kernel called with objects, arguments of the call and arrays made for it.

    What ``finish`` gives of the arrays
    and of what the kernel returned is the result; without it, the one array is.
    """

    makers: tuple[Maker, ...]
    kernel: Callable[..., Any]
    arguments: tuple[Any, ...]
    finish: Callable[..., Any] | None


class _Kind(IntEnum):
    """What an argument of an action's kernel is."""

    OBJECT = 0
    GIVEN = 1
    MADE = 2


_NO_ACTION = np.zeros(1, np.int64)


def looker(
    look: Callable[..., Any],
    asked: Sequence[tuple[Source, Record | None]],
    count: int,
    faults: np.ndarray | None = None,
) -> functools.partial[bool] | None:
    """Return what says whether all is as asked for; None where the machine code ``look`` cannot.

    It is called with ``count`` arguments, and says no to any other number of them.  Arrays among
    the sources, and what records compare by address, live as long as it does.  Where there is
    place for the ``faults`` that the process had at the last look that said yes, one int64, the
    system is asked about memory only if there were others since.
    """
    known = [(source, record) for source, record in asked if record is not None]
    if len(known) < len(asked):
        return None
    last = 0 if faults is None else faults.ctypes.data
    words = [np.array((len(known), count, last), np.int64).tobytes()]
    for source, record in known:
        # behind the table and what is kept
        found = (0, id(source)) if isinstance(source, np.ndarray) else (source + BEFORE, 0)
        size = 1 + len(found) + len(record.words) // 8
        words.append(np.array((size, *found), np.int64).tobytes() + record.words)
    kept = (faults, [(source, record.kept) for source, record in known])
    table = np.frombuffer(b"".join(words), np.int64)
    return functools.partial(look, table, _NO_ACTION, kept)


def acting(look: functools.partial[bool], action: Action) -> Callable[..., Any]:
    """Return what does an action where all is as ``look`` asks for; it gives False elsewhere."""
    finish = 0 if action.finish is None else id(action.finish)
    words = [id(action.kernel), finish, len(action.makers), len(action.arguments)]
    for maker in action.makers:
        words += map(id, maker)
    for argument in action.arguments:
        match argument:
            case Given(place):
                words += (_Kind.GIVEN, place + BEFORE)
            case Made(place):
                words += (_Kind.MADE, place)
            case _:
                words += (_Kind.OBJECT, id(argument))
    table, _, kept = look.args
    acted = (kept, action)
    return functools.partial(look.func, table, np.array(words, np.int64), acted)


BEFORE = 3
"""Arguments of the machine code before those of the call: the table, the action, what is kept."""
