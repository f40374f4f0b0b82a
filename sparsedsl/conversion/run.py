"""Converting by compiled passes.

Takes: arrays under one layout.  Gives: arrays under another, or None where the interpreted
conversion (``layouts.convert``) is to do it: for layouts that counting does not fill, programs
that are not worth being made yet, and entries without a place, which it names in its error.
Invariant: the results are those of ``layouts.convert``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsedsl.conversion.kept import with_kept_order
from sparsedsl.conversion.mirrored import reflection
from sparsedsl.conversion.order import extent, scanned
from sparsedsl.conversion.programs import loaded
from sparsedsl.conversion.request import request_of
from sparsedsl.conversion.simpler import simpler
from sparsedsl.conversion.storing import Run, filled
from sparsedsl.conversion.target import Target
from sparsedsl.conversion.target_from_layout import first_of, target_of
from sparsedsl.conversion.unions import Rule, alternatives, ranked, rule_of
from sparsedsl.layouts.catalogue import coordinates
from sparsedsl.layouts.enumerate import different
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.runtime import operations
from sparsedsl.runtime.conversions import Effort
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Atom, Term


def convert(
    source: Layout,
    target: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    fill: object = 0,
    sizes: Mapping[str, int] | None = None,
    effort: Effort = "now",
) -> dict[str, np.ndarray] | None:
    """Convert by compiled passes, or return None.

    Parameters
    ----------
    source, target, shape, arrays, fill, sizes:
        As for ``layouts.convert.convert``; arrays that were checked.  Those that are the same
        in both layouts are shared, not copied.
    effort:
        Whether passes are used that are kept on disk, are compiled when met again, or now.
    """
    extents = tuple(int(n) for n in shape)
    known = infer_sizes(source, extents, arrays) if sizes is None else sizes
    entries = Entries(with_kept_order(source, arrays), extents, arrays, known, fill)
    simple = simpler(target)
    if simple is not None:
        given = source, simple.layout, extents, arrays
        made = convert(*given, fill=fill, sizes=known, effort=effort)
        found = None if made is None else simple.restore(made, extents)
        return None if found is None else {name: found[name] for name in target.arrays}
    if alternatives(target):
        return _united(entries, target, effort)
    if len(target.structures) > 1:
        return _mirrored(entries, target, effort)
    return _stored(entries, target, effort)


@dataclass(frozen=True, slots=True)
class Entries:
    """A tensor to convert: arrays under a layout, with its sizes."""

    layout: Layout
    extents: tuple[int, ...]
    arrays: Mapping[str, np.ndarray]
    sizes: Mapping[str, int]
    fill: object


def _stored(
    entries: Entries, target: Layout, effort: Effort, *, partial: bool = False
) -> dict[str, np.ndarray] | None:
    """Store entries in a layout of one alternative.

    ``partial`` leaves out entries without a place.
    """
    described = target_of(target)
    if described is not None and (described.sizes or not described.measures(target.value.function)):
        return None  # nothing tells them before the entries are numbered
    run = None if described is None else _run(entries, described, effort, partial=partial)
    return run.store() if run is not None and run.prepare() else None


def _run(
    entries: Entries,
    described: Target,
    effort: Effort,
    *,
    partial: bool = False,
    rules: tuple[Rule, ...] = (),
    last: bool = True,
) -> Run | None:
    """Return a conversion that is ready to be run; the rest is as ``request_of`` takes it."""
    source, extents, arrays = entries.layout, entries.extents, entries.arrays
    asked = source, described, extents, arrays, entries.fill
    request = request_of(*asked, partial=partial, rules=rules, last=last)
    program = None if request is None else loaded(request, effort)
    if request is None or program is None:
        return None
    given: dict[str, Any] = {extent(mode): n for mode, n in enumerate(extents)}
    given |= {f"s_{name}": int(entries.sizes[name]) for name in source.sizes}
    given |= {f"s_{name}": arrays[name] for name in source.arrays}
    values = arrays[source.value.function]
    return Run(described, program, extents, request.index, values, entries.fill, given)


def _united(entries: Entries, target: Layout, effort: Effort) -> dict[str, np.ndarray] | None:
    """Store entries in several alternatives, each in the first that has room for it."""
    parts = [one for part in alternatives(target) if (one := target_of(part)) is not None]
    rules = [rule for part in parts if (rule := rule_of(part)) is not None]
    if len(rules) < len(target.structures):
        return None
    order = scanned(entries.layout)
    if entries.layout.repeats or not ranked(target.rank, order, rules):
        listed = coordinates(target.rank)
        made = None if entries.layout == listed else _stored(entries, listed, effort)
        if made is None:
            return None
        sizes = infer_sizes(listed, entries.extents, made)
        return _united(Entries(listed, entries.extents, made, sizes, entries.fill), target, effort)
    runs: list[Run] = []
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        run = _run(entries, part, effort, rules=tuple(rules[: place + 1]), last=last)
        if run is None or not run.prepare():
            return None
        runs.append(run)
    found: dict[str, np.ndarray] = {}
    dtype = entries.arrays[entries.layout.value.function].dtype
    background = np.asarray(entries.fill).astype(dtype)
    sizes = _sizes(target, entries, runs)
    values = filled(_room(target, sizes, runs), background, dtype)
    for run in runs:
        run.given |= {f"t_{name}": sizes[name] for name in run.target.sizes}
        stored = run.store(values)
        if stored is None:
            return None
        found |= stored
    return {name: found[name] for name in target.arrays}


def _sizes(target: Layout, entries: Entries, runs: Sequence[Run]) -> dict[str, int]:
    """The extents and the sizes that follow from what was counted."""
    found = dict(zip(target.extents, entries.extents, strict=True))
    for run in runs:
        found |= run.builder.values
        for level in run.target.levels:
            if level.kind == "list":
                (size,) = t.variables(level.position.highs[0])
                found[size] = run.counts[level.name]
    return found


def _room(target: Layout, sizes: Mapping[str, int], runs: Sequence[Run]) -> tuple[int, ...]:
    """The shape of the value array that alternatives share."""
    arrays: dict[str, np.ndarray] = {}
    ends: dict[str, int] = {}
    for run in runs:
        arrays |= run.made
        for level in run.target.levels:
            if level.pointer is not None:
                ends[level.pointer.function] = run.counts[level.name]
    found: list[int] = []
    for length in target.lengths[target.value.function]:
        assert length is not None
        # a length reads of starts, filled later, where the last group ends
        change: dict[Atom, Term] = {
            call: t.const(ends[call.function])
            for call in t.ufs(length)
            if call.function in ends and call.function not in arrays
        }
        found.append(max(int(t.evaluate(t.replace(length, change), sizes, arrays)), 0))
    return tuple(found)


def _mirrored(entries: Entries, target: Layout, effort: Effort) -> dict[str, np.ndarray] | None:
    """Store what the first alternative has places for; the others must give the rest.

    That they do is seen from all entries in order, given and read back.
    """
    first = first_of(target)
    made = None if first is None else _stored(entries, first, effort, partial=True)
    if first is None or made is None:
        return None
    order = reflection(target)
    if order is not None:
        turned = _turned(entries, order)
        again = _stored(turned, first, effort, partial=True) if turned is not None else None
        if again is not None and all(_same(array, again[name]) for name, array in made.items()):
            return made
        del again
    sizes = infer_sizes(target, entries.extents, made)
    back = Entries(target, entries.extents, made, sizes, entries.fill)
    plain = coordinates(target.rank)
    tables = [_stored(side, plain, effort) for side in (entries, back)]
    match tables:
        case [dict() as given, dict() as read] if all(
            _same(array, read[name]) for name, array in given.items()
        ):
            return made
        case _:
            return None


def _turned(entries: Entries, order: Sequence[int]) -> Entries | None:
    """The tensor with mode ``k`` as mode ``order[k]``; None where that changes the shape."""
    extents = tuple(entries.extents[k] for k in order)
    layout = entries.layout(order=order)
    return replace(entries, layout=layout) if extents == entries.extents else None


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and not different(left, right).any()


operations.register("convert_arrays", convert)
