"""Random graphs on random chips, from a mesh of 2 x 2 to the full 1040 + 1040 units.

In INT32 every order of a sum gives the same bits, so results are compared with NumPy exactly.
"""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.emulate.run import Manner, simulate
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, MAXIMUM, MULTIPLY, SUBTRACT
from rdu.graph.graph import Precision
from rdu.graph.nodes import Monoid
from rdu.mapping.verify import verify

CHIP = rdu.sn40l_node().chip
JOINS = {"add": ADD, "sub": SUBTRACT, "mul": MULTIPLY, "max": MAXIMUM}
WRAP = 1 << 32


def wrapped(values):
    """Two's complement of 32 bits."""
    return (values + WRAP // 2) % WRAP - WRAP // 2


class Drawn:
    """A graph under construction, and the values of its tensors."""

    def __init__(self, draw):
        self.draw = draw
        self.builder = GraphBuilder("random", Precision.INT32)
        self.rng = np.random.default_rng(draw(st.integers(0, 2**20)))
        # Long axes are cut into tiles.
        extent = st.one_of(st.integers(1, 40), st.sampled_from([64, 100, 257]))
        self.extents = draw(st.lists(extent, min_size=2, max_size=3))
        self.values = {}
        self.arrays = {}
        self.dense = []

    def input(self, shape, density=None):
        name = f"x{len(self.arrays)}"
        value = self.rng.integers(-9, 10, shape)
        pattern = None
        if density is not None:
            value *= self.rng.random(shape) < density
            pattern = np.argwhere(value)
        self.builder.input(name, shape, pattern=pattern)
        self.arrays[name] = value.astype(np.int32)
        self.values[name] = value
        if density is None:
            self.dense.append(name)
        return name

    def pick(self, rank=None):
        fitting = [n for n in self.dense if rank in (None, self.values[n].ndim)]
        return self.draw(st.sampled_from(fitting)) if fitting else self.input(self.shape(rank or 2))

    def shape(self, rank):
        return tuple(self.draw(st.sampled_from(self.extents)) for _ in range(rank))

    def put(self, name, value):
        self.values[name] = wrapped(value)
        self.dense.append(name)

    def step(self, n):
        kind = self.draw(st.sampled_from(["gemm", "join", "turn", "reduce", "spread", "sparse"]))
        getattr(self, kind)(f"t{n}")

    def gemm(self, name):
        x = self.pick(2)
        columns = self.values[x].shape[1]
        mates = [m for m in self.dense if self.values[m].shape[:1] == (columns,)]
        mates = [m for m in mates if self.values[m].ndim == 2]
        w = self.draw(st.sampled_from([*mates, ""])) or self.input((columns, *self.shape(1)))
        self.builder.contract(name, "ij", (x, "ik"), (w, "kj"))
        self.put(name, self.values[x] @ self.values[w])

    def join(self, name):
        x = self.pick()
        mates = [m for m in self.dense if self.values[m].shape == self.values[x].shape]
        y, how = self.draw(st.sampled_from(mates)), self.draw(st.sampled_from(list(JOINS)))
        axes = "ijk"[: self.values[x].ndim]
        self.builder.map(name, axes, JOINS[how], (x, axes), (y, axes))
        self.put(name, JOINS[how].apply(self.values[x], self.values[y]))

    def turn(self, name):
        x = self.pick(2)
        self.builder.transpose(name, "ji", (x, "ij"))
        self.put(name, self.values[x].T)

    def reduce(self, name):
        x = self.pick(2)
        axis = self.draw(st.integers(0, 1))
        monoid = self.draw(st.sampled_from([Monoid.SUM, Monoid.MAXIMUM]))
        self.builder.reduce(name, "ji"[axis], monoid, (x, "ij"))
        value = self.values[x]
        self.put(name, value.sum(axis) if monoid is Monoid.SUM else value.max(axis))

    def spread(self, name):
        x = self.pick(2)
        rows = self.values[x].shape[0]
        mates = [m for m in self.dense if self.values[m].shape == (rows,)]
        y = self.draw(st.sampled_from([*mates, ""])) or self.input((rows,))
        self.builder.map(name, "ij", SUBTRACT, (x, "ij"), (y, "i"))
        self.put(name, self.values[x] - self.values[y][:, None])

    def sparse(self, name):
        x = self.pick(2)
        rows = self.shape(1)[0]
        tree = self.input((rows, len(self.values[x])), self.draw(st.sampled_from([0.0, 0.1, 0.6])))
        self.builder.sparse_product(name, "ij", [(tree, "ik"), (x, "kj")])
        self.put(name, self.values[tree] @ self.values[x])


@st.composite
def graphs(draw):
    """A random graph of operators, with forks and joins, and its inputs and values."""
    found = Drawn(draw)
    found.input(found.shape(2))
    for n in range(draw(st.integers(1, 6))):
        found.step(n)
    made = [name for name in found.values if name.startswith("t")]
    results = [made[-1], *(n for n in made[:-1] if draw(st.booleans()))]
    return found.builder.finish(results), found.arrays, found.values


@st.composite
def chips(draw):
    """A mesh with both kinds of units at every switch, scratchpads of 16 to 512 KiB."""
    rows, columns = draw(
        st.one_of(
            st.tuples(st.integers(2, 6), st.integers(2, 6)),
            st.sampled_from([(8, 8), (13, 20), (26, 40)]),
        )
    )
    return CHIP.with_changes(
        mesh_rows=rows, mesh_columns=columns, pcus=rows * columns, pmus=rows * columns,
        agcus=2 * rows, pmu_kib=draw(st.sampled_from([16, 64, 512])),
        fifo_depth=draw(st.sampled_from([1, 4])),
    )  # fmt: skip


def compiled(graph, chip, **options):
    """Compile for a chip, or for the larger one that each refusal asks for."""
    for _ in graph.operators:
        try:
            return rdu.compile(graph, chip, **options)
        except rdu.MappingError as error:
            asked = re.findall(r"(\d+) (PCU|PMU)s", error.hint)
            changes = {f"{unit.lower()}s": int(count) for count, unit in asked}
            assert all(count > getattr(chip, unit) for unit, count in changes.items())
            rows = -(-max(changes.values()) // chip.mesh_columns)
            chip = chip.with_changes(**changes, mesh_rows=max(rows, chip.mesh_rows))
    return rdu.compile(graph, chip, **options)


@settings(deadline=None, max_examples=25)
@given(
    graphs(),
    chips(),
    st.sampled_from(["none", "pattern", "spatial"]),
    st.sampled_from(["software", "hardware"]),
)
def test_random_graphs_on_random_chips(drawn, chip, fusion, orchestration):
    graph, arrays, values = drawn
    program = compiled(graph, chip, fusion=fusion, orchestration=orchestration, moves=60)
    chip = program.node.chip
    verify(program)
    found, report = rdu.run(program, *(arrays[name] for name in graph.inputs))
    found = found if len(graph.results) > 1 else (found,)
    for name, value in zip(graph.results, found, strict=True):
        value = value.toarray() if hasattr(value, "toarray") else value
        assert np.array_equal(value, values[name]), name
    timed = rdu.estimate(program)
    whole = simulate(program, None, Manner(fast_forward=False))
    assert timed.cycles == report.cycles == whole.cycles
    moved, packets = rdu.run(program, *(arrays[name] for name in graph.inputs), network="packets")
    assert packets == rdu.estimate(program, network="packets")
    moved = moved if len(graph.results) > 1 else (moved,)
    for one, other in zip(found, moved, strict=True):
        assert np.array_equal(*(v.toarray() if hasattr(v, "toarray") else v for v in (one, other)))
    for kernel in packets.kernels:
        assert kernel.cycles >= kernel.bytes["hbm"] / chip.hbm_bytes_per_cycle
    for kernel, mapped in zip(timed.kernels, program.kernels, strict=True):
        assert kernel.cycles >= kernel.bytes["hbm"] / chip.hbm_bytes_per_cycle
        assert max(mapped.pcus / chip.pcus, mapped.pmus / chip.pmus) <= 1
