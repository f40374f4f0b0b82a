"""The kernels written by hand in ``bench/hand`` of the project's sources."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Any

from sparsedsl.bench.jobs import Job, Known, Missing, Prepare

HAND = Path(__file__).parents[3] / "bench" / "hand"
"""The hand-written kernels: in the project's sources, not in the installed package."""


def find() -> Known:
    """Load the kernels from the sources.

    Raises
    ------
    Missing
        Where the package was installed without its sources.
    """
    if not HAND.exists():
        raise Missing("hand-written kernels are in bench/hand of the project's sources")
    return Known(f"numba {importlib.metadata.version('numba')}", _kernels())


def _kernels() -> dict[str, list[tuple[str, Prepare]]]:
    spec = importlib.util.spec_from_file_location(
        "sparsedsl_bench_hand", HAND / "__init__.py", submodule_search_locations=[str(HAND)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Numba's cache finds functions by the name of their module
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)

    def prepared(variant: Any) -> Prepare:
        return lambda operands: Job(*variant(operands))

    return {
        kernel: [(name, prepared(variant)) for name, variant in variants.items()]
        for kernel, variants in module.KERNELS.items()
    }
