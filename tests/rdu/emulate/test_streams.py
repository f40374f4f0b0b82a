"""Streams within a tile: tokens against nested lists, clocks against a run token by token."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.sparse as sp

import rdu
import sparsedsl as sd
from rdu.emulate import sparse
from rdu.emulate.clocks import play
from rdu.emulate.encode import PASSES
from rdu.emulate.engine import Context, Engine
from rdu.emulate.machine import trace
from rdu.emulate.sums import Entries, added, nothing
from rdu.emulate.tile import deadlock, run_tile
from rdu.emulate.tokens import DONE, ITEM, Kind
from rdu.errors import DeadlockError
from rdu.graph.streams import Accumulate, Compute, Locate, Merge, Repeat, Scan

NODE = rdu.sn40l_node(1)


@dataclasses.dataclass
class Part:
    """One part of a tile, as the machine runs it."""

    graph: object
    machine: object
    levels: dict
    span: tuple
    operands: tuple

    def traced(self):
        return trace(*self.machine.program(), *self.operands)


class Player(Context):
    """Runs a unit's events token by token on the general engine."""

    def __init__(self, name, events, inward, outward):
        super().__init__(name)
        self.events, self.inward, self.outward = events, inward, outward

    def program(self):
        for port, spent in self.events:
            self.time += spent
            if port >= 0 and port % 2 == 0:
                yield from self.pop(self.inward[port // 2])
            elif port >= 0:
                channels = self.outward.get(port // 2, [])
                for channel in channels:
                    while not channel.credits:
                        channel.waiting_writer = self
                        self.waits = ("write", channel)
                        yield
                self.time = max([self.time, *(channel.credits[0] for channel in channels)])
                for channel in channels:
                    yield from self.push(channel)


def played(machine, events, begins):
    engine = Engine()
    inward, outward = {}, {}
    for wire, (stream, reader) in enumerate(zip(machine.owner, machine.reader, strict=True)):
        name = f"{stream} to {reader}"
        channel = engine.channel(name, int(machine.depth[wire]), int(machine.latency[wire]))
        inward[wire] = channel
        outward.setdefault(int(stream), []).append(channel)
    for n, name in enumerate(machine.names):
        mine = events[begins[n] : begins[n + 1]].tolist()
        engine.add(Player(name, mine, inward, outward))
    return engine.run()


def last_clock(machine, bounds, events, begins):
    """The last clock of the compiled loop, or None if units block each other."""
    position, clock, _, _ = play(events, begins, bounds, *machine.network())
    return int(clock.max()) if np.all(position == begins[1:]) else None


def parts_of(text, *arrays):
    """All parts of all tiles that a kernel runs."""
    found = []

    def recorded(machine, costs, levels, parts, arithmetic, sums):
        fibres, windows = machine.operands(levels, parts)
        for n, span in enumerate(parts):
            found.append(Part(graphs[0], machine, levels, span, (fibres, windows[n])))
        return run_tile(machine, costs, levels, parts, arithmetic, sums)

    program = rdu.compile(rdu.trace(sd.kernel(text), *arrays), NODE)
    graphs = [
        stage.shape.streams
        for kernel in program.kernels
        for stage in kernel.stages
        if getattr(stage.shape, "streams", None) is not None
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "run_tile", recorded)
        rdu.run(program, *arrays)
    return found


def spgemm(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def spmm(A, X):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * X[k, j]
    return C


def added_matrices(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


def multiplied(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


def three(A, B, C):
    i, j = sd.indices("i j")
    X = sd.output()
    X[i, j] = A[i, j] * B[i, j] * C[i, j]
    return X


def mttkrp(A, C, D):
    i, j, k, m = sd.indices("i j k m")
    X = sd.output()
    X[i, j] = A[i, k, m] * C[k, j] * D[m, j]
    return X


def routed(R, x, W):
    t, e, d, h = sd.indices("t e d h")
    U = sd.output()
    U[t, e, h] = sd.pattern(R)[t, e] * x[t, d] * W[e, d, h]
    return U


def cases():
    rng = np.random.default_rng(3)
    a, b, e = (sp.random_array((30, 30), density=0.2, format="csr", rng=rng) for _ in range(3))
    cube = rng.standard_normal((6, 7, 8)) * (rng.random((6, 7, 8)) < 0.3)
    tree = sd.asarray(cube).convert("csf")
    c, d = rng.standard_normal((7, 4)), rng.standard_normal((8, 4))
    return {
        "spgemm": (spgemm, a, b),
        "spmm": (spmm, a, rng.standard_normal((30, 5))),
        "add": (added_matrices, a, b),
        "mul": (multiplied, a, b),
        "three": (three, a, b, e),
        "mttkrp": (mttkrp, tree, c, d),
        "routed": (routed, a, rng.standard_normal((30, 4)), rng.standard_normal((30, 4, 6))),
    }


@pytest.mark.parametrize("name", cases())
def test_clocks_are_those_of_a_run_token_by_token(name):
    for part in parts_of(*cases()[name])[:4]:
        _, bounds, events, begins = part.traced()
        found = last_clock(part.machine, bounds, events, begins)
        assert found == played(part.machine, events, begins)


@pytest.mark.parametrize("name", cases())
def test_one_credit_and_random_stalls_slow_but_do_not_block(name):
    rng = np.random.default_rng(0)
    for part in parts_of(*cases()[name])[:4]:
        machine = part.machine
        _, bounds, events, begins = part.traced()
        free = last_clock(machine, bounds, events, begins)
        # Coordinates that go around a gathered product wait for all of its items.
        bypass = machine.nodes[machine.reader, 0] == Kind.ACCUMULATE
        single = np.where(bypass, np.maximum(machine.depth, 128), 1)
        narrow = dataclasses.replace(machine, depth=single)
        assert last_clock(narrow, bounds, events, begins) >= free
        stalled = events[: begins[-1]].copy()
        stalled[:, 1] += rng.integers(0, 4, len(stalled))
        slow = last_clock(narrow, bounds, stalled, begins)
        assert slow == played(narrow, stalled, begins)
        busy = [stalled[a:b, 1].sum() for a, b in itertools.pairwise(begins)]
        assert slow >= max(busy)


def test_a_gathered_product_with_too_short_a_bypass_deadlocks_by_name():
    part = max(parts_of(*cases()["routed"]), key=lambda p: p.traced()[3][-1])
    short = dataclasses.replace(part.machine, depth=np.ones_like(part.machine.depth))
    message = str(deadlock(short, *part.operands))
    assert "compute waits to read" in message
    assert "waits to write stream" in message
    assert "to accumulate (1 of 1 held)" in message
    _, _, events, begins = part.traced()
    with pytest.raises(DeadlockError):
        played(short, events, begins)


def test_a_tile_with_too_short_queues_raises(monkeypatch):
    monkeypatch.setattr("rdu.graph.streams.StreamGraph.depths", lambda self, *_: all_ones(self))
    kernel, *arrays = cases()["routed"]
    program = rdu.compile(rdu.trace(sd.kernel(kernel), *arrays), NODE)
    with pytest.raises(DeadlockError, match=r"block each other: .* held\)"):
        rdu.estimate(program)


def all_ones(graph):
    from rdu.graph.streams import sources

    return {(stream, n): 1 for n, node in enumerate(graph.nodes) for stream in sources(node)}


def test_tokens_are_sent_once_and_taken_once():
    for case in cases().values():
        for part in parts_of(*case)[:2]:
            _, bounds, events, begins = part.traced()
            ports = events[: begins[-1], 0]
            for wire, stream in enumerate(part.machine.owner.tolist()):
                count = bounds[stream, 1] - bounds[stream, 0]
                assert (ports == 2 * wire).sum() == count
                assert (ports == 2 * stream + 1).sum() == count


def test_a_slow_reader_holds_the_sender_to_its_pace():
    count, slow, depth = 20, 5, 3
    events = np.array([(1, 1)] * count + [(0, 0), (-1, slow)] * count)
    begins, bounds = np.array([0, count, 3 * count]), np.array([[0, count]])
    ways = [np.array(x) for x in ([0, 1], [0], [depth], [1])]
    _, clock, _, _ = play(events, begins, bounds, *ways)
    # The first token is there at cycle 2; the reader is never without one afterwards.
    assert clock.max() == 2 + slow * count


def test_units_that_wait_in_a_ring_never_end():
    """Each takes from the other before it sends."""
    events = np.array([(0, 0), (3, 1), (2, 0), (1, 1)])
    begins, bounds = np.array([0, 2, 4]), np.array([[0, 1], [1, 2]])
    ways = [np.array(x) for x in ([0, 1, 2], [0, 1], [1, 1], [1, 1])]
    position, _, sent, _ = play(events, begins, bounds, *ways)
    assert position.tolist() == [0, 2]
    assert sent.tolist() == [0, 0]


# --- streams as nested lists -----------------------------------------------------------


def content(x, depth):
    """Tokens of a nested list without the stop behind it."""
    if depth == 0:
        return [(ITEM, x)]
    if depth == 1:
        return [(ITEM, leaf) for leaf in x]
    inside = [token for child in x[:-1] for token in [*content(child, depth - 1), (depth - 2, 0)]]
    return inside + (content(x[-1], depth - 1) if x else [])


def flattened(x, depth):
    return [*content(x, depth), *([(depth - 1, 0)] if depth else []), (DONE, 0)]


def mapped(function, depth, *nested):
    """Apply a function to the leaves at ``depth`` of nested lists of one shape."""
    if depth == 0:
        return function(*nested)
    return [mapped(function, depth - 1, *each) for each in zip(*nested, strict=True)]


class Lists:
    """The meaning of stream nodes on nested lists; a reference is a pair of leaves, or None."""

    def __init__(self, part):
        self.part = part
        self.nested, self.depth = {}, {}
        for stream, factor in part.graph.roots.items():
            level = part.levels[factor]
            leaves = range(len(level.tree.coordinates))
            if level.cut:
                column = level.tree.coordinates[:, 0]
                leaves = [n for n in leaves if part.span[0] <= column[n] < part.span[1]]
            leaf = (leaves[0], leaves[-1] + 1) if len(leaves) else (0, 0)
            self.put(stream, leaf, 0)
        for node in part.graph.nodes:
            self.run(node)

    def put(self, stream, nested, depth):
        self.nested[stream], self.depth[stream] = nested, depth

    def children(self, factor, level, leaf):
        if leaf is None:
            return []
        tree = self.part.levels[factor]
        found = {}
        for n in range(*leaf):
            name = int(tree.tree.coordinates[n, level])
            found[name] = (found.get(name, (n, n))[0], n + 1)
        if level == 0 and tree.uncompressed:
            rows = range(*(self.part.span if tree.cut else (tree.start, tree.stop)))
            return [(row, found.get(row)) for row in rows]
        return list(found.items())

    def run(self, node):
        match node:
            case Scan(factor, level, source, crd, ref):
                depth = self.depth[source]
                pairs = mapped(
                    lambda x: self.children(factor, level, x), depth, self.nested[source]
                )
                self.put(crd, mapped(lambda p: p[0], depth + 1, pairs), depth + 1)
                self.put(ref, mapped(lambda p: p[1], depth + 1, pairs), depth + 1)
            case Repeat(source, over, out):
                depth = self.depth[source]
                both = self.nested[source], self.nested[over]
                self.put(out, mapped(lambda x, names: [x] * len(names), depth, *both), depth + 1)
            case Locate(factor, level, source, over, out):
                depth = self.depth[source]
                both = self.nested[source], self.nested[over]

                def find(x, names):
                    there = dict(self.children(factor, level, x))
                    return [there.get(name) for name in names]

                self.put(out, mapped(find, depth, *both), depth + 1)
            case Merge(coordinates, references, out, outs, union):
                depth = self.depth[coordinates[0]] - 1
                lists = [self.nested[s] for s in (*coordinates, *references)]

                def join(*rows):
                    ways = [
                        dict(zip(*pair, strict=True))
                        for pair in zip(rows[: len(outs)], rows[len(outs) :], strict=True)
                    ]
                    sets = [set(way) for way in ways]
                    names = set.union(*sets) if union else set.intersection(*sets)
                    return [(name, *(way.get(name) for way in ways)) for name in sorted(names)]

                joined = mapped(join, depth, *lists)
                for n, stream in enumerate((out, *outs)):
                    self.put(stream, mapped(lambda row, n=n: row[n], depth + 1, joined), depth + 1)


@pytest.mark.parametrize("name", cases())
def test_streams_are_those_of_nested_lists(name):
    for part in parts_of(*cases()[name])[:6]:
        tokens, bounds, _, _ = part.traced()
        lists = Lists(part)
        assert len(lists.nested) > 2
        for stream, nested in lists.nested.items():
            found = tokens[slice(*bounds[stream])].tolist()
            expected = flattened(nested, lists.depth[stream])
            assert [token[0] for token in found] == [stop for stop, _ in expected]
            for (stop, first, last), (_, value) in zip(found, expected, strict=True):
                if stop != ITEM:
                    continue
                if isinstance(value, int):
                    assert first == value
                else:
                    assert (None if first < 0 else (first, last)) == value


@pytest.mark.parametrize("name", cases())
def test_sums_leave_once_each(name):
    for part in parts_of(*cases()[name])[:6]:
        machine = part.machine
        tokens, bounds, _, _ = part.traced()
        (product,) = [n for n in part.graph.nodes if isinstance(n, Compute)]
        (sums,) = [n for n in part.graph.nodes if isinstance(n, Accumulate)]
        stops = tokens[slice(*bounds[product.out]), 0]
        columns = [tokens[slice(*bounds[s]), 1] for s in sums.coordinates]
        segment = np.cumsum((stops >= machine.flush) & (stops != DONE))
        rows = [tuple(row) for row in np.stack([segment, *columns], axis=1)[stops == ITEM].tolist()]
        sent = bounds[sums.out, 1] - bounds[sums.out, 0] - 1
        kept = machine.nodes[machine.names.index("accumulate"), 2] == -2
        expected = len(rows) if machine.flush == PASSES else len(set(rows))
        assert sent == (0 if kept else expected)


def test_sums_keep_the_order_of_arrival():
    rng = np.random.default_rng(1)
    places = rng.integers(0, 5, (200, 2))
    values = (rng.standard_normal(200) * 10.0 ** rng.integers(-6, 6, 200)).astype(np.float32)
    expected: dict[tuple[int, ...], np.float32] = {}
    for place, value in zip(map(tuple, places.tolist()), values, strict=True):
        expected[place] = expected[place] + value if place in expected else value
    half = added(nothing(2), Entries(places[:90], values[:90]))
    total = added(half, Entries(places[90:], values[90:]))
    assert [tuple(p) for p in total.places.tolist()] == sorted(expected)
    assert total.values.tolist() == [expected[p] for p in sorted(expected)]
