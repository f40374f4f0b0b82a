"""Calls with the same operands again and again, whose branches a processor has learnt.

Takes: two ways to make one call, without branches where these might be guessed wrongly and with
them, and a clock.  Gives: one function, which makes the call the way that was faster.  Invariant:
both ways give the same bits; operands that come in turn are merged without branches.

What a processor guesses depends on the thousands of branches before.  Where the same operands come
again, so do these, and each of ten thousand is guessed rightly after a few calls; how many there
may be differs from processor to processor, so that both ways are timed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from sparsedsl.runtime.execute import Call
from sparsedsl.runtime.looks import acting

if TYPE_CHECKING:
    from sparsedsl.codegen.looking import Action

GUESSED = 1 << 62
"""Ranges that a kernel guesses first where it guesses all."""

TIMED = 4
"""Calls that are timed, one after another; the shortest counts."""

FIRST = 4
"""Calls that the same operands have before the first one is timed: others may come in between."""

LEARNING = 20
"""Calls in which a processor learns its branches: ten were enough for 20,000 of them."""

LONGEST = 100_000
"""Nanoseconds of a call beyond which there are more branches than processors know.

Those of one that learns 20,000 took 40,000 without branches, and half as long with them.
"""

SOON = 2
"""Calls that the same operands have before their branches are guessed, once this was faster."""


class Latest(Protocol):
    """Where it is told whose operands a kernel was called with last."""

    latest: object


class Learnt:
    """Makes calls with the same operands the faster way.

    Parameters
    ----------
    even, guessed:
        Make the call without branches, and with them.
    kernel:
        What both call: other operands of it come in between, and not those of other kernels.
    clock:
        Gives nanoseconds.
    """

    __slots__ = ("_clock", "_even", "_faster", "_guessed", "_kernel", "_me", "_times", "_turns")

    def __init__(
        self,
        even: Callable[..., Any],
        guessed: Callable[..., Any],
        kernel: Latest,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._even = even
        self._guessed = guessed
        self._kernel = kernel
        self._clock = clock
        self._me = object()
        self._faster: bool | None = None
        self._times: tuple[int, int] = (0, 0)
        self._turns = 0

    def __call__(self, *given: Any) -> Any:
        """Make the call."""
        if self._kernel.latest is not self._me:
            self._kernel.latest = self._me
            self._turns = 0
        self._turns += 1
        if self._faster is None:
            return self._tried(given)
        return (self._guessed if self._faster and self._turns > SOON else self._even)(*given)

    def _tried(self, given: tuple[Any, ...]) -> Any:
        """Make a call one way or the other, and time it where that is its turn."""
        turn = self._turns - FIRST
        if turn <= 0:
            return self._even(*given)
        if turn <= TIMED:
            found, taken = self._timed(self._even, given)
            least = taken if turn == 1 else min(self._times[0], taken)
            self._times = least, 0
            if turn == TIMED and least > LONGEST:
                self._faster = False
            return found
        turn -= TIMED + LEARNING
        if turn <= 0:
            return self._guessed(*given)
        found, taken = self._timed(self._guessed, given)
        even, least = self._times
        self._times = even, taken if turn == 1 else min(least, taken)
        if turn == TIMED:
            self._faster = self._times[1] < even
        return found

    def _timed(self, run: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, int]:
        start = self._clock()
        found = run(*given)
        return found, self._clock() - start


def acting_fast(look: functools.partial[bool], action: Action, call: Call) -> Callable[..., Any]:
    """Return what does an action where arguments are as ``look`` asks for.

    Where the kernel of the ``call`` may guess how ranges are merged, it is ``Learnt``.
    """
    even, told = acting(look, action), call.gather.guessed
    if not told:
        return even
    arguments = [GUESSED if k in told else a for k, a in enumerate(action.arguments)]
    return Learnt(even, acting(look, replace(action, arguments=tuple(arguments))), call)
