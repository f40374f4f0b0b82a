"""The peak of a call, by the system's own count: bytes, so that a busy machine changes nothing."""

import numpy as np
import pytest

from sparsedsl.bench.memory import LEAST, SLACK, growth, measurable, memories


def test_growth_is_the_most_at_any_time():
    assert measurable()

    def call():
        np.ones(8_000_000)[0] = 2.0  # 64 MB, gone at once
        return np.ones(2_000_000)

    most, result = growth(call)
    assert result.nbytes == 16_000_000
    assert 60e6 < most < 80e6
    again, _ = growth(lambda: None)
    assert again < 4e6


@pytest.mark.parametrize(("kernel", "place"), [("SpMV CSR", "e"), ("SpGEMM", "c")])
def test_calls_take_what_is_announced(kernel, place):
    (found,) = memories([(kernel, place)])
    assert found.operands + found.result > LEAST
    assert min(found.first, found.again) >= 0.9 * found.result
    assert found.ratio <= SLACK
