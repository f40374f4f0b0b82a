"""Generated kernels and explanations, kept as files for people to read."""

import re
from pathlib import Path

import pytest
from expressions import EXPRESSIONS
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

import sparsedsl as sd


class KernelFile(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "py"

    @classmethod
    def dirname(cls, *, test_location):
        return str(Path(test_location.filepath).parents[1] / "golden" / test_location.basename)


class TextFile(KernelFile):
    file_extension = "txt"


@pytest.fixture(autouse=True)
def masks(monkeypatch):
    """The text is that for a processor with masks and gathers, whichever runs the tests."""
    monkeypatch.setattr("sparsedsl.codegen.processor.has_masks", lambda: True)
    monkeypatch.setattr("sparsedsl.codegen.processor.gathers", lambda: True)


def lowered(name, *layouts, **choices):
    """Plan an expression for large operands, described by shape alone or bound and empty."""
    import numpy as np
    from levels import remembering_proofs, store

    rng = np.random.default_rng(0)
    layouts = list(layouts)
    given = []
    for operand, modes in EXPRESSIONS[name].operands:
        shape = {1: (400,), 2: (400, 400), 3: (40, 40, 40)}[len(modes)]
        if name == "mttkrp" and len(modes) == 2:
            shape = (40, 16)
        if operand[0].islower():
            given.append(np.ones(shape))
        else:
            layout = layouts.pop(0)
            mask = rng.random(shape) < (0.2 if len(shape) == 1 else 0.02)
            given.append(store(np.ones(shape), mask, layout))
    with remembering_proofs():
        found = sd.kernel(EXPRESSIONS[name].body, **choices).lower(*given)
        assert found.units
    return found


KERNELS = {
    "spmv": ("spmv", "csr"),
    "spmspv": ("spmspv", "csr", "csf"),
    "product": ("product", "csr", "csr"),
    "spgemm": ("spgemm", "csr", "csr"),
    "sddmm": ("sddmm", "csr"),
    "mttkrp": ("mttkrp", "csf"),
    "add": ("add", "csr", "csr"),
    "product_bcsr_csr": ("product", sd.layouts["bcsr"](4, 4), "csr"),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name, snapshot):
    assert lowered(*KERNELS[name]).source == snapshot(extension_class=KernelFile)


def test_kernel_with_a_hash_table(snapshot):
    found = lowered("spgemm", "csr", "csr", workspace="hash")
    assert found.source == snapshot(extension_class=KernelFile)


@pytest.mark.parametrize("name", ["spmspv", "product_bcsr_csr"])
def test_explanation(name, snapshot):
    text = lowered(*KERNELS[name]).explain()
    text = re.sub(r"\[ *[\d.]+ ms\]", "[time]", text)
    text = re.sub(r"\(\d+ in [\d.]+ (m?s)\)", "(count and time)", text)
    text = re.sub(r"\d+(\.\d+)?x the cost", "N times the cost", text)
    text = re.sub(r"[\d.e+-]+ times the plan's", "N times the plan's", text)
    # a call so short is mostly what any call costs, on some machines
    text = re.sub(r": [\d.e+-]+ times the estimate| with what any call costs", "", text)
    assert re.sub(r"[\d.e+-]+ (m?s)\b", "time", text) == snapshot(extension_class=TextFile)
