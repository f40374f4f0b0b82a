import runpy
from pathlib import Path

import pytest


class RandomKernels:
    """The random kernels, their arguments and the comparison of results."""

    def __init__(self):
        names = runpy.run_path(str(Path(__file__).parents[1] / "loops" / "random_kernels.py"))
        self.kernels = names["kernels"]
        self.arguments = names["arguments"]
        self.same_results = names["same_results"]


@pytest.fixture(scope="session")
def random_kernels():
    return RandomKernels()


@pytest.fixture(scope="session")
def sample_kernels():
    return runpy.run_path(str(Path(__file__).parent / "sample_kernels.py"))
