"""Binsparse in HDF5: ``.bsp.h5`` files, where h5py is installed.

Takes: a path.  Gives: a ``Tensor``, or a file whose attribute ``binsparse`` is the descriptor
and whose data sets are the arrays.  Invariant: the arrays read are checked like any others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.interop.binsparse import from_binsparse, to_binsparse
from sparsedsl.runtime.memory import memory_bytes
from sparsedsl.runtime.tensor import Tensor


class _Stored:
    """What a file holds, under the names of the protocol."""

    def __init__(self, descriptor: Any, arrays: dict[str, np.ndarray]) -> None:
        self.pair = descriptor, arrays

    def __binsparse__(self) -> tuple[Any, dict[str, np.ndarray]]:
        return self.pair


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise InvalidTensorError(
            ".bsp.h5 files need h5py, which is not installed", hint="pip install h5py"
        ) from None
    return h5py


def read_hdf5(path: Path) -> Tensor:
    """Read a binsparse file.

    Raises
    ------
    InvalidTensorError
        Without h5py, or for a file that holds no binsparse tensor.
    """
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            sets = {name: file[name] for name in file if isinstance(file[name], h5py.Dataset)}
            if sum(s.size * s.dtype.itemsize for s in sets.values()) > memory_bytes():
                raise MemoryError
            descriptor = json.loads(file.attrs["binsparse"])
            arrays = {name: np.asarray(s) for name, s in sets.items()}
    except OSError as error:
        raise InvalidTensorError(f"{path}: expected an HDF5 file: {error}") from None
    return from_binsparse(_Stored(descriptor, arrays))


def write_hdf5(path: Path, x: Tensor) -> None:
    """Write a binsparse file.

    Raises
    ------
    LayoutError
        For a layout that binsparse has no name for.
    """
    descriptor, arrays = to_binsparse(x)
    with _h5py().File(path, "w") as file:
        file.attrs["binsparse"] = json.dumps(descriptor)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
