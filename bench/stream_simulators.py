"""Tokens a second of the emulator's streams, and of simulators that step every block.

One is SAM's own Python simulator, where a checkout of it is on the path (github.com/weiya711/sam;
it is on no index):

    PYTHONPATH=path/to/sam python bench/stream_simulators.py

The other is a small re-implementation, for this comparison, of how that works: every block has an
``update`` that runs once a cycle and moves at most one token, tokens are integers and the strings
``"S0"``, ``"S1"``, ``"D"``, queues are unbounded lists. All run the graph of
``X[i, j] = B[i, j] + C[i, j]`` with the same nodes. A token is counted whenever a block takes one,
and SAM is said to move as many as the re-implementation.
"""

from __future__ import annotations

import importlib
import time
from collections import deque

import numpy as np
import scipy.sparse as sp

import rdu
import sparsedsl as sd
from rdu.emulate import machine, sparse


class Block:
    """Takes from ``inward`` queues, sends to lists of queues; ``update`` is one cycle."""

    def __init__(self, count):
        self.inward = [deque() for _ in range(count)]
        self.outward = {}
        self.taken = 0
        self.done = False

    def take(self, n):
        self.taken += 1
        return self.inward[n].popleft()

    def send(self, port, token):
        for queue in self.outward.get(port, ()):
            queue.append(token)


class Root(Block):
    def __init__(self):
        super().__init__(0)
        self.left = [0, "D"]

    def update(self):
        if self.left:
            self.send("ref", self.left.pop(0))
        self.done = not self.left


class CompressedScan(Block):
    """A level of coordinates; the first level of these matrices holds every row."""

    def __init__(self, positions, coordinates):
        super().__init__(1)
        self.positions, self.coordinates = positions, coordinates
        self.at = self.end = None
        self.close = False

    def update(self):
        if self.done:
            return
        if self.at is not None and self.at < self.end:
            self.send("crd", self.coordinates[self.at])
            self.send("ref", self.at)
            self.at += 1
            return
        if not self.inward[0]:
            return
        if self.close:
            head = self.inward[0][0]
            if isinstance(head, str) and head != "D":
                self.take(0)
                self.both("S" + str(int(head[1:]) + 1))
            else:
                self.both("S0")
            self.close = False
            return
        token = self.take(0)
        if token == "D":
            self.both("D")
            self.done = True
        elif isinstance(token, str):
            self.both("S" + str(int(token[1:]) + 1))
        else:
            self.at, self.end = self.positions[token], self.positions[token + 1]
            self.close = True
            if self.at < self.end:
                self.send("crd", self.coordinates[self.at])
                self.send("ref", self.at)
                self.at += 1

    def both(self, token):
        self.send("crd", token)
        self.send("ref", token)


class Union(Block):
    """Coordinates in either input; ``"N"`` stands for a reference that is not there."""

    def __init__(self):
        super().__init__(4)

    def update(self):
        if self.done or not all(self.inward):
            return
        a, b = self.inward[0][0], self.inward[2][0]
        if isinstance(a, str) and isinstance(b, str):
            token, *_ = (self.take(n) for n in range(4))
            for port in ("crd", "ref1", "ref2"):
                self.send(port, token)
            self.done = token == "D"
            return
        first = not isinstance(a, str) and (isinstance(b, str) or a <= b)
        second = not isinstance(b, str) and (isinstance(a, str) or b <= a)
        refs = ["N", "N"]
        if first:
            self.send("crd", self.take(0))
            refs[0] = self.take(1)
        if second:
            coordinate = self.take(2)
            if not first:
                self.send("crd", coordinate)
            refs[1] = self.take(3)
        self.send("ref1", refs[0])
        self.send("ref2", refs[1])


class Values(Block):
    def __init__(self, data):
        super().__init__(1)
        self.data = data

    def update(self):
        if self.done or not self.inward[0]:
            return
        token = self.take(0)
        if token == "N":
            token = 0.0
        elif not isinstance(token, str):
            token = self.data[token]
        self.send("val", token)
        self.done = token == "D"


class Add(Block):
    def __init__(self):
        super().__init__(2)

    def update(self):
        if self.done or not all(self.inward):
            return
        a, b = self.take(0), self.take(1)
        self.send("val", a if isinstance(a, str) else a + b)
        self.done = a == "D"


class Write(Block):
    def __init__(self):
        super().__init__(1)
        self.found = []

    def update(self):
        if self.done or not self.inward[0]:
            return
        token = self.take(0)
        if not isinstance(token, str):
            self.found.append(token)
        self.done = token == "D"


def stepped(a, b):
    """Run ``a + b`` cycle by cycle; return values, coordinates, tokens and cycles."""
    blocks = []

    def add(block):
        blocks.append(block)
        return block

    def join(source, port, target, n):
        source.outward.setdefault(port, []).append(target.inward[n])

    rows, columns, adder = Union(), Union(), Add()
    for n, m in enumerate((a, b)):
        start = add(Root())
        outer = add(CompressedScan([0, m.shape[0]], list(range(m.shape[0]))))
        inner = CompressedScan(m.indptr.tolist(), m.indices.tolist())
        values = Values(m.data.tolist())
        join(start, "ref", outer, 0)
        join(outer, "crd", rows, 2 * n)
        join(outer, "ref", rows, 2 * n + 1)
        join(rows, f"ref{n + 1}", inner, 0)
        join(inner, "crd", columns, 2 * n)
        join(inner, "ref", columns, 2 * n + 1)
        join(columns, f"ref{n + 1}", values, 0)
        join(values, "val", adder, n)
        blocks += [inner, values]
    blocks[4:4] = [rows]
    blocks += [columns, adder]
    outputs = [add(Write()) for _ in range(3)]
    join(rows, "crd", outputs[0], 0)
    join(columns, "crd", outputs[1], 0)
    join(adder, "val", outputs[2], 0)
    cycles = 0
    while not all(block.done for block in outputs):
        for block in blocks:
            block.update()
        cycles += 1
    tokens = sum(block.taken for block in blocks)
    return outputs[2].found, outputs[1].found, tokens, cycles


def sam_blocks():
    """Return SAM's modules of blocks, or None where it is not on the path."""
    names = "rd_scanner", "joiner", "array", "compute"
    try:
        return [importlib.import_module(f"sam.sim.src.{name}") for name in names]
    except ImportError:
        return None


def by_sam(blocks, a, b):
    """Run ``a + b`` on SAM's blocks, without its writers; return values, coordinates and cycles.

    Constructed with their defaults: no statistics, no bounded queues.
    """
    scanners, joiners, arrays, compute = blocks
    scan, union = scanners.CompressedCrdRdScan, joiners.Union2
    count = a.shape[0]
    outer = [scan(crd_arr=list(range(count)), seg_arr=[0, count]) for _ in range(2)]
    inner = [scan(crd_arr=m.indices.tolist(), seg_arr=m.indptr.tolist()) for m in (a, b)]
    loads = [arrays.Array(init_arr=m.data.tolist()) for m in (a, b)]
    rows, columns, adder = union(), union(), compute.Add2()
    starts = [0, "D"]
    values, coordinates, cycles = [], [], 0
    while not adder.out_done():
        if cycles < len(starts):
            for block in outer:
                block.set_in_ref(starts[cycles])
        for block in outer:
            block.update()
        rows.set_in1(outer[0].out_ref(), outer[0].out_crd())
        rows.set_in2(outer[1].out_ref(), outer[1].out_crd())
        rows.update()
        inner[0].set_in_ref(rows.out_ref1())
        inner[1].set_in_ref(rows.out_ref2())
        for block in inner:
            block.update()
        columns.set_in1(inner[0].out_ref(), inner[0].out_crd())
        columns.set_in2(inner[1].out_ref(), inner[1].out_crd())
        columns.update()
        loads[0].set_load(columns.out_ref1())
        loads[1].set_load(columns.out_ref2())
        for block in loads:
            block.update()
        adder.set_in1(loads[0].out_val())
        adder.set_in2(loads[1].out_val())
        adder.update()
        for token, held in ((adder.out_val(), values), (columns.out_crd(), coordinates)):
            if token is not None and not isinstance(token, str):
                held.append(token)
        cycles += 1
    return values, coordinates, cycles


@sd.kernel
def plus(B, C):
    i, j = sd.indices("i j")
    X = sd.output()
    X[i, j] = B[i, j] + C[i, j]
    return X


def streamed(a, b, repeats):
    """Return the emulator's tokens a second for the streams of ``a + b``, where, and the result.

    Where: the share of the time in the compiled loop, of the rest of a tile's streams (tables,
    values), and the tokens a second of a whole run, with memory, binding and the report.
    """
    chip = rdu.sn40l_node(1).chip
    program = rdu.compile(rdu.trace(plus, a, b, precision="fp32"), chip)
    counted = {}
    whole, loop = sparse.run_tile, machine.run_parts

    def timed(*arguments):
        begin = time.perf_counter()
        result = whole(*arguments)
        counted["tile"] += time.perf_counter() - begin
        return result

    def counting(*arguments):
        begin = time.perf_counter()
        result = loop(*arguments)
        counted["loop"] += time.perf_counter() - begin
        counted["tokens"] += int(result[1][:, 2].sum())
        return result

    sparse.run_tile, machine.run_parts = timed, counting
    best = (0.0, 0.0, 0.0)
    try:
        for _ in range(repeats):
            counted |= {"tokens": 0, "tile": 0.0, "loop": 0.0}
            begin = time.perf_counter()
            result, _ = rdu.run(program, a, b)
            run = time.perf_counter() - begin
            tokens, tile = counted["tokens"], counted["tile"]
            best = max(best, (tokens / tile, counted["loop"] / tile, tokens / run))
    finally:
        sparse.run_tile, machine.run_parts = whole, loop
    return best, result


def fastest(run, tokens, repeats):
    """Return the best rate of a few runs, and what the last of them gave."""
    best = 0.0
    for _ in range(repeats):
        begin = time.perf_counter()
        result = run()
        best = max(best, tokens / (time.perf_counter() - begin))
    return best, result


def main():
    blocks = sam_blocks()
    heads = ("rows", "nnz", "SAM/s", "stepped/s", "emulator/s", "over SAM", "over stepped")
    print(" ".join(f"{head:>12}" for head in (*heads, "in loop", "whole run/s")))
    for rows, density in ((100, 0.1), (500, 0.05), (1000, 0.05)):
        a, b = (sp.random_array((rows, rows), density=density, format="csr", rng=n) for n in (0, 1))
        whole = a + b
        values, coordinates, tokens, cycles = stepped(a, b)
        assert np.allclose(values, whole.data)
        assert np.array_equal(coordinates, whole.indices)
        own, _ = fastest(lambda a=a, b=b: stepped(a, b), tokens, 3)
        sam = 0.0
        if blocks is not None:
            sam, found = fastest(lambda a=a, b=b: by_sam(blocks, a, b), tokens, 3)
            assert np.allclose(found[0], whole.data)
            assert np.array_equal(found[1], whole.indices)
            # Its writers, which are left out, would take one cycle more.
            assert abs(found[2] - cycles) <= 2
        (fast, loop, run), result = streamed(a, b, 10)
        assert abs(result - whole).max() < 1e-6
        over = f"{fast / sam:.1f}" if sam else "-"
        print(
            f"{rows:12} {a.nnz:12} {sam:12,.0f} {own:12,.0f} {fast:12,.0f} {over:>12} "
            f"{fast / own:12.1f} {loop:12.0%} {run:12,.0f}"
        )


if __name__ == "__main__":
    main()
