"""Converting by compiled passes.

Takes: arrays under one layout.  Gives: arrays under another, or None where the interpreted
conversion (``layouts.convert``) is to do it: for layouts that counting does not fill, tensors
too small to be worth a compilation, and entries without a place, which it names in its error.
Invariant: the results are those of ``layouts.convert``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from sparsedsl.conversion.kernels import Program, Request, program_of, span_of
from sparsedsl.conversion.order import coordinate, extent
from sparsedsl.conversion.plan import Plan
from sparsedsl.conversion.target import Level, Target, target_of
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.build import Builder
from sparsedsl.layouts.extent import infer_sizes
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact
from sparsedsl.locks import compiling
from sparsedsl.runtime import operations
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Term, Var

SMALL = 20_000
"""Stored values up to which interpreting takes less time than compiling would."""

LARGE = 100_000
"""Stored values from which a conversion is compiled when first met."""

ROOM = 1 << 16

WORD = 62
"""Bits of an interleaved number that stay clear of the sign."""

HEAPS = (1024, 128)
"""Widths of the heaps that entries are thrown on before insertion: few kernels, so few widths."""

FEW = 16
"""Entries of a heap that are inserted about as quickly as they are sorted by one more pass."""
INT32_MAX = 2**31 - 1

_met: set[str] = set()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program with its dispatchers and the order of their parameters."""

    program: Plan
    count: Any
    count_params: tuple[str, ...]
    fill: Any
    fill_params: tuple[str, ...]
    scratch: tuple[str, ...]
    numbers: tuple[str, ...]
    shared: tuple[tuple[str, str], ...]


def convert(
    source: Layout,
    target: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    fill: object = 0,
    sizes: Mapping[str, int] | None = None,
    force: bool = False,
) -> dict[str, np.ndarray] | None:
    """Convert by compiled passes, or return None.

    Parameters
    ----------
    source, target, shape, arrays, fill, sizes:
        As for ``layouts.convert.convert``; arrays that were checked.  Those that are the same
        in both layouts are shared, not copied.
    force:
        Compile however few entries there are.
    """
    values = arrays[source.value.function]
    if not force and values.size < SMALL:
        return None
    described = target_of(target)
    if described is None or not _usable(source, values, fill):
        return None
    extents = tuple(int(n) for n in shape)
    wide = any(arrays[name].dtype.itemsize == 8 for name in source.functions)
    wide = wide or max((*extents, values.size), default=0) > INT32_MAX
    request = _request(
        source,
        described,
        tuple((name, arrays[name].dtype.name) for name in source.arrays),
        "int64" if wide else "int32",
        _Fill(fill, values.dtype.name),
        _rankable(described, extents, values.size),
        _near(described, extents, values.size),
        _width(described, extents),
    )
    if request.width * described.layout.rank > WORD or not _affordable(
        request, extents, values.size
    ):
        return None
    loaded = _loaded(request, force or values.size >= LARGE)
    if loaded is None:
        return None
    given = {extent(mode): n for mode, n in enumerate(extents)}
    known = infer_sizes(source, extents, arrays) if sizes is None else sizes
    given |= {f"s_{name}": int(known[name]) for name in source.sizes}
    given |= {f"s_{name}": arrays[name] for name in source.arrays}
    return _Run(request.target, loaded, extents, request.index, values, fill, given).run()


@dataclass(frozen=True, slots=True)
class _Fill:
    """A fill value as part of a key: equal when the bits are."""

    value: Any
    dtype: str

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fill) and repr((self.value, self.dtype)) == repr(
            (other.value, other.dtype)
        )


@lru_cache(maxsize=512)
def _request(
    source: Layout,
    target: Target,
    dtypes: tuple[tuple[str, str], ...],
    index: str,
    fill: _Fill,
    rankable: bool,
    near: int,
    width: int,
) -> Request:
    kinds = (fill.dtype, index, fill.value)
    return Request(source, target, dict(dtypes), *kinds, rankable, near=near, width=width)


def _usable(source: Layout, values: np.ndarray, fill: object) -> bool:
    if not values.size or (values.dtype.kind == "c" and not exact(source)):
        return False
    if source.repeats and fill != 0:
        return False  # sums would start from the fill
    return bool(source.rank)


@lru_cache(maxsize=4096)
def _span(term: Term, extents: tuple[int, ...]) -> tuple[int, int]:
    """The least value of a term over a shape, and the number of values up to the greatest."""
    env = {extent(mode): n for mode, n in enumerate(extents)}
    low, size = span_of(len(extents), term)
    return int(t.evaluate(low, env, {})), int(t.evaluate(size, env, {}))


def _rankable(target: Target, extents: tuple[int, ...], entries: int) -> bool:
    """Whether a table of a bit for each group and key is not much larger than the tensor."""
    if len(target.levels) != 1 or len(target.levels[0].keys) != 1 or target.codes:
        return False
    words = prod(_span(term, extents)[1] for term in target.levels[0].columns)
    return words // 64 <= 4 * entries + ROOM


def _near(target: Target, extents: tuple[int, ...], entries: int) -> int:
    """How many neighbouring keys of a group hold about ``FEW`` entries; 0 where few keys do."""
    level = target.levels[-1] if target.levels else None
    if level is None or len(level.keys) != 1 or target.codes:
        return 0
    room = prod(_span(term, extents)[1] for term in level.columns)
    return next((near for near in HEAPS if near * entries <= FEW * room), 0)


def _width(target: Target, extents: tuple[int, ...]) -> int:
    """How many bits each of the numbers has that are interleaved: an even number, so few widths."""
    keys = [key for keys in target.codes.values() for key in keys]
    most = max((sum(_span(key, extents)) for key in keys), default=0)
    return -(-(max(most, 1) - 1).bit_length() // 2) * 2 if keys else 0


@lru_cache(maxsize=512)
def _plan(request: Request) -> Plan:
    return request.plan


def _affordable(request: Request, extents: tuple[int, ...], entries: int) -> bool:
    """Whether the tables that passes count in are not much larger than the tensor."""
    plan, room = _plan(request), 4 * entries + ROOM
    sizes = [_span(term, extents)[1] for term in plan.sorts]
    if plan.strategy == "count":
        level = request.target.levels[0]
        sizes.append(prod(_span(term, extents)[1] for term in level.columns[: level.grouped]))
    return all(size <= room for size in sizes)


def _text(request: Request) -> str:
    """What a program depends on."""
    return "\n".join(
        (
            "conversion",
            request.source.key,
            request.target.layout.key,
            repr(request.dtypes),
            f"{request.value} {request.index} {request.fill!r} {request.rankable} {request.near} "
            f"{request.width}",
        )
    )


_programs: dict[str, Loaded] = {}


def _loaded(request: Request, now: bool) -> Loaded | None:
    """The compiled program; None for one met for the first time that is not worth it yet."""
    key = _text(request)
    found = _programs.get(key)
    if found is None:
        with compiling:
            found = _programs.get(key) or _ready(request, key, now)
    return found


def _ready(request: Request, key: str, now: bool) -> Loaded | None:
    from sparsedsl.runtime import cache

    kept = cache.default()
    entries = [kept.lookup(f"{key}\n{part}") for part in ("count", "fill")]
    if entries[1] is None:
        if not now and key not in _met:
            _met.add(key)
            return None
        entries = _stored(kept, key, program_of(request))
    count, fill = entries
    assert fill is not None
    meta = fill.metadata
    _programs[key] = Loaded(
        _plan(request),
        _compiled(count.load()) if count is not None and meta["twice"] else None,
        tuple(count.metadata["params"]) if count is not None else (),
        _compiled(fill.load()),
        tuple(meta["params"]),
        tuple(meta["scratch"]),
        tuple(meta["numbers"]),
        tuple((own, other) for own, other in meta["shared"]),
    )
    return _programs[key]


def _compiled(dispatcher: Any) -> Any:
    """The dispatcher, compiled at its first call while no process forks."""

    def call(*arguments: Any) -> Any:
        if getattr(dispatcher, "overloads", True):
            return dispatcher(*arguments)
        with compiling:
            return dispatcher(*arguments)

    return call


def _stored(kept: Any, key: str, program: Program) -> list[Any]:
    from sparsedsl.codegen.python import source as print_source
    from sparsedsl.loops.promote import promote
    from sparsedsl.loops.simplify import simplify
    from sparsedsl.loops.verify import verify

    made: list[Any] = []
    for part, kernel in (("count", program.count), ("fill", program.fill)):
        if kernel is None:
            made.append(None)
            continue
        small = simplify(promote(verify(kernel)))
        meta = {
            "params": [param.name for param in small.params],
            "scratch": list(program.scratch),
            "numbers": list(program.numbers),
            "twice": program.count is not None,
            "shared": [list(pair) for pair in program.shared],
        }
        made.append(kept.store(f"{key}\n{part}", print_source(small, fastmath=False), meta))
    return made


@dataclass(slots=True)
class _Run:
    """One conversion: arrays allocated, kernels called, arrays cut to what was written."""

    target: Target
    loaded: Loaded
    extents: tuple[int, ...]
    index: str
    values: np.ndarray
    fill: object
    given: dict[str, Any]

    def run(self) -> dict[str, np.ndarray] | None:
        layout, loaded = self.target.layout, self.loaded
        builder = Builder(layout, dict(zip(layout.extents, self.extents, strict=True)))
        counts: dict[str, int] = {level.name: self.values.size for level in self.target.levels}
        made = {own: self.given[f"s_{other}"] for own, other in loaded.shared}
        if loaded.count is not None:
            for level in self.target.levels:
                if level.pointer is not None and loaded.program.strategy != "sequence":
                    self._allocate(level.pointer.function, builder, counts, made)
            bad, *rest = loaded.count(*(self.given[name] for name in loaded.count_params))
            if bad:
                return None
            self.given |= dict(zip(loaded.scratch, rest, strict=True))
            if not self._counted(builder, counts, made):
                return None
        if not self.target.levels:
            builder.defined()
            self._take(builder, made)
        for name in layout.arrays:
            if name not in made:
                self._allocate(name, builder, counts, made)
        bad, *numbers = loaded.fill(*(self.given[name] for name in loaded.fill_params))
        if bad:
            return None
        for name, number in zip(loaded.numbers, numbers, strict=True):
            counts[name.removeprefix("t_")] = int(number) + 1
        return {name: self._cut(name, made[name], counts) for name in layout.arrays}

    def _counted(
        self, builder: Builder, counts: dict[str, int], made: dict[str, np.ndarray]
    ) -> bool:
        """Take over what was counted; False when a limit of the layout is exceeded."""
        for level in self.target.levels:
            if level.kind == "slots":
                return self._ends(level, builder, made)
            own = self.given.get(f"count_t_{level.name}", self.given.get("n"))
            if own is not None:
                counts[level.name] = int(own)
        return True

    def _ends(self, level: Level, builder: Builder, made: dict[str, np.ndarray]) -> bool:
        """Fill arrays of counts and widths, and what equalities define by them."""
        counts = self.given["counts"]
        env: dict[str, t.Index]
        if _is_mode(self.target.layout, level):
            env = {**builder.values, level.position.group[0]: np.arange(len(counts))}
        else:
            walk = builder.walk(level.position.group)
            address = np.zeros(walk.count, np.int64)
            for name, term in zip(level.position.group, level.columns, strict=False):
                low, size = _span(term, self.extents)
                address = address * size + np.asarray(walk.env[name]) - low
            env, counts = walk.env, counts[address]
        if not builder.slots(level.position, env, counts):
            return False
        self._take(builder, made)
        return True

    def _take(self, builder: Builder, made: dict[str, np.ndarray]) -> None:
        """Take over the arrays that the builder filled."""
        for name, array in builder.arrays.items():
            made[name] = np.ascontiguousarray(array.astype(self.index))
            self.given[f"t_{name}"] = made[name]

    def _allocate(
        self,
        name: str,
        builder: Builder,
        counts: Mapping[str, int],
        made: dict[str, np.ndarray],
    ) -> None:
        layout = self.target.layout
        shape = self._shape(name, builder, counts)
        if self._written(name):
            dtype = self.values.dtype if name == layout.value.function else np.dtype(self.index)
            array = np.empty(shape, dtype)
        elif name == layout.value.function:
            background = np.asarray(self.fill).astype(self.values.dtype)
            array = _filled(shape, background, self.values.dtype)
        elif name in self.target.apart:
            array = builder.blank(name, shape).astype(self.index)
        else:
            padding = builder.padding(name)
            array = _filled(shape, np.asarray(padding), np.dtype(self.index))
        made[name] = self.given[f"t_{name}"] = array

    def _written(self, name: str) -> bool:
        """Whether every element that is kept gets written: one for each number of a level."""
        layout = self.target.layout
        calls = [call for level in self.target.levels for call, _ in level.keys]
        if self.loaded.program.distinct:
            calls.append(layout.value)
        numbered = {t.var(level.name) for level in self.target.levels if level.kind != "slots"}
        return any(
            call.function == name and len(call.arguments) == 1 and call.arguments[0] in numbered
            for call in calls
        )

    def _shape(self, name: str, builder: Builder, counts: Mapping[str, int]) -> tuple[int, ...]:
        layout = self.target.layout
        for level in self.target.levels:
            if level.pointer is not None and level.pointer.function == name and level.parent:
                return (counts[level.parent] + 1,)
        lengths = layout.lengths[name]
        arguments = layout.value.arguments
        if name != layout.value.function:
            calls = (call for level in self.target.levels for call, _ in level.keys)
            unknown = (None,) * len(lengths)
            arguments = next((c.arguments for c in calls if c.function == name), unknown)
        found: list[int] = []
        slots = {level.name for level in self.target.levels if level.kind == "slots"}
        for argument, length in zip(arguments, lengths, strict=True):
            dim = argument.parts[0][1] if argument is not None and argument.parts else None
            if isinstance(dim, Var) and dim.name in counts and dim.name not in slots:
                found.append(counts[dim.name])
            else:
                assert length is not None
                value = t.evaluate(length, builder.values, builder.arrays)
                found.append(max(int(value), 0))
        return tuple(found)

    def _cut(self, name: str, array: np.ndarray, counts: Mapping[str, int]) -> np.ndarray:
        """The part of an array that was written."""
        if not self.loaded.numbers:
            return array
        for level in self.target.levels:
            if level.pointer is not None and level.pointer.function == name and level.parent:
                return _part(array, counts[level.parent] + 1)
            own = {call.function for call, _ in level.keys}
            last = level is self.target.levels[-1]
            if name in own or (last and name == self.target.layout.value.function):
                return _part(array, counts[level.name])
        return array


@lru_cache(maxsize=512)
def _is_mode(layout: Layout, level: Level) -> bool:
    """Whether a level's groups are the coordinates of one mode, all of them, one after another."""
    if len(level.position.group) != 1:
        return False
    (name,) = level.position.group
    part = layout.structures[0]
    bounds = Bounds(part.scan, part.parameters)
    for mode, size in enumerate(layout.extents):
        top = t.subtract(t.var(size), t.ONE)
        whole = bounds.lower(name, part.parameters), bounds.upper(name, part.parameters)
        if level.columns[0] == t.var(coordinate(mode)):
            return whole == ([t.ZERO], [top])
    return False


def _part(array: np.ndarray, count: int) -> np.ndarray:
    if count == len(array):
        return array
    return array[:count].copy() if count < len(array) // 2 else array[:count]


def _filled(shape: tuple[int, ...], value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array of one value; memory for zeros is not touched before it is written."""
    if not value and not (dtype.kind in "fc" and np.signbit(np.real(value))):
        return np.zeros(shape, dtype)
    return np.full(shape, value, dtype)


operations.register("convert_arrays", convert)
