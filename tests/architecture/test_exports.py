import importlib

import pytest

import rdu
import sparsedsl as sd

NAMES = [
    "kernel",
    "indices",
    "index",
    "output",
    "sum",
    "prod",
    "min",
    "max",
    "any",
    "all",
    "where",
    "minimum",
    "maximum",
    "exp",
    "sqrt",
    "abs",
    "tanh",
    "sigmoid",
    "relu",
    "sign",
    "pattern",
    "function",
    "einsum",
    "evaluate",
    "Layout",
    "layouts",
    "Tensor",
    "ShapeOf",
    "asarray",
    "from_arrays",
    "convert",
    "storage_bytes",
    "read",
    "write",
    "config",
    "options",
    "Lowered",
    "Compiled",
    "SparseDSLError",
    "NotationError",
    "LayoutError",
    "InvalidTensorError",
    "PlanError",
    "ProofError",
    "CacheError",
]

LAYOUTS = [
    "dense",
    "coo",
    "coo_unsorted",
    "coo_repeated",
    "mode_generic",
    "csr",
    "csc",
    "dcsr",
    "dcsc",
    "csf",
    "bcsr",
    "bcsc",
    "vbl",
    "dia",
    "ell",
    "sell",
    "sell_sigma",
    "hyb",
    "jad",
    "csb",
    "hicoo",
    "morton",
    "bitmap",
    "hash",
    "rle",
    "banded",
    "skyline",
    "triangular",
    "symmetric",
    "packed",
    "ragged",
    "nm",
    "pattern",
]

RDU_NAMES = [
    "sn40l_node",
    "Chip",
    "Node",
    "trace",
    "compile",
    "run",
    "estimate",
    "Graph",
    "Program",
    "Report",
    "models",
    "coe",
    "paper",
    "RDUError",
    "SpecError",
    "MappingError",
    "CapacityError",
    "DeadlockError",
]


@pytest.mark.parametrize("name", NAMES)
def test_sparsedsl_exports(name):
    assert hasattr(sd, name)
    assert name in sd.__all__


@pytest.mark.parametrize("name", RDU_NAMES)
def test_rdu_exports(name):
    assert hasattr(rdu, name)
    assert name in rdu.__all__


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_catalogue_holds(name):
    assert name in sd.layouts


def test_all_lists_only_what_exists():
    for module in (sd, rdu):
        missing = [name for name in module.__all__ if not hasattr(module, name)]
        assert not missing


@pytest.mark.parametrize(
    "name", ["NotationError", "LayoutError", "InvalidTensorError", "PlanError"]
)
def test_mistakes_are_value_errors(name):
    error = getattr(sd, name)
    assert issubclass(error, ValueError)
    assert issubclass(error, sd.SparseDSLError)


@pytest.mark.parametrize("name", ["SpecError", "MappingError", "CapacityError", "DeadlockError"])
def test_errors_of_rdu_have_one_root(name):
    assert issubclass(getattr(rdu, name), rdu.RDUError)


@pytest.mark.parametrize("script", ["sparsedsl.cli", "rdu.cli"])
def test_command_lines_have_a_main(script):
    assert callable(importlib.import_module(script).main)
