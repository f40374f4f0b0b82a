"""The catalogue: known layouts, each as its specification and nothing else.

Takes: nothing.  Gives: ``layouts``, a mapping from name to ``Layout`` or ``Family``, and
``resolve``.  Invariant: only this module, and ``families`` for layouts of any rank, know a layout
by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import permutations

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.families import FAMILIES
from sparsedsl.layouts.family import AnyLayout, Catalogue, Family, Specification
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import property_text

__all__ = ["AnyLayout", "Family", "known", "layouts", "plain", "resolve"]

_POINTERS = ("indptr(0) = 0", "nondecreasing indptr")

_FIXED = {
    "csr": Specification(
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
        "and j = indices(p) and 0 <= j < M }",
        "data(p)",
        (*_POINTERS, "increasing indices within indptr(i) <= p < indptr(i + 1)"),
        summary="compressed rows: the columns of each row, in order",
    ),
    "csc": Specification(
        "[N, M] -> { [j, p] -> [i, j] : 0 <= j < M and indptr(j) <= p < indptr(j + 1) "
        "and i = indices(p) and 0 <= i < N }",
        "data(p)",
        (*_POINTERS, "increasing indices within indptr(j) <= p < indptr(j + 1)"),
        summary="compressed columns: the rows of each column, in order",
    ),
    "dcsr": Specification(
        "[N, M, NR] -> { [q, p] -> [i, j] : 0 <= q < NR and i = rows(q) and 0 <= i < N "
        "and indptr(q) <= p < indptr(q + 1) and j = indices(p) and 0 <= j < M }",
        "data(p)",
        (
            "increasing rows",
            *_POINTERS,
            "increasing indices within indptr(q) <= p < indptr(q + 1)",
        ),
        summary="compressed rows of the rows that hold entries",
    ),
    "dcsc": Specification(
        "[N, M, NC] -> { [q, p] -> [i, j] : 0 <= q < NC and j = cols(q) and 0 <= j < M "
        "and indptr(q) <= p < indptr(q + 1) and i = indices(p) and 0 <= i < N }",
        "data(p)",
        (
            "increasing cols",
            *_POINTERS,
            "increasing indices within indptr(q) <= p < indptr(q + 1)",
        ),
        summary="compressed columns of the columns that hold entries",
    ),
    "bcsr": Specification(
        "[N, M, R, C] -> { [bi, p, r, c] -> [i, j] : 0 <= i < N and i = R*bi + r "
        "and 0 <= r < R and indptr(bi) <= p < indptr(bi + 1) and j = C*indices(p) + c "
        "and 0 <= c < C and 0 <= j < M }",
        "data(p, r, c)",
        (
            *_POINTERS,
            "increasing indices within indptr(bi) <= p < indptr(bi + 1)",
            "range indices in [0, (M + C - 1) // C)",
        ),
        usual=(4, 4),
        summary="compressed rows of dense blocks of R x C",
    ),
    "bcsc": Specification(
        "[N, M, R, C] -> { [bj, p, r, c] -> [i, j] : 0 <= j < M and j = C*bj + c "
        "and 0 <= c < C and indptr(bj) <= p < indptr(bj + 1) and i = R*indices(p) + r "
        "and 0 <= r < R and 0 <= i < N }",
        "data(p, r, c)",
        (
            *_POINTERS,
            "increasing indices within indptr(bj) <= p < indptr(bj + 1)",
            "range indices in [0, (N + R - 1) // R)",
        ),
        usual=(4, 4),
        summary="compressed columns of dense blocks of R x C",
    ),
    "vbl": Specification(
        "[N, M] -> { [i, b, j] -> [i, j] : 0 <= i < N and indptr(i) <= b < indptr(i + 1) "
        "and start(b) <= j < stop(b) and 0 <= j < M }",
        "data(ptr(b) + j - start(b))",
        (
            *_POINTERS,
            "ptr(0) = 0",
            "nondecreasing ptr",
            "ptr(b + 1) = ptr(b) + stop(b) - start(b)",
            "disjoint (start, stop) within indptr(i) <= b < indptr(i + 1)",
        ),
        summary="rows of runs of neighbouring columns, the values of a run side by side",
    ),
    "dia": Specification(
        "[N, M, ND] -> { [d, j] -> [i, j] : 0 <= d < ND and 0 <= j < M "
        "and i = j - offsets(d) and 0 <= i < N }",
        "data(d, j)",
        ("injective offsets",),
        summary="diagonals, each as long as a row",
    ),
    # counts(i) slots of row i are used
    "ell": Specification(
        "[N, M, W] -> { [i, s] -> [i, j] : 0 <= i < N and 0 <= s < W and s < counts(i) "
        "and j = cols(i, s) and 0 <= j < M }",
        "data(i, s)",
        ("range counts in [0, W + 1)", "increasing cols within 0 <= s < counts(i)"),
        summary="rows padded to one width",
    ),
    "sell": Specification(
        "[N, M, C] -> { [b, k, r] -> [i, j] : 0 <= i < N and i = C*b + r and 0 <= r < C "
        "and 0 <= k < widths(b) and k < counts(i) and j = cols(ptr(b) + C*k + r) "
        "and 0 <= j < M }",
        "data(ptr(b) + C*k + r)",
        (
            "ptr(0) = 0",
            "nondecreasing ptr",
            "ptr(b + 1) = ptr(b) + C*widths(b)",
            "increasing cols within 0 <= k < counts(C*b + r)",
        ),
        usual=(8,),
        summary="slices of C rows, each padded to a width of its own and stored by columns",
    ),
    # slot s holds row perm(s)
    "sell_sigma": Specification(
        "[N, M, C, S] -> { [w, s, b, k] -> [i, j] : 0 <= w and S*w <= s < S*w + S and s < N "
        "and b = s//C and i = perm(s) and S*w <= i < S*w + S and 0 <= i < N "
        "and 0 <= k < widths(b) and k < counts(s) and j = cols(ptr(b) + C*k + s mod C) "
        "and 0 <= j < M }",
        "data(ptr(b) + C*k + s mod C)",
        (
            "permutation perm",
            "nonincreasing counts within S*w <= s < S*w + S",
            "ptr(0) = 0",
            "nondecreasing ptr",
            "ptr(b + 1) = ptr(b) + C*widths(b)",
            "increasing cols within 0 <= k < counts(s)",
        ),
        usual=(8, 128),
        summary="sell with the rows sorted by length in windows of S",
    ),
    "hyb": Specification(
        "[N, M, NNZ, W] -> { [u, v, q] -> [i, j] : 0 <= u < N and 0 <= v < W and v < counts(u) "
        "and q = W*u + v and i = u and j = cols(u, v) and 0 <= j < M; "
        "[u, v, q] -> [i, j] : 0 <= u < NNZ and v = 0 and q = W*N + u and i = rest0(u) "
        "and j = rest1(u) and 0 <= i < N and 0 <= j < M }",
        "data(q)",
        (
            "range counts in [0, W + 1)",
            "increasing cols within 0 <= v < counts(u)",
            "lexicographic (rest0, rest1)",
        ),
        usual=(8,),
        summary="the first W entries of each row as ell, the others as coo",
    ),
    "jad": Specification(
        "[N, M, ND] -> { [r, d] -> [i, j] : 0 <= r < N and i = perm(r) and 0 <= i < N "
        "and 0 <= d < ND and d < counts(r) and jptr(d) + r < jptr(d + 1) "
        "and j = indices(jptr(d) + r) and 0 <= j < M }",
        "data(jptr(d) + r)",
        (
            "permutation perm",
            "nonincreasing counts",
            "range counts in [0, ND + 1)",
            "jptr(0) = 0",
            "nondecreasing jptr",
            "increasing indices within 0 <= d < counts(r)",
        ),
        summary="rows by decreasing length, their d-th entries side by side",
    ),
    # a slot whose crd0 is below 0 is free
    "hash": Specification(
        "[N, M, W, B] -> { [b, s] -> [i, j] : 0 <= b < B and 0 <= s < W and crd0(b, s) >= 0 "
        "and i = crd0(b, s) and j = crd1(b, s) and b = (31*i + j) mod B "
        "and 0 <= i < N and 0 <= j < M }",
        "data(b, s)",
        ("injective (crd0, crd1) within 0 <= s < W",),
        usual=(1024,),
        summary="a hash table of B buckets, each as wide as the fullest",
    ),
    "csb": Specification(
        "[N, M, B] -> { [u, v, e] -> [i, j] : i = B*u + rows(e) and j = B*v + cols(e) "
        "and 0 <= B*u < N and 0 <= B*v < M "
        "and ptr(((M + B - 1)//B)*u + v) <= e < ptr(((M + B - 1)//B)*u + v + 1) "
        "and 0 <= i < N and 0 <= j < M }",
        "data(e)",
        (
            "ptr(0) = 0",
            "nondecreasing ptr",
            "range rows in [0, B)",
            "range cols in [0, B)",
            "lexicographic (rows, cols) within ptr(((M + B - 1)//B)*u + v) <= e "
            "< ptr(((M + B - 1)//B)*u + v + 1)",
        ),
        usual=(128,),
        summary="blocks of B x B, the entries of each as short coordinates",
    ),
    "rle": Specification(
        "[N, M] -> { [i, r, j] -> [i, j] : 0 <= i < N and indptr(i) <= r < indptr(i + 1) "
        "and start(r) <= j < stop(r) and 0 <= j < M }",
        "data(r)",
        (*_POINTERS, "disjoint (start, stop) within indptr(i) <= r < indptr(i + 1)"),
        summary="rows of runs of neighbouring columns that share one value",
    ),
    "banded": Specification(
        "[N, M, KL, KU] -> { [i, k] -> [i, j] : 0 <= i < N and 0 <= k <= KL + KU "
        "and j = i + k - KL and 0 <= j < M }",
        "data(i, k)",
        usual=(1, 1),
        summary="KL diagonals below the main one and KU above it, by rows",
    ),
    "skyline": Specification(
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and first(i) <= j <= i and 0 <= j < M }",
        "data(ptr(i) + j - first(i))",
        (
            "range first in [0, N + 1)",
            "ptr(0) = 0",
            "nondecreasing ptr",
            "ptr(i + 1) = ptr(i) + i + 1 - first(i)",
        ),
        summary="each row from its first entry to the diagonal",
    ),
    "triangular": Specification(
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j <= i and j < M }",
        "data(ptr(i) + j)",
        ("ptr(0) = 0", "nondecreasing ptr", "ptr(i + 1) = ptr(i) + i + 1"),
        summary="the lower triangle, row by row",
    ),
    "symmetric": Specification(
        "[N, M] -> { [q, p] -> [q, j] : 0 <= q < N and indptr(q) <= p < indptr(q + 1) "
        "and j = indices(p) and 0 <= j <= q and j < M; [q, p] -> [i, q] : 0 <= q < N and q < M "
        "and indptr(q) <= p < indptr(q + 1) and i = indices(p) and indices(p) < q and 0 <= i }",
        "data(p)",
        (*_POINTERS, "increasing indices within indptr(q) <= p < indptr(q + 1)"),
        summary="the lower triangle of a symmetric matrix, compressed by rows",
    ),
    "packed": Specification(
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j <= i and j < M; "
        "[i, j] -> [j, i] : 0 <= i < N and i < M and 0 <= j < i }",
        "data(ptr(i) + j)",
        ("ptr(0) = 0", "nondecreasing ptr", "ptr(i + 1) = ptr(i) + i + 1"),
        summary="the lower triangle of a symmetric matrix, row by row",
    ),
    "ragged": Specification(
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j < lengths(i) and j < M }",
        "data(ptr(i) + j)",
        (
            "range lengths in [0, M + 1)",
            "ptr(0) = 0",
            "nondecreasing ptr",
            "ptr(i + 1) = ptr(i) + lengths(i)",
        ),
        summary="rows of different lengths, each full from its first column on",
    ),
    "nm": Specification(
        "[N, M, K, G] -> { [i, b, s] -> [i, j] : 0 <= i < N and 0 <= G*b < M and 0 <= s < K "
        "and s < counts(i, b) and j = G*b + offs(i, b, s) and 0 <= j < M }",
        "data(i, b, s)",
        (
            "range counts in [0, K + 1)",
            "range offs in [0, G)",
            "increasing offs within 0 <= s < counts(i, b)",
        ),
        usual=(4,),
        summary="at most K entries in every G neighbouring columns (2:4 sparsity)",
    ),
    "pattern": Specification(
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
        "and j = indices(p) and 0 <= j < M }",
        "value()",
        (*_POINTERS, "increasing indices within indptr(i) <= p < indptr(i + 1)"),
        summary="compressed rows of positions, all with one value",
    ),
}


layouts = Catalogue(FAMILIES, _FIXED)


def resolve(layout: AnyLayout | str, rank: int, order: Sequence[int] | None = None) -> Layout:
    """The one layout meant by a layout, a family or a name, for a tensor of ``rank`` modes.

    A layout meant by its name alone has its usual block sizes.

    Raises
    ------
    LayoutError
        For unknown names, a layout of another rank, or missing block sizes.

    >>> resolve("dense", 2).rank
    2
    >>> resolve("bcsr", 2).label
    'bcsr(4, 4)'
    """
    found = layouts.usual(layout) if isinstance(layout, str) else layout
    match found:
        case Family():
            chosen = found.of(rank, order)
        case Layout():
            chosen = found if order is None else found(order=order)
        case _:
            raise LayoutError(
                f"expected a layout or its name, found {type(layout).__name__}",
                hint='such as "csr", sd.layouts.CSR or sd.Layout(...)',
            )
    if chosen.rank != rank:
        raise LayoutError(
            f"the layout '{chosen.label}' holds tensors of {chosen.rank} modes, found {rank}",
            hint='sd.layouts["csf"] and sd.layouts["coo"] hold any number of modes',
        )
    return chosen.require_bound()


HUGE = 2**27
"""Extent from which a result lists the rows that occur: one pointer a row is too much."""


@lru_cache(maxsize=256)
def hierarchical(order: tuple[int, ...], thin: bool = False) -> Layout:
    """The sorted tree layout that stores modes in ``order``, direct to enter at the root.

    A ``thin`` one lists the coordinates that occur at the root too, so that it takes no
    memory for those that do not.

    >>> hierarchical((1, 0)).name
    'csc'
    """
    if len(order) == 2 and not thin:
        return resolve("csr" if order == (0, 1) else "csc", 2)
    return resolve("csf", len(order), order)


@lru_cache(maxsize=1024)
def plain(rank: int, order: tuple[int, ...] | None = None) -> Layout:
    """The layout of a plain array of ``rank`` axes, its axes the modes in ``order``."""
    return resolve("dense", rank, order)


@lru_cache(maxsize=1024)
def coordinates(rank: int) -> Layout:
    """Return the layout of entries in order of their coordinates, one array a mode."""
    return resolve("coo", rank)


def terms_of_sums(rank: int) -> Layout:
    """Return the layout of entries in any order, of which those of one coordinate are added up."""
    return resolve("coo_repeated", rank)


def known(layout: Layout) -> Layout:
    """The catalogue's own layout with the same storage and promises, else ``layout`` itself.

    >>> known(layouts["csr"](order=(1, 0))).name
    'csc'
    """
    for entry in layouts.values():
        match entry:
            case Family():
                named = entry.name == layout.name
                sized = replace(entry, block_sizes=layout.block_sizes)
                member = sized.of(layout.rank, layout.order) if named else None
            case Layout():
                same = len(entry.blocks) == len(layout.block_sizes) and entry.rank == layout.rank
                member = entry(*layout.block_sizes) if same else None
        if member is not None and member.signature == layout.signature:
            own = {property_text(item) for item in layout.properties}
            if len(own) == len(member.properties):
                return member
    return layout


@lru_cache(maxsize=256)
def dense_order(layout: Layout) -> tuple[int, ...] | None:
    """The order in which a plain array stores modes; None for other layouts.

    >>> dense_order(resolve("dense", 2, (1, 0)))
    (1, 0)
    """
    if layout.functions or layout.rank > len("abcdef"):
        return None
    orders = permutations(range(layout.rank))
    return next((o for o in orders if layout == resolve("dense", layout.rank, o)), None)
