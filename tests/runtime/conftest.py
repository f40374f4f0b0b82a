"""What the tests of the runtime ask of the system."""

import pytest

from sparsedsl.runtime import unchanged


@pytest.fixture
def told():
    """Skip where the system does not say who writes to memory."""
    if not unchanged.told():
        pytest.skip("this system does not tell of writes to memory, or is not asked")
