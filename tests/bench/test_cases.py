import re
import shutil

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.bench.cases import KERNELS, case, plain
from sparsedsl.bench.inputs import MATRICES, TENSORS, Fibers, grid, real
from sparsedsl.bench.measure import difference
from sparsedsl.bench.peers import find, scipy_kernels
from sparsedsl.bench.peers.scipy_kernels import SCIPY


def _dense(x):
    if not isinstance(x, Fibers):
        return x.toarray() if sp.issparse(x) else np.asarray(x)
    spread = np.repeat(np.arange(x.middles.size), np.diff(x.starts))
    dense = np.zeros(x.shape)
    dense[x.first[spread], x.middles[spread], x.last] = x.values
    return dense


def _einsum(statement, operands):
    """What NumPy makes of a statement that is one product."""
    left, right = statement.split(" = ")
    subscripts = [part[part.index("[") + 1 : -1].replace(",", "") for part in right.split(" * ")]
    names = [part[: part.index("[")] for part in right.split(" * ")]
    out = left[left.index("[") + 1 : -1].replace(",", "").strip("()")
    return np.einsum(f"{','.join(subscripts)}->{out}", *(_dense(operands[n]) for n in names))


def _several(statements, operands):
    """What NumPy makes of products and reductions of rows, one behind the other."""
    found = []
    for statement in statements.split("; "):
        reduction = re.search(r"= (sum|max)\((\w)\[i,j\], over=j\)", statement)
        found.append(
            getattr(_dense(operands[reduction[2]]), reduction[1])(axis=1)
            if reduction
            else _einsum(statement, operands)
        )
    return np.concatenate(found)


def _expected(made):
    """What NumPy makes of one case."""
    statement = made.kernel.statement
    if made.kernel.program is not None:
        return _several(statement, made.operands)
    if " + " in statement:
        return sum(_dense(x) for x in made.operands.values())
    return _einsum(statement, made.operands)


@pytest.mark.parametrize("kernel", KERNELS)
def test_scipy_computes_the_statement(kernel):
    """The reference of all other checks, against NumPy's einsum."""
    chosen = KERNELS[kernel]
    made = case(kernel, chosen.inputs[0], quick=True)
    job = find().jobs(made)[0][2]
    found = plain(job.finish(job.call()))
    found = found.toarray() if sp.issparse(found) else found
    assert len(made.others) == chosen.turns - 1
    expected = np.concatenate([_expected(one) for one in (made, *made.others)], axis=None)
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-12, atol=1e-12)


def test_every_kernel_has_a_reference_and_a_hand_written_kernel():
    assert {*SCIPY} == {*KERNELS}
    assert {*find().kernels["hand"]} == {*KERNELS}


@pytest.mark.parametrize("kernel", ["masked SpGEMM", "triangles", "sampled inner products"])
def test_scipy_takes_products_by_rows_as_at_once(kernel, monkeypatch):
    """Large ones have no room for the whole product before its mask."""
    made = case(kernel, "b", quick=True)
    job = SCIPY[kernel](made.operands)
    monkeypatch.setattr(scipy_kernels, "ROOM", 100)
    by_rows = SCIPY[kernel](made.operands)
    assert difference(plain(by_rows.call()), plain(job.call())) < 1e-14


def test_merging_loops_agree_with_scipy_or_say_why_they_cannot_run():
    peers = find()
    if shutil.which("cc") is None:
        assert "cc" in peers.absent["merging C"]
        return
    for kernel, variants in peers.kernels["merging C"].items():
        for name in KERNELS[kernel].inputs[:2]:
            made = case(kernel, name, quick=True)
            reference = SCIPY[kernel](made.operands)
            expected = plain(reference.finish(reference.call()))
            for _, prepare in variants:
                job = prepare(made.operands)
                assert difference(plain(job.finish(job.call())), expected) < 1e-12


def test_peers_leave_small_numbers_as_they_are():
    find()
    smallest = np.finfo(float).tiny
    assert smallest / 2 > 0


def test_inputs_of_kernels_exist():
    there = {*MATRICES, *TENSORS, *real(quick=True)}
    assert {name for kernel in KERNELS.values() for name in kernel.inputs} <= there


def test_kernels_that_coiterate_run_on_every_matrix_or_every_tensor():
    """But those of one input made for them: matrices in turn, and rows of 200 beside rows of 2."""
    matrices = {"a", "b", "c", "d", "e"}
    for kernel in KERNELS.values():
        of = {name.removesuffix("'") for name in kernel.inputs}
        if kernel.coiterates and len(of) > 1:
            assert of >= matrices or of == {*TENSORS}, kernel.name


def test_products_are_of_extents_that_match():
    by_transposed = KERNELS["SpGEMM"].operands(grid(3)[:4], np.random.default_rng(0))
    a, b = by_transposed["A"], by_transposed["B"]
    assert (a.shape, b.shape) == ((4, 9), (9, 4))
    np.testing.assert_array_equal(b.toarray() != 0, a.toarray().T != 0)


def test_plain_joins_leading_modes():
    dense = np.arange(24.0).reshape(2, 3, 4)
    tensor = sd.convert(dense, "csf")
    np.testing.assert_array_equal(plain(tensor).toarray(), dense.reshape(6, 4))
    np.testing.assert_array_equal(plain(dense), dense.reshape(6, 4))


def test_bytes_count_every_array():
    made = case("SpMV CSR", "a", quick=True)
    a = made.operands["A"]
    assert made.bytes == 12 * a.nnz + 4 * (a.shape[0] + 1) + 8 * a.shape[1]


def test_matrices_in_turn_differ_in_pattern_and_are_each_computed():
    made = case("A .* B, 16 in turn", "A_real", quick=True)
    patterns = [one.operands["A"].indices.tolist() for one in (made, *made.others)]
    assert len({*map(tuple, patterns)}) == 16
    assert len({one.operands["A"].shape for one in (made, *made.others)}) == 1
    assert made.bytes == sum(one.bytes for one in made.others) * 16 // 15
    found, (_, _, job), *_ = made(), *find().jobs(made)
    assert difference(plain(found), plain(job.finish(job.call()))) < 1e-12
