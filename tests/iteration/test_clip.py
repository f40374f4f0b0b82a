"""Guards become bounds of a loop only where their terms can be read at the loop."""

import pytest

from sparsedsl.iteration.clip import clipped
from sparsedsl.iteration.nodes import Find, Guard, Key, Let, Probe, Scan
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Constraint

J, P, Q = (terms.var(name) for name in "jpq")
LOOP = Scan("j", (terms.ZERO,), (terms.var("n"),), None)
FIND = Find("p", (terms.ZERO,), (terms.var("m"),), (Key(UF("f", (P,)), J),), "A")
ABOVE_P = Guard(Constraint(terms.subtract(J, P), equality=False), "A")
ABOVE_F = Guard(Constraint(terms.subtract(J, terms.uf("f", Q)), equality=False), "A")
IN_RANGE = Guard(Constraint(Q, equality=False), "A")


@pytest.mark.parametrize(
    "steps",
    [
        (LOOP, FIND, ABOVE_P),  # p is found inside the loop
        (LOOP, IN_RANGE, ABOVE_F),  # f is read at q once q is known to be in range
        (LOOP, Probe("A", (FIND,)), ABOVE_F),
        (LOOP, Guard(Constraint(terms.subtract(J, Q), equality=True), "A")),
        (LOOP, Guard(Constraint(terms.uf("f", J), equality=False), "A")),
    ],
)
def test_guards_that_stay(steps):
    assert clipped(steps) == steps


def test_guards_that_bound_the_loop():
    row = terms.subtract(J, terms.uf("f", Q))
    below = Guard(Constraint(terms.subtract(terms.var("N"), terms.var("i")), equality=False), "A")
    steps = (LOOP, Let("i", row, "determined", "A"), below, ABOVE_F)
    first, *rest = clipped(steps)
    assert rest == [steps[1]]
    assert first.lows == (terms.ZERO, terms.uf("f", Q))
    end = terms.add(terms.var("N"), terms.uf("f", Q), terms.ONE)
    assert first.highs == (terms.var("n"), end)


def test_loops_that_close_segments_of_the_output_stay():
    steps = (LOOP, Guard(Constraint(terms.subtract(J, Q), equality=False), "A"))
    assert clipped(steps, 1) == steps
    (inner,) = clipped(steps)
    assert inner.lows == (terms.ZERO, Q)
    outer = Scan("q", (terms.ZERO,), (terms.var("m"),), None)
    assert clipped((outer, *steps), 1) == (outer, inner)
