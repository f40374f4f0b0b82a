import json

import numpy as np
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from sparsedsl.cli.app import app
from sparsedsl.demo import matrices, measure
from sparsedsl.demo.cases import cases
from sparsedsl.demo.show import demonstrate


@pytest.fixture(scope="module")
def record():
    done = CliRunner().invoke(app, ["demo", "--quick", "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_every_kernel_on_every_matrix_agrees(record):
    names = {"SpMV", "SpMSpV", "A * B", "SpGEMM", "SDDMM", "MTTKRP"}
    pairs = {(k["kernel"], k["matrix"]) for k in record["kernels"]}
    assert pairs == {(name, m["name"]) for name in names for m in record["matrices"]}
    assert all(k["agrees"] and k["error"] <= k["tolerance"] for k in record["kernels"])


def test_the_story_is_whole(record):
    story = record["story"]
    for part in ("expression", "iteration space", "plan", "proofs"):
        assert part in story["explanation"]
    assert "def kernel(" in story["source"]
    assert any(p["proved"] for p in story["proofs"])


def test_experts_fused_and_unfused(record):
    experts = record["experts"]
    assert experts["fused_equals_unfused"]
    fused, unfused = experts["mapped"]
    assert fused["kernels"] == 1 < unfused["kernels"]
    assert fused["bytes"]["hbm"] < unfused["bytes"]["hbm"]
    assert fused["operational_intensity"] > unfused["operational_intensity"]


def test_disagreement_is_told_in_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr(measure, "TOLERANCE_EPS", -1)
    monkeypatch.setattr(matrices, "from_pyamg", lambda quick: [])
    agree, record = demonstrate(quick=True, json=False)
    assert not agree
    assert any("pyamg" in line for line in record["missing"])
    text, errors = capsys.readouterr()
    assert not errors
    assert text.isascii()
    assert "WRONG" in text
    assert "disagreement in SpMV on A_real" in text
    for part in ("Real matrices", "Kernels beside scipy", "def kernel(", "bit for bit"):
        assert part in text


def test_relative_error_sees_shapes_and_values():
    assert measure.relative_error(np.ones(3), np.ones(4)) == np.inf
    assert measure.relative_error(np.array([1.0, 2.5]), np.array([1.0, 2.0])) == 0.25
    assert measure.relative_error(np.array([np.nan]), np.array([1.0])) == np.inf


def test_pair_tensor_is_the_outer_product_of_each_row():
    A = sp.random_array((7, 5), density=0.5, rng=np.random.default_rng(1), format="csr")
    coordinates, values = matrices.pair_tensor(A)
    T = np.zeros((7, 5, 5))
    np.add.at(T, tuple(coordinates), values)
    assert np.allclose(T, np.einsum("ij,ik->ijk", A.toarray(), A.toarray()))


def test_references_are_right_on_a_small_matrix():
    A = sp.csr_array(np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 0.0], [4.0, 0.0, 5.0]]))
    references = {case.name: case for case in cases(A)}
    S, P, Q = references["SDDMM"].arguments
    expected = S.toarray() * (P @ Q)
    assert np.allclose(references["SDDMM"].reference().toarray(), expected)
    T, B, C = references["MTTKRP"].arguments
    expected = np.einsum("ijk,jr,kr->ir", T.to_numpy(), B, C)
    assert np.allclose(references["MTTKRP"].reference(), expected)
