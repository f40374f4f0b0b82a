"""The search of loop orders: bounded work, and the plans that small problems are known to need."""

import pytest

import sparsedsl as sd
from sparsedsl import pipeline
from sparsedsl.frontend.string import parse_statement
from sparsedsl.frontend.trace import Traced
from sparsedsl.iteration import search
from sparsedsl.kernel import Choices, Engine


def states(monkeypatch, statement, shapes):
    """Plan a statement and count the loops that were tried."""
    tried = []
    saturate = search._saturate

    def counting(problem, state):
        tried.append(len(problem.indices) + sum(len(o.dims) for o in problem.required))
        return saturate(problem, state)

    monkeypatch.setattr(search, "_saturate", counting)

    def tracer(infos):
        return Traced(parse_statement(statement, dict(zip(shapes, infos, strict=True))))

    given = [sd.ShapeOf(s, nnz=200 if n[0].isupper() else None) for n, s in shapes.items()]
    special = Engine(tracer, Choices()).specialise(given)
    for group in special.groups:
        pipeline.compile_group(group, special.settings)
    return len(tried), max(tried)


@pytest.mark.parametrize("rank", [3, 4, 5, 6])
def test_loops_tried_grow_polynomially_with_the_order(monkeypatch, rank):
    indices = ",".join("ijklmnop"[:rank])
    shapes = {"A": (50,) * rank}
    count, size = states(monkeypatch, f"C[{indices}] = A[{indices}]", shapes)
    assert count < 8 * size**3


@pytest.mark.parametrize("count", [2, 3, 4])
def test_loops_tried_grow_polynomially_with_the_operands(monkeypatch, count):
    pairs = [("ABCD"[n], "ijklm"[n : n + 2]) for n in range(count)]
    right = " * ".join(f"{name}[{p[0]},{p[1]}]" for name, p in pairs)
    shapes = {name: (50, 50) for name, _ in pairs}
    tried, size = states(monkeypatch, f"R[i,{'ijklm'[count]}] = {right}", shapes)
    assert tried < 8 * size**3


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
