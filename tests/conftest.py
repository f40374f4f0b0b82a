import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# modules that several folders of tests share lie beside this file
sys.path.insert(0, str(Path(__file__).parent))

# a check of the tree draws the same cases each time; HYPOTHESIS_PROFILE=search draws new ones
settings.register_profile("check", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "check"))


@pytest.fixture(scope="session", autouse=True)
def _kernel_cache(tmp_path_factory):
    """Keep the kernels of a run apart from the user's."""
    from sparsedsl.options import config

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSEDSL_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        config.reset()
        yield
    config.reset()
