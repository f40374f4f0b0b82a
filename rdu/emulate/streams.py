"""Stream nodes on whole streams: what each sends, and in which order it takes and sends.

A node sends or works one token a cycle. All functions take whole streams as arrays and give
the streams sent with the node's script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rdu.emulate.scripts import Port, Script, Slot, by_rows
from rdu.emulate.tokens import DONE, ITEM, Ints, Level, Mask, Tokens, one_reference
from rdu.graph.streams import Accumulate, Compute, Fetch, Locate, Merge, Repeat, Scan, Write


def root(name: str, stream: int, leaves: int) -> tuple[Tokens, Script]:
    """The reference stream of a tree: one item."""
    at = Port(stream, np.arange(2))
    return one_reference(leaves), Script(name, np.ones(2, dtype=np.int64), (), (at,))


def scan(node: Scan, level: Level, source: Tokens) -> tuple[Tokens, Tokens, Script]:
    """Open every fibre referred to; return coordinates and references.

    The stop behind a fibre is known when the next token is: a stop that ends more lists
    takes its place.
    """
    items = source.items
    coordinates, first, last = level.fibres(node.level)
    starts = np.searchsorted(first, source.data[:, 0])
    ends = np.searchsorted(first, source.data[:, 1])
    if node.level == 0 and level.uncompressed:
        starts, ends = np.zeros_like(starts), np.full_like(ends, len(coordinates))
    real = items & (source.data[:, 0] >= 0)
    children = np.where(real, ends - starts, 0)
    after_item = np.concatenate([[False], items[:-1]])
    close = after_item & (items | (source.stop == DONE))
    count = close + np.where(items, children, 1)
    before = np.cumsum(count) - count
    cause = np.repeat(np.arange(len(source)), count)
    offset = np.arange(len(cause)) - before[cause]
    stop = np.where(items[cause], ITEM, source.stop[cause] + 1)
    stop[source.stop[cause] == DONE] = DONE
    stop[close[cause] & (offset == 0)] = 0
    child = np.where(stop == ITEM, starts[cause] + offset - close[cause], 0)
    found = np.zeros((len(cause), 2), dtype=np.int64)
    names = np.zeros(len(cause), dtype=np.int64)
    if len(first):
        names = coordinates[child]
        found = np.stack([first[child], last[child]], axis=1)
        found[first[child] == last[child], 0] = -1
    sent = np.arange(len(cause))
    at = 2 * sent + cause + 1
    work = np.zeros(len(source) + 2 * len(cause), dtype=np.int64)
    work[at] = 1
    script = Script(
        f"scan {node.factor}.{node.level}",
        work,
        (Port(node.source, np.arange(len(source)) + 2 * before),),
        (Port(node.coordinates, at), Port(node.references, at + 1)),
    )
    return Tokens(stop, names), Tokens(stop, found), script


def repeat(
    node: Repeat | Locate, level: Level | None, source: Tokens, over: Tokens
) -> tuple[Tokens, Script]:
    """Repeat items, or with ``level`` locate their children, over a deeper stream."""
    ends = (over.stop >= 0) & (over.stop != DONE)
    group = np.cumsum(ends) - ends
    after_item = np.concatenate([[False], source.items[:-1]])
    closing = after_item & ~source.items & (source.stop != DONE)
    heads = np.flatnonzero(~closing)
    head = heads[group]
    begins = np.concatenate([[True], ends[:-1]])
    closes = ends & (over.stop > 0) & source.items[head]
    assert int(begins.sum()) + int(closes.sum()) == len(source), "lists of two streams differ"
    always = np.ones(len(over), dtype=bool)
    out = node.out if isinstance(node, Repeat) else node.references
    script = by_rows(
        "repeat" if isinstance(node, Repeat) else f"locate {node.factor}.{node.level}",
        len(over),
        [
            Slot(node.source, False, begins),
            Slot(node.over, False, always),
            Slot(out, True, always, 1),
            Slot(node.source, False, closes),
        ],
    )
    data = source.data[head]
    if level is not None:
        data = level.located(over.data, over.items & (data[:, 0] >= 0))
    return Tokens(over.stop, data), script


def merge(
    node: Merge, coordinates: Sequence[Tokens], references: Sequence[Tokens]
) -> tuple[Tokens, list[Tokens], Script]:
    """Intersect or unite coordinate streams, list by list."""
    span = 2 + max(int(c.data[c.items].max(initial=0)) for c in coordinates)
    last = coordinates[0].stop[~coordinates[0].items]
    keys = [c.lists * span + np.where(c.items, c.data, span - 1) for c in coordinates]
    rows = np.unique(np.concatenate(keys))
    place = [np.minimum(np.searchsorted(k, rows), len(k) - 1) for k in keys]
    present = [k[p] == rows for k, p in zip(keys, place, strict=True)]
    stops = rows % span == span - 1
    full: Mask = np.all(present, axis=0)
    sent = stops | full if not node.union else np.ones(len(rows), dtype=bool)
    code = np.full(len(rows), ITEM)
    code[stops] = last
    script = _merge_script(node, present, stops, sent, code == DONE)
    out = Tokens(code[sent], (rows % span)[sent])
    found: list[Tokens] = []
    for n, reference in enumerate(references):
        data = np.where(present[n][:, None], reference.data[place[n]], -1)
        found.append(Tokens(code[sent], data[sent]))
    return out, found, script


def _merge_script(
    node: Merge, present: Sequence[Mask], stops: Mask, sent: Mask, done: Mask
) -> Script:
    """The heads of all ways are taken first; an item's successor when it is used up."""
    start = np.zeros(len(stops) + 1, dtype=bool)
    start[0] = True

    def row(mask: Mask) -> Mask:
        return np.concatenate([[False], mask])

    slots = [Slot(c, False, start) for c in node.coordinates]
    for n, (coordinate, reference) in enumerate(
        zip(node.coordinates, node.references, strict=True)
    ):
        slots.append(Slot(reference, False, row(present[n])))
        slots.append(Slot(coordinate, False, row(present[n] & ~stops)))
    slots.append(Slot(node.out, True, row(sent), 1))
    slots += [Slot(stream, True, row(sent)) for stream in node.out_references]
    slots.append(Slot(None, False, row(~sent), 1))
    slots += [Slot(c, False, row(stops & ~done)) for c in node.coordinates]
    return by_rows("unite" if node.union else "intersect", len(start), slots)


def fetch(node: Fetch, sources: Sequence[Tokens], cycles: int) -> tuple[Tokens, Script]:
    """Read values at places; a block that is not the previous one takes ``cycles``."""
    items = sources[0].items
    parts = [s.data.reshape(len(s), -1) for s in sources]
    place = np.concatenate(parts, axis=1)
    inside = place[items]
    fresh = np.ones(len(inside), dtype=bool)
    fresh[1:] = np.any(inside[1:] != inside[:-1], axis=1)
    work = np.ones(len(items), dtype=np.int64)
    work[np.flatnonzero(items)[fresh]] = cycles
    always = np.ones(len(items), dtype=bool)
    slots = [Slot(source, False, always) for source in node.sources]
    script = by_rows(
        f"fetch {node.factor}", len(items), [*slots, Slot(node.out, True, always, work)]
    )
    return Tokens(sources[0].stop, place), script


def compute(
    node: Compute, source: Tokens, cycles: Callable[[int], int], most: int
) -> tuple[Tokens, Script, Ints]:
    """Combine blocks item by item, or up to ``most`` items of an innermost list at once.

    Also returns the items ``[low, high)`` that enter the array together, ``[batches, 2]``.
    """
    rows = np.arange(len(source))
    batches = batches_of(source, most if node.gather else 1)
    where = np.flatnonzero(source.items)
    last = rows.copy()
    work = np.ones(len(rows), dtype=np.int64)
    lengths = batches[:, 1] - batches[:, 0]
    last[where] = np.repeat(where[batches[:, 1] - 1], lengths) if len(batches) else 0
    sizes, which = np.unique(lengths, return_inverse=True)
    extra = np.array([max(cycles(n) - n, 0) for n in sizes.tolist()], dtype=np.int64)
    work[where[batches[:, 0]]] += extra[which.reshape(-1)]
    script = _in_order("compute", node.sources, node.out, len(rows), last, work)
    return Tokens(source.stop, source.data), script, batches


def batches_of(source: Tokens, most: int) -> Ints:
    """Cut the items of every innermost list into runs of at most ``most``: ``[runs, 2]``."""
    lists = source.lists[source.items]
    count = len(lists)
    new = np.ones(count, dtype=bool)
    new[1:] = lists[1:] != lists[:-1]
    first = np.flatnonzero(new)
    inside = np.arange(count) - first[np.cumsum(new) - 1] if count else np.arange(0)
    begins = np.flatnonzero(inside % most == 0)
    return np.stack([begins, np.append(begins[1:], count)[: len(begins)]], axis=1)


def accumulate(
    node: Accumulate,
    source: Tokens,
    flushed: tuple[Ints, Ints] | None,
    cycles: int,
) -> Script:
    """Add items; ``flushed`` gives the rows at which sums leave and how many, None: all pass."""
    ports = (node.source, *node.coordinates)
    rows, items = np.arange(len(source)), source.items
    done = rows[source.stop == DONE]
    if flushed is None:
        leaving = np.sort(np.concatenate([rows[items], done]))
        spent = np.zeros(len(rows), dtype=np.int64)
    else:
        leaving = np.concatenate([np.repeat(flushed[0], flushed[1]), done])
        spent = np.where(items, cycles, 0)
    work = np.ones(len(leaving), dtype=np.int64)
    return _in_order("accumulate", ports, node.out, len(rows), leaving, work, spent)


def write(node: Write, count: int) -> Script:
    """Collect ``count`` tokens, one a cycle."""
    work = np.ones(count, dtype=np.int64)
    work[0] = 0
    return Script("write", work, (Port(node.source, np.arange(count)),), (), 1)


def _in_order(
    name: str,
    ports: Sequence[int],
    out: int,
    rows: int,
    leaving: Ints,
    work: Ints,
    spent: Ints | None = None,
) -> Script:
    """Take a token of every port a row; send number n after row ``leaving[n]`` (ascending).

    ``work`` is spent before each send, ``spent`` after the takes of each row.
    """
    width = len(ports)
    sent_before = np.searchsorted(leaving, np.arange(rows), "left")
    at_row = np.arange(rows) * width + sent_before
    at_out = (leaving + 1) * width + np.arange(len(leaving))
    cost = np.zeros(rows * width + len(leaving), dtype=np.int64)
    cost[at_out] = work
    if spent is not None:
        behind = at_row + width
        inside = behind < len(cost)
        np.add.at(cost, behind[inside], spent[inside])
    takes = tuple(Port(port, at_row + n) for n, port in enumerate(ports))
    return Script(name, cost, takes, (Port(out, at_out),))
