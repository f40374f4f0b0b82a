"""How unevenly the entries of a tensor lie, looked at in a sample of them.

Takes: bound tensors.  Gives: ``Unevenness`` for each dimension that pointers give ranges of.
Invariant: says the same of equal arrays, and takes no longer for larger ones, but for a logarithm;
what was found is kept with the tensor until its index arrays are written to.

An entry drawn at random is in a long range as often as that is long, so that the ranges of a few
entries tell what the squares of the lengths of all ranges would.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from sparsedsl.contraction import nodes as ct
from sparsedsl.iteration.cost import Changes, Unevenness
from sparsedsl.iteration.output import ranges
from sparsedsl.iteration.weights import together
from sparsedsl.runtime.tensor import Tensor

DRAWN = 1024
"""Entries that are looked at: 0.1 ms."""

LEAST = 2048
"""Entries from which on they are looked at.  New matrices of up to 16,384 go by
the kernel that another one had (``calls.passing``) until one is met again."""

TWINS = 16
"""Pairs of them in one place from which on that is not taken to be chance."""

RAGGED, FIRST = 4, 6
"""One in so many ranges is longer or shorter than the one before where ranges are ragged, of which
so many entries count: more first ones are never computed whether they are there or not."""

COMPARED, SEVERAL, RUNS = 8, 4, 0.4
"""Entries by which two ranges are compared, the first and the last among them, how many ranges have
to have, and which part of them equals the next one where they are alike: half do in pairs."""

LONGEST = 64.0
"""Ranges in a run of equal ones that are told apart from longer runs."""

PLACES = 16
"""Magnitudes of a number, to put several into one."""


def uneven(x: Tensor) -> dict[str, Unevenness]:
    """Return how unevenly entries lie in each dimension with ranges, by magnitude.

    Nothing is said of tensors so small that it would take as long as a kernel does for many calls.
    """
    if max(array.size for array in x.held.values()) < LEAST:
        return {}
    found: dict[str, Unevenness] = {}
    for dim, arrays in ranges(x.form.layout).items():
        number = x.fact(f"uneven {dim}", lambda arrays=arrays: _number(x, *arrays))
        found[dim] = _unevenness(number)
    return found


def changes(x: Tensor) -> dict[str, Changes]:
    """Return how ranges differ from the one before.

    A processor guesses where a loop ends from where it ended before.
    """
    found: dict[str, Changes] = {}
    for dim, (pointer, coordinate, _) in ranges(x.form.layout).items():
        starts, coordinates = x.held[pointer], x.held[coordinate]
        own, before = _neighbours(starts)
        if own.size:
            eights = float((-(-own // 8) != -(-before // 8)).mean())
            found[dim] = Changes(float((own != before).mean()), eights, _run(starts, coordinates))
    return found


def _run(starts: np.ndarray, coordinates: np.ndarray) -> float:
    """Return how many ranges in a row have the same coordinates, ``LONGEST`` at most."""
    if coordinates.size < LEAST:
        return 1.0
    drawn = _drawn(coordinates.size)[::COMPARED].astype(starts.dtype)
    alike = _alike(starts, coordinates, np.searchsorted(starts, drawn, side="right"))
    return min(1.0 / max(1.0 - alike, 1e-9), LONGEST)


@functools.lru_cache(maxsize=256)
def _unevenness(number: int) -> Unevenness:
    """Return what a number of ``_number`` tells."""
    number, flags = divmod(number, 16)
    number, near = divmod(number, PLACES)
    skew, crowd = divmod(number, PLACES)
    lower, alike, mutual, ragged = (bool(flags & bit) for bit in (8, 4, 2, 1))
    told = 4.0**skew, 4.0**crowd, 4.0**near
    return Unevenness(*told, mutual, ragged=ragged, alike=alike, lower=lower)


def matters(program: ct.Program) -> bool:
    """Whether entries of several sparse operands may have to be found in one another."""
    sparse = frozenset(t.name for t in program.inputs if not t.total)
    return any(_meets(s.expression, sparse) for s in program.statements)


def _meets(node: ct.Expression, sparse: frozenset[str]) -> bool:
    """Whether a term has several sparse operands; sums are merged, however they lie."""
    match node:
        case ct.Reduce(_, _, body):
            return _meets(body, sparse)
        case ct.Call(operator, arguments) if operator in ("add", "sub", "neg"):
            return any(_meets(a, sparse) for a in arguments)
        case _:
            return _reads(node, sparse) > 1


def _reads(node: ct.Expression, sparse: frozenset[str]) -> int:
    match node:
        case ct.Access(tensor, _, _) | ct.Stored(tensor, _, _):
            return int(tensor in sparse)
        case ct.Call(_, arguments):
            return sum(_reads(a, sparse) for a in arguments)
        case ct.Reduce(_, _, body):
            return _reads(body, sparse)
        case ct.Literal() | ct.IndexValue() | ct.Extent():
            return 0


def _number(x: Tensor, pointer: str, coordinate: str, mode: int) -> int:
    """Return what unevenness tells as one number: magnitudes in powers of four, four bits."""
    starts, coordinates, extent = x.held[pointer], x.held[coordinate], x.shape[mode]
    count, several = coordinates.size, starts.size - 1
    if count < LEAST or several < 1:
        return 0
    drawn = _drawn(count)
    # of another dtype, all of ``starts`` would be copied
    here = np.searchsorted(starts, drawn.astype(starts.dtype), side="right")
    low, high = starts[here - 1], starts[here]
    lengths, stored = (high - low).astype(np.float64), coordinates[drawn]
    length = float(lengths.mean())
    # an even range has one entry more where an entry is than elsewhere
    skew = length / (count / several + 1.0)
    crowd = _twins(stored) * extent
    # so many coordinates drawn from all would lie so far apart on average
    apart = float(((lengths - 1.0) / (lengths + 1.0)).sum()) * extent
    near = apart / max(float(np.abs(coordinates[high - 1] - coordinates[low]).sum()), 1.0)
    mutual = False
    if several == extent and skew > 1.0 and crowd > 1.0:
        named = float((starts[stored + 1] - starts[stored]).mean()) * several / count
        # nearer to what it is at most than to what chance makes it
        mutual = named**2 > together(skew, crowd)
    number = 0
    for ratio in (skew, crowd, near):
        number = PLACES * number + _magnitude(ratio)
    own, before = _neighbours(starts)
    differ = np.minimum(own, FIRST + 1) != np.minimum(before, FIRST + 1)
    ragged = int(differ.sum()) * RAGGED >= differ.size > 0
    alike = _alike(starts, coordinates, here[::COMPARED]) >= RUNS
    lower = several == extent and bool((stored < here - 1).all())
    return 16 * number + 8 * lower + 4 * alike + 2 * mutual + ragged


def _alike(starts: np.ndarray, coordinates: np.ndarray, after: np.ndarray) -> float:
    """Return which part of some ranges, those before ``after``, has the coordinates of the next."""
    after = after[after < starts.size - 1]
    low, high, past = starts[after - 1], starts[after], starts[after + 1]
    length = high - low
    several = (length == past - high) & (length >= SEVERAL)
    if not several.any():
        return 0.0
    first, length = (each[several, None].astype(np.int64) for each in (low, length))
    places = first + (length - 1) * np.arange(COMPARED) // (COMPARED - 1)
    same = (coordinates[places] == coordinates[places + length]).all(axis=1)
    return float(same.sum()) / max(after.size, 1)


def _neighbours(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of some ranges, and those of the ranges before them."""
    drawn = _drawn(starts.size - 2) if starts.size > 2 else np.zeros(0, np.int64)
    at = starts[drawn + 1]
    return starts[drawn + 2] - at, at - starts[drawn]


def _twins(stored: np.ndarray) -> float:
    """Return which part of all pairs of a sample are equal, 0 where chance may have it."""
    _, counts = np.unique(stored, return_counts=True)
    same = float((counts * (counts - 1.0)).sum()) / 2.0
    return same / (stored.size * (stored.size - 1) / 2.0) if same >= TWINS else 0.0


def _magnitude(x: float) -> int:
    """Return the power of four next to a number, 0 up to two.

    >>> [_magnitude(x) for x in (0.5, 1.9, 2.0, 7.9, 8.0, 30.0)]
    [0, 0, 1, 1, 2, 2]
    """
    return min((int(math.log2(max(x, 1.0))) + 1) // 2, PLACES - 1)


@functools.lru_cache(maxsize=64)
def _drawn(count: int) -> np.ndarray:
    """Return one place of each of ``DRAWN`` equal parts of so many.

    Where in its part a place lies varies without a period, so that no pattern falls in step.
    """
    parts = np.arange(DRAWN)
    within = parts * parts * ((5**0.5 - 1) / 2) % 1
    return ((parts + within) * (count / DRAWN)).astype(np.int64)
