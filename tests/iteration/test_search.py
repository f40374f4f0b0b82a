"""The search of loop orders: bounded work, and the plans that small problems are known to need."""

import math
from dataclasses import replace

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.calls.choices import Choices
from sparsedsl.contraction.extent import check_shapes
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.string import parse_statement
from sparsedsl.frontend.trace import Traced
from sparsedsl.iteration import plan as planning
from sparsedsl.iteration import search
from sparsedsl.iteration.nodes import Scan
from sparsedsl.iteration.plan import plan
from sparsedsl.kernel import Engine
from sparsedsl.pipeline import stages
from sparsedsl.pipeline.groups import Settings, split
from sparsedsl.pipeline.planned import request_of
from sparsedsl.pipeline.source import Source

INT32 = dict.fromkeys(("indptr", "indices", "crd0", "crd1", "crd2", "pos1", "pos2"), "int32")


def states(monkeypatch, statement, shapes):
    """Plan a statement over operands of such shapes and count the loops that were tried."""
    given = {
        n: sd.ShapeOf(s, nnz=min(200, math.prod(s)) if n[0].isupper() else None)
        for n, s in shapes.items()
    }
    return tried(monkeypatch, statement, given)


def tried(monkeypatch, statement, given):
    """Plan a statement and count the loops that were tried."""
    sizes = []
    saturate = search.saturate

    def counting(problem, state):
        sizes.append(len(problem.indices) + sum(len(o.dims) for o in problem.required))
        return saturate(problem, state)

    monkeypatch.setattr(search, "saturate", counting)

    def tracer(infos):
        return Traced(parse_statement(statement, dict(zip(given, infos, strict=True))))

    special = Engine(tracer, Choices()).specialise([*given.values()])
    for group in special.groups:
        stages.compile_group(group, special.settings)
    return len(sizes), max(sizes)


@pytest.mark.parametrize("rank", [3, 4, 5, 6, 7, 8])
def test_loops_tried_grow_polynomially_with_the_order(monkeypatch, rank):
    indices = ",".join("ijklmnop"[:rank])
    shapes = {"A": (50,) * rank}
    count, size = states(monkeypatch, f"C[{indices}] = A[{indices}]", shapes)
    assert count < 8 * size**3


@pytest.mark.parametrize("layout", ["morton", "coo", "csf"])
@pytest.mark.parametrize("form", ["{a} * {b} * {c}", "{a} + {b} + {c}", "{a} * {b} + {c}"])
def test_three_tensors_of_high_order_are_planned_with_bounded_work(monkeypatch, layout, form):
    """Plans with copies repeat searches for operands that are not copied: each is done once."""
    at = "i,j,k,l,m,n,o"
    dense = np.random.default_rng(1).random((3,) * 7)
    tensor = sd.convert(np.where(dense < 0.1, dense, 0), layout)
    statement = f"R[{at}] = " + form.format(a=f"A[{at}]", b=f"B[{at}]", c=f"C[{at}]")
    count, _ = tried(monkeypatch, statement, dict.fromkeys("ABC", tensor))
    assert count < 6000


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_loops_tried_grow_polynomially_with_the_operands(monkeypatch, count):
    pairs = [("ABCDEF"[n], "ijklmno"[n : n + 2]) for n in range(count)]
    right = " * ".join(f"{name}[{p[0]},{p[1]}]" for name, p in pairs)
    shapes = {name: (50, 50) for name, _ in pairs}
    number, size = states(monkeypatch, f"R[i,{'ijklmno'[count]}] = {right}", shapes)
    assert number < 8 * size**3


@pytest.mark.parametrize(
    ("statement", "shapes"),
    [
        ("r[()] = s[()] * t[()]", {"s": (), "t": ()}),
        ("y[i] = 1 + A[i, 0]", {"A": (5, 1)}),
        ("y[i] = s[()] + X[i]", {"s": (), "X": (5,)}),
    ],
)
def test_the_smallest_problems_have_plans(monkeypatch, statement, shapes):
    count, _ = states(monkeypatch, statement, shapes)
    assert count >= 1


CSF, CSR = sd.layouts["csf"].of(3), sd.layouts["csr"]
T1 = Source(CSF, (300, 2000, 3000), {"p0": 300, "p1": 578_749, "p2": 1_998_839}, INT32)
T2 = Source(CSF, (2000, 1000, 500), {"p0": 2000, "p1": 1_553_062, "p2": 2_995_484}, INT32)


def factor(rows, columns, entries):
    return Source(CSR, (rows, columns), {"i": rows, "p": entries}, INT32)


def request(statement, sources):
    """What planning a statement over such operands reads."""
    infos = {
        n: ArgumentInfo(s.shape, "float64", 0, total=not s.index_dtypes) for n, s in sources.items()
    }
    program = parse_statement(statement, infos)
    extents = check_shapes(program, {n: s.shape for n, s in sources.items()})
    (group,) = split(program, {}, sources, extents, ieee=True)
    return request_of(group, Settings())


@pytest.mark.parametrize(
    ("tensor", "matrix"), [(T1, factor(3000, 16, 5810)), (T2, factor(500, 16, 962))]
)
def test_a_tensor_times_a_sparse_matrix_scans_both_in_storage_order(tensor, matrix):
    nest = plan(request("M[i,j,r] = X[i,j,k] * B[k,r]", {"X": tensor, "B": matrix}))
    steps = nest.prefix + nest.chains[0].steps
    scans = [s.variable for s in steps if isinstance(s, Scan)]
    assert scans == ["X_p0", "X_p1", "X_p2", "B_p"]
    assert not nest.conversions


@pytest.mark.parametrize(
    "statement",
    [
        "M[i,r] = X[i,j,k] * B[j,r] * C[k,r]",
        "M[i,j,r] = X[i,j,k] * C[k,r]",
    ],
)
def test_few_departures_cost_little(monkeypatch, statement):
    """With 9 to 11 indices and dimensions, plans are near those of a longer search."""
    sources = {"X": T2, "B": factor(1000, 16, 1900), "C": factor(500, 16, 962)}
    used = {n: s for n, s in sources.items() if f"{n}[" in statement}
    asked = request(statement, used)
    cost = plan(asked).cost
    monkeypatch.setattr(search, "DEPARTURES", ((float("inf"), 6),))
    assert cost <= 1.2 * plan(replace(asked, effort=1000)).cost


def test_plans_with_copies_share_one_limit(monkeypatch):
    """Operands of rank three have five other orders each: a limit for each plan would add up."""
    limits = []
    planned = planning._plan

    def counted(request, conversions):
        if conversions:
            limits.append(request.effort)
        return planned(request, conversions)

    monkeypatch.setattr(planning, "_plan", counted)
    states(monkeypatch, "C[i,j,k] = A[i,j,k] + B[k,j,i]", {"A": (50,) * 3, "B": (50,) * 3})
    assert len(limits) > planning.ALL_FEWER // planning.FEWER
    assert sum(limits) <= planning.ALL_FEWER


def tree(shape, entries):
    """A tensor in compressed sparse fibres, its entries spread evenly."""
    layout = sd.layouts["csf"](order=tuple(range(len(shape))))
    room, levels = 1.0, {}
    for dim, extent in zip(layout.relation.inputs, shape, strict=True):
        room *= extent
        levels[dim] = min(room, float(entries))
    return Source(layout, shape, levels, dict.fromkeys(layout.functions, "int32"))


def listed(shape, entries):
    """A tensor by coordinates."""
    layout = sd.layouts["coo"](order=tuple(range(len(shape))))
    levels = dict.fromkeys(layout.relation.inputs, float(entries))
    return Source(layout, shape, levels, dict.fromkeys(layout.functions, "int32"))


@pytest.mark.parametrize("make", [tree, listed])
@pytest.mark.parametrize("entries", [200, 100_000])
def test_a_transpose_of_eight_modes_scans_what_is_stored(monkeypatch, make, entries):
    """A loop over a whole index is cheaper than a scan of all entries, which binds all indices."""
    tried = []
    saturate = search.saturate
    monkeypatch.setattr(search, "saturate", lambda *a: tried.append(1) or saturate(*a))
    source = make((9,) * 8, entries)
    nest = plan(request("B[p,o,n,m,l,k,j,i] = A[i,j,k,l,m,n,o,p]", {"A": source}))
    (chain,) = nest.chains
    scans = [s for s in nest.prefix + chain.steps if isinstance(s, Scan)]
    assert all(s.operand == "A" for s in scans)
    assert len(scans) == len(source.layout.relation.inputs)
    assert len(tried) < 1000
