"""Object code of kernels, linked into this process as functions of Python.

Takes: ``Code``, the object file of a kernel with what it needs.  Gives: a built-in function,
called with arrays and ints.  Invariant: needs LLVM alone, not Numba, so that a kernel kept on
disk runs without the compiler being loaded.

The code is a function of CPython's fast calling convention.  It reads where an array's data
lies, and how long its axes are, from the array object at each call, so that an array resized in
place is never read where it was.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from llvmlite import binding

Function: TypeAlias = "Callable[..., tuple[int, ...]]"

HEAD = object.__basicsize__
"""Bytes of a Python object before what its type adds: the first field of an array is where its
data lies."""

AXES = HEAD + 16
"""Bytes before the field of an array that says where the lengths of its axes lie: after the data
and, in eight bytes, the number of axes."""

_FAST = 0x80
"""``METH_FASTCALL``: arguments come as the address and number of object pointers."""


@dataclass(frozen=True, slots=True)
class Code:
    """An object file that defines the function ``entry``; empty for a kernel that needs Numba.

    ``needs`` names every function that the process must have.
    """

    entry: str
    needs: tuple[str, ...]
    content: bytes


def kinds(arguments: Sequence[Any]) -> tuple[tuple[str, int], ...]:
    """Return what code is made for: dtype and number of axes of arrays, ("int64", -1) for ints."""
    return tuple(
        (x.dtype.name, x.ndim) if isinstance(x, np.ndarray) else ("int64", -1) for x in arguments
    )


@functools.cache
def readable() -> bool:
    """Whether arrays lie in memory as the code reads them; it is tried on one."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    tried = np.zeros((3, 5))
    data = ctypes.c_void_p.from_address(id(tried) + HEAD).value
    axes = ctypes.POINTER(ctypes.c_int64).from_address(id(tried) + AXES)
    return data == tried.ctypes.data and tuple(axes[:2]) == tried.shape


@functools.cache
def host_cpu() -> str:
    """Return LLVM's name of this machine's processor, and a digest of what it can do."""
    features = binding.get_host_cpu_features().flatten()
    return f"{binding.get_host_cpu_name()} {hashlib.sha256(features.encode()).hexdigest()[:16]}"


class _Method(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_methods: list[_Method] = []
"""Functions refer to these as long as they live, which may be as long as the process."""


def linked(code: Code) -> Function | None:
    """Return the function of object code; None where it cannot run in this process.

    Only to be called where arrays are ``readable``.  The function takes what the kernel takes:
    C-contiguous arrays of the dtypes and numbers of axes it was made for, which is not looked
    at.  It raises what the kernel raises, and lets other Python threads run meanwhile.
    """
    engine = _engine()
    if not code.content or any(binding.address_of_symbol(name) is None for name in code.needs):
        return None
    engine.add_object_file(binding.ObjectFileRef.from_data(code.content))
    engine.finalize_object()
    address = engine.get_function_address(code.entry)
    if not address:
        return None
    method = _Method(code.entry.encode(), address, _FAST, None)
    _methods.append(method)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    make.restype = ctypes.py_object
    return make(ctypes.addressof(method), None, None)


@functools.cache
def _engine() -> Any:
    """Return what links object code into this process; it lives as long as the process."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    # this also lets LLVM look functions up in the process
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
