"""Other ways to compute a case: scipy, hand-written kernels, and libraries where installed.

Takes: a ``Case``.  Gives: for each peer, calls that compute it, each with its name; or the
reason why there is none.  Operands are put into a peer's own form before the call is timed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from sparsedsl.bench.cases import Case
from sparsedsl.bench.jobs import Job, Known, Missing, Operands, Prepare, in_turn, single
from sparsedsl.bench.peers import hand, merging, taco, tensora
from sparsedsl.bench.peers.libraries import LIBRARIES
from sparsedsl.bench.peers.scipy_kernels import SCIPY


@dataclass(frozen=True, slots=True)
class Peers:
    """Kernels of each peer that can run, and the reason for each that cannot."""

    kernels: dict[str, dict[str, list[tuple[str, Prepare]]]]
    versions: dict[str, str]
    absent: dict[str, str]

    def jobs(self, case: Case) -> list[tuple[str, str, Job]]:
        """Return (peer, variant, job) for a case; scipy's is the first."""
        cases = (case, *case.others)
        return [
            (peer, variant, in_turn([_prepared(prepare, c.operands) for c in cases]))
            for peer, kernels in self.kernels.items()
            for variant, prepare in kernels.get(case.kernel.name, [])
        ]


def _prepared(prepare: Prepare, operands: Operands) -> Job:
    """Return a job; one whose call tells why it could not be prepared, otherwise."""
    try:
        return prepare(operands)
    except Exception as error:  # a peer's failure is its own
        reason = error

        def call() -> None:
            raise reason

        return Job(call)


def _scipy() -> Known:
    return single(importlib.metadata.version("scipy"), SCIPY)


SOURCES: dict[str, Callable[[], Known]] = {
    "scipy": _scipy,
    "hand": hand.find,
    "TACO": taco.find,
    "TACO default": taco.find_default,
    "merging C": merging.find,
    **{name: library.find for name, library in LIBRARIES.items()},
    "tensora": tensora.find,
}
"""Where each peer is looked for; scipy's results are those that the others must have."""


@lru_cache(maxsize=1)
def find() -> Peers:
    """Look for every peer; those that are missing are listed with the reason."""
    known: dict[str, Known] = {}
    absent: dict[str, str] = {}
    for name, source in SOURCES.items():
        try:
            known[name] = source()
        except Missing as reason:
            absent[name] = str(reason)
    kernels = {name: peer.kernels for name, peer in known.items()}
    return Peers(kernels, {name: peer.version for name, peer in known.items()}, absent)
