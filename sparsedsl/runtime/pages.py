"""Whether memory was written to since a moment, as the system tells.

Takes: arrays.  Gives: ``Tracked``, a moment from which on writes to an array are noticed.
Invariant: it says that an array holds what it held only where nothing wrote to it, from whichever
thread or library; where the system cannot tell, there is no ``Tracked``.

Linux, from 6.7 on, protects pages such that the first write to each goes through and is noted
(``userfaultfd`` with asynchronous write protection), and says in microseconds whether any of a
range was written to (``PAGEMAP_SCAN``).  A first write to a page takes about a microsecond more.
Only pages that lie inside one array are protected; the bytes before and after them are compared.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

PAGE = 4096
"""Bytes of a page; where a page has more, nothing is tracked."""

FEWEST = 8
"""Pages that are worth it."""

MOST = 512
"""Ranges tracked at a time: each divides a mapping of the process, and those are limited."""

_IOCTLS = {"api": (0xAA, 0x3F, 24), "register": (0xAA, 0x00, 32), "unregister": (0xAA, 0x01, 16)}
_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
"""Numbers of the system call."""

_ASYNC, _UNPOPULATED = 1 << 15, 1 << 13
"""Features asked for: writes go through, and pages without memory count too."""

_USER_MODE_ONLY, _WRITES = 1, 2
_PROTECT, _REGISTERED = 1, 2
"""Flags of a scan: protect again what was written to, and refuse what is not registered."""

_WRITTEN, _FILE, _PRESENT = 1 << 1, 1 << 2, 1 << 3
"""What a page is."""

ARGUMENT = struct.Struct("12Q")
"""``struct pm_scan_arg``: size, flags, start, end, where the walk ended, the address and number of
ranges found, the most pages, then masks: inverted, all of, any of, told."""

FOUND = 3
"""Words of a range found: start, end, what its pages are."""

_Words = ctypes.c_uint64 * (12 + FOUND)


def _number(kind: int, number: int, size: int) -> int:
    return 3 << 30 | size << 16 | kind << 8 | number


SCAN = _number(ord("f"), 16, ARGUMENT.size)


class _System:
    """The two files through which this process asks about its pages; they close with it."""

    __slots__ = ("_control", "faults", "pages")

    def __init__(self) -> None:
        """Open them, or raise ``OSError``."""
        from fcntl import ioctl

        self._control = ioctl
        number = _USERFAULTFD.get(os.uname().machine) if sys.platform == "linux" else None
        if number is None or os.sysconf("SC_PAGE_SIZE") != PAGE:
            raise OSError
        call = ctypes.CDLL(None).syscall
        self.faults = call(number, _USER_MODE_ONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if self.faults < 0:
            raise OSError
        asked = struct.pack("3Q", 0xAA, _ASYNC | _UNPOPULATED, 0)
        try:
            ioctl(self.faults, _number(*_IOCTLS["api"]), asked)
            self.pages = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self.faults)
            raise

    def close(self) -> None:
        os.close(self.faults)
        os.close(self.pages)

    def watch(self, start: int, length: int) -> None:
        asked = struct.pack("4Q", start, length, _WRITES, 0)
        self._control(self.faults, _number(*_IOCTLS["register"]), asked)

    def let_go(self, start: int, length: int) -> None:
        asked = struct.pack("2Q", start, length)
        self._control(self.faults, _number(*_IOCTLS["unregister"]), asked)

    def scan(self, asked: Any) -> int:
        """Return how many ranges of pages were found."""
        return self._control(self.pages, SCAN, asked, True)

    def private(self, start: int, length: int) -> bool:
        """Whether all pages are this process's own, none of a file or shared with others."""
        found = (ctypes.c_uint64 * FOUND)()
        place = ctypes.addressof(found)
        words = ARGUMENT.size, 0, start, start + length, 0, place, 1, 0, _FILE, _PRESENT | _FILE
        count = self.scan(bytearray(ARGUMENT.pack(*words, 0, _PRESENT)))
        return (count, found[0], found[1]) == (1, start, start + length)


def written(start: int, length: int, *, protect: bool) -> Any:
    """Return what a scan is asked for: pages written to since they were protected.

    ``protect``: again, all of them; else up to the first, which is written behind the question.
    """
    flags, most = (_PROTECT | _REGISTERED, 0) if protect else (_REGISTERED, 1)
    words = _Words()
    found = ctypes.addressof(words) + ARGUMENT.size
    asked = ARGUMENT.size, flags, start, start + length, 0, found, 1, most, 0, _WRITTEN, 0, _WRITTEN
    ARGUMENT.pack_into(words, 0, *asked)
    return words


_lock = threading.RLock()  # what is let go of may be so by the collector, in the midst of this
_system: list[_System | None] = []
"""The system's files once they were asked for; None where there are none."""

_ranges: dict[tuple[int, int], weakref.ref[Range]] = {}
"""Those that are followed."""


def system() -> _System | None:
    """Return what tells of pages; None where nothing does."""
    if not _system:
        with _lock:
            if not _system:
                try:
                    _system.append(_System())
                except (OSError, ImportError, AttributeError):
                    _system.append(None)
    return _system[0]


def _after_fork() -> None:
    """Begin anew in a forked process: the files tell of the pages of its parent."""
    global _lock
    _lock = threading.RLock()
    for old in filter(None, _system):
        old.close()
    _system.clear()
    for pages in _followed():
        pages.generation += 1
        pages.lost = True
    _ranges.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _followed() -> list[Range]:
    """Return the ranges that are followed, those whose memory was given back left out."""
    known = [reference() for reference in list(_ranges.values())]
    return [pages for pages in known if pages is not None and not pages.lost]


class Range:
    """Pages that are protected: everyone who follows them shares this.

    ``generation`` is another number once they were found to be written to: whoever finds it
    protects them again, and the others are to learn of it.  ``look`` is what a scan is asked for.
    """

    __slots__ = (
        *("__weakref__", "_protect"),
        *("generation", "length", "look", "lost", "start"),
    )

    def __init__(self, start: int, length: int) -> None:
        self.start, self.length, self.lost = start, length, False
        self.generation = np.zeros(1, np.int64)
        self.look, self._protect = (
            written(start, length, protect=protect) for protect in (False, True)
        )

    @staticmethod
    def of(start: int, length: int) -> Range | None:
        """Return those pages; None where they cannot be tracked."""
        asked = system()
        if asked is None:
            return None
        with _lock:
            others = _followed()
            end = start + length
            met = [x for x in others if x.start < end and start < x.start + x.length]
            if met or len(others) >= MOST:
                # of pages that overlap, one range would hide what was written from the other
                same = len(met) == 1 and (met[0].start, met[0].length) == (start, length)
                return met[0] if same else None
            try:
                if not asked.private(start, length):
                    return None
                asked.watch(start, length)
            except OSError:
                return None
            made = Range(start, length)
            _ranges[start, length] = weakref.ref(made)
        return made

    def mark(self) -> int | None:
        """Notice writes from now on; return the generation that is kept until there are any."""
        asked = system()
        with _lock:
            if self.lost or asked is None:
                return None
            # others who look meanwhile are to find nothing as it was
            self.generation += 1
            try:
                found = asked.scan(self._protect)
            except OSError:
                self.lost = True
                return None
            if not found:
                self.generation -= 1
            return int(self.generation[0])

    def keeps(self, mark: int) -> bool:
        """Whether nothing was written since the mark."""
        asked = system()
        with _lock:
            if self.lost or asked is None or self.generation[0] != mark:
                return False
            try:
                return not asked.scan(self.look)
            except OSError:
                self.lost = True
                self.generation += 1  # another range may follow the same pages later
                return False

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if ending():
            return  # names of modules are gone, and the system lets go of everything
        with _lock:
            place = self.start, self.length
            held = _ranges.get(place)
            if self.lost or held is None or held() not in (self, None):
                return  # another range took its place, or another process did
            del _ranges[place]
            self.lost = True
            self.generation += 1  # machine code may still compare it
            asked = _system[0] if _system else None
            if asked is not None:
                with contextlib.suppress(OSError):  # the memory may be gone
                    asked.let_go(self.start, self.length)


class Tracked(NamedTuple):
    """An array as it was from a moment on: where it lay, its whole pages, the bytes beside them."""

    address: int
    size: int
    pages: Range
    mark: int
    before: bytes
    after: bytes

    @staticmethod
    def of(array: np.ndarray) -> Tracked | None:
        """Notice writes to a C-contiguous array from now on; None where the system cannot."""
        address, size = address_of(array), array.nbytes
        if not array.flags.c_contiguous:
            return None
        start, end = -(-address // PAGE) * PAGE, (address + size) // PAGE * PAGE
        if end - start < FEWEST * PAGE:
            return None
        content = array.reshape(-1).view(np.uint8)
        content[start - address :: PAGE].sum()  # memory that was never used belongs to no one yet
        pages = Range.of(start, end - start)
        mark = None if pages is None else pages.mark()
        if pages is None or mark is None:
            return None
        before, after = content[: start - address].tobytes(), content[end - address :].tobytes()
        return Tracked(address, size, pages, mark, before, after)

    def holds(self, array: np.ndarray) -> bool:
        """Whether the array, the one looked at, lies where it lay and was not written to."""
        if address_of(array) != self.address or array.nbytes != self.size:
            return False
        content = array.reshape(-1).view(np.uint8)
        if content[: len(self.before)].tobytes() != self.before:
            return False
        if content[self.size - len(self.after) :].tobytes() != self.after:
            return False
        return self.pages.keeps(self.mark)


def address_of(array: np.ndarray) -> int:
    """Return where an array's data lies."""
    return array.__array_interface__["data"][0]
