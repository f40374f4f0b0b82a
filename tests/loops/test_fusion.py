"""Loops of one range joined: what stays the same, and what is in the way."""

import numpy as np
import pytest

from sparsedsl.loops import build as lb
from sparsedsl.loops.fusion import Pass, fused
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Break,
    Comment,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Store,
    Var,
)
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements

F = "float64"
i, j, k, n, m = (lb.ivar(x) for x in "ijknm")
PARAMS = (
    *(ArrayParam(name, F, 1) for name in "abyz"),
    ArrayParam("c", "int64", 1),
    ArrayParam("Y", F, 2),
    IntParam("n"),
    IntParam("m"),
)


def at(array, *places, type=F):
    return Load(array, places, type)


def times(left, right):
    return Apply("mul", (left, right), F)


def plus(left, right):
    return Apply("add", (left, right), F)


def loop(*body, turn=i, stop=n):
    return For(turn, lb.i(0), stop, body)


S, T = Var("s", F), Var("t", F)
ZERO = Const(0.0, F)
DOUBLED = loop(Store("y", (i,), plus(at("a", i), at("a", i))))
SCATTERED = loop(Assign(k, at("c", j, type=INT)), Store("z", (k,), at("a", j), "add"), turn=j)
READ = loop(Store("z", (j,), times(at("y", j), at("b", j))), turn=j)
SUMMED = (Assign(S, ZERO), loop(Assign(S, plus(S, at("y", i)))), Store("z", (lb.i(0),), S))
ROWS = loop(
    Assign(S, ZERO),
    loop(Assign(S, plus(S, at("a", j))), turn=j, stop=m),
    Store("y", (i,), times(S, at("b", i))),
)
WORKED = (
    Allocate("work", F, (n,), ZERO),
    loop(Store("work", (at("c", i, type=INT),), at("b", i), "add"), Store("z", (i,), at("b", i))),
)
TWICE = (DOUBLED, loop(Store("y", (j,), at("b", j), "add"), turn=j))
TWO_AXES = loop(loop(Store("Y", (i, j), times(at("a", i), at("b", j))), turn=j, stop=m))
ROW_SUMS = loop(loop(Store("z", (i,), at("Y", i, j), "add"), turn=j, stop=m))

TOLD = (SUMMED[0], Comment("all of them"), *SUMMED[1:])
U = Var("u", F)
BETWEEN = (
    Assign(S, ZERO),
    loop(Assign(S, plus(S, at("a", i)))),
    Store("z", (lb.i(1),), S),
    Assign(U, ZERO),
    loop(Assign(U, plus(U, at("b", i)))),
    Store("z", (lb.i(2),), U),
)

JOINED = {
    "apart": ((DOUBLED,), (SCATTERED,)),
    "read in its turn": ((DOUBLED,), (READ,)),
    "a sum of all turns": ((DOUBLED,), SUMMED),
    "names of both": ((ROWS,), SUMMED),
    "a comment": ((DOUBLED,), TOLD),
    "statements between loops": ((DOUBLED,), BETWEEN),
    "a workspace": ((DOUBLED,), WORKED),
    "two loops of one": (TWICE, (READ,)),
    "three": ((ROWS,), (READ,), (loop(Store("Y", (i, lb.i(0)), at("z", i))),)),
    "one axis of two": ((TWO_AXES,), (ROW_SUMS,)),
}


def arguments():
    rng = np.random.default_rng(0)
    found = {name: rng.integers(-4, 5, 5).astype(float) for name in "abyz"}
    return {**found, "c": rng.integers(0, 5, 5), "Y": np.zeros((5, 3)), "n": 5, "m": 3}


def run(*bodies):
    given = arguments()
    for body in bodies:
        interpret(verify(Kernel("kernel", PARAMS, tuple(body), ())), given)
    return given


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("name", JOINED)
def test_results_are_those_of_one_after_another(name, inner):
    bodies = JOINED[name]
    names = [p.name for p in PARAMS]
    passes = [Pass(f"part {k}", body) for k, body in enumerate(bodies)]
    body = fused(passes, names, inner=inner)
    assert not isinstance(body, str)
    assert sum(isinstance(s, For) for s in body) == 1
    expected, found = run(*bodies), run(body)
    for array in "yzY":
        np.testing.assert_array_equal(found[array], expected[array])


NEXT = loop(Store("z", (i,), at("y", lb.sub(lb.sub(n, 1), i))))
THROUGH = loop(Store("z", (i,), at("y", at("c", i, type=INT))))
BEFORE = (Assign(T, at("y", lb.i(0))), loop(Store("z", (i,), T)))
ENDS = loop(If(lb.lt(n, 3), (Break(),)), Store("z", (i,), at("a", i)))
LATER = (loop(Store("z", (i,), at("a", i))), Store("y", (lb.i(1),), ZERO))
CARRIED = (Assign(S, ZERO), loop(Assign(S, plus(S, at("a", i))), Store("y", (i,), S)))
ON = (*CARRIED, loop(Assign(S, plus(S, at("b", i))), Store("z", (i,), S)))
COLUMNS = loop(loop(Store("z", (j,), at("Y", j, i), "add"), turn=j, stop=m))

STEPS = (*CARRIED, Assign(T, S), loop(Store("z", (i,), T)))

APART = {
    "another turn": ((DOUBLED,), (NEXT,), "z touches y where other turns of y do"),
    "any turn": ((DOUBLED,), (THROUGH,), "z touches y where other turns of y do"),
    "written where it was read": (
        (THROUGH,),
        (DOUBLED,),
        "z touches y where other turns of y do",
    ),
    "other axes": ((TWO_AXES,), (COLUMNS,), "z touches Y where other turns of y do"),
    "before the loop": ((DOUBLED,), BEFORE, "z needs y of y as a whole"),
    "after the loop": (LATER, (READ,), "z needs y of y as a whole"),
    "another range": (
        (DOUBLED,),
        (loop(Store("z", (i,), ZERO), stop=m),),
        "the outermost loop of z has another range",
    ),
    "no loop": ((DOUBLED,), (Store("z", (lb.i(0),), ZERO),), "the outermost loop of z"),
    "left early": ((DOUBLED,), (ENDS,), "the loop of z may end early"),
    "one loop after another": ((DOUBLED,), STEPS, "z takes several steps"),
    "a sum goes on": (ON, (SCATTERED,), "y touches s where other turns of y do"),
}


@pytest.mark.parametrize("name", APART)
def test_loops_that_stay_apart(name):
    first, second, why = APART[name]
    found = fused([Pass("y", first), Pass("z", second)], [p.name for p in PARAMS])
    assert isinstance(found, str)
    assert found.startswith(why)


COLUMN = loop(
    Assign(T, at("b", i)),
    loop(Store("z", (at("c", k, type=INT),), times(at("a", k), T), "add"), turn=k, stop=m),
)


@pytest.mark.parametrize(("first", "second", "loops"), [(ROWS, COLUMN, 2), (TWO_AXES, ROW_SUMS, 2)])
def test_loops_inside(first, second, loops):
    """They are joined, unless one needs all turns of the other."""
    passes = [Pass("y", (first,)), Pass("z", (second,))]
    body = fused(passes, [p.name for p in PARAMS], inner=True)
    assert not isinstance(body, str)
    assert sum(isinstance(s, For) for s in statements(body)) == loops
    expected, found = run((first,), (second,)), run(body)
    for array in "yzY":
        np.testing.assert_array_equal(found[array], expected[array])
    needing = loop(
        Assign(T, at("y", i)),
        loop(Store("z", (at("c", k, type=INT),), T, "add"), turn=k, stop=m),
    )
    passes = [Pass("y", (ROWS,)), Pass("z", (needing,))]
    body = fused(passes, [p.name for p in PARAMS], inner=True)
    assert not isinstance(body, str)
    assert sum(isinstance(s, For) for s in statements(body)) == 3
    assert run(body)["z"].tolist() == run((ROWS,), (needing,))["z"].tolist()


def test_loops_with_and_without_others_inside():
    passes = [Pass("y", (ROWS,)), Pass("z", (READ,))]
    names = [p.name for p in PARAMS]
    assert fused(passes, names, mixed=False) == "the loop of z is one of vectors by itself"
    assert not isinstance(fused(passes, names), str)
    assert not isinstance(fused([Pass("y", (DOUBLED,)), passes[1]], names, mixed=False), str)
