"""Gradients of kernels with respect to stored values and dense operands, as kernels."""

from sparsedsl.gradients.gradient import Gradient, grad

__all__ = ["Gradient", "grad"]
