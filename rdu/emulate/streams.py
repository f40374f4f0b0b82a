"""Contexts of stream nodes: a token a cycle each, coordinates always, values when there are any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

import numpy as np

from rdu.emulate.channel import Channel
from rdu.emulate.engine import Context, Steps
from rdu.emulate.values import Tree
from rdu.graph.streams import (
    Accumulate,
    Compute,
    Done,
    Fetch,
    Item,
    Locate,
    Merge,
    Repeat,
    Scan,
    Stop,
    Token,
    Write,
)

Reference: TypeAlias = "tuple[int, int] | None"
Sums: TypeAlias = "dict[tuple[int, ...], Any]"
_DONE = Done()


@dataclass(slots=True)
class Level:
    """A tree within one tile, as scanners read it."""

    tree: Tree
    uncompressed: bool
    start: int
    stop: int

    def children(self, reference: Reference, level: int) -> list[tuple[int, Reference]]:
        """Coordinates of a fibre and the references of its children."""
        if reference is None:
            return []
        low, high = reference
        column = self.tree.coordinates[low:high, level]
        if level == 0 and self.uncompressed:
            ends = np.searchsorted(column, np.arange(self.start, self.stop + 1)) + low
            return [
                (self.start + n, (int(ends[n]), int(ends[n + 1])))
                for n in range(self.stop - self.start)
            ]
        values, first = np.unique(column, return_index=True)
        ends = [*(first + low).tolist(), high]
        return [(c, (ends[n], ends[n + 1])) for n, c in enumerate(values.tolist())]

    def child(self, reference: Reference, coordinate: int) -> Reference:
        """Reference of one child of an uncompressed level."""
        if reference is None:
            return None
        low, high = reference
        column = self.tree.coordinates[low:high, 0]
        a, b = np.searchsorted(column, (coordinate, coordinate + 1))
        return (low + int(a), low + int(b)) if b > a else None


class Node(Context):
    """A stream node; ``inward`` and ``outward`` map stream numbers to channels."""

    def __init__(
        self, name: str, inward: dict[int, Channel], outward: dict[int, list[Channel]]
    ) -> None:
        super().__init__(name)
        self.inward = inward
        self.outward = outward

    def emit(self, stream: int, token: Token) -> Steps:
        """Send a token to every reader of a stream; a cycle."""
        self.time += 1
        self.busy += 1
        for channel in self.outward.get(stream, ()):
            yield from self.push(channel, token)

    def take(self, stream: int) -> Steps:
        """Receive the next token of a stream."""
        return (yield from self.pop(self.inward[stream]))


class Root(Node):
    """Starts a tree's reference stream."""

    def __init__(
        self, name: str, outward: dict[int, list[Channel]], stream: int, reference: Reference
    ) -> None:
        super().__init__(name, {}, outward)
        self.stream = stream
        self.reference = reference

    def program(self) -> Steps:
        yield from self.emit(self.stream, Item(self.reference))
        yield from self.emit(self.stream, _DONE)


class Scanner(Node):
    """Level scan: opens every fibre it is referred to."""

    def __init__(
        self,
        node: Scan,
        inward: dict[int, Channel],
        outward: dict[int, list[Channel]],
        level: Level,
    ) -> None:
        super().__init__(f"scan {node.factor}.{node.level}", inward, outward)
        self.node = node
        self.level = level

    def program(self) -> Steps:
        node = self.node
        opened = False
        while True:
            token: Token = yield from self.take(node.source)
            match token:
                case Item(value=reference):
                    if opened:
                        yield from self._both(Stop(0), Stop(0))
                    opened = True
                    for coordinate, child in self.level.children(reference, node.level):
                        yield from self._both(Item(coordinate), Item(child))
                case Stop(level=level):
                    opened = False
                    yield from self._both(Stop(level + 1), Stop(level + 1))
                case Done():
                    if opened:
                        yield from self._both(Stop(0), Stop(0))
                    yield from self._both(_DONE, _DONE)
                    return
                case _:
                    assert_never(token)

    def _both(self, coordinate: Token, reference: Token) -> Steps:
        yield from self.emit(self.node.coordinates, coordinate)
        self.time -= 1  # one cycle for the pair
        self.busy -= 1
        yield from self.emit(self.node.references, reference)


class Repeater(Node):
    """Repeats items, or with ``level`` locates their children, over a deeper stream."""

    def __init__(
        self,
        node: Repeat | Locate,
        inward: dict[int, Channel],
        outward: dict[int, list[Channel]],
        level: Level | None,
    ) -> None:
        super().__init__("locate" if level else "repeat", inward, outward)
        self.source, self.over = node.source, node.over
        self.out = node.out if isinstance(node, Repeat) else node.references
        self.level = level

    def program(self) -> Steps:
        while True:
            outer: Token = yield from self.take(self.source)
            if isinstance(outer, Done):
                token = yield from self.take(self.over)
                assert isinstance(token, Done)
                yield from self.emit(self.out, _DONE)
                return
            if isinstance(outer, Stop):
                # An outer list that was empty: its stop is one level higher here.
                token = yield from self.take(self.over)
                assert token == Stop(outer.level + 1), (outer, token)
                yield from self.emit(self.out, token)
                continue
            value = outer.value
            while True:
                token = yield from self.take(self.over)
                if isinstance(token, Item):
                    found = value if self.level is None else self.level.child(value, token.value)
                    yield from self.emit(self.out, Item(found))
                    continue
                yield from self.emit(self.out, token)
                if isinstance(token, Stop) and token.level > 0:
                    closing = yield from self.take(self.source)
                    assert closing == Stop(token.level - 1), (closing, token)
                break


class Merger(Node):
    """Intersects or unites coordinate streams."""

    def __init__(
        self, node: Merge, inward: dict[int, Channel], outward: dict[int, list[Channel]]
    ) -> None:
        super().__init__("unite" if node.union else "intersect", inward, outward)
        self.node = node

    def program(self) -> Steps:
        node = self.node
        ways = range(len(node.coordinates))
        heads: list[Token] = []
        for n in ways:
            heads.append((yield from self.take(node.coordinates[n])))
        while True:
            items = [n for n in ways if isinstance(heads[n], Item)]
            if not items:
                for n in ways:
                    reference = yield from self.take(node.references[n])
                    assert reference == heads[n] == heads[0]
                yield from self._send(heads[0], dict.fromkeys(ways, heads[0]))
                if isinstance(heads[0], Done):
                    return
                for n in ways:
                    heads[n] = yield from self.take(node.coordinates[n])
                continue
            least = min(heads[n].value for n in items)  # type: ignore[union-attr]
            equal = [n for n in items if heads[n].value == least]  # type: ignore[union-attr]
            found: dict[int, Token] = {}
            for n in equal:
                found[n] = yield from self.take(node.references[n])
                heads[n] = yield from self.take(node.coordinates[n])
            if node.union or len(equal) == len(node.coordinates):
                tokens = {n: found.get(n, Item(None)) for n in ways}
                yield from self._send(Item(least), tokens)
            else:
                self.time += 1
                self.busy += 1

    def _send(self, coordinate: Token, references: dict[int, Token]) -> Steps:
        yield from self.emit(self.node.out, coordinate)
        self.time -= len(references)  # all outputs leave in one cycle
        self.busy -= len(references)
        for n, token in references.items():
            yield from self.emit(self.node.out_references[n], token)


class Fetcher(Node):
    """Reads values: ``read(tokens' values)`` gives a block, or None without data.

    ``cycles`` are spent on every block that is not the previous one.
    """

    def __init__(
        self,
        node: Fetch,
        inward: dict[int, Channel],
        outward: dict[int, list[Channel]],
        read: Callable[[tuple[Any, ...]], Any],
        cycles: int,
    ) -> None:
        super().__init__(f"fetch {node.factor}", inward, outward)
        self.node = node
        self.read = read
        self.cycles = cycles

    def program(self) -> Steps:
        node = self.node
        previous: tuple[Any, ...] | None = None
        while True:
            tokens: list[Token] = []
            for source in node.sources:
                tokens.append((yield from self.take(source)))
            first = tokens[0]
            if isinstance(first, Item):
                place = tuple(t.value for t in tokens)  # type: ignore[union-attr]
                if place != previous:
                    self.time += self.cycles - 1
                    self.busy += self.cycles - 1
                    previous = place
                yield from self.emit(node.out, Item((place, self.read(place))))
                continue
            yield from self.emit(node.out, first)
            if isinstance(first, Done):
                return


class Computer(Node):
    """Combines the blocks of all factors, item by item or a whole innermost list at once."""

    def __init__(
        self,
        node: Compute,
        inward: dict[int, Channel],
        outward: dict[int, list[Channel]],
        combine: Callable[[list[list[Any]]], list[Any]] | None,
        cycles: Callable[[int], int],
        most: int,
    ) -> None:
        super().__init__("compute", inward, outward)
        self.node = node
        self.combine = combine
        self.cycles = cycles
        self.most = most

    def program(self) -> Steps:
        node = self.node
        waiting: list[list[Any]] = []
        while True:
            tokens: list[Token] = []
            for source in node.sources:
                tokens.append((yield from self.take(source)))
            first = tokens[0]
            if isinstance(first, Item):
                waiting.append([t.value[1] for t in tokens])  # type: ignore[union-attr]
                if not node.gather or len(waiting) >= self.most:
                    yield from self._send(waiting)
                    waiting = []
                continue
            if waiting:
                yield from self._send(waiting)
                waiting = []
            yield from self.emit(node.out, first)
            if isinstance(first, Done):
                return

    def _send(self, waiting: list[list[Any]]) -> Steps:
        spent = max(self.cycles(len(waiting)) - len(waiting), 0)
        self.time += spent
        self.busy += spent
        values = self.combine(waiting) if self.combine is not None else [None] * len(waiting)
        for value in values:
            yield from self.emit(self.node.out, Item(value))


class Adder(Node):
    """Accumulates by kept coordinates; ``sums`` outlives the tile when nothing is flushed."""

    def __init__(
        self,
        node: Accumulate,
        inward: dict[int, Channel],
        outward: dict[int, list[Channel]],
        sums: Sums,
        cycles: int,
        *,
        keep: bool,
    ) -> None:
        super().__init__("accumulate", inward, outward)
        self.node = node
        self.sums = sums
        self.cycles = cycles
        self.keep = keep

    def program(self) -> Steps:
        node = self.node
        while True:
            token: Token = yield from self.take(node.source)
            places: list[Token] = []
            for stream in node.coordinates:
                places.append((yield from self.take(stream)))
            match token:
                case Item(value=value):
                    place = tuple(t.value for t in places)  # type: ignore[union-attr]
                    if node.flush is None:
                        yield from self.emit(node.out, Item((place, value)))
                        continue
                    self.time += self.cycles
                    self.busy += self.cycles
                    if place in self.sums and value is not None:
                        self.sums[place] = self.sums[place] + value
                    else:
                        self.sums[place] = value
                case Stop(level=level):
                    if node.flush is not None and level >= node.flush and not self.keep:
                        yield from self._flush()
                case Done():
                    yield from self.emit(node.out, _DONE)
                    return
                case _:
                    assert_never(token)

    def _flush(self) -> Steps:
        for place in sorted(self.sums):
            yield from self.emit(self.node.out, Item((place, self.sums[place])))
        self.sums.clear()


class Writer(Node):
    """Collects the result."""

    def __init__(self, node: Write, inward: dict[int, Channel]) -> None:
        super().__init__("write", inward, {})
        self.node = node
        self.found: list[tuple[tuple[int, ...], Any]] = []

    def program(self) -> Steps:
        while True:
            token: Token = yield from self.take(self.node.source)
            self.time += 1
            self.busy += 1
            if isinstance(token, Done):
                return
            if isinstance(token, Item):
                self.found.append(token.value)
