"""Kernels sent to other processes: by name where a module holds them, else with their function."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.errors import PlanError

A = sp.random_array((30, 20), density=0.2, format="csr", rng=0)
X = np.arange(20.0)


@sd.kernel
def doubled(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = 2 * A[i, j] * x[j]
    return y


def scaled(factor):
    @sd.kernel(out="csr", semantics="annihilator")
    def kernel(A):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = factor * A[i, j]
        return C

    return kernel


def test_a_kernel_of_a_module_is_itself_again():
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert copy.deepcopy({"kernel": doubled})["kernel"] is doubled


def test_a_kernel_made_in_a_function_is_sent_with_what_it_closes_over():
    sent = pickle.loads(pickle.dumps(scaled(3)))
    assert sent.engine.choices == scaled(3).engine.choices
    assert abs(sent(A) - 3 * A).max() == 0
    assert abs(copy.deepcopy(scaled(5))(A) - 5 * A).max() == 0


def test_other_processes_call_both():
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        of_module, of_function = pool.submit(doubled, A, X), pool.submit(scaled(3), A)
        assert np.allclose(of_module.result(), 2 * (A @ X))
        assert abs(of_function.result() - 3 * A).max() == 0


@pytest.mark.parametrize("make", [doubled.lower, doubled.compile], ids=["lowered", "compiled"])
def test_machine_code_stays_here(make):
    with pytest.raises(PlanError, match="send the kernel itself"):
        pickle.dumps(make(A, X))
