"""Kernels compiled ahead of time: a module without this package, an object file for C."""

from sparsedsl.aot.module import module_text
from sparsedsl.aot.native import Native, native

__all__ = ["Native", "module_text", "native"]
