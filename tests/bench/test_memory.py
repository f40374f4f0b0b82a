"""The peak of a call, by the system's own count: bytes, so that a busy machine changes nothing."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from sparsedsl.bench.memory import LEAST, SLACK, growth, measurable, measure, memories


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


@dataclass
class Compiling:
    """Stands for a case that compiles something at the call of a given number."""

    at: int
    operands: dict = field(default_factory=lambda: {"x": np.ones(3)})
    arguments: dict = field(default_factory=lambda: {"x": np.ones(3)})
    calls: list = field(default_factory=list)
    kernel: object = field(default_factory=lambda: SimpleNamespace(name="a kernel"))
    input: str = "an input"
    bytes: int = 24

    def __call__(self):
        self.calls.append(len(self.calls))
        if len(self.calls) == self.at:
            np.ones(8_000_000)[0] = 2.0
        # so large that no memory that was freed before serves again, whatever ran before
        return np.ones(5_000_000)

    def lower(self):
        return SimpleNamespace(units=())


@pytest.mark.parametrize("at", [1, 2, 3])
def test_compiling_is_not_counted_whenever_it_happens(at):
    found = measure(Compiling(at))
    assert found.result == 40_000_000
    assert 39e6 < found.first < 48e6


@pytest.mark.parametrize(("kernel", "place"), [("SpMV CSR", "e"), ("SpGEMM", "c")])
def test_calls_take_what_is_announced(kernel, place):
    (found,) = memories([(kernel, place)])
    assert found.operands + found.result > LEAST
    assert min(found.first, found.again) >= 0.9 * found.result
    assert found.ratio <= SLACK
