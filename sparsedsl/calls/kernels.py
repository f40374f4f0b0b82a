"""The kernel of a group of statements: from disk, or compiled now.

Takes: a group and settings.  Gives: its kernel, ready to be called.  Invariant: a kernel found on
disk loads neither the solver nor the polyhedral library, unless its object code was lost.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sparsedsl.calls.tuning import chosen
from sparsedsl.errors import PlanError
from sparsedsl.options import current
from sparsedsl.pipeline.groups import Group, Settings, describe
from sparsedsl.runtime import cache, execute
from sparsedsl.runtime.entries import Entry, straight
from sparsedsl.runtime.recipe import Recipe

if TYPE_CHECKING:
    from sparsedsl.loops.nodes import Kernel
    from sparsedsl.pipeline.stages import Unit


@dataclass(frozen=True, slots=True)
class Ready:
    """One group with its kernel: loaded from disk, or compiled just now (then with a unit).

    ``trials`` say what was measured, where the kernel was chosen by that.
    """

    group: Group
    call: execute.Call
    entry: Entry
    unit: Unit | None
    trials: tuple[str, ...] = ()


def ready(group: Group, entry: Entry, unit: Unit | None) -> Ready:
    """Return a group with the kernel that an entry of the cache holds."""
    recipe = Recipe.from_json(entry.metadata["recipe"])
    beside = [side.assembled for side in group.beside]
    call = execute.Call(recipe, group.assembled, entry.function, beside)
    measured = entry.metadata.get("tuned", {"trials": ()})
    if entry.metadata.get("costly"):
        _warn(group, entry.metadata["costly"])
    return Ready(group, call, entry, unit, tuple(measured["trials"]))


def kept_tuned(group: Group, settings: Settings) -> Ready | None:
    """Return the kernel that an earlier measurement chose, if it is kept."""
    entry = cache.default().lookup(describe(group, settings))
    if entry is None:
        return None
    best = chosen(replace(settings, tune=False), entry.metadata["tuned"])
    return ready(group, entry.remade(_loops(group, best), fastmath=best.fastmath), None)


def compiled(group: Group, settings: Settings) -> Ready:
    """Return the kernel of a group, from memory, from disk or compiled.

    Raises
    ------
    PlanError
        Where there is no plan.
    """
    key = describe(group, settings)
    store = cache.default()
    entry = store.lookup(key)
    unit, wanted = None, current().dump
    if entry is not None and "apart" in entry.metadata:
        raise PlanError(entry.metadata["apart"])
    if entry is None or wanted:
        from sparsedsl.explain.costly import remark
        from sparsedsl.pipeline import stages

        try:
            unit = stages.compile_group(group, settings)
        except PlanError as error:
            if group.beside:  # not to be planned again by the next process
                store.store(key, f"# {error.message}\n", {"apart": error.message})
            raise
        records = [asdict(p) for each in unit.turn for p in each.proofs]
        recipe = {"recipe": unit.recipe.to_json(), "costly": remark(unit)}
        direct = straight(unit.kernel, fastmath=settings.fastmath)
        direct = None if unit.checked else direct
        entry = store.store(key, unit.source, recipe, records, direct)
    if unit is not None and wanted:
        from sparsedsl.explain.dump import dump

        dump(unit, entry.kernel, wanted)
    made = entry.remade(_loops(group, settings), fastmath=settings.fastmath)
    return ready(group, made, unit)


def planned_again(group: Group, settings: Settings) -> Unit:
    """Return the plan and proofs of a group whose kernel came from disk: its proofs do, too."""
    from sparsedsl.find.smt import Proof
    from sparsedsl.pipeline import stages

    records = cache.default().proofs(describe(group, settings))
    return stages.compile_group(group, settings, [Proof(**record) for record in records])


def _loops(group: Group, settings: Settings) -> Callable[[], tuple[str, Kernel] | None]:
    """Return what gives the loops of a group once more, where no subscript is tested."""

    def loops() -> tuple[str, Kernel] | None:
        unit = planned_again(group, settings)
        return None if unit.checked else (unit.source, unit.kernel)

    return loops


def _warn(group: Group, remark: str) -> None:
    """Warn of what a kernel takes, once at each place, which is the user's."""
    from scipy.sparse import SparseEfficiencyWarning

    span = group.statements[0].span
    file, line = (span.file, span.line) if span is not None and span.file else (__name__, 0)
    warnings.warn_explicit(remark, SparseEfficiencyWarning, file, line, registry=_WARNED)


_WARNED: dict[Any, Any] = {}
