"""Two kernels whose loops are the same, joined: each gives what it gives alone."""

from random import Random

import numpy as np
import pytest

from sparsedsl.loops import build as lb
from sparsedsl.loops.effects import changes
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import ArrayParam, Assign, Break, For, If, IntParam, Kernel, Store, While
from sparsedsl.loops.twins import twins
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements

ARRAYS = {"X": 6, "C": 64, "D": 64}
PARAMS = (*(ArrayParam(name, "int64", 1) for name in ARRAYS), IntParam("n"))
SHARED = [lb.ivar(name) for name in "abc"]
OWN = {"C": [lb.ivar("s"), lb.ivar("c_n")], "D": [lb.ivar("s"), lb.ivar("d_n")]}


def both(value):
    """A statement of both kernels."""
    return (value, value)


def body(*pieces):
    """The two bodies of pieces, of which each is a statement for either, or None."""
    return tuple(tuple(p[place] for p in pieces if p[place] is not None) for place in (0, 1))


def started(kernel_body, name):
    """A body after what its variables begin with."""
    return (*(Assign(v, lb.i(0)) for v in (*SHARED, *OWN[name])), *kernel_body)


def run(kernel_body, seed):
    rng = np.random.default_rng(seed)
    arrays = {"X": rng.integers(0, 4, ARRAYS["X"]), "C": np.zeros(64, int), "D": np.zeros(64, int)}
    interpret(verify(Kernel("kernel", PARAMS, kernel_body, (), ("joined",))), {**arrays, "n": 3})
    return arrays


def append(name, value):
    at = OWN[name][1]
    place = lb.mod(at, 64)
    return (Store(name, (place,), value), Assign(at, lb.add(at, 1)))


class Drawn:
    """Random pairs of bodies that have most statements in common."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.loops = 0

    def value(self, names):
        one, other = self.random.choice(names), self.random.choice(names)
        loaded = lb.load("X", lb.mod(other, 6))
        return self.random.choice([one, lb.add(one, 1), lb.add(one, other), lb.add(loaded, one)])

    def private(self, name):
        names = [*SHARED, *OWN[name]]
        kind = self.random.random()
        if kind < 0.6:
            return append(name, self.value(names))
        if kind < 0.8:
            return (Assign(OWN[name][0], self.value(names)),)
        if kind < 0.9:
            return (Assign(self.random.choice(SHARED), self.value(names)),)
        then = append(name, self.value(names))
        broken = (Break(),) if kind > 0.97 and self.loops else ()
        return (If(lb.lt(self.value(names), 3), (*then, *broken)),)

    def pair(self, depth):
        kind = self.random.random()
        if kind < 0.35 or depth == 0:
            return tuple([(s, None) for s in self.private("C")] if kind < 0.2 else []) + tuple(
                [(None, s) for s in self.private("D")] if kind > 0.1 else []
            )
        if kind < 0.6:
            return (both(Assign(self.random.choice(SHARED), self.value(SHARED))),)
        if kind < 0.8:
            self.loops += 1
            first, second = self.block(depth - 1)
            self.loops -= 1
            turn = lb.ivar(f"x{depth}")
            return (
                (For(turn, lb.i(0), lb.ivar("n"), first), For(turn, lb.i(0), lb.ivar("n"), second)),
            )
        first, second = self.block(depth - 1)
        test = lb.lt(lb.mod(self.value(SHARED), 4), 2)
        return ((If(test, first), If(test, second)),)

    def block(self, depth):
        pairs = [p for _ in range(self.random.randint(1, 5)) for p in self.pair(depth)]
        return body(*pairs) if all(body(*pairs)) else self.block(depth)


def loops(kernel_body):
    return sum(isinstance(s, For | While) for s in statements(kernel_body))


@pytest.mark.parametrize("part", range(4))
def test_random_bodies(part):
    joined = 0
    for seed in range(400 * part, 400 * (part + 1)):
        first, second = map(started, Drawn(seed).block(3), "CD")
        found = twins(first, second, [*ARRAYS, "n"])
        if found is None:
            continue
        joined += 1
        assert loops(found) <= loops(first) + loops(second)
        alone, other, together = run(first, seed), run(second, seed), run(found, seed)
        np.testing.assert_array_equal(together["C"], alone["C"])
        np.testing.assert_array_equal(together["D"], other["D"])
    assert joined > 5


def loop(*inside):
    return For(lb.ivar("x"), lb.i(0), lb.ivar("n"), inside)


J, S = lb.ivar("a"), lb.ivar("s")
STEP = Assign(J, lb.add(J, 1))


def test_what_both_do_is_done_once():
    found = twins((loop(STEP, *append("C", J)),), (loop(STEP, *append("D", J)),), [*ARRAYS, "n"])
    assert found == (loop(STEP, *append("C", J), *append("D", J)),)


def test_names_of_one_alone_are_told_apart():
    first = (loop(STEP, Assign(S, J), *append("C", S)),)
    second = (loop(STEP, Assign(S, lb.add(J, 5)), *append("D", S)),)
    found = twins(first, second, [*ARRAYS, "n"])
    assert found is not None
    assert {"s", "s2"} <= changes(found)


@pytest.mark.parametrize(
    "second",
    [
        (loop(STEP, STEP, *append("D", J)),),  # changes what both go by
        (loop(STEP, *append("D", J), If(lb.lt(2, J), (Break(),))),),  # ends early
        (For(lb.ivar("x"), lb.i(0), lb.i(2), (STEP, *append("D", J))),),  # another loop
        (loop(STEP, loop(*append("D", J))),),  # a loop inside, which the other has not
        (loop(STEP, *append("C", J)),),  # the same output
    ],
)
def test_others_are_not_joined(second):
    first = (loop(STEP, *append("C", J)),)
    if second == first:
        second = (loop(STEP, *append("C", lb.add(J, 1))),)
    assert twins(first, second, [*ARRAYS, "n"]) is None
