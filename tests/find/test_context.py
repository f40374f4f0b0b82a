"""Parts of what is known: all that is said in one is said in the whole, and they stay small."""

import numpy as np
import pytest
from expressions import EXPRESSIONS, draw

import sparsedsl as sd
from sparsedsl.api import statement_engine
from sparsedsl.calls.choices import Choices
from sparsedsl.find import facts as fa
from sparsedsl.find.context import Context
from sparsedsl.iteration.nodes import Guard, Probe
from sparsedsl.spf import terms

CASES = [
    ("product", "csr"),
    ("product", "ell"),
    ("product", "jad"),
    ("product", "morton"),
    ("add", "ell"),
    ("add", "csr"),
    ("spmv", "dia"),
    ("spmv", "sell"),
    ("spgemm", "hash"),
    ("maximum", "hyb"),
    ("spgemm", "csb"),
]


def contexts(nest):
    """Yield what is known after each of the steps of a nest, those of probes among them."""
    for chain in nest.chains:
        steps, operands = nest.prefix + chain.steps, {o.name: o for o in chain.operands}
        for place, step in enumerate(steps):
            yield Context(steps[: place + 1], operands)
            if isinstance(step, Probe):
                for count in range(len(step.steps)):
                    yield Context((*steps[:place], *step.steps[: count + 1]), operands)


def nests(name, layout):
    expr = EXPRESSIONS[name]
    layouts = {n: "csr" if r == 2 else "csf" for n, r in expr.sparse()}
    tensors, _ = draw(expr, layouts | {"A": layout}, np.random.default_rng(0))
    units = sd.kernel(expr.body).lower(*tensors.values()).units
    return [nest for unit in units for p in unit.planned for nest in (p[2].nest, p[1])]


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_a_part_says_nothing_that_the_whole_does_not(name, layout):
    parts = 0
    for nest in nests(name, layout):
        for whole in contexts(nest):
            said = set(fa.facts(whole.steps, whole.operands))
            axioms = set(fa.axioms(whole.operands.values()))
            for variable in {v for o in whole.operands.values() for v in o.dims}:
                part = whole.about((terms.var(variable),))
                assert set(fa.facts(part.steps, part.operands)) <= said
                assert set(fa.axioms(part.operands.values())) <= axioms
                kept = [s for s in whole.steps if isinstance(s, Guard | Probe)]
                assert all(s in part.steps for s in kept if s.operand in part.operands)
                parts += part is not whole
    assert parts


def product(count, order):
    """The proofs of a product of so many tensors of an order."""
    rng, at = np.random.default_rng(1), ",".join(f"i{k}" for k in range(order))
    shape = (3,) * order
    given = {
        f"A{n}": sd.convert(rng.random(shape) * (rng.random(shape) < 0.4), sd.layouts["csf"])
        for n in range(count)
    }
    text = f"C[{at}] = " + " * ".join(f"{name}[{at}]" for name in given)
    return statement_engine(text, list(given), Choices()).lower(list(given.values())).proofs


def test_a_question_of_many_operands_is_about_few():
    two, five = product(2, 3), product(5, 3)
    assert max(len(p.smtlib) for p in five) <= 2 * max(len(p.smtlib) for p in two)
    assert all(p.proved for p in (*two, *five))


def test_order_is_asked_once_for_each_loop():
    asked = [p for p in product(3, 4) if "output in order" in p.name]
    assert len(asked) == 4
