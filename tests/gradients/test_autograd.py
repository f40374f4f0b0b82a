"""The wrapper for torch, with a stand-in for the few names of torch that it uses."""

import sys
import types

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.gradients.autograd import differentiable


class Array(np.ndarray):
    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return np.asarray(self)


class Function:
    @classmethod
    def apply(cls, *given):
        cls.context = types.SimpleNamespace(needs_input_grad=(True,) * len(given))
        cls.context.save_for_backward = lambda *x: setattr(cls.context, "saved_tensors", x)
        return cls.forward(cls.context, *given)


def test_a_kernel_is_a_function_with_a_gradient(monkeypatch):
    torch = types.ModuleType("torch")
    torch.autograd = types.SimpleNamespace(Function=Function)
    torch.from_numpy = lambda x: x.view(Array)
    monkeypatch.setitem(sys.modules, "torch", torch)

    @sd.kernel
    def spmv(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    A = sp.csr_array(np.array([[1.0, 0.0], [2.0, 3.0]]))
    apply = differentiable(spmv, A=A)
    values, x = A.data.view(Array), np.array([5.0, 7.0]).view(Array)
    with pytest.raises(sd.InvalidTensorError, match=r"A: expected a torch tensor(.|\n)*A=A"):
        apply(A, x)
    with pytest.raises(sd.NotationError, match="names of sparse arguments, found 'B'"):
        differentiable(spmv, B=A)
    np.testing.assert_array_equal(apply(values, x), A @ x)
    call = apply.__self__
    by_values, by_x = call.backward(call.context, np.array([1.0, 10.0]).view(Array))
    np.testing.assert_array_equal(by_values, [5.0, 50.0, 70.0])
    np.testing.assert_array_equal(by_x, A.T @ np.array([1.0, 10.0]))
