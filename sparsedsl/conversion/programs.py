"""Programs of conversions, made once and kept on disk.

Takes: a request.  Gives: its compiled kernels with the order of their parameters.  Invariant: a
program is made while no process forks, and by one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsedsl.conversion.kernels import Program, program_of
from sparsedsl.conversion.plan import Plan
from sparsedsl.conversion.request import Request, plan_of
from sparsedsl.locks import compiling
from sparsedsl.runtime.conversions import Effort

if TYPE_CHECKING:
    from sparsedsl.codegen.machine import Function
    from sparsedsl.loops.nodes import Kernel
    from sparsedsl.runtime.entries import Entry

PARTS = ("count", "fill")
"""The kernels of a program: one counts entries, where that is needed, the other stores them."""

_met: set[str] = set()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program with its functions and the order of their parameters."""

    program: Plan
    count: Any
    count_params: tuple[str, ...]
    fill: Any
    fill_params: tuple[str, ...]
    scratch: tuple[str, ...]
    numbers: tuple[str, ...]
    shared: tuple[tuple[str, str], ...]
    padded: tuple[str, ...]
    made: tuple[str, ...]


def _text(request: Request) -> str:
    """What a program depends on."""
    return "\n".join(
        (
            "conversion",
            request.source.key,
            request.target.layout.key,
            repr(request.dtypes),
            f"{request.value} {request.index} {request.fill!r} {request.rankable} {request.short} "
            f"{request.wide!r} {request.width} {request.partial} {request.rules!r} {request.last} "
            f"{request.far}",
        )
    )


_programs: dict[str, Loaded] = {}


def loaded(request: Request, effort: Effort) -> Loaded | None:
    """The compiled program; None for one that is not worth that effort yet."""
    key = _text(request)
    found = _programs.get(key)
    if found is None:
        with compiling:
            found = _programs.get(key) or _ready(request, key, effort)
    return found


def _ready(request: Request, key: str, effort: Effort) -> Loaded | None:
    from sparsedsl.runtime import cache

    kept = cache.default()
    entries = [kept.lookup(f"{key}\n{part}") for part in PARTS]
    if entries[1] is None:
        if effort == "kept" or (effort == "again" and key not in _met):
            _met.add(key)
            return None
        entries = _stored(kept, key, program_of(request))
    count, fill = (
        None if entry is None else entry.remade(_again(request, part), fastmath=False)
        for part, entry in zip(PARTS, entries, strict=True)
    )
    assert fill is not None
    meta = fill.metadata
    _programs[key] = Loaded(
        plan_of(request),
        _called(count) if count is not None and meta["twice"] else None,
        tuple(count.metadata["params"]) if count is not None else (),
        _called(fill),
        tuple(meta["params"]),
        tuple(meta["scratch"]),
        tuple(meta["numbers"]),
        tuple((own, other) for own, other in meta["shared"]),
        tuple(meta["padded"]),
        tuple(meta["made"]),
    )
    return _programs[key]


def _again(request: Request, part: str) -> Callable[[], tuple[str, Kernel] | None]:
    """What makes one part of a program once more."""
    return lambda: _loops(program_of(request), part)


def _called(entry: Entry) -> Function:
    """The function of a kernel, compiled at its first call: its arguments are of one kind."""
    found: list[Function] = []

    def call(*arguments: Any) -> tuple[Any, ...]:
        if not found:
            found.append(entry.function(arguments))
        return found[0](*arguments)

    return call


def _stored(kept: Any, key: str, program: Program) -> list[Any]:
    from sparsedsl.runtime.entries import straight

    made: list[Any] = []
    for part in PARTS:
        loops = _loops(program, part)
        if loops is None:
            made.append(None)
            continue
        text, kernel = loops
        meta = {
            "params": [param.name for param in kernel.params],
            "scratch": list(program.scratch),
            "numbers": list(program.numbers),
            "twice": program.count is not None,
            "shared": [list(pair) for pair in program.shared],
            "padded": list(program.padded),
            "made": list(program.made),
        }
        direct = straight(kernel, fastmath=False)
        made.append(kept.store(f"{key}\n{part}", text, meta, direct=direct))
    return made


def _loops(program: Program, part: str) -> tuple[str, Kernel] | None:
    """The text and the loops of one part of a program; None where it has no such part."""
    from sparsedsl.codegen.python import source
    from sparsedsl.loops.promote import promote
    from sparsedsl.loops.simplify import simplify
    from sparsedsl.loops.verify import verify

    kernel = program.count if part == "count" else program.fill
    if kernel is None:
        return None
    small = simplify(promote(verify(kernel)))
    return source(small, fastmath=False), small
