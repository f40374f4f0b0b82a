"""Rows of equal pattern multiplied at once: one accumulator with a lane for each of them.

    for i in a .. b:                            for i in a .. b, rows that are alike at a time:
        for p in ptr[i] .. ptr[i + 1]:              left[0 ..] = their values, entry by entry
            k = j[p]                                for p in ptr[i] .. ptr[i + 1]:
            for q in ...:                   =>          k = j[p]
                sums[c[q]] += A[p] * B[q]               for q in ...:
                blocks[c[q] >> 5] = 1                       lanes[4 * c[q] ..+4] += left * B[q]
        take sums from touched blocks                       blocks[c[q] >> 5] = 1
        end[i + 1] = n                              for each of these rows:
                                                        sums = its lane of touched blocks
                                                        take sums from these blocks
                                                        end[i + 1] = n

What the entries of a row name is then read once for several rows, and added to all of them by one
instruction.  Rows that follow one another are compared first, entry by entry: as many as are alike,
and have lanes, make a group, so that any operand is multiplied rightly, and one whose rows differ
goes row by row.  Each sum has its terms in the same order, so that it has the same bits.  Takes and
gives a kernel that ``loops.verify`` accepts; what takes the sums is left for ``packs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names
from sparsedsl.loops.lifting import put
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Break,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Pack,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.products import HALF, Product, back, flushed, lifted, product_of
from sparsedsl.loops.vectors import element, lanes, vector
from sparsedsl.loops.walk import with_bodies, with_operands

SOONER = 8
"""How many times as many columns for each term touched blocks pay with: those of several rows are
listed once, many at a time.  With up to 62 columns 2 to 3 times were gained."""

MARKS = vector("int32")
"""What tells of so many blocks whether they were touched."""


def grouped(kernel: Kernel, alike: Iterable[frozenset[str]]) -> Kernel:
    """Return ``kernel`` with rows of equal pattern multiplied at once, where blocks are taken.

    ``alike`` are the arrays of each operand whose rows often have the indices of the one before.
    """
    changed, taken = changes(kernel.body), names(kernel)
    dtypes = {p.name: p.dtype for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1}
    rows = frozenset[str]().union(*alike) - changed
    given = {name: dtype for name, dtype in dtypes.items() if name in rows}

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            product = product_of(statement, found, given) if isinstance(statement, For) else None
            if product is None:
                found.append(_sooner(statement, with_bodies(statement, block)))
            else:
                found = _Groups(product, taken).made(found)
        return tuple(found)

    return replace(kernel, body=block(kernel.body))


def _sooner(before: Stmt, after: Stmt) -> Stmt:
    """Return a choice of touched blocks where rows are full, also for rows that are less so."""
    match before, after:
        case (
            If(then=as_it_was),
            If(Binary(">=", Binary("*", room, Const(full)), columns), then, _) as choice,
        ) if then != as_it_was and any(isinstance(s, While) for s in then):
            return replace(
                choice, condition=build.ge(build.mul(room, int(full.real) * SOONER), columns)
            )
        case _:
            return after


class _Groups:
    """What is done for groups of rows: new names, for a group's first row, its entries and sums.

    The accumulator has a lane for each row; blocks are as long as a register, and marked by
    negative numbers, of which a register is looked at at once.
    """

    def __init__(self, product: Product, taken: set[str]) -> None:
        self.product = product
        self.kind = vector(product.sums.dtype, HALF)
        self.width = lanes(self.kind)
        self.shift = lanes(vector(product.sums.dtype)).bit_length() - 1
        row, entry = product.rows.variable.name, product.entries.variable.name
        marks = product.marks.array

        def new(name: str) -> str:
            return fresh(name, taken)

        def var(name: str, type: str = INT) -> Var:
            return Var(new(name), type)

        self.first, self.count = var(f"{row}_first"), var(f"{row}_alike")
        self.begin, self.length = var(f"{entry}_begin"), var(f"{entry}_length")
        self.other, self.differ = var(f"{entry}_other"), var(f"{entry}_differ")
        self.longest, self.lane = var(f"{entry}_longest"), var(f"{row}_lane")
        self.listed, self.place = var(f"{marks}_listed"), var(f"{marks}_place")
        self.block, self.at = var(f"{marks}_at"), var(f"{product.sums.array}_at")
        self.marks, self.some = var(f"{marks}_marks", MARKS), var(f"{marks}_touched")
        self.list = new(f"{marks}_list")
        self.left = {v: new(f"{array}_left") for v, array in product.values.items()}
        self.held: dict[Var, Expr] = {
            v: var(f"{array}_lanes", self.kind) for v, array in self.left.items()
        }

    def made(self, before: list[Stmt]) -> list[Stmt]:
        """Return what comes ``before``, changed, and the loop over groups of rows."""
        p, width = self.product, self.width
        length = self._pointer(p.rows.variable, 1, less=p.rows.variable)
        longest = Assign(self.longest, build.max_(self.longest, length))
        past = build.add(self.first, self.count)
        (columns,) = p.sums.shape
        blocks = build.add(build.shift_right(columns, self.shift), lanes(MARKS))
        body = (
            *self._alike(),
            *self._beside(),
            self._entries(),
            *self._touched(),
            For(p.rows.variable, self.first, past, self._rest()),
            self._cleared(),
            Assign(self.first, past),
        )
        return [
            *(s for s in before if s not in (p.sums, p.marks)),
            Comment(f"rows of equal pattern at once, {width} at most"),
            replace(p.sums, shape=(build.mul(columns, width),)),
            Allocate(p.marks.array, element(MARKS), (blocks,), build.const(0, element(MARKS))),
            Allocate(self.list, element(MARKS), (blocks,)),
            Assign(self.longest, build.i(0)),
            For(p.rows.variable, p.rows.start, p.rows.stop, (longest,)),
            *(
                Allocate(array, p.sums.dtype, (build.mul(self.longest, width),))
                for array in self.left.values()
            ),
            Assign(self.first, p.rows.start),
            While(build.lt(self.first, p.rows.stop), body),
        ]

    def _pointer(self, row: Expr, ahead: int, less: Expr | None = None) -> Expr:
        """Return where the entries of a row begin, or how far behind those of another one."""
        begin = build.load(self.product.pointer, build.add(row, ahead))
        return begin if less is None else build.sub(begin, build.load(self.product.pointer, less))

    def _alike(self) -> Iterator[Stmt]:
        """Count the rows that are like the first one of the group, itself included."""
        p, entry, differ = self.product, self.product.entries.variable, self.differ
        after = build.add(self.first, self.count)
        found: Expr = differ
        for array in p.indices:
            there = build.load(array, build.add(self.other, build.sub(entry, self.begin)))
            found = build.bit_or(found, build.bit_xor(build.load(array, entry), there))
        compared = For(
            entry, self.begin, build.add(self.begin, self.length), (Assign(differ, found),)
        )
        longer = build.sub(self._pointer(after, 1, less=after), self.length)
        yield Assign(self.begin, self._pointer(self.first, 0))
        yield Assign(self.length, self._pointer(self.first, 1, less=self.first))
        yield Assign(self.count, build.i(1))
        yield While(
            build.conj(build.lt(self.count, self.width), build.lt(after, p.rows.stop)),
            (
                Assign(self.other, self._pointer(after, 0)),
                Assign(differ, longer),
                If(build.eq(differ, 0), (compared,)),
                If(build.ne(differ, 0), (Break(),)),
                Assign(self.count, build.add(self.count, 1)),
            ),
        )

    def _beside(self) -> Iterator[Stmt]:
        """Put the values of the group's rows beside each other, entry by entry.

        Lanes without a row hold what the last one has: what they add up to is not taken.
        """
        entry = self.product.entries.variable
        turn = build.sub(entry, self.begin)
        row = build.add(self.first, build.min_(self.lane, build.sub(self.count, 1)))
        for variable, array in self.product.values.items():
            value = build.load(array, build.add(self.other, turn), type=variable.type)
            place = build.add(build.mul(turn, self.width), self.lane)
            put = build.store(self.left[variable], (place,), value)
            past = build.add(self.begin, self.length)
            copied = For(entry, self.begin, past, (put,))
            begin = Assign(self.other, self._pointer(row, 0))
            yield For(self.lane, build.i(0), build.i(self.width), (begin, copied))

    def _entries(self) -> For:
        """Return the loop over the entries of all rows of the group."""
        entries, past = self.product.entries, build.add(self.begin, self.length)
        body = tuple(map(self._entry, entries.body))
        return replace(entries, start=self.begin, stop=past, body=body)

    def _entry(self, statement: Stmt) -> Stmt:
        """Return a statement of an entry as that of as many as there are rows."""
        p = self.product
        match statement:
            case Assign(variable) if variable in self.left:
                turn = build.sub(p.entries.variable, self.begin)
                held = self.held[variable]
                assert isinstance(held, Var)
                place = build.mul(turn, self.width)
                return Assign(held, Load(self.left[variable], (place,), self.kind))
            case Store(array, (place,), value) if array == p.sums.array:
                term, place = lifted(value, p, self.held), build.mul(place, self.width)
                assert term is not None
                before = Load(array, (place,), self.kind)
                return Store(array, (place,), Apply("add", (before, term), self.kind))
            case Store(array, (Binary(_, column),)) if array == p.marks.array:
                block = build.shift_right(column, self.shift)
                return build.store(array, (block,), build.const(-1, element(MARKS)))
            case _:
                return with_bodies(statement, lambda body: tuple(map(self._entry, body)))

    def _touched(self) -> Iterator[Stmt]:
        """List the blocks that were touched."""
        marks, many = self.product.marks.array, lanes(MARKS)
        none = build.const(0, element(MARKS))
        bits = Apply("lower", (self.marks, build.i(0), build.i(many)), INT)
        found = (
            Pack(self.list, self.listed, self.block, self.some, lanes=many),
            Assign(self.listed, build.add(self.listed, build.ctpop(self.some))),
            Store(marks, (self.block,), Cast(none, MARKS)),
        )
        look = (
            Assign(self.marks, Load(marks, (self.block,), MARKS)),
            Assign(self.some, bits),
            If(build.ne(self.some, 0), found),
        )
        yield Assign(self.listed, build.i(0))
        end = build.sub(build.length(marks), many - 1)
        yield For(self.block, build.i(0), end, look, many)

    def _rest(self) -> tuple[Stmt, ...]:
        """Take the sums of a row, and end it."""
        p = self.product
        taken = flushed(p, p.rest[0], self._taken)
        assert taken is not None
        (columns,) = p.sums.shape
        taken = with_operands(taken, lambda e: put(e, build.length(p.sums.array), columns))
        lane = Assign(self.lane, build.sub(p.rows.variable, self.first))
        return (lane, taken, *p.rest[1:])

    def _taken(self, blocks: For) -> For:
        """Return a loop over touched blocks that takes the sums of one row, and leaves them."""
        p, (some,) = self.product, blocks.body
        assert isinstance(some, If)
        _, taken = some.then
        assert isinstance(taken, For)
        begin = build.shift_left(blocks.variable, self.shift)
        here = build.load(p.sums.array, taken.variable, type=p.sums.dtype)
        place = build.add(build.mul(taken.variable, self.width), self.lane)
        there = build.load(p.sums.array, place, type=p.sums.dtype)
        body = tuple(
            with_operands(s, lambda e: put(e, here, there))
            for s in taken.body
            if s != back(taken, p.sums)
        )
        every = For(taken.variable, begin, build.add(begin, 1 << self.shift), body)
        return self._blocks(blocks.variable, every)

    def _cleared(self) -> For:
        """Put all sums of the group back to zero."""
        p = self.product
        size = self.width << self.shift
        begin = build.mul(self.block, size)
        kind = vector(p.sums.dtype)
        zero = Cast(p.sums.value or build.const(0, p.sums.dtype), kind)
        back = Store(p.sums.array, (self.at,), zero)
        each = For(self.at, begin, build.add(begin, size), (back,), lanes(kind))
        return self._blocks(self.block, each)

    def _blocks(self, block: Var, loop: For) -> For:
        """Return a loop over the blocks that were touched."""
        listed = Assign(block, build.load(self.list, self.place))
        return For(self.place, build.i(0), self.listed, (listed, loop))
