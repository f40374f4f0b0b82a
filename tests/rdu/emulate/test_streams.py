"""Streams within a tile: clocks against a token-by-token run, credits, stalls, deadlock."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

import rdu
import sparsedsl as sd
from rdu.emulate import sparse, tile
from rdu.emulate.clocks import Wire, last_clock, wires_of
from rdu.emulate.engine import Context, Engine
from rdu.emulate.scripts import Port, Script, Slot, by_rows
from rdu.emulate.sums import Entries, added, nothing
from rdu.emulate.tokens import DONE, ITEM, Level, Tokens
from rdu.emulate.values import Tree
from rdu.errors import DeadlockError
from rdu.graph.streams import Accumulate, Merge, Repeat, Scan

NODE = rdu.sn40l_node(1)


class Player(Context):
    """Runs a script token by token on the general engine."""

    def __init__(self, script, inward, outward):
        super().__init__(script.name)
        self.script, self.inward, self.outward = script, inward, outward

    def program(self):
        events = {at: ("take", p.stream) for p in self.script.takes for at in p.at.tolist()}
        events |= {at: ("send", p.stream) for p in self.script.sends for at in p.at.tolist()}
        for at, spent in enumerate(self.script.work.tolist()):
            self.time += spent
            kind, stream = events.get(at, ("work", -1))
            if kind == "take":
                yield from self.pop(self.inward[stream])
            elif kind == "send":
                channels = self.outward.get(stream, [])
                for channel in channels:
                    while not channel.credits:
                        channel.waiting_writer = self
                        self.waits = ("write", channel)
                        yield
                self.time = max([self.time, *(channel.credits[0] for channel in channels)])
                for channel in channels:
                    yield from self.push(channel)
        self.time += self.script.tail


def played(scripts, wires):
    engine = Engine()
    inward, outward = [{} for _ in scripts], {}
    for wire in wires:
        channel = engine.channel(f"{wire.stream} to {wire.reader}", wire.depth, wire.latency)
        inward[wire.reader][wire.stream] = channel
        outward.setdefault(wire.stream, []).append(channel)
    for script, mine in zip(scripts, inward, strict=True):
        engine.add(Player(script, mine, outward))
    return engine.run()


def tiles_of(text, *arrays):
    """Scripts and wires of every tile that a kernel runs."""
    found = []

    def recorded(graph, behaviour, sums):
        result = tile.trace_streams(graph, behaviour, sums)
        found.append((graph, *result[2:]))
        return *result[:2], tile.Cycles(1, 0)

    kernel = sd.kernel(text)
    program = rdu.compile(rdu.trace(kernel, *arrays), NODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "run_streams", recorded)
        rdu.estimate(program)
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
    a, b = (sp.random_array((30, 30), density=0.2, format="csr", rng=rng) for _ in range(2))
    cube = rng.standard_normal((6, 7, 8)) * (rng.random((6, 7, 8)) < 0.3)
    tree = sd.asarray(cube).convert("csf")
    c, d = rng.standard_normal((7, 4)), rng.standard_normal((8, 4))
    return {
        "spgemm": (spgemm, a, b),
        "spmm": (spmm, a, rng.standard_normal((30, 5))),
        "add": (added_matrices, a, b),
        "mul": (multiplied, a, b),
        "mttkrp": (mttkrp, tree, c, d),
        "routed": (routed, a, rng.standard_normal((30, 4)), rng.standard_normal((30, 4, 6))),
    }


@pytest.mark.parametrize("name", cases())
def test_clocks_are_those_of_a_run_token_by_token(name):
    for _, scripts, wires in tiles_of(*cases()[name])[:4]:
        assert last_clock(scripts, wires) == played(scripts, wires)


@pytest.mark.parametrize("name", cases())
def test_one_credit_and_random_stalls_slow_but_do_not_block(name):
    rng = np.random.default_rng(0)
    for graph, scripts, wires in tiles_of(*cases()[name])[:4]:
        free = last_clock(scripts, wires)
        single = graph.depths(1, 128)
        roots = len(graph.roots)
        narrow = wires_of(
            scripts,
            {
                (s, n + roots): (single[s, n] if isinstance(graph.nodes[n], Accumulate) else 1)
                for s, n in single
            },
        )
        assert last_clock(scripts, narrow) >= free
        stalled = [
            dataclasses.replace(s, work=s.work + rng.integers(0, 4, len(s.work))) for s in scripts
        ]
        slow = last_clock(stalled, narrow)
        assert slow == played(stalled, narrow)
        assert slow >= max(s.busy for s in stalled)


def test_a_gathered_product_with_too_short_a_bypass_deadlocks_by_name():
    tiles = tiles_of(*cases()["routed"])
    _, scripts, wires = max(tiles, key=lambda t: sum(len(s.work) for s in t[1]))
    short = [dataclasses.replace(w, depth=1) for w in wires]
    with pytest.raises(DeadlockError) as caught:
        last_clock(scripts, short)
    message = str(caught.value)
    assert "compute waits to read" in message
    assert "waits to write stream" in message
    assert "to accumulate (1 of 1 held)" in message
    with pytest.raises(DeadlockError):
        played(scripts, short)


def test_tokens_are_sent_once_and_taken_once():
    for case in cases().values():
        for _, scripts, wires in tiles_of(*case)[:2]:
            sent = {p.stream: len(p.at) for s in scripts for p in s.sends}
            for wire in wires:
                (port,) = [p for p in scripts[wire.reader].takes if p.stream == wire.stream]
                assert len(port.at) == sent[wire.stream]


def test_a_slow_reader_holds_the_sender_to_its_pace():
    count, slow, depth = 20, 5, 3
    rows = np.ones(count, dtype=bool)
    sender = by_rows("sender", count, [Slot(0, True, rows, 1)])
    reader = by_rows("reader", count, [Slot(0, False, rows), Slot(None, False, rows, slow)])
    wire = Wire(0, 1, depth, 1)
    # The first token is there at cycle 2; the reader is never without one afterwards.
    assert last_clock([sender, reader], [wire]) == 2 + slow * count


def level(table, uncompressed=True, rows=4):
    return Level(Tree(np.array(table), None), uncompressed, 0, rows)


def test_scan_closes_fibres_and_merges_stops():
    from rdu.emulate.streams import root, scan

    tree = level([[0, 1], [0, 3], [2, 0]])
    start, _ = root("root", 0, 3)
    crd, ref, _ = scan(Scan(0, 0, 0, 1, 2), tree, start)
    assert crd.stop.tolist() == [ITEM] * 4 + [0, DONE]
    assert crd.data[:4].tolist() == [0, 1, 2, 3]
    inner, _, script = scan(Scan(0, 1, 2, 3, 4), tree, ref)
    assert inner.stop.tolist() == [ITEM, ITEM, 0, 0, ITEM, 0, 1, DONE]
    assert inner.data[inner.items].tolist() == [1, 3, 0]
    assert script.busy == len(inner)


def test_repeat_follows_empty_lists():
    from rdu.emulate.streams import repeat

    outer = Tokens(np.array([ITEM, ITEM, 0, DONE]), np.array([7, 8, 0, 0]))
    inner = Tokens(np.array([ITEM, ITEM, 0, 1, DONE]), np.zeros(5, dtype=np.int64))
    out, script = repeat(Repeat(0, 1, 2), None, outer, inner)
    assert out.stop.tolist() == inner.stop.tolist()
    assert out.data[out.items].tolist() == [7, 7]
    assert [len(p.at) for p in script.takes] == [4, 5]


@pytest.mark.parametrize(("union", "expected"), [(True, [1, 2, 4]), (False, [2])])
def test_merge(union, expected):
    from rdu.emulate.streams import merge

    refs = np.array([[0, 1], [1, 2], [0, 0], [0, 0]])
    one = Tokens(np.array([ITEM, ITEM, 0, DONE]), np.array([1, 2, 0, 0]))
    two = Tokens(np.array([ITEM, ITEM, 0, DONE]), np.array([2, 4, 0, 0]))
    references = [Tokens(one.stop, refs), Tokens(two.stop, refs)]
    node = Merge((0, 1), (2, 3), 4, (5, 6), union)
    out, found, script = merge(node, [one, two], references)
    assert out.data[out.items].tolist() == expected
    missing = [(f.data[f.items][:, 0] < 0).tolist() for f in found]
    assert missing == ([[False, False, True], [True, False, False]] if union else [[False]] * 2)
    assert {p.stream: len(p.at) for p in script.takes} == {0: 4, 1: 4, 2: 4, 3: 4}


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


def test_units_that_wait_in_a_ring_are_named():
    one = Script("one", np.array([0, 1]), (Port(0, np.array([0])),), (Port(1, np.array([1])),))
    two = Script("two", np.array([0, 1]), (Port(1, np.array([0])),), (Port(0, np.array([1])),))
    with pytest.raises(DeadlockError, match=r"one waits to read stream 0 to one \(0 of 1 held\)"):
        last_clock([one, two], [Wire(0, 0, 1), Wire(1, 1, 1)])
