"""The catalogue: known layouts, each as its specification and nothing else.

Takes: nothing.  Gives: ``layouts``, a mapping from name to ``Layout`` or ``Family``, and
``resolve``.  Invariant: no other module knows a layout by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.layout import Layout, checked_order
from sparsedsl.layouts.properties import property_text

LETTERS = "ijklmn"


@dataclass(frozen=True, slots=True)
class Family:
    """A layout of every rank: ``family.of(3)``, or ``family(order=(2, 0, 1))``.

    ``specify(rank, order)`` gives the specification, where storage level ``k`` holds the
    logical mode ``order[k]``.
    """

    name: str
    specify: Callable[[int, tuple[int, ...]], Specification]
    summary: str

    def of(self, rank: int, order: Sequence[int] | None = None) -> Layout:
        """The layout of ``rank`` modes, stored in ``order`` (logical order by default)."""
        modes = tuple(range(rank)) if order is None else checked_order(order, rank, self.name)
        return _member(self, rank, modes)

    def __call__(self, *block_sizes: int, order: Sequence[int] | None = None) -> Layout | Family:
        """Fix the mode order, and with it the rank."""
        if block_sizes:
            raise LayoutError(
                f"the layout '{self.name}' has no block sizes, found {block_sizes}",
                hint=f'its modes are ordered by sd.layouts["{self.name}"](order=(1, 0))',
            )
        return self if order is None else self.of(len(tuple(order)), order)


@dataclass(frozen=True, slots=True)
class Specification:
    """What ``Layout`` takes, as text."""

    relation: str
    value: str
    properties: tuple[str, ...] = ()


AnyLayout: TypeAlias = "Layout | Family"


@lru_cache(maxsize=1024)
def _member(family: Family, rank: int, order: tuple[int, ...]) -> Layout:
    given = family.specify(rank, order)
    made = Layout(family.name, given.relation, value=given.value, properties=given.properties)
    if order != tuple(range(rank)):
        object.__setattr__(made, "order", order)
    return made


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


_POINTERS = ("indptr(0) = 0", "nondecreasing indptr")

_FAMILIES = (
    Family("dense", _dense, "every coordinate, in a plain array"),
    Family("coo", _sorted_coordinates, "sorted coordinates of every entry"),
    Family("coo_unsorted", _unsorted_coordinates, "coordinates in any order, none twice"),
    Family("csf", _fibers, "a tree of compressed levels"),
)

_FIXED = (
    Layout(
        "csr",
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
        "and j = indices(p) and 0 <= j < M }",
        value="data(p)",
        properties=[*_POINTERS, "increasing indices within indptr(i) <= p < indptr(i + 1)"],
    ),
    Layout(
        "csc",
        "[N, M] -> { [j, p] -> [i, j] : 0 <= j < M and indptr(j) <= p < indptr(j + 1) "
        "and i = indices(p) and 0 <= i < N }",
        value="data(p)",
        properties=[*_POINTERS, "increasing indices within indptr(j) <= p < indptr(j + 1)"],
    ),
    Layout(
        "dcsr",
        "[N, M, NR] -> { [q, p] -> [i, j] : 0 <= q < NR and i = rows(q) and 0 <= i < N "
        "and indptr(q) <= p < indptr(q + 1) and j = indices(p) and 0 <= j < M }",
        value="data(p)",
        properties=[
            "increasing rows",
            *_POINTERS,
            "increasing indices within indptr(q) <= p < indptr(q + 1)",
        ],
    ),
    Layout(
        "dcsc",
        "[N, M, NC] -> { [q, p] -> [i, j] : 0 <= q < NC and j = cols(q) and 0 <= j < M "
        "and indptr(q) <= p < indptr(q + 1) and i = indices(p) and 0 <= i < N }",
        value="data(p)",
        properties=[
            "increasing cols",
            *_POINTERS,
            "increasing indices within indptr(q) <= p < indptr(q + 1)",
        ],
    ),
    Layout(
        "bcsr",
        "[N, M, R, C] -> { [bi, p, r, c] -> [i, j] : 0 <= i < N and i = R*bi + r "
        "and 0 <= r < R and indptr(bi) <= p < indptr(bi + 1) and j = C*indices(p) + c "
        "and 0 <= c < C and 0 <= j < M }",
        value="data(p, r, c)",
        properties=[
            *_POINTERS,
            "increasing indices within indptr(bi) <= p < indptr(bi + 1)",
            "range indices in [0, (M + C - 1) // C)",
        ],
    ),
    Layout(
        "bcsc",
        "[N, M, R, C] -> { [bj, p, r, c] -> [i, j] : 0 <= j < M and j = C*bj + c "
        "and 0 <= c < C and indptr(bj) <= p < indptr(bj + 1) and i = R*indices(p) + r "
        "and 0 <= r < R and 0 <= i < N }",
        value="data(p, r, c)",
        properties=[
            *_POINTERS,
            "increasing indices within indptr(bj) <= p < indptr(bj + 1)",
            "range indices in [0, (N + R - 1) // R)",
        ],
    ),
    Layout(
        "dia",
        "[N, M, ND] -> { [d, j] -> [i, j] : 0 <= d < ND and 0 <= j < M "
        "and i = j - offsets(d) and 0 <= i < N }",
        value="data(d, j)",
        properties=["injective offsets"],
    ),
)


class Catalogue(Mapping[str, AnyLayout]):
    """Layouts by name, upper or lower case: ``layouts["csr"]`` or ``layouts.CSR``."""

    def __init__(self, entries: Sequence[AnyLayout]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    def __getitem__(self, name: str) -> AnyLayout:
        found = self._entries.get(name.lower()) if isinstance(name, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]
        if found is None:
            raise UnknownLayoutError(
                f"unknown layout {name!r}; known are {', '.join(self)}",
                hint="define one of your own with sd.Layout(name, relation, value=...)",
            )
        return found

    def __getattr__(self, name: str) -> AnyLayout:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except UnknownLayoutError as error:
            raise AttributeError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __dir__(self) -> list[str]:
        return [name.upper() for name in self._entries]

    def __repr__(self) -> str:
        return f"<layouts: {', '.join(self)}>"


class UnknownLayoutError(LayoutError, KeyError):
    """A layout name the catalogue does not hold."""


layouts = Catalogue((*_FAMILIES, *_FIXED))


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
            return found.of(rank, order)
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
def hierarchical(order: tuple[int, ...]) -> Layout:
    """The sorted tree layout that stores modes in ``order``, direct to enter at the root.

    >>> hierarchical((1, 0)).name
    'csc'
    """
    if len(order) == 2:
        return resolve("csr" if order == (0, 1) else "csc", 2)
    return resolve("csf", len(order), order)


@lru_cache(maxsize=1024)
def known(layout: Layout) -> Layout:
    """The catalogue's own layout with the same storage and promises, else ``layout`` itself.

    >>> known(layouts["csr"](order=(1, 0))).name
    'csc'
    """
    for entry in layouts.values():
        match entry:
            case Family():
                named = entry.name == layout.name
                member = entry.of(layout.rank, layout.order) if named else None
            case Layout():
                same = len(entry.blocks) == len(layout.block_sizes) and entry.rank == layout.rank
                member = entry(*layout.block_sizes) if same else None
        if member is not None and member.signature == layout.signature:
            own = {property_text(item) for item in layout.properties}
            if len(own) == len(member.properties):
                return member
    return layout
