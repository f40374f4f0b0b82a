"""Share the outermost loop of a kernel among threads.

Takes: a recipe whose loop was proved to write apart, and the kernel's arguments.  Gives:
nothing; the output is filled.  Invariant: every turn runs once, in one thread, so the result
is the same bit for bit whatever the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from sparsedsl.options import current
from sparsedsl.runtime.arguments import Gather
from sparsedsl.runtime.recipe import Recipe


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the pool of this process: a forked child has none of its parent's threads."""
    del process
    return ThreadPoolExecutor(threads, thread_name_prefix="sparsedsl")


def share(
    gather: Gather,
    recipe: Recipe,
    kernel: Callable[..., Any],
    arguments: Sequence[Any],
    extent: int,
) -> None:
    """Run the kernel over ``extent`` turns, on several threads where there are some."""
    threads = current().thread_count
    if threads < 2 or extent < 2 * threads:
        kernel(*arguments)
        return
    begin, end = gather.begin, gather.end
    assert begin is not None
    assert end is not None
    pieces = threads * recipe.pieces

    def run(piece: int) -> None:
        mine = list(arguments)
        mine[begin] = extent * piece // pieces
        mine[end] = extent * (piece + 1) // pieces
        kernel(*mine)

    list(_pool(threads, os.getpid()).map(run, range(pieces)))
