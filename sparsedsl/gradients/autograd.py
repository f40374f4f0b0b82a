"""A kernel as a differentiable function of torch tensors.

Takes: a kernel.  Gives: a function that ``torch.autograd`` differentiates.  Invariant: torch
is imported here alone, when asked for; memory is shared with torch where layouts allow.

A sparse operand stays what it is (scipy, ``sd.Tensor``), and its stored values are a torch
tensor of their own, so that an optimiser can hold them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsedsl.errors import NotationError, TensorTypeError
from sparsedsl.gradients.gradient import Gradient
from sparsedsl.interop import asarray
from sparsedsl.kernel import Kernel
from sparsedsl.runtime.tensor import Tensor


def differentiable(kernel: Kernel, **patterns: Any) -> Callable[..., Any]:
    """Return ``kernel`` as a function of torch tensors that has a gradient.

    Parameters
    ----------
    kernel:
        A kernel with one result, a dense one.
    patterns:
        For each sparse argument, a tensor in its layout: the argument is then given as the
        1-D torch tensor of its stored values, in the order of ``.arrays``.

    Raises
    ------
    NotationError
        For a pattern of no argument; ``TensorTypeError`` in a call for what is no torch tensor.

    Examples
    --------
    ``spmv = differentiable(kernel, A=A)`` and then
    ``spmv(values, x).sum().backward()`` fills ``values.grad`` and ``x.grad``.
    """
    torch: Any = importlib.import_module("torch")
    function: Any = torch.autograd.Function

    names = tuple(inspect.signature(kernel.function).parameters)
    bound = {name: asarray(pattern) for name, pattern in patterns.items()}

    unknown = [name for name in bound if name not in names]
    if unknown:
        raise NotationError(
            f"expected the names of sparse arguments, found {unknown[0]!r}",
            hint=f"the kernel takes {', '.join(names)}",
        )

    def argument(name: str, x: Any) -> Any:
        if not hasattr(x, "detach"):
            raise TensorTypeError(
                f"{name}: expected a torch tensor, found {type(x).__name__}",
                hint=f"give a sparse operand as differentiable(kernel, {name}={name}), and its "
                "stored values as a torch tensor in the call",
            )
        array = x.detach().cpu().numpy()
        if name not in bound:
            return array
        pattern = bound[name]
        values = np.ascontiguousarray(array).reshape(pattern.values.shape)
        arrays = {**pattern.arrays, pattern.layout.value.function: values}
        return Tensor(pattern.layout, pattern.shape, arrays, 0, pattern.sizes)

    class Call(function):
        """One call of the kernel."""

        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            ctx.save_for_backward(*given)
            arguments = [argument(n, x) for n, x in zip(names, given, strict=True)]
            return torch.from_numpy(np.asarray(kernel(*arguments)))

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            given = ctx.saved_tensors
            wanted = [n for n, used in zip(names, ctx.needs_input_grad, strict=True) if used]
            arguments = [argument(n, x) for n, x in zip(names, given, strict=True)]
            weight = cotangents[0].detach().cpu().numpy()
            found = dict(
                zip(wanted, Gradient(kernel, wanted)(*arguments, cotangent=weight), strict=True)
            )
            return tuple(
                torch.from_numpy(np.asarray(_values(found[n]))).reshape(x.shape)
                if n in found
                else None
                for n, x in zip(names, given, strict=True)
            )

    return Call.apply


def _values(gradient: Any) -> Any:
    return gradient.values if isinstance(gradient, Tensor) else gradient
