"""``pytest bench`` times every kernel and peer; ``--quick`` takes small inputs."""

import pytest

from sparsedsl.options import options


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="small inputs")


@pytest.fixture(scope="session")
def quick(request):
    return request.config.getoption("--quick")


@pytest.fixture(autouse=True)
def _one_thread():
    with options(threads=1):
        yield
