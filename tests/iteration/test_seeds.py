"""Plans do not depend on the order of sets, which is another in each process."""

import os
import subprocess
import sys

import pytest

PLANS = """
import numpy as np
import sparsedsl as sd

@sd.kernel(semantics="annihilator")
def product(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C

rng = np.random.default_rng(0)
lower = np.tril(rng.integers(1, 9, (6, 6))).astype(float)
lower[5, :3] = lower[3, 1] = 0.0
A = sd.convert(lower, "csr")
given = {"skyline": (), "vbl": (), "bcsr": (2, 2), "sell": (2,), "dia": ()}
with sd.options(cache=False, threads=1, solver_timeout_ms=10_000):
    for name, sizes in given.items():
        layout = sd.layouts[name]
        lowered = product.lower(A, sd.convert(lower, layout(*sizes) if sizes else layout))
        print(name, repr(lowered.cost), lowered.source, sep="\\n")
"""


@pytest.fixture(scope="module")
def plans():
    def with_seed(seed):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", PLANS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return {seed: with_seed(seed) for seed in "0123"}


@pytest.mark.parametrize("seed", list("123"))
def test_costs_and_kernels_are_the_same_in_every_process(plans, seed):
    assert plans[seed] == plans["0"]
