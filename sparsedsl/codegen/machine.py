"""Object code of kernels, linked into this process as functions of Python.

Takes: ``Code``, the object file of a kernel with what it needs.  Gives: a built-in function,
called with arrays and ints.  Invariant: needs no Numba, and of a shared object not even LLVM, so
that a kernel kept on disk runs without the compiler being loaded.

The code is a function of CPython's fast calling convention.  It reads where an array's data
lies, and how long its axes are, from the array object at each call, so that an array resized in
place is never read where it was.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.codegen import shared_objects

Function: TypeAlias = "Callable[..., tuple[Any, ...]]"
Kinds: TypeAlias = "tuple[tuple[str, int], ...]"

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

    ``needs`` names every function that the process must have.  A ``shared`` object is loaded by
    the system, another is linked by LLVM.  ``returns`` says of each result what ``kinds`` says of
    an argument, and is empty where all are ints.
    """

    entry: str
    needs: tuple[str, ...]
    content: bytes
    shared: bool = False
    returns: Kinds = ()


def kinds(arguments: Sequence[Any]) -> Kinds:
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
    address = _address(code) if code.content else None
    if not address:
        return None
    method = _Method(code.entry.encode(), address, _FAST, None)
    _methods.append(method)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    make.restype = ctypes.py_object
    function = make(ctypes.addressof(method), None, None)
    if all(axes < 0 for _, axes in code.returns):
        return function
    return functools.partial(_returning, function, code.returns)


def words(axes: int) -> int:
    """Return how many words of the function's tuple a result is: of an array where it lies, the
    memory to free and the length of each axis.
    """
    return 1 if axes < 0 else 2 + axes


class _Memory:
    """Memory of C's that an array lies in, freed with the last array that looks into it."""

    __slots__ = ("__array_interface__", "_address")

    def __init__(self, place: int, address: int, dtype: str, shape: tuple[int, ...]) -> None:
        self._address = address
        described = {"version": 3, "shape": shape, "typestr": np.dtype(dtype).str}
        self.__array_interface__ = {**described, "data": (place, False)}

    def __del__(self) -> None:
        _release(self._address)


def _returning(function: Function, returns: Kinds, *arguments: Any) -> tuple[Any, ...]:
    """Call a function whose results are not all ints."""
    given = iter(function(*arguments))
    found: list[Any] = []
    for dtype, axes in returns:
        first = next(given)
        if axes >= 0:
            address, *lengths = (next(given) for _ in range(1 + axes))
            first = np.asarray(_Memory(first, address, dtype, tuple(lengths)))
        found.append(first)
    return tuple(found)


def _free() -> Callable[[int], None]:
    free = ctypes.CDLL(None).free
    free.argtypes, free.restype = (ctypes.c_void_p,), None
    return free


_release = _free()


def _address(code: Code) -> int | None:
    """Return where the code's function lies in this process, linked now."""
    if code.shared:
        return shared_objects.address(code.content, code.entry)
    from sparsedsl.codegen import llvm_engine

    return llvm_engine.address(code.content, code.entry, code.needs)
