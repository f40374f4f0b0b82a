"""The limit of a search: plans that are right, if dearer, and a work that does not explode."""

from random import Random

import numpy as np
import pytest
from levels import check, interpreting, remembering_proofs
from programs import draw_arguments, program

import sparsedsl as sd


def run(made, given):
    with np.errstate(all="ignore"), interpreting(), remembering_proofs():
        special = made.kernel().engine.specialise(list(given[0][0].values()))
        for tensors, truth in given:
            check(special.matching(tensors), tensors, truth, made.rtol)


@pytest.mark.parametrize("first", range(1000, 1060, 15))
def test_the_first_plan_found_is_right(first):
    """A kernel has a plan under the least limit if it has one at all, and the same results."""
    for number in range(first, first + 15):
        random = Random(number)
        made = program(random)
        given = [draw_arguments(made, random, finite=finite) for finite in (True, False)]
        try:
            with sd.options(search_limit=1):
                run(made, given)
        except (sd.NotationError, sd.PlanError) as refused:
            with pytest.raises(type(refused)):
                run(made, given)


def chain():
    @sd.kernel
    def product(A, B, C):
        i, j, k, m = sd.indices("i j k m")
        R = sd.output("csr")
        R[i, m] = A[i, j] * B[j, k] * C[k, m]
        return R

    return product


def test_a_plan_of_a_search_that_was_cut_short_says_so():
    rng = np.random.default_rng(1)
    A = sd.convert(rng.random((30, 30)) * (rng.random((30, 30)) < 0.1), "csr")
    with sd.options(search_limit=3, cache=False):
        text, found = chain().explain(A, A, A), chain()(A, A, A)
    assert "the search ended after 3 loops tried: the plan is the cheapest found till then" in text
    dense = A.to_numpy()
    np.testing.assert_allclose(found.to_numpy(), dense @ dense @ dense, rtol=1e-12)
    with sd.options(cache=False):
        assert "the search ended" not in chain().explain(A, A, A)


def test_kernels_of_other_limits_are_kept_apart(tmp_path):
    A = sd.convert(np.eye(3), "csr")
    with sd.options(cache_dir=str(tmp_path)):
        chain().explain(A, A, A)
        with sd.options(search_limit=3):
            assert "the search ended" in chain().explain(A, A, A)
