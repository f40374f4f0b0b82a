"""A traced program for one signature of arguments, and its kernels as they get ready.

Takes: a traced program, descriptions of its inputs, choices.  Gives: ``Specialisation``, which
runs it.  Invariant: it is reused only for arguments of the same layouts, dtypes, fills and
orders of magnitude; a kernel found on disk is used without loading the solver or the
polyhedral library.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sparsedsl.calls.choices import Choices
from sparsedsl.calls.kernels import Ready, compiled, kept_tuned, planned_again, ready
from sparsedsl.calls.sources import ShapeOf, source_of
from sparsedsl.calls.tuning import chosen, record, tuned
from sparsedsl.calls.unevenness import changes, uneven
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.bindings import apart
from sparsedsl.contraction.extent import Told, check_shapes, read_off, told
from sparsedsl.contraction.lift import FACTORS
from sparsedsl.errors import InvalidTensorError, PlanError
from sparsedsl.frontend.trace import Traced
from sparsedsl.layouts.catalogue import plain
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import total
from sparsedsl.locks import compiling
from sparsedsl.options import current
from sparsedsl.pipeline.groups import Group, Settings, alike, describe, index_dtype, split
from sparsedsl.pipeline.passes import in_passes
from sparsedsl.pipeline.rows import by_rows
from sparsedsl.pipeline.source import Source
from sparsedsl.runtime import cache, execute, patterns
from sparsedsl.runtime.mapped import Mapped, mapping
from sparsedsl.runtime.patterns import Pairs
from sparsedsl.runtime.tensor import Tensor, bound
from sparsedsl.runtime.values import all_finite

if TYPE_CHECKING:
    from sparsedsl.pipeline.stages import Unit

RUNS = 3
"""Runs of which the least time is told, at least."""

SETTLING = 2e-3
"""Seconds that a plan is run for to be measured: processors learn the branches of short ones."""


@dataclass(slots=True)
class Specialisation:
    """A traced program for one signature of arguments, and its kernels as they get ready.

    ``names`` are those of the inputs; ``results`` says of each result whether it is
    ``"plain"`` (a NumPy array as it lies), ``"dense"`` or ``"sparse"``.  ``patterns`` pairs
    inputs that hold equal index arrays; ``alike`` those that may, and then have a version.
    ``told`` says which modes of inputs tell the extents, where they alone do; ``shapes`` keeps
    the extents of shapes met, elsewhere.  ``apart`` says of outputs that read the same why no pass
    computes both.
    """

    traced: Traced
    sources: Mapping[str, Source]
    choices: Choices
    settings: Settings
    extents: Mapping[str, int]
    unusual: frozenset[str] = frozenset()
    patterns: Pairs = ()
    alike: Pairs = ()
    told: tuple[Told, ...] | None = None
    groups: tuple[Group, ...] = ()
    apart: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    results: tuple[tuple[str, str], ...] = ()
    ready: dict[int, Ready] = field(default_factory=dict[int, Ready])
    maps: dict[int, Mapped] = field(default_factory=dict[int, Mapped])
    variants: dict[tuple[frozenset[str], Pairs], Specialisation] = field(
        default_factory=dict[tuple[frozenset[str], Pairs], "Specialisation"]
    )
    shapes: dict[tuple[tuple[int, ...], ...], Mapping[str, int]] = field(
        default_factory=dict[tuple[tuple[int, ...], ...], Mapping[str, int]]
    )

    def __post_init__(self) -> None:
        program = self.traced.program
        apart = split(
            program,
            self.choices.layouts(program, self.traced.layouts),
            self.sources,
            self.extents,
            ieee=self.choices.semantics == "ieee",
            unusual=self.unusual,
            patterns=self.patterns,
            pair=not self.choices.forced,
        )
        searched = self.choices.find == "auto" and not self.patterns
        self.alike = alike(apart) if searched else ()
        self.groups = self._in_passes(self._by_rows(apart))
        self.told = told(program)
        self.names = tuple(t.name for t in program.inputs)
        every = [each for group in self.groups for each in group.turn]
        kinds = {group.output.name: _kind(group.layout) for group in every}
        self.results = tuple((name, kinds[name]) for name in program.results)

    def _by_rows(self, apart: tuple[Group, ...]) -> tuple[Group, ...]:
        """Put groups that only give others rows into their loops, where their plans agree."""
        if self.choices.forced:
            return apart
        threads = self.choices.parallel is not False and current().thread_count > 1
        results = self.traced.program.results
        self.groups = by_rows(apart, results, self.unusual, threads=threads)
        try:
            for place, group in enumerate(self.groups):
                if group.before:
                    self.prepare(place)
        except PlanError:
            self.ready.clear()
            return apart
        return self.groups

    def _in_passes(self, groups: tuple[Group, ...]) -> tuple[Group, ...]:
        """Put groups whose loops are the same, and that read the same, into one pass."""
        if self.choices.forced or self.settings.tune or len(groups) < 2:
            return groups
        refused: dict[tuple[str, ...], str] = {}
        ends = self._share_from(several=current().thread_count > 1), self._share_from(several=True)
        while True:
            self.groups, self.apart = in_passes(groups, refused, *ends)
            if len(self.groups) == len(groups):
                self.groups = groups
                return groups
            self.ready.clear()  # what is ready stood elsewhere
            for place, group in enumerate(self.groups):
                try:
                    if group.beside:
                        self.prepare(place)
                except PlanError as error:
                    refused[group.made] = error.message
                    self.ready.clear()
                    break
            else:
                return self.groups

    def _share_from(self, *, several: bool) -> float:
        """Return from how many estimated nanoseconds threads share a loop, if any do."""
        if self.choices.parallel is False or not several:
            return float("inf")
        return 0.0 if self.choices.parallel is True else float(current().parallel_threshold)

    def prepare(self, place: int) -> Ready:
        """Return the kernel of a group, from memory, from disk or compiled."""
        found = self.ready.get(place)
        if found is None:
            with compiling:
                found = self.ready.get(place) or self._made(place)
                self.ready[place] = found
        return found

    def _made(self, place: int) -> Ready:
        group = self.groups[place]
        kept = kept_tuned(group, self.settings) if self.settings.tune else None
        return kept or compiled(group, replace(self.settings, tune=False))

    def unit(self, place: int) -> Unit:
        """Return the plan and proofs of a group.

        If its kernel came from disk it is planned again; its proofs come from disk too.
        """
        made = self.prepare(place)
        if made.unit is None:
            settings = replace(self.settings, tune=False)
            if made.trials:
                settings = chosen(settings, made.entry.metadata["tuned"])
            unit = planned_again(self.groups[place], settings)
            self.ready[place] = replace(made, unit=unit)
            return unit
        return made.unit

    def unit_for(self, place: int, given: Sequence[Tensor | ShapeOf]) -> Unit:
        """Return the plan of a group with the sizes of these arguments.

        It was made for the first arguments of their kind, which may have other sizes.
        """
        from sparsedsl.pipeline.stages import resized

        unit = self.unit(place)
        if len(given) != len(self.names):
            return unit
        named = dict(zip(self.names, given, strict=True))
        data = {n: x for n, x in named.items() if isinstance(x, Tensor)}
        sources = {n: source_of(x) for n, x in named.items()}
        sources |= {n: replace(sources[n], changes=changes(x)) for n, x in data.items()}
        lying = {n: found for n, x in data.items() if (found := uneven(x))}
        return resized(unit, self.extents_of(named), sources, lying)

    def run(
        self,
        tensors: Mapping[str, Tensor],
        out: Mapping[str, np.ndarray] | None = None,
        fresh: Container[str] = (),
    ) -> dict[str, Tensor]:
        """Compute every output; ``out`` gives arrays for dense ones.

        ``fresh`` names the tensors whose values may have changed since they were bound.
        """
        extents = self.extents_of(tensors)
        values = dict(tensors)
        for place, group in enumerate(self.groups):
            if group.checks:
                bad = execute.unusual(group.checks, values, fresh)
                if bad:
                    version = self._variant(self.unusual | bad, self.patterns)
                    return version.run(tensors, out, fresh)
            if group.reduced and (value := group.constant(extents)) is not None:
                values[group.output.name] = self._filled(group, value, extents)
                continue
            made = self.computed(place, values, extents, out)
            if group.factored and not all_finite(made.values):
                version = self._variant(self.unusual | {FACTORS}, self.patterns)
                return version.run(tensors, out, fresh)
            values[group.output.name] = made
            if group.beside and (bad := execute.unusual(group.after, values, ())):
                version = self._variant(self.unusual | bad, self.patterns)
                return version.run(tensors, out, fresh)
        return values

    def computed(
        self,
        place: int,
        values: dict[str, Tensor],
        extents: Mapping[str, int],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> Tensor:
        """Compute one output from the tensors it reads, to which copies that it needs are added."""
        group = self.groups[place]
        maps = None if out is not None else self.maps_of(place)
        made = None if maps is None else maps(values, self.choices.parallel)
        if made is not None:
            return made
        found = self.prepare(place)
        if self.settings.tune and not found.trials:
            found = self._tuned(place, values, extents)
        call = found.call
        if call.recipe.copies:
            execute.make_copies(call.recipe, values)
        target = None if out is None else self._target(call, extents, out)
        if call.sides:
            targets = () if out is None else [self._target(s, extents, out) for s in call.sides]
            execute.make_sides(call, values, extents, targets)
        made = call(values, extents, target, self.choices.parallel)
        if group.halved:
            from sparsedsl.pipeline.symmetry import half_of

            half = made.convert(half_of(group.layout))
            return bound(group.layout, half.shape, half.held, made.fill_value)
        return made if group.layout is group.assembled else made.convert(group.layout)

    def maps_of(self, place: int) -> Mapped | None:
        """Return what maps values to those of an output, None where a kernel computes it."""
        group, found = self.groups[place], self.maps.get(place)
        if found is None and group.mapped:
            assert group.whole is not None
            expression, name = group.whole.expression, group.output.name
            given = expression, group.program, name, group.mapped, group.layout
            found = self.maps[place] = mapping(*given, annihilating=group.annihilating)
        return found

    def _tuned(
        self, place: int, tensors: Mapping[str, Tensor], extents: Mapping[str, int]
    ) -> Ready:
        """Measure a few plans of a group on these tensors, keep the fastest, on disk too."""
        group, settings = self.groups[place], replace(self.settings, tune=False)

        def measure(candidate: Settings) -> float:
            call, values = compiled(group, candidate).call, dict(tensors)
            execute.make_copies(call.recipe, values)
            self._timed(call, values, extents)  # loads what the first call loads
            taken: list[float] = []
            while len(taken) < RUNS or sum(taken) < SETTLING:
                taken.append(self._timed(call, values, extents)[1])
            return min(taken)

        with compiling:
            best, trials = tuned(group, settings, measure, current().tune_budget_ms / 1e3)
            fastest = compiled(group, best).entry
            metadata = {**fastest.metadata, "tuned": record(best, trials)}
            key = describe(group, self.settings)
            entry = cache.default().store(key, fastest.source, metadata, direct=fastest.direct)
            self.ready[place] = ready(group, entry, None)
        return self.ready[place]

    def _filled(self, group: Group, value: ct.Scalar, extents: Mapping[str, int]) -> Tensor:
        """Return an output that has one value everywhere, in its layout."""
        output, layout = group.output, group.layout
        shape = tuple(extents[s.name or ""] for s in group.statements[0].subscripts)
        coords = np.indices(shape).reshape(len(shape), -1)
        values = np.full(coords.shape[1], value, output.dtype)
        width = index_dtype(group)
        arrays = construct(layout, shape, coords, values, fill=output.fill, index_dtype=width)
        return bound(layout, shape, arrays, output.fill)

    def measure(self, tensors: Mapping[str, Tensor]) -> list[float]:
        """Return the seconds each group takes on these tensors, the least of a few runs."""
        self.run(tensors)
        extents = self.extents_of(tensors)
        values = dict(tensors)
        found: list[float] = []
        for place, group in enumerate(self.groups):
            taken: list[float] = []
            for _ in range(RUNS):
                start = time.perf_counter()
                values[group.output.name] = self.computed(place, values, extents)
                taken.append(time.perf_counter() - start)
            found.append(min(taken))
        return found

    def _timed(
        self, call: execute.Call, tensors: Mapping[str, Tensor], extents: Mapping[str, int]
    ) -> tuple[Tensor, float]:
        start = time.perf_counter()
        made = call(dict(tensors), extents, None, self.choices.parallel)
        return made, time.perf_counter() - start

    def _target(
        self, call: execute.Call, extents: Mapping[str, int], out: Mapping[str, np.ndarray]
    ) -> np.ndarray | None:
        recipe = call.recipe
        given = out.get(recipe.output)
        if given is None:
            return None
        shape = tuple(extents[recipe.indices[m]] for m in recipe.places)
        if given.shape != shape or given.dtype != call.dtype:
            raise InvalidTensorError(
                f"expected out to be {recipe.dtype} of shape {shape}, found {given.dtype} of "
                f"shape {given.shape}"
            )
        flags = given.flags
        if not (flags.c_contiguous and flags.aligned and flags.writeable):
            raise InvalidTensorError("expected out to be a writeable C-contiguous array")
        return call.initial(given)

    def matching(self, tensors: Mapping[str, Tensor]) -> Specialisation:
        """Return the version for these arguments: one without searches where patterns agree."""
        found = patterns.shared(self.alike, tensors) if self.alike else ()
        return self._variant(self.unusual, found) if found else self

    def _variant(self, unusual: frozenset[str], shared: Pairs) -> Specialisation:
        key = unusual, shared
        if key not in self.variants:
            self.variants[key] = replace(
                self, unusual=unusual, patterns=shared, ready={}, maps={}, variants={}, shapes={}
            )
        return self.variants[key]

    def extents_of(self, tensors: Mapping[str, Tensor | ShapeOf]) -> Mapping[str, int]:
        """Return the extent of every index, after checking that shapes agree."""
        shapes = tuple([t.shape for t in tensors.values()])
        found = read_off(self.told, shapes) if self.told is not None else self.shapes.get(shapes)
        if found is None:
            named = {n: t.shape for n, t in tensors.items()}
            found = check_shapes(self.traced.program, named)
            if len(self.shapes) > 64:
                self.shapes.clear()
            self.shapes[shapes] = found
        return found


def _kind(layout: Layout) -> str:
    if layout == plain(layout.rank):
        return "plain"
    return "dense" if total(layout) else "sparse"


def specialise(
    traced: Traced,
    given: Sequence[Tensor | ShapeOf],
    choices: Choices,
    settings: Settings,
    *,
    looking: bool,
) -> Specialisation:
    """Return the specialisation of a traced program for arguments like ``given``.

    ``looking``: how unevenly their entries lie is part of what they are like.
    """
    traced = replace(traced, program=apart(traced.program))
    names = [t.name for t in traced.program.inputs]
    shapes = {n: tuple(x.shape) for n, x in zip(names, given, strict=True)}
    sources = {n: source_of(x, looking=looking) for n, x in zip(names, given, strict=True)}
    extents = check_shapes(traced.program, shapes)
    return Specialisation(traced, sources, choices, settings, extents)
