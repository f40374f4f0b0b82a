"""Proof records can be checked again by whoever has a solver."""

import subprocess
import sys

import numpy as np
import pytest
import z3
from expressions import EXPRESSIONS, draw

import sparsedsl as sd
from sparsedsl.find import formula as fo
from sparsedsl.find.smt import Question, prove
from sparsedsl.spf import terms

CASES = [
    ("product", "csr"),
    ("product", "coo_unsorted"),
    ("product", "morton"),
    ("product", "rle"),
    ("add", "csr"),
    ("spmv", "dia"),
    ("spmv", "ell"),
    ("spgemm", "csc"),
    ("maximum", "dcsr"),
]


def records(name, layout):
    """The proofs of an expression with its first operand in a layout, the others in CSR."""
    expr = EXPRESSIONS[name]
    layouts = {n: "csr" if r == 2 else "csf" for n, r in expr.sparse()}
    tensors, _ = draw(expr, layouts | {"A": layout}, np.random.default_rng(0))
    return sd.kernel(expr.body).lower(*tensors.values()).proofs


def verdict(text, *, plain):
    """What a solver of its own says of a script: with its usual settings, or with ours."""
    solver = z3.Solver(ctx=z3.Context()) if plain else z3.SimpleSolver(ctx=z3.Context())
    if not plain:
        solver.set(auto_config=False, mbqi=False)
    solver.set(timeout=20_000)
    solver.from_string(text)
    return solver.check()


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_the_text_of_a_record_alone_gives_its_verdict(name, layout):
    found = records(name, layout)
    assert found
    for proof in found:
        assert proof.verdict in ("proved", "unknown")
        assert (verdict(proof.smtlib, plain=False) == z3.unsat) == proof.proved, proof
        if proof.proved:
            assert verdict(proof.smtlib, plain=True) == z3.unsat, proof


def test_a_goal_that_is_changed_is_not_proved():
    """The text holds the goal: with another one, or without an axiom, the verdict is another."""
    (proof,) = [p for p in records("product", "csr") if p.name.endswith("sorted")][:1]
    assert proof.proved
    *assumed, goal = proof.smtlib.split("\n")
    assert goal.startswith("(assert (not ")
    assert verdict("\n".join(assumed), plain=False) != z3.unsat
    less = [line for line in assumed if "=>" not in line]
    assert verdict("\n".join([*less, goal]), plain=True) == z3.sat


def test_what_is_refuted_did_not_time_out():
    x = terms.var("x")
    found = prove(Question("", (), (), fo.less(terms.ZERO, x), ""))
    assert found.verdict == "unknown"
    assert verdict(found.smtlib, plain=True) == z3.sat


def test_a_record_is_read_by_another_process():
    (proof, *_) = [p for p in records("spmv", "ell") if p.proved]
    code = "import sys, z3; s = z3.Solver(); s.from_string(sys.stdin.read()); print(s.check())"
    done = subprocess.run(
        [sys.executable, "-c", code], input=proof.smtlib, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "unsat"
