"""Specifications of layouts of every rank: each is written out for a number of modes.

Takes: a number of modes and the order they are stored in.  Gives: ``FAMILIES``.  Invariant:
a specification is text, read like one of a user's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.family import Family, Specification

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
            f"expected at most {rank} dense modes for a tensor of {rank} modes, found {dense}",
            hint="the outer modes have coordinates, the dense ones a block at each",
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


FAMILIES = (
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
    Family(
        "hicoo",
        _blocked_coordinates,
        "coordinates in blocks along the Morton curve",
        usual=(128,),
    ),
    Family("bitmap", _marked, "a plain array with a mask of what is stored"),
)
