"""Measuring instead of estimating: the best few plans of the cost model, run on the operands.

Takes: a group, its settings and a way to measure others.  Gives: the settings that were
fastest, and what each took.  Invariant: every candidate is planned and proved like any kernel,
so that results are the same up to the order of floating sums.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparsedsl.errors import PlanError
from sparsedsl.pipeline.groups import Group, Settings

ORDERS = 3
"""Loop orders that are measured beside the plan's."""

WORSE = 20.0
"""Times the estimated cost of the plan beyond which another is not measured."""

CALLS = 4
"""Calls it takes to measure one."""

SEARCHES = 2
"""Ways to find that are measured beside the plan's and a merge, for each thing that is sought."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate: the choices that differ from ``auto``, and the seconds of a call."""

    order: tuple[str, ...] | None
    find: str | tuple[tuple[str, str], ...]
    workspace: str
    seconds: float

    def __str__(self) -> str:
        order = [f"loops {' '.join(self.order)}"] if self.order else []
        finds = [] if isinstance(self.find, str) else [f"find {n} by {a}" for n, a in self.find]
        space = [] if self.workspace == "auto" else [f"workspace {self.workspace}"]
        what = ", ".join([*order, *finds, *space]) or "as estimated"
        return f"{what}: {1e3 * self.seconds:.3g} ms"


def tuned(
    group: Group,
    settings: Settings,
    measure: Callable[[Settings], float],
    budget: float,
) -> tuple[Settings, tuple[Trial, ...]]:
    """Return the settings whose kernel was fastest, and all trials, fastest first.

    The plan that ``auto`` takes is measured in any case, others until ``budget`` seconds have
    passed, planning and compiling included, and where as many are left as they are estimated to
    take.
    """
    end = time.perf_counter() + budget
    first = measure(settings)
    trials = {settings: _trial(settings, first)}
    for candidate, ratio in candidates(group, settings):
        if time.perf_counter() + CALLS * first * ratio > end:
            continue
        try:
            trials[candidate] = _trial(candidate, measure(candidate))
        except PlanError:
            continue  # the cost model left it out for a reason
    best = min(trials, key=lambda s: trials[s].seconds)
    return best, tuple(sorted(trials.values(), key=lambda t: t.seconds))


def _trial(settings: Settings, seconds: float) -> Trial:
    return Trial(settings.order, settings.find, settings.workspace, seconds)


def candidates(group: Group, settings: Settings) -> Iterator[tuple[Settings, float]]:
    """Yield settings that plan otherwise than ``auto``, and how many times the cost is predicted.

    Choices that the user forced stay as they are, and so does a group that computes others row
    by row.
    """
    from sparsedsl.iteration.orders import other_orders
    from sparsedsl.pipeline.planned import request_of
    from sparsedsl.pipeline.stages import compile_group

    if group.before:
        return
    unit = compile_group(group, settings)
    if settings.find == "auto":
        owners = {d: o.tensor.name for c in unit.nest.chains for o in c.operands for d in o.dims}
        for variable, _, rejected in unit.choices:
            for name, ratio in _searches(rejected):
                yield replace(settings, find=((owners[variable], name),)), ratio
    if settings.workspace == "auto" and unit.nest.assembly.kind == "workspace":
        yield replace(settings, workspace="sort"), 1.0
    orders, _ = other_orders(request_of(group, settings), unit.nest)
    for nest, order in orders[:ORDERS]:
        ratio = nest.cost / max(unit.nest.cost, 1e-9)
        if ratio <= WORSE:
            yield replace(settings, order=order), ratio


def _searches(rejected: str) -> list[tuple[str, float]]:
    """Return the ways to find that are measured.

    Merges always: what their branches cost on operands that come again is estimated too high.
    """
    legal = list(_legal(rejected))
    return legal[:SEARCHES] + [found for found in legal[SEARCHES:] if found[0] == "merge"]


def _legal(rejected: str) -> Iterator[tuple[str, float]]:
    """Yield the ways to find that were legal and not taken, cheapest first."""
    for reason in rejected.split("; "):
        name, _, why = reason.partition(": ")
        if why.startswith("estimated "):
            yield name, float(why.split()[1].rstrip("x"))


def record(settings: Settings, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return what is kept beside the fastest kernel, as JSON can hold it."""
    find = settings.find if isinstance(settings.find, str) else [list(p) for p in settings.find]
    order = None if settings.order is None else list(settings.order)
    choices = {"order": order, "find": find, "workspace": settings.workspace}
    return {**choices, "trials": [str(trial) for trial in trials]}


def chosen(settings: Settings, record: Mapping[str, Any]) -> Settings:
    """Return the settings that a record tells."""
    find, order = record["find"], record["order"]
    return replace(
        settings,
        order=None if order is None else tuple(order),
        find=find if isinstance(find, str) else tuple((name, how) for name, how in find),
        workspace=record["workspace"],
    )
