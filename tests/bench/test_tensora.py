"""The peer that runs in a process of its own, with a stand-in for the library there."""

import sys

import numpy as np
import pytest
import scipy.sparse as sp

from sparsedsl.bench.cases import case, plain
from sparsedsl.bench.jobs import Missing
from sparsedsl.bench.measure import difference
from sparsedsl.bench.peers import tensora
from sparsedsl.bench.peers.scipy_kernels import SCIPY

STAND_IN = """
import numpy as np
import scipy.sparse as sp

class Tensor:
    def __init__(self, dense):
        self.dense, self.dimensions = dense, dense.shape

    @staticmethod
    def from_numpy(array):
        return Tensor(array)

    @staticmethod
    def from_scipy_sparse(array, *, format):
        return Tensor(array.toarray())

    @staticmethod
    def from_soa(coordinates, values, *, dimensions, format):
        dense = np.zeros(dimensions)
        dense[tuple(coordinates)] = values
        return Tensor(dense)

    def to_numpy(self):
        return self.dense

    @property
    def taco_indices(self):
        held = sp.csr_array(self.dense)
        if self.format == "ds":
            return [[], [held.indptr.tolist(), held.indices.tolist()]]
        rows = np.flatnonzero(np.diff(held.indptr))
        starts = [*held.indptr[rows].tolist(), held.nnz]
        return [[[0, len(rows)], rows.tolist()], [starts, held.indices.tolist()]]

    @property
    def taco_vals(self):
        return sp.csr_array(self.dense).data.tolist()

def tensor_method(statement, formats):
    if "?" in statement:
        raise ValueError("no such statement")
    left, right = statement.split(" = ")
    target = left.split("(")[0]

    def call(**operands):
        if " + " in right:
            made = sum(t.dense for t in operands.values())
        else:
            parts = [p.split("(")[1].strip(")").replace(",", "") for p in right.split(" * ")]
            out = left.split("(")[1].strip(")").replace(",", "")
            names = [p.split("(")[0] for p in right.split(" * ")]
            made = np.einsum(",".join(parts) + "->" + out, *(operands[n].dense for n in names))
        result = Tensor(made)
        result.format = formats[target]
        return result

    return call
"""


@pytest.fixture
def there(tmp_path, monkeypatch):
    (tmp_path / "tensora.py").write_text(STAND_IN)
    described = tmp_path / "tensora-0.0.1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: tensora\nVersion: 0.0.1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(tensora.PYTHON, sys.executable)


@pytest.mark.parametrize("kernel", ["SpMV CSR", "SDDMM 64", "A + B", "TTV"])
def test_results_come_back(there, kernel):
    found = tensora.find()
    assert found.version == "0.0.1"
    made = case(kernel, "t1" if kernel == "TTV" else "a", quick=True)
    [(variant, prepare)] = found.kernels[kernel]
    job = prepare(made.operands)
    job.call()
    expected = SCIPY[kernel](made.operands)
    assert variant == ""
    assert difference(plain(job.finish(None)), plain(expected.finish(expected.call()))) < 1e-12


def test_what_goes_wrong_there_is_told_here(there):
    worker = tensora.Worker(sys.executable)
    with pytest.raises(tensora.Failed, match="ValueError: no such statement"):
        worker.ask("prepare", "?", {}, {})
    assert worker.ask("version") == "0.0.1"


def test_operands_of_a_call_that_is_gone_are_let_go(there):
    worker = tensora.Worker(sys.executable)
    x = {"x": ("d", (3,), None, np.ones(3))}
    number = worker.ask("prepare", "s() = x(i)", {"x": "d", "s": ""}, x)
    worker.forget(number)
    with pytest.raises(tensora.Failed, match="AttributeError"):
        worker.ask("call", number)


@pytest.mark.parametrize(
    ("python", "said"),
    [("", f"{tensora.PYTHON}=its Python"), ("/nowhere/python", "/nowhere/python does not load it")],
)
def test_the_reason_is_told_where_it_is_missing(python, said, monkeypatch):
    monkeypatch.setenv(tensora.PYTHON, python)
    with pytest.raises(Missing, match=said):
        tensora.find()


def test_an_environment_without_it_is_told(tmp_path, monkeypatch):
    (tmp_path / "tensora.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(tensora.PYTHON, sys.executable)
    with pytest.raises(Missing, match="does not load it: the process has ended"):
        tensora.find()


def test_sparse_results_of_both_kinds_are_read():
    dense = np.array([[0, 1.0, 2], [0, 0, 0], [3, 0, 0]])
    rows = np.array([0, 2]), np.array([0, 2]), np.array([0, 2, 3])
    columns, values = np.array([1, 2, 0]), np.array([1.0, 2, 3])
    read = tensora._sparse(((3, 3), [(np.array([0, 2, 2, 3]), columns)], values))
    np.testing.assert_array_equal(read.toarray(), dense)
    levels = [(rows[0], rows[1]), (rows[2], columns)]
    read = tensora._sparse(((3, 3), levels, values))
    np.testing.assert_array_equal(read.toarray(), dense)
    assert sp.issparse(read)
