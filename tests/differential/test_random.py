"""Random statements over random layouts, shapes and values, against the dense oracle.

``tests/nightly.py`` draws tens of thousands of the kernels below.
"""

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from levels import check, interpreting, remembering_proofs, store
from programs import draw_arguments, program
from strategies import arguments, statements

import sparsedsl as sd
from sparsedsl.calls.choices import Choices
from sparsedsl.frontend.string import parse_statement
from sparsedsl.frontend.trace import Traced
from sparsedsl.kernel import Engine


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_random_statements(data):
    statement, operands = data.draw(statements())
    values = data.draw(arguments(operands))
    tensors = {n: store(dense, mask, layout) for n, (dense, mask, layout) in values.items()}
    truth = {n: dense for n, (dense, _, _) in values.items()}

    def tracer(infos):
        named = dict(zip(tensors, infos, strict=True))
        return Traced(parse_statement(statement, named, dtype=None, fill_value=0))

    out = data.draw(st.sampled_from((None, None, "dense", "sparse")))
    rank = statement.partition("=")[0].count(",") + ("()" not in statement.partition("=")[0])
    layout = {"sparse": "csf" if rank else None, "dense": "dense"}.get(out)
    with interpreting(), remembering_proofs():
        engine = Engine(tracer, Choices(out=layout))
        check(engine.specialise(list(tensors.values())), tensors, truth)


@pytest.mark.parametrize("first", range(0, 60, 15))
def test_random_kernels(first):
    """Kernels of every layout, dtype and kind of expression, each on three arguments."""
    for number in range(first, first + 15):
        random = Random(number)
        made = program(random)
        given = [draw_arguments(made, random, finite=finite) for finite in (True, True, False)]
        with np.errstate(all="ignore"), interpreting(), remembering_proofs():
            try:
                special = made.kernel().engine.specialise(list(given[0][0].values()))
                for tensors, truth in given:
                    check(special.matching(tensors), tensors, truth, made.rtol)
            except (sd.NotationError, sd.PlanError):
                continue  # dtypes that do not go together, a choice that is not possible
