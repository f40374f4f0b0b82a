"""The catalogue: known layouts, each as its specification and nothing else.

Takes: nothing.  Gives: ``layouts``, a mapping from name to ``Layout`` or ``Family``, and
``resolve``.  Invariant: no other module knows a layout by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.family import AnyLayout, Catalogue, Family, Specification
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import property_text

__all__ = ["AnyLayout", "Family", "known", "layouts", "plain", "resolve"]

LETTERS = "ijklmn"


def _names(rank: int) -> tuple[list[str], list[str]]:
    """Index names and extent names of ``rank`` modes."""
    if rank <= len(LETTERS):
        return list(LETTERS[:rank]), [letter.upper() for letter in LETTERS[:rank]]
    return [f"i{mode}" for mode in range(rank)], [f"I{mode}" for mode in range(rank)]


def _relation(
    parameters: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], *constraints: str
) -> str:
    head = f"[{', '.join(parameters)}] -> " if parameters else ""
    body = " and ".join(constraints)
    return f"{head}{{ [{', '.join(inputs)}] -> [{', '.join(outputs)}] : {body} }}"


def _boxes(indices: Sequence[str], extents: Sequence[str]) -> list[str]:
    return [f"0 <= {index} < {extent}" for index, extent in zip(indices, extents, strict=True)]


def _dense(rank: int, order: tuple[int, ...]) -> Specification:
    indices, extents = _names(rank)
    stored = [indices[mode] for mode in order]
    relation = _relation(extents, stored, indices, *_boxes(indices, extents))
    return Specification(relation, f"data({', '.join(stored)})")


def _coordinates(rank: int, order: tuple[int, ...]) -> tuple[str, tuple[str, ...]]:
    """Relation and index arrays of a list of coordinates, most significant first."""
    indices, extents = _names(rank)
    names = tuple(f"crd{level}" for level in range(rank))
    loads = [f"{indices[mode]} = {name}(p)" for mode, name in zip(order, names, strict=True)]
    parameters = [*extents, "NNZ"]
    bounds = ["0 <= p < NNZ", *loads, *_boxes(indices, extents)]
    return _relation(parameters, ["p"], indices, *bounds), names


def _sorted_coordinates(rank: int, order: tuple[int, ...]) -> Specification:
    relation, names = _coordinates(rank, order)
    properties = (f"lexicographic ({', '.join(names)})",) if names else ()
    return Specification(relation, "data(p)", properties)


def _unsorted_coordinates(rank: int, order: tuple[int, ...]) -> Specification:
    relation, names = _coordinates(rank, order)
    properties = (f"injective ({', '.join(names)})",) if names else ()
    return Specification(relation, "data(p)", properties)


def _fibers(rank: int, order: tuple[int, ...]) -> Specification:
    indices, extents = _names(rank)
    if rank == 0:
        return Specification("{ [] -> [] }", "data()")
    loads = [f"{indices[mode]} = crd{level}(p{level})" for level, mode in enumerate(order)]
    constraints = ["0 <= p0 < NNZ0", loads[0]]
    properties = ["increasing crd0"]
    for level in range(1, rank):
        parent, own, pointer = f"p{level - 1}", f"p{level}", f"pos{level}"
        within = f"{pointer}({parent}) <= {own} < {pointer}({parent} + 1)"
        constraints += [within, loads[level]]
        properties.append(f"{pointer}(0) = 0")
        properties.append(f"nondecreasing {pointer}")
        properties.append(f"increasing crd{level} within {within}")
    constraints += _boxes(indices, extents)
    places = [f"p{level}" for level in range(rank)]
    relation = _relation([*extents, "NNZ0"], places, indices, *constraints)
    return Specification(relation, f"data(p{rank - 1})", tuple(properties))


def _morton(rank: int, order: tuple[int, ...]) -> Specification:
    relation, names = _coordinates(rank, order)
    properties = (f"morton ({', '.join(names)})",) if names else ()
    return Specification(relation, "data(p)", properties)


def _blocked_coordinates(rank: int, order: tuple[int, ...]) -> Specification:
    """Coordinates as block numbers in Morton order, and offsets in the block."""
    indices, extents = _names(rank)
    within = "ptr(b) <= e < ptr(b + 1)"
    loads = [
        f"{indices[mode]} = B*blk{level}(b) + off{level}(e)" for level, mode in enumerate(order)
    ]
    blocks = ", ".join(f"blk{level}" for level in range(rank))
    offsets = ", ".join(f"off{level}" for level in range(rank))
    constraints = ["0 <= b < NB", within, *loads, *_boxes(indices, extents)]
    relation = _relation([*extents, "NB", "B"], ["b", "e"], indices, *constraints)
    ranges = [f"range off{level} in [0, B)" for level in range(rank)]
    ranges += [
        f"range blk{level} in [0, ({extents[mode]} + B - 1)//B)" for level, mode in enumerate(order)
    ]
    ordered = [f"morton ({blocks})", f"lexicographic ({offsets}) within {within}"] if rank else []
    pointers = ["ptr(0) = 0", "nondecreasing ptr"]
    return Specification(relation, "data(e)", (*pointers, *ranges, *ordered))


def _marked(rank: int, order: tuple[int, ...]) -> Specification:
    indices, extents = _names(rank)
    stored = ", ".join(indices[mode] for mode in order)
    boxes = [*_boxes(indices, extents), f"mask({stored}) = 1"]
    relation = _relation(extents, [indices[mode] for mode in order], indices, *boxes)
    return Specification(relation, f"data({stored})", ("range mask in [0, 2)",))


def _repeated_coordinates(rank: int, order: tuple[int, ...]) -> Specification:
    relation, names = _coordinates(rank, order)
    properties = (f"repeated ({', '.join(names)})",) if names else ()
    return Specification(relation, "data(p)", properties)


def _blocks_at_coordinates(rank: int, order: tuple[int, ...]) -> Specification:
    return _inner_blocks(rank // 2)(rank, order)


@lru_cache(maxsize=64)
def _inner_blocks(dense: int) -> Callable[[int, tuple[int, ...]], Specification]:
    """Coordinates of the outer modes, with a plain block of the ``dense`` inner ones each."""
    return partial(_tuples_of_blocks, dense)


def _tuples_of_blocks(dense: int, rank: int, order: tuple[int, ...]) -> Specification:
    if dense > rank:
        raise LayoutError(
            f"expected at most {rank} dense modes for a tensor of {rank} modes, found {dense}"
        )
    indices, extents = _names(rank)
    outer = rank - dense
    if not outer:
        return _dense(rank, order)
    stored = [indices[mode] for mode in order]
    names = [f"crd{level}" for level in range(outer)]
    loads = [f"{stored[level]} = {name}(p)" for level, name in enumerate(names)]
    relation = _relation(
        [*extents, "NNZ"],
        ["p", *stored[outer:]],
        indices,
        "0 <= p < NNZ",
        *loads,
        *_boxes(indices, extents),
    )
    properties = (f"lexicographic ({', '.join(names)})",) if names else ()
    return Specification(relation, f"data({', '.join(['p', *stored[outer:]])})", properties)


_FAMILIES = (
    Family("dense", _dense, "every coordinate, in a plain array"),
    Family("coo", _sorted_coordinates, "sorted coordinates of every entry"),
    Family("coo_unsorted", _unsorted_coordinates, "coordinates in any order, none twice"),
    Family(
        "mode_generic",
        _blocks_at_coordinates,
        "coordinates of the outer modes, with plain blocks of the inner ones",
        inner=_inner_blocks,
    ),
    Family("coo_repeated", _repeated_coordinates, "coordinates in any order, values of one add up"),
    Family("csf", _fibers, "a tree of compressed levels"),
    Family("morton", _morton, "coordinates along the Morton curve"),
    Family("hicoo", _blocked_coordinates, "coordinates in blocks along the Morton curve"),
    Family("bitmap", _marked, "a plain array with a mask of what is stored"),
)

_POINTERS = ("indptr(0) = 0", "nondecreasing indptr")

_FIXED = {
    "csr": Specification(
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
        "and j = indices(p) and 0 <= j < M }",
        "data(p)",
        (*_POINTERS, "increasing indices within indptr(i) <= p < indptr(i + 1)"),
    ),
    "csc": Specification(
        "[N, M] -> { [j, p] -> [i, j] : 0 <= j < M and indptr(j) <= p < indptr(j + 1) "
        "and i = indices(p) and 0 <= i < N }",
        "data(p)",
        (*_POINTERS, "increasing indices within indptr(j) <= p < indptr(j + 1)"),
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
    ),
    # Runs of neighbouring columns, each with its values next to each other.
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
    ),
    "dia": Specification(
        "[N, M, ND] -> { [d, j] -> [i, j] : 0 <= d < ND and 0 <= j < M "
        "and i = j - offsets(d) and 0 <= i < N }",
        "data(d, j)",
        ("injective offsets",),
    ),
    # Rows padded to one width; counts(i) slots of row i are used.
    "ell": Specification(
        "[N, M, W] -> { [i, s] -> [i, j] : 0 <= i < N and 0 <= s < W and s < counts(i) "
        "and j = cols(i, s) and 0 <= j < M }",
        "data(i, s)",
        ("range counts in [0, W + 1)", "increasing cols within 0 <= s < counts(i)"),
    ),
    # Slices of C rows, each padded to its own width and stored column by column.
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
    ),
    # Rows sorted by length within windows of S, slot s holding row perm(s); slices as in sell.
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
    ),
    # The first W entries of each row as padded rows, the others as coordinates.
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
    ),
    # Rows by falling length; the d-th entries of all rows that have one lie side by side.
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
    ),
    # Buckets of a hash of the coordinates, as wide as the fullest; below 0 a slot is free.
    "hash": Specification(
        "[N, M, W, B] -> { [b, s] -> [i, j] : 0 <= b < B and 0 <= s < W and crd0(b, s) >= 0 "
        "and i = crd0(b, s) and j = crd1(b, s) and b = (31*i + j) mod B "
        "and 0 <= i < N and 0 <= j < M }",
        "data(b, s)",
        ("injective (crd0, crd1) within 0 <= s < W",),
    ),
    # Square blocks in row-major order, the entries of each as short coordinates.
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
    ),
    # Runs of neighbouring columns that share one value.
    "rle": Specification(
        "[N, M] -> { [i, r, j] -> [i, j] : 0 <= i < N and indptr(i) <= r < indptr(i + 1) "
        "and start(r) <= j < stop(r) and 0 <= j < M }",
        "data(r)",
        (*_POINTERS, "disjoint (start, stop) within indptr(i) <= r < indptr(i + 1)"),
    ),
    # KL diagonals below the main one and KU above it.
    "banded": Specification(
        "[N, M, KL, KU] -> { [i, k] -> [i, j] : 0 <= i < N and 0 <= k <= KL + KU "
        "and j = i + k - KL and 0 <= j < M }",
        "data(i, k)",
    ),
    # Each row from its first entry to the diagonal.
    "skyline": Specification(
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and first(i) <= j <= i and 0 <= j < M }",
        "data(ptr(i) + j - first(i))",
        (
            "range first in [0, N + 1)",
            "ptr(0) = 0",
            "nondecreasing ptr",
            "ptr(i + 1) = ptr(i) + i + 1 - first(i)",
        ),
    ),
    # The lower triangle, row after row.
    "triangular": Specification(
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j <= i and j < M }",
        "data(ptr(i) + j)",
        ("ptr(0) = 0", "nondecreasing ptr", "ptr(i + 1) = ptr(i) + i + 1"),
    ),
    # The lower triangle of a symmetric matrix by rows; the upper one is its mirror image.
    "symmetric": Specification(
        "[N, M] -> { [q, p] -> [q, j] : 0 <= q < N and indptr(q) <= p < indptr(q + 1) "
        "and j = indices(p) and 0 <= j <= q and j < M; [q, p] -> [i, q] : 0 <= q < N and q < M "
        "and indptr(q) <= p < indptr(q + 1) and i = indices(p) and indices(p) < q and 0 <= i }",
        "data(p)",
        (*_POINTERS, "increasing indices within indptr(q) <= p < indptr(q + 1)"),
    ),
    # Rows of different lengths, each full from its first column on.
    "ragged": Specification(
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j < lengths(i) and j < M }",
        "data(ptr(i) + j)",
        (
            "range lengths in [0, M + 1)",
            "ptr(0) = 0",
            "nondecreasing ptr",
            "ptr(i + 1) = ptr(i) + lengths(i)",
        ),
    ),
    # At most K entries in every G neighbouring columns of a row (2:4 sparsity).
    "nm": Specification(
        "[N, M, K, G] -> { [i, b, s] -> [i, j] : 0 <= i < N and 0 <= G*b < M and 0 <= s < K "
        "and s < counts(i, b) and j = G*b + offs(i, b, s) and 0 <= j < M }",
        "data(i, b, s)",
        (
            "range counts in [0, K + 1)",
            "range offs in [0, G)",
            "increasing offs within 0 <= s < counts(i, b)",
        ),
    ),
    # Positions alone: every entry has the one value that is stored.
    "pattern": Specification(
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
        "and j = indices(p) and 0 <= j < M }",
        "value()",
        (*_POINTERS, "increasing indices within indptr(i) <= p < indptr(i + 1)"),
    ),
}


layouts = Catalogue(_FAMILIES, _FIXED)


def resolve(layout: AnyLayout | str, rank: int, order: Sequence[int] | None = None) -> Layout:
    """The one layout meant by a layout, a family or a name, for a tensor of ``rank`` modes.

    Raises
    ------
    LayoutError
        For unknown names, a layout of another rank, or missing block sizes.

    >>> resolve("dense", 2).rank
    2
    """
    found = layouts[layout] if isinstance(layout, str) else layout
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


def plain(rank: int, order: Sequence[int] | None = None) -> Layout:
    """The layout of a plain array of ``rank`` axes, its axes the modes in ``order``."""
    return resolve("dense", rank, order)


@lru_cache(maxsize=1024)
def coordinates(rank: int) -> Layout:
    """Return the layout of entries in order of their coordinates, one array a mode."""
    return resolve("coo", rank)


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
