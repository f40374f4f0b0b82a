"""The peer that TACO writes, with a stand-in for its program that writes C of the same form."""

import shutil
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from sparsedsl.bench.cases import case, plain
from sparsedsl.bench.jobs import Missing
from sparsedsl.bench.measure import QUICK, difference, measure
from sparsedsl.bench.peers import Peers, taco
from sparsedsl.bench.peers.scipy_kernels import SCIPY

HEAD = """
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
typedef struct {
  int32_t* dimensions; uint8_t*** indices; uint8_t* vals; int32_t vals_size;
} taco_tensor_t;
"""

BY_ROWS = """
int evaluate(taco_tensor_t *y, taco_tensor_t *A, taco_tensor_t *x) {
  int32_t n = y->dimensions[0], *pos = (int32_t*)A->indices[1][0];
  int32_t *crd = (int32_t*)A->indices[1][1];
  double *made = malloc(sizeof(double) * n);
  for (int i = 0; i < n; i++) {
    made[i] = 0;
    for (int p = pos[i]; p < pos[i + 1]; p++)
      made[i] += ((double*)A->vals)[p] * ((double*)x->vals)[crd[p]];
  }
  y->vals = (uint8_t*)made;
  return 0;
}
"""

BY_FIBERS = """
int evaluate(taco_tensor_t *M, taco_tensor_t *X, taco_tensor_t *v) {
  int32_t *top = (int32_t*)X->indices[0][0], *roots = (int32_t*)X->indices[0][1];
  int32_t *of = (int32_t*)X->indices[1][0], *middles = (int32_t*)X->indices[1][1];
  int32_t *pos = (int32_t*)X->indices[2][0], *crd = (int32_t*)X->indices[2][1];
  int32_t r = top[1], f = of[r];
  int32_t *arrays[4], *given[4] = {top, roots, of, middles}, sizes[4] = {2, r, r + 1, f};
  for (int k = 0; k < 4; k++) {
    arrays[k] = malloc(4 * sizes[k] + 4);
    memcpy(arrays[k], given[k], 4 * sizes[k]);
    M->indices[k / 2][k % 2] = (uint8_t*)arrays[k];
  }
  double *made = calloc(f + 1, sizeof(double));
  for (int q = 0; q < f; q++)
    for (int p = pos[q]; p < pos[q + 1]; p++)
      made[q] += ((double*)X->vals)[p] * ((double*)v->vals)[crd[p]];
  M->vals = (uint8_t*)made;
  return 0;
}
"""

PROGRAM = """#!{python}
import sys
if sys.argv[1] == "-version":
    print("TACO version: 9.9")
elif "Gallop" in " ".join(sys.argv):
    sys.exit("no such thing")
else:
    texts = {{"y(i)=A(i,j)*x(j)": {rows!r}, "M(i,j)=X(i,j,k)*v(k)": {fibers!r}}}
    target = next(a for a in sys.argv if a.startswith("-write-source=")).partition("=")[2]
    body = texts.get(sys.argv[1], "int evaluate(taco_tensor_t *s) {{ return wrong; }}")
    open(target, "w").write({head!r} + body)
"""


@pytest.fixture
def there(tmp_path, monkeypatch):
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("no C compiler")
    program = tmp_path / "taco"
    program.write_text(
        PROGRAM.format(python=sys.executable, head=HEAD, rows=BY_ROWS, fibers=BY_FIBERS)
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    taco._compiled.cache_clear()
    yield
    taco._compiled.cache_clear()


@pytest.mark.parametrize(("kernel", "name"), [("SpMV CSR", "a"), ("SpMV CSR", "b"), ("TTV", "t1")])
def test_results_come_back_call_after_call(there, kernel, name):
    found = taco.find()
    assert found.version.startswith("9.9, cc -O3")
    made = case(kernel, name, quick=True)
    [(variant, prepare)] = found.kernels[kernel]
    assert variant == "default"
    job, again = prepare(made.operands), prepare(made.operands)
    expected = SCIPY[kernel](made.operands)
    for call in (job, again, job):
        call.call()
    result = plain(expected.finish(expected.call()))
    assert difference(plain(job.finish(None)), result) < 1e-12
    assert difference(plain(again.finish(None)), result) < 1e-12


def test_the_default_is_a_peer_of_its_own(there):
    every, default = taco.find(), taco.find_default()
    assert [name for name, _ in every.kernels["A .* B"]] == ["default", "gallop"]
    assert [name for name, _ in default.kernels["A .* B"]] == [""]


def test_what_cannot_be_prepared_is_a_reason(there):
    made = case("A .* B", "a", quick=True)
    kernels = {"scipy": {"A .* B": [("", SCIPY["A .* B"])]}, "TACO": taco.find().kernels}
    found = measure(made, Peers(kernels, dict.fromkeys(kernels, "1"), {}), QUICK)
    assert [t.name for t in found.peers] == ["scipy"]
    assert "refuses it: " in found.errors["TACO (default)"]
    assert found.errors["TACO (gallop)"] == "Missing: taco does not compile this: no such thing"


def test_two_cursors_that_take_minutes_are_waited_for_only_by_default(there, monkeypatch):
    made = case("SpMSpV CSR 10 %", "a", quick=True)
    monkeypatch.setattr(taco, "MOST_STEPS", 10)
    prepare = taco.find().kernels["SpMSpV CSR 10 %"][0][1]
    with pytest.raises(Missing, match="two cursors take"):
        prepare(made.operands)
    assert taco.find_default().kernels["SpMSpV CSR 10 %"][0][1](made.operands).steady


def test_the_reason_is_told_where_it_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Missing, match="no program taco on PATH"):
        taco.find()


def test_levels_of_storage():
    m = sp.csr_array(np.array([[0, 1.0], [2, 3]]))
    (none, (starts, columns)), values = taco._levels(m, "ds:1,0")
    assert none == ()
    np.testing.assert_array_equal(starts, [0, 1, 3])
    np.testing.assert_array_equal(columns, [1, 0, 1])
    np.testing.assert_array_equal(values, [2, 1, 3])
    assert starts.dtype == columns.dtype == np.int32
    dense = np.arange(6.0).reshape(3, 2).T
    levels, values = taco._levels(dense, "dd")
    assert levels == [(), ()]
    assert values.flags.c_contiguous
