"""Stream nodes as compiled loops: each takes whole streams and gives whole streams.

All streams of a part of a tile lie one behind the other in ``tokens``, a row a token: its
``stop`` (`ITEM`, the level of a stop, or `DONE`), and two numbers. Those of an item are a
coordinate, or a reference: the first and last leaf, first -1 for none. ``bounds[stream]`` says
where a stream begins and ends.

What a node does is a row of ``events`` for every token it takes or sends, and for work alone:
the port, and the cycles that pass before. A node sends, or works off, one token a cycle.
Every node has a ``tape`` of tokens, bounds and events, adds rows behind the first ``used`` tokens
and ``at`` events, and returns how many there are then. ``ways`` are the streams it takes and
sends, and the wires it takes from.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from rdu.emulate.encode import PASSES
from rdu.emulate.jit import inner
from rdu.emulate.tokens import DONE, ITEM, Ints, Kind

Tape: TypeAlias = tuple[Ints, Ints, Ints]
Ends: TypeAlias = tuple[int, int]
_WORK = -1


@inner
def take(wire: int) -> int:
    """Port of an event that takes a token from a wire."""
    return 2 * wire


@inner
def send(stream: int) -> int:
    """Port of an event that sends a token into a stream."""
    return 2 * stream + 1


@inner
def _event(events: Ints, at: int, port: int, work: int) -> int:
    events[at, 0] = port
    events[at, 1] = work
    return at + 1


@inner
def _token(tokens: Ints, used: int, stop: int, first: int, last: int) -> int:
    tokens[used, 0] = stop
    tokens[used, 1] = first
    tokens[used, 2] = last
    return used + 1


@inner
def room(rows: Ints, used: int, more: int) -> Ints:
    """Return ``rows`` with space for ``more`` of them behind the first ``used``."""
    if used + more <= len(rows):
        return rows
    wider = np.empty((2 * (used + more), rows.shape[1]), dtype=np.int64)
    for row in range(used):
        for column in range(rows.shape[1]):
            wider[row, column] = rows[row, column]
    return wider


@inner
def search(fibres: Ints, low: int, high: int, leaf: int) -> int:
    """Return the first fibre in ``[low, high)`` that does not begin before ``leaf``."""
    while low < high:
        middle = (low + high) // 2
        if fibres[middle, 1] < leaf:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def children(fibres: Ints, window: Ints, first: int, last: int) -> tuple[int, int]:
    """Fibres of ``window`` below a reference; of an uncompressed level all of them."""
    low, high, whole = window[0], window[1], window[2]
    if first < 0 or whole > 0:
        return low, high if whole > 0 and first >= 0 else low
    begin = search(fibres, low, high, first)
    end = begin
    while end < high and fibres[end, 1] < last:
        end += 1
    return begin, end


@inner
def scanned(tokens: Ints, source: Ints, fibres: Ints, window: Ints) -> int:
    """Bound the tokens that a scan sends into each of its streams."""
    count = 0
    for at in range(source[0], source[1]):
        count += 2
        if tokens[at, 0] == ITEM:
            begin, end = children(fibres, window, tokens[at, 1], tokens[at, 2])
            count += end - begin
    return count


@inner
def scan(tape: Tape, used: int, at: int, ways: Ints, fibres: Ints, window: Ints, most: int) -> Ends:
    """Open every fibre referred to; send its children's coordinates, and references to them.

    The stop behind a fibre is known when the next token is: a stop that ends more lists
    takes its place. ``most`` bounds the tokens sent.
    """
    tokens, bounds, events = tape
    takes, sends, wires = ways[0], ways[1], ways[2]
    source = bounds[takes[0]]
    coordinate, reference = used, used + most
    bounds[sends[0], 0] = coordinate
    bounds[sends[1], 0] = reference
    crd, ref = send(sends[0]), send(sends[1])
    open_fibre = False
    for n in range(source[0], source[1]):
        stop, first, last = tokens[n, 0], tokens[n, 1], tokens[n, 2]
        at = _event(events, at, take(wires[0]), 0)
        if open_fibre and stop in (ITEM, DONE):
            coordinate = _token(tokens, coordinate, 0, 0, 0)
            reference = _token(tokens, reference, 0, 0, 0)
            at = _event(events, at, crd, 1)
            at = _event(events, at, ref, 0)
        open_fibre = stop == ITEM
        if stop == ITEM:
            begin, end = children(fibres, window, first, last)
            for child in range(begin, end):
                name, leaf, behind = fibres[child, 0], fibres[child, 1], fibres[child, 2]
                coordinate = _token(tokens, coordinate, ITEM, name, 0)
                reference = _token(tokens, reference, ITEM, leaf if leaf < behind else -1, behind)
                at = _event(events, at, crd, 1)
                at = _event(events, at, ref, 0)
        else:
            over = DONE if stop == DONE else stop + 1
            coordinate = _token(tokens, coordinate, over, 0, 0)
            reference = _token(tokens, reference, over, 0, 0)
            at = _event(events, at, crd, 1)
            at = _event(events, at, ref, 0)
    bounds[sends[0], 1] = coordinate
    bounds[sends[1], 1] = reference
    return reference, at


@inner
def repeat(
    tape: Tape, used: int, at: int, ways: Ints, fibres: Ints, window: Ints, locates: bool
) -> Ends:
    """Repeat items, or with ``locates`` find their children, over a deeper stream."""
    tokens, bounds, events = tape
    takes, sends, wires = ways[0], ways[1], ways[2]
    head, over = bounds[takes[0], 0], bounds[takes[1]]
    low, high = window[0], window[1]
    bounds[sends[0], 0] = used
    begins = True
    for n in range(over[0], over[1]):
        stop, name = tokens[n, 0], tokens[n, 1]
        if begins:
            at = _event(events, at, take(wires[0]), 0)
        at = _event(events, at, take(wires[1]), 0)
        first, last = tokens[head, 1], tokens[head, 2]
        if locates and stop == ITEM:
            place = low + name - fibres[low, 0] if low < high else high
            if first < 0 or place < low or place >= high or fibres[place, 1] >= fibres[place, 2]:
                first = -1
            else:
                first, last = fibres[place, 1], fibres[place, 2]
        used = _token(tokens, used, stop, first, last)
        at = _event(events, at, send(sends[0]), 1)
        begins = stop != ITEM
        if begins and stop != DONE:
            # A stop of a list of lists is also behind the item that was repeated.
            closes = stop > 0 and tokens[head, 0] == ITEM
            if closes:
                at = _event(events, at, take(wires[0]), 0)
            head += 2 if closes else 1
    bounds[sends[0], 1] = used
    return used, at


@inner
def merge(tape: Tape, used: int, at: int, ways: Ints, count: int, union: bool, most: int) -> Ends:
    """Intersect or unite coordinates, list by list; send them and the references of each way.

    The heads of all ways are taken first; an item's successor when it is used up. ``most``
    bounds the tokens sent.
    """
    tokens, bounds, events = tape
    takes, sends, wires = ways[0], ways[1], ways[2]
    head = np.zeros(count, dtype=np.int64)
    for n in range(count):
        head[n] = bounds[takes[n], 0]
        at = _event(events, at, take(wires[n]), 0)
    sent = 0
    stop = ITEM
    while stop != DONE:
        stop, name = ITEM, -1
        for n in range(count):
            if tokens[head[n], 0] == ITEM and (name < 0 or tokens[head[n], 1] < name):
                name = tokens[head[n], 1]
        if name < 0:
            stop = tokens[head[0], 0]
        held = 0
        for n in range(count):
            held += stop != ITEM or (tokens[head[n], 0] == ITEM and tokens[head[n], 1] == name)
        sends_on = stop != ITEM or union or held == count
        if sends_on:
            _token(tokens, used + sent, stop, name, 0)
        for n in range(count):
            here = tokens[head[n], 0] == ITEM and tokens[head[n], 1] == name
            present = stop != ITEM or here
            # References lie token by token beside the coordinates.
            beside = bounds[takes[count + n], 0] + head[n] - bounds[takes[n], 0]
            if sends_on:
                first = tokens[beside, 1] if present else -1
                last = tokens[beside, 2] if present else -1
                _token(tokens, used + (n + 1) * most + sent, stop, first, last)
            if present:
                at = _event(events, at, take(wires[count + n]), 0)
                head[n] += 1
                if stop == ITEM:
                    at = _event(events, at, take(wires[n]), 0)
        if sends_on:
            sent += 1
            at = _event(events, at, send(sends[0]), 1)
            for n in range(count):
                at = _event(events, at, send(sends[n + 1]), 0)
        else:
            at = _event(events, at, _WORK, 1)
        if stop != ITEM and stop != DONE:
            for n in range(count):
                at = _event(events, at, take(wires[n]), 0)
    for n in range(count + 1):
        bounds[sends[n], 0] = used + n * most
        bounds[sends[n], 1] = used + n * most + sent
    return used + (count + 1) * most, at


@inner
def fetch(tape: Tape, used: int, at: int, ways: Ints, count: int, cycles: int) -> Ends:
    """Read values at places; a block that is not the previous one takes ``cycles``."""
    tokens, bounds, events = tape
    takes, sends, wires = ways[0], ways[1], ways[2]
    begin, end = bounds[takes[0], 0], bounds[takes[0], 1]
    bounds[sends[0], 0] = used
    before = -1
    for row in range(end - begin):
        stop = tokens[begin + row, 0]
        work = 1
        if stop == ITEM:
            fresh = before < 0
            for n in range(count):
                here = bounds[takes[n], 0]
                for column in (1, 2):
                    other = tokens[here + before, column]
                    fresh = fresh or tokens[here + row, column] != other
            work = cycles if fresh else 1
            before = row
        for n in range(count):
            at = _event(events, at, take(wires[n]), 0)
        at = _event(events, at, send(sends[0]), work)
        used = _token(tokens, used, stop, 0, 0)
    bounds[sends[0], 1] = used
    return used, at


@inner
def compute(tape: Tape, used: int, at: int, ways: Ints, count: int, cost: Ints) -> Ends:
    """Combine values item by item, or several items of an innermost list at once.

    ``cost[n]`` are the cycles of n items together; its length says how many may be.
    """
    tokens, bounds, events = tape
    takes, sends, wires = ways[0], ways[1], ways[2]
    begin, end = bounds[takes[0], 0], bounds[takes[0], 1]
    bounds[sends[0], 0] = used
    held = 0
    for row in range(begin, end):
        stop = tokens[row, 0]
        for n in range(count):
            at = _event(events, at, take(wires[n]), 0)
        used = _token(tokens, used, stop, 0, 0)
        held += 1
        ends = stop != ITEM or held == len(cost) - 1 or tokens[row + 1, 0] != ITEM
        if ends:
            for n in range(held):
                # What an array needs beyond a token a cycle passes before the first.
                more = n == 0 and stop == ITEM and cost[held] > held
                at = _event(events, at, send(sends[0]), 1 + cost[held] - held if more else 1)
            held = 0
    bounds[sends[0], 1] = used
    return used, at


@inner
def distinct(tokens: Ints, begin: int, starts: Ints, low: int, high: int) -> int:
    """Count the different places of the items among the rows ``[low, high)`` of streams."""
    # A table of rows, twice as long as there are any, with a row's next free place behind it.
    size = 2 * (high - low) + 1
    table = np.zeros(size, dtype=np.int64)
    found = 0
    for row in range(low, high):
        if tokens[begin + row, 0] != ITEM:
            continue
        at = 0
        for start in starts:
            at = (at * 31 + tokens[start + row, 1] % size) % size
        known = False
        while table[at] > 0 and not known:
            known = True
            for start in starts:
                known = known and tokens[start + row, 1] == tokens[start + table[at] - 1, 1]
            at = (at + 1) % size
        if not known:
            table[at] = row + 1
            found += 1
    return found


@inner
def accumulate(
    tape: Tape, used: int, at: int, ways: Ints, count: int, flush: int, cycles: int
) -> Ends:
    """Add items of equal coordinates; sums leave at stops of ``flush`` or more.

    With `PASSES` every item leaves as it came, with `KEEPS` none does.
    """
    tokens, bounds, events = tape
    takes, sends, wires = ways[0], ways[1], ways[2]
    begin, end = bounds[takes[0], 0], bounds[takes[0], 1]
    bounds[sends[0], 0] = used
    starts = np.empty(count - 1, dtype=np.int64)
    for n in range(count - 1):
        starts[n] = bounds[takes[n + 1], 0]
    low, spent = 0, 0
    for row in range(end - begin):
        stop = tokens[begin + row, 0]
        for n in range(count):
            at = _event(events, at, take(wires[n]), spent if n == 0 else 0)
        spent = cycles if stop == ITEM and flush != PASSES else 0
        leaving = int(stop == DONE or (stop == ITEM and flush == PASSES))
        if stop != ITEM and stop != DONE and flush >= 0 and stop >= flush:
            leaving = distinct(tokens, begin, starts, low, row)
            low = row + 1
        for _ in range(leaving):
            at = _event(events, at, send(sends[0]), 1 + spent)
            spent = 0
            used = _token(tokens, used, ITEM, 0, 0)
    bounds[sends[0], 1] = used
    return used, at


@inner
def root(tape: Tape, used: int, at: int, ways: Ints, window: Ints) -> Ends:
    """Send one reference: that of a tree's root, to the leaves of the window."""
    tokens, bounds, events = tape
    sends = ways[1]
    bounds[sends[0], 0] = used
    used = _token(tokens, used, ITEM, window[0], window[1])
    used = _token(tokens, used, DONE, 0, 0)
    bounds[sends[0], 1] = used
    for _ in range(2):
        at = _event(events, at, send(sends[0]), 1)
    return used, at


@inner
def write(tape: Tape, at: int, ways: Ints) -> int:
    """Collect a token a cycle."""
    _, bounds, events = tape
    takes, wires = ways[0], ways[2]
    for n in range(bounds[takes[0], 1] - bounds[takes[0], 0]):
        at = _event(events, at, take(wires[0]), int(n > 0))
    return _event(events, at, _WORK, 1)


@inner
def node(
    tape: Tape,
    used: int,
    at: int,
    row: Ints,
    ways: Ints,
    cost: Ints,
    fibres: Ints,
    window: Ints,
    most: int,
) -> Ends:
    """Run one node; ``window`` are the fibres or leaves that belong to the part."""
    kind, one, two, three = row[0], row[1], row[2], row[3]
    if kind == Kind.ROOT.value:
        return root(tape, used, at, ways, window)
    if kind == Kind.SCAN.value:
        return scan(tape, used, at, ways, fibres, window, most)
    if kind == Kind.REPEAT.value or kind == Kind.LOCATE.value:
        return repeat(tape, used, at, ways, fibres, window, kind == Kind.LOCATE.value)
    if kind == Kind.MERGE.value:
        return merge(tape, used, at, ways, one, two > 0, most)
    if kind == Kind.FETCH.value:
        return fetch(tape, used, at, ways, one, two)
    if kind == Kind.COMPUTE.value:
        return compute(tape, used, at, ways, one, cost)
    if kind == Kind.ACCUMULATE.value:
        return accumulate(tape, used, at, ways, one, two, three)
    return used, write(tape, at, ways)
