"""Values of several rows side by side, where the rows have equal indices.

Takes: a loop over rows and one inside that walks over the entries of each.  Gives: what is the same
for all rows whose entries have equal indices, and vectors of what differs, with an element for
each row.  Invariant: no element depends on another row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sparsedsl.loops import build
from sparsedsl.loops.alike import ROOM, Rows, Runs
from sparsedsl.loops.effects import (
    array_dtypes,
    changes,
    fresh,
    names,
    straight_names,
    touched,
    uses,
)
from sparsedsl.loops.lifting import substituted
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Cast,
    Const,
    Expr,
    For,
    Kernel,
    Load,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.vectors import ARITHMETIC, lanes, vector
from sparsedsl.loops.walk import statements

FLOATS = ("float64", "float32")
"""What is laid side by side."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a kernel.

    ``given`` are arrays with one axis that it does not change, ``dtypes`` those of all arrays,
    ``fills`` what allocated ones are filled with, ``lengths`` how long they are.  Names that are
    ``straight`` are read in one turn alone; ``used`` has every use, ``taken`` all names.
    """

    given: set[str]
    dtypes: Mapping[str, str]
    fills: Mapping[str, Const | None]
    lengths: Mapping[str, Expr]
    straight: set[str]
    used: list[str]
    taken: set[str]

    def named(self, name: str, type: str = INT) -> Var:
        """Return a new variable."""
        return Var(fresh(name, self.taken), type)


@dataclass(frozen=True, slots=True)
class Row:
    """A loop over rows: what each turn sets up, walks over and clears; what is before and after.

    Each entry is set up in ``array`` at its index; ``rows`` are those that are.
    """

    loop: For
    before: tuple[Stmt, ...]
    setup: For
    walk: For
    clear: For
    after: tuple[Stmt, ...]
    array: str
    rows: Rows

    @property
    def inside(self) -> tuple[For, For, For]:
        """The loops over entries."""
        return self.setup, self.walk, self.clear

    def begins(self, node: Expr) -> bool:
        """Whether a value is where the entries of the row begin that are set up."""
        match node:
            case Load(self.rows.pointer, (place,)):
                return place == self.loop.variable
            case _:
                return False

    def keeps(self, array: str, times: int) -> bool:
        """Whether the loop touches an array so many times, and in loops over entries alone."""
        every = [name for s in statements((self.loop,)) for name in touched(s)]
        inside = [name for s in statements(self.inside) for name in touched(s)]
        return every.count(array) == inside.count(array) == times


@dataclass(frozen=True, slots=True)
class Together:
    """What takes ``rows`` together, ``most`` of them.

    Arrays ``made`` before, what is ``computed`` of all of them, and what is then ``kept`` of each.
    """

    rows: tuple[Rows, ...]
    most: int
    made: tuple[Stmt, ...]
    computed: tuple[Stmt, ...]
    kept: tuple[Stmt, ...]


def pointer_of(loop: For, row: Var, defined: Iterable[Stmt]) -> str | None:
    """Return the array whose elements at a row and the next are where a loop begins and ends."""
    given = [s for s in defined if isinstance(s, Assign)]
    match substituted(loop.start, given), substituted(loop.stop, given):
        case Load(low, (at,), "int", True), Load(high, (next,), "int", True) if low == high:
            whole = loop.step == 1 and at == row and next == build.add(row, 1)
            return low if whole else None
        case _:
            return None


def facts_of(kernel: Kernel) -> Facts:
    """Return what is known of a kernel."""
    made = [s for s in statements(kernel.body) if isinstance(s, Allocate) and len(s.shape) == 1]
    given = [p for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1]
    return Facts(
        {p.name for p in given} - changes(kernel.body),
        array_dtypes(kernel),
        {s.array: s.value for s in made},
        {s.array: s.shape[0] for s in made},
        straight_names(kernel.body) - set(kernel.results),
        [*uses(kernel.body), *kernel.results],
        names(kernel),
    )


def row_of(loop: For) -> Row | None:
    """Return what a loop sets up for each row, walks over and clears, if it does."""
    first = next((k for k, s in enumerate(loop.body) if isinstance(s, For)), 0)
    before, after = loop.body[:first], loop.body[first + 3 :]
    match loop.body[first : first + 3]:
        case (
            For(entry, body=(Store(array, (Load(indices, (at,), "int", True),)), *_)) as setup,
            For() as walk,
            For(body=(*known, Store(cleared, where))) as clear,
        ) if entry == at and array == cleared and loop.step == 1:
            pass
        case _:
            return None
    given = [s for s in known if isinstance(s, Assign)]
    match [substituted(place, given) for place in where]:
        case [Load(again, (last,))]:
            same = again == indices and last == clear.variable
        case _:
            same = False
    pointer = pointer_of(setup, loop.variable, before)
    if not same or len(given) < len(known) or pointer is None:
        return None
    if pointer != pointer_of(clear, loop.variable, before):
        return None
    return Row(loop, before, setup, walk, clear, after, array, Rows(pointer, (indices,)))


@dataclass(slots=True)
class RowLanes:
    """What of a row's walk is common to all rows of equal indices, and vectors of the rest.

    Values have one ``dtype``.  ``tables`` hold an element of the row for each place that is common,
    ``numbers`` ones that are common.  ``names`` are variables known to be common, ``indices`` the
    index arrays of entries.  Arrays ``beside`` have rows of another one side by side; ``held`` are
    vectors of what an entry of the walk has.
    """

    facts: Facts
    row: Row
    pointer: str
    dtype: str
    tables: frozenset[str]
    numbers: frozenset[str] = frozenset()
    names: set[str] = field(default_factory=set[str])
    indices: set[str] = field(default_factory=set[str])
    beside: dict[str, str] = field(default_factory=dict[str, str])
    held: dict[str, Var] = field(default_factory=dict[str, Var])

    @property
    def kind(self) -> str:
        """The type of a value of each row: half a register is as wide as loads mostly are."""
        return vector(self.dtype, 0.5)

    @property
    def most(self) -> int:
        """How many rows a vector has an element for."""
        return lanes(self.kind)

    @property
    def rows(self) -> tuple[Rows, ...]:
        """The rows that are to be equal: those set up, and those walked over."""
        walked = Rows(self.pointer, tuple(sorted(self.indices)))
        return tuple(dict.fromkeys((self.row.rows, walked)))

    @property
    def entry(self) -> Expr:
        """Which entry of its row the walk is at."""
        return build.sub(self.row.walk.variable, build.load(self.pointer, self.row.loop.variable))

    def at(self, place: Expr) -> Expr:
        """Return where the vector of a place begins."""
        return build.mul(place, self.most)

    def is_common(self, node: Expr) -> bool:
        """Whether a value is the same for all rows whose indices are equal."""
        match node:
            case Const():
                return True
            case Var(name):
                moving = changes(self.row.loop.body) | {self.row.loop.variable.name}
                return name in self.names or name not in moving
            case Load(array, (place,), "int", True) if place == self.row.walk.variable:
                if array not in self.facts.given or self.facts.dtypes[array][:3] != "int":
                    return False
                self.indices.add(array)
                return True
            case Load(array, places):
                known = array in self.facts.given or array in self.numbers
                return known and all(map(self.is_common, places))
            case Binary(_, left, right):
                return self.is_common(left) and self.is_common(right)
            case Cast(operand):
                return self.is_common(operand)
            case Apply(_, arguments):
                return all(map(self.is_common, arguments))
            case _:
                return False

    def learnt(self, definitions: Iterable[Assign]) -> list[Assign]:
        """Return the definitions that are common; they are then known to be."""
        found: list[Assign] = []
        for definition in definitions:
            if self.is_common(definition.value):
                self.names.add(definition.variable.name)
                found.append(definition)
        return found

    def vector(self, node: Expr) -> Expr | None:
        """Return a value as one of each row, None where it has no vector."""
        match node:
            case Load(array, (place,), type, True) if array in self.tables and type == self.dtype:
                found = Load(self.lanes_of(array), (self.at(place),), self.kind)
                return found if self.is_common(place) else None
            case Load(array, (place,), type, True) if (
                place == self.row.walk.variable and type == self.dtype and array in self.facts.given
            ):
                self.lanes_of(array)
                return self.held.setdefault(array, self.facts.named(f"{array}_lanes", self.kind))
            case Apply(function, arguments) if function in ARITHMETIC:
                parts = [self.vector(a) for a in arguments]
                known = tuple(part for part in parts if part is not None)
                return Apply(function, known, self.kind) if len(known) == len(parts) else None
            case _:
                common = node.type == self.dtype and self.is_common(node)
                return Cast(node, self.kind) if common else None

    def lanes_of(self, array: str) -> str:
        """Return the array in which rows of another one lie side by side."""
        if array not in self.beside:
            self.beside[array] = fresh(f"{array}_rows", self.facts.taken)
        return self.beside[array]

    def loaded(self) -> tuple[Stmt, ...]:
        """Return what loads the vectors that an entry of the walk has."""
        where = (self.at(self.entry),)
        return tuple(
            Assign(held, Load(self.lanes_of(array), where, self.kind))
            for array, held in self.held.items()
        )

    def made(self, **fills: Const) -> tuple[Stmt, ...]:
        """Return allocations of the arrays in which others lie side by side.

        Those that have ``fills`` have a vector for each element, others for entries of a row.
        """
        return tuple(
            Allocate(rows, self.dtype, (self.at(self.facts.lengths[array]),), fills[array])
            if array in fills
            else self.room(rows)
            for array, rows in self.beside.items()
        )

    def room(self, array: str) -> Allocate:
        """Return an allocation of an array with a vector for each entry of a row."""
        return Allocate(array, self.dtype, (build.i(ROOM * self.most),), Const(0.0, self.dtype))

    def laid(self, found: Runs, other: Var) -> tuple[Stmt, ...]:
        """Return what lays entries of the walk in the row ``other`` beside those of others."""
        turn = self.row.walk.variable
        place = build.sub(turn, build.load(self.pointer, other))
        return tuple(
            over(self.pointer, other, turn, self.lane(found, other, array, place, turn))
            for array in self.beside
            if array not in self.tables
        )

    def lane(self, found: Runs, other: Var, array: str, place: Expr, turn: Expr) -> Store:
        """Return the store of an element of ``array`` in the lane of the row ``other``."""
        value = Load(array, (turn,), self.dtype)
        return self.stored(found, other, self.lanes_of(array), place, value)

    def stored(self, found: Runs, other: Var, rows: str, place: Expr, value: Expr) -> Store:
        """Return the store of a value in the lane of the row ``other``."""
        lane = build.add(self.at(place), build.sub(other, found.first))
        return Store(rows, (lane,), value)


def over(pointer: str, row: Var, turn: Var, *body: Stmt) -> For:
    """Return a loop over the entries of a row."""
    return For(turn, build.load(pointer, row), build.load(pointer, build.add(row, 1)), body)
