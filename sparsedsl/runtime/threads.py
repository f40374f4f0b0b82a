"""Share a loop of a kernel among threads.

Takes: the range of a loop whose turns may run in any order, and what runs a piece of it.
Gives: every piece run once.  Invariant: pieces follow from the sizes of the arguments and, where
that changes no result, the number of threads.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import numpy as np

Piece = TypeVar("Piece")


@lru_cache(maxsize=4)
def _pool(helpers: int, process: int) -> ThreadPoolExecutor:
    """Return the pool of this process: a forked child has none of its parent's threads."""
    del process
    return ThreadPoolExecutor(helpers, thread_name_prefix="sparsedsl")


def each(pieces: Sequence[Piece], run: Callable[[Piece], object], threads: int) -> None:
    """Run every piece, on up to ``threads`` threads, this one among them.

    A thread takes the next piece when it is done with one, so that uneven pieces, or a machine
    with other work, delay the others little.
    """
    left, held = deque(pieces), [run]

    def work() -> None:
        for mine in held:
            while left:
                try:
                    piece = left.popleft()
                except IndexError:
                    return
                mine(piece)

    helpers = min(threads, len(pieces)) - 1
    if helpers < 1:
        work()
        return
    pool = _pool(threads - 1, os.getpid())
    others = [pool.submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        left.clear()
        for other in others:
            # one that has not begun, since the pool is busy with another call, is not waited for
            if not other.cancel():
                other.result()
        # the pool may hold on to ``work`` for a while, and must not to arrays that it works on
        held.clear()


def cuts(extent: int, pieces: int, pointer: np.ndarray | None) -> list[tuple[int, int]]:
    """Cut ``0 .. extent`` into at most ``pieces`` ranges of about equal work, none empty.

    The work of turn ``t`` is that of ``pointer[t] .. pointer[t + 1]``, and one more; that of
    every turn is the same without a pointer.

    >>> cuts(4, 2, np.array([0, 6, 7, 8, 9]))
    [(0, 1), (1, 4)]
    >>> cuts(4, 2, None), cuts(1, 2, None)
    ([(0, 2), (2, 4)], [(0, 1)])
    """
    if pointer is None:
        ends = [extent * k // pieces for k in range(pieces + 1)]
    else:

        def work(turn: int) -> int:
            return int(pointer[turn]) + turn

        first, total = work(0), work(extent)
        goals = (first + (total - first) * k // pieces for k in range(1, pieces))
        turns = range(extent + 1)
        ends = [0, *(bisect_left(turns, goal, key=work) for goal in goals), extent]
    return [(a, b) for a, b in pairwise(ends) if a < b]
