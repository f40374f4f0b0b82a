import sys
from pathlib import Path

import pytest

# modules that several folders of tests share lie beside this file
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def _kernel_cache(tmp_path_factory):
    """Keep the kernels of a run apart from the user's."""
    from sparsedsl.options import config

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSEDSL_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        config.reset()
        yield
    config.reset()
