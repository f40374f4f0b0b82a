"""The passes that every kernel goes through, in order.

Takes and gives a kernel that ``loops.verify`` accepts.  Invariant: results are the same bit for
bit, but for sums in masked lanes, of loops in loops and along rows; each pass says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from sparsedsl.loops.abreast import abreast
from sparsedsl.loops.backwards import backwards
from sparsedsl.loops.columns import columns
from sparsedsl.loops.dots import WIDEST, dots
from sparsedsl.loops.extremes import extremes
from sparsedsl.loops.fetch import fetch
from sparsedsl.loops.grouped import grouped
from sparsedsl.loops.held import held
from sparsedsl.loops.interior import interior
from sparsedsl.loops.kept import kept
from sparsedsl.loops.lanes import sums_in_lanes
from sparsedsl.loops.meets import meets
from sparsedsl.loops.nodes import Expr, Kernel
from sparsedsl.loops.packs import packs
from sparsedsl.loops.parts import sums_by_loops
from sparsedsl.loops.passing import passing
from sparsedsl.loops.pointers import pointers
from sparsedsl.loops.promote import promote
from sparsedsl.loops.reuse import reuse
from sparsedsl.loops.simplify import simplify
from sparsedsl.loops.starts import starts
from sparsedsl.loops.strip import strip
from sparsedsl.loops.supernodes import supernodes
from sparsedsl.loops.unroll import unroll
from sparsedsl.loops.verify import verify


def optimise(
    kernel: Kernel,
    *,
    vectors: bool = True,
    masked: bool = False,
    packed: bool = False,
    far: Mapping[str, float] | None = None,
    apart: bool = False,
    likely: Mapping[str, int] | None = None,
    large: Expr | None = None,
    alike: tuple[frozenset[str], ...] = (),
    near: tuple[str, ...] = (),
    checked: bool = False,
) -> Kernel:
    """Return a kernel of the same meaning that runs faster.

    ``vectors``: elements may be loaded and stored several at once.  ``masked``: sums of floats may
    be taken in another order, and lanes of vectors left unused.  ``packed``: entries that are kept
    may be stored several at once.  ``far``: arguments whose rows are worth being fetched before
    they are read, as for ``fetch``.  ``apart``: sums of floats that go on from loop to loop may be
    taken loop by loop.  ``likely``: extents that sums along rows have versions for,
    as for ``dots``.  ``large``: how many entries there is room for, where they are more than
    caches hold.  ``alike``: the arrays of operands whose rows are worth being taken together, as
    for ``supernodes`` and ``grouped``; ``near``: index arrays, as for ``backwards``.  ``checked``:
    what each pass gives is verified, not the last one's result alone.
    """
    fetched = tuple((far or {}).items())
    wide = tuple((name, n) for name, n in (likely or {}).items() if n <= WIDEST)
    return _optimised(
        kernel, vectors, masked, packed, fetched, apart, wide, large, alike, near, checked
    )


@lru_cache(maxsize=64)
def _optimised(
    kernel: Kernel,
    vectors: bool,
    masked: bool,
    packed: bool,
    far: tuple[tuple[str, float], ...],
    apart: bool,
    likely: tuple[tuple[str, int], ...],
    large: Expr | None,
    alike: tuple[frozenset[str], ...],
    near: tuple[str, ...],
    checked: bool,
) -> Kernel:
    """``optimise``, kept: plans for operands of other sizes mostly give the same loops."""
    passes = (simplify, unroll, simplify, promote, reuse, strip, simplify, kept)
    last: list[Callable[[Kernel], Kernel]] = [partial(supernodes, alike=alike)] * bool(alike)
    last += [*[sums_by_loops] * apart, *[partial(backwards, near=near)] * bool(near)]
    if vectors:
        together = [partial(grouped, alike=alike)] * bool(alike and packed)
        last += [
            *[sums_in_lanes] * masked,
            *together,
            *[meets, packs, held] * packed,
            extremes,
            interior,
        ]
        last += [*[partial(dots, likely=dict(likely))] * bool(likely), columns]
    last += [starts]
    last += [] if large is None else [partial(passing, room=large)]
    last += [partial(fetch, far=dict(far)), partial(pointers, far=dict(far).keys())]
    last += [partial(abreast, alike=alike)] * bool(alike and vectors and packed)
    for step in (*passes, *last):
        kernel = step(kernel)
        if checked:
            verify(kernel)
    return kernel
