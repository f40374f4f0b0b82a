"""A user's program, for the type checker: what the docs show, with the types it should have."""

from typing import Any, assert_type

import numpy as np
import scipy.sparse as sp

import rdu
import sparsedsl as sd
from sparsedsl import pictures


@sd.kernel
def sddmm(S: Any, A: Any, B: Any) -> Any:
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = S[i, j] * A[i, k] * B[k, j]
    return C


@sd.kernel(find="merge", parallel=False)
def nearest(A: Any, B: Any) -> Any:
    i, j, k = sd.indices("i j k")
    C = sd.output(fill_value=float("inf"))
    C[i, j] = sd.min(A[i, k] + B[k, j], over=k)
    return C


eye = sp.csr_array(np.eye(3))
left, right = np.ones((3, 2)), np.ones((2, 3))

tensor = assert_type(sd.asarray(eye), sd.Tensor)
assert_type(tensor.shape, tuple[int, ...])
assert_type(tensor.nnz, int)
assert_type(tensor.T, sd.Tensor)
assert_type(tensor.convert(sd.layouts.CSC), sd.Tensor)
assert_type(sd.convert(eye, sd.layouts["bcsr"](3, 3)), sd.Tensor)
assert_type(tensor.validate().copy(), sd.Tensor)
array: np.ndarray = tensor.to_numpy()

lowered = assert_type(sddmm.lower(eye, left, right), sd.Lowered)
assert_type(lowered.source, str)
assert_type(lowered.explain(), str)
assert_type(lowered.cost, float)
assert_type(lowered.compile(), sd.Compiled)
for proof in lowered.proofs:
    print(proof.name, proof.proved, proof.seconds, proof.allows)

runs = sd.Layout(
    "runs", "[N, P] -> { [p] -> [i] : 0 <= p < P and i = f(p) and 0 <= i < N }", value="d(p)"
)
bound = assert_type(sd.from_arrays(runs, (3,), {"f": [0, 2], "d": [1.0, 2.0]}), sd.Tensor)
found = sd.einsum("ij,j->i", eye, np.ones(3))
other = sd.evaluate("C[i,j] = A[i,k] * B[k,j]", A=eye, B=eye)
total = (tensor @ np.ones(3)) + tensor.sum(axis=0) - 2.0

sd.write("a.mtx", tensor)
with sd.options(threads=2):
    again = assert_type(sd.read("a.mtx"), sd.Tensor)
try:
    nearest(eye, eye)
except sd.InvalidTensorError as error:
    assert_type(str(error), str)
assert_type(pictures.spy(tensor), str)

node = rdu.sn40l_node(sockets=8)
program = rdu.compile(rdu.trace(sddmm, eye, left, right), node)
result, report = rdu.run(program, eye, left, right)
assert_type(report.seconds, float)
assert_type([row.name for row in rdu.paper.table("I")], list[str])

wrong: str = tensor.nnz  # the checker must see this mistake
missing = tensor.layot  # and this one
