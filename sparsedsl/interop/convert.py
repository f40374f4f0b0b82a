"""Anything array-like -> a bound tensor.

Takes: scipy, numpy, torch, pydata/sparse and binsparse objects, scalars, tensors.  Gives:
``Tensor``.  Invariant: libraries that are not loaded are not imported; what was validated once
is not validated again while the object holds the same arrays (``interop.remember``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsedsl.errors import InvalidTensorError, TensorTypeError
from sparsedsl.frontend.surface import Operand
from sparsedsl.interop.arrays import bind, contiguous, plain_array, usable_values
from sparsedsl.interop.passing import in_passing
from sparsedsl.interop.remember import as_plain, recall, remember
from sparsedsl.interop.scipy_sparse import canonical, from_scipy
from sparsedsl.layouts.catalogue import AnyLayout, resolve
from sparsedsl.runtime.tensor import Tensor, trusted


def asarray(
    x: Any,
    layout: AnyLayout | str | None = None,
    *,
    copy: bool | None = None,
    validate: bool = True,
) -> Tensor:
    """Bind ``x`` to the layout it has, sharing its memory where possible.

    Parameters
    ----------
    x:
        A scipy sparse array or matrix, numpy array, scalar, ``Tensor``, torch CPU tensor,
        pydata/sparse array, or an object with ``__binsparse__``.  CSR, CSC, BSR and COO that
        are unsorted or hold duplicates are put right on a copy.
    layout:
        Convert to this layout.
    copy:
        True: always copy.  False: raise instead of copying.  None: copy when needed.
    validate:
        Check index arrays; False trusts them.

    Raises
    ------
    InvalidTensorError
        For arrays that are not valid in their layout, or when ``copy=False`` cannot be kept.
    TensorTypeError
        For objects and dtypes that cannot be held.

    Examples
    --------
    >>> asarray(np.eye(2), "csr")
    <csr tensor shape=(2, 2) dtype=float64 nnz=2 fill=0.0>
    """
    found = _at_once(x) if validate else None
    if found is None:
        found = _bound_alone(x, validate, layout)
    target = _target(found, layout)
    if target is not None and target != found.layout:
        if copy is False:
            raise _would_copy(f"converting {found.layout.label} to {target.label}")
        return found.convert(target)
    if copy is None:
        return found
    shared = any(_shares(array, x) for array in found.held.values())
    if not copy and not shared:
        raise _would_copy(f"reading this {type(x).__name__}")
    return found.copy() if copy and shared else found


def _at_once(x: Any) -> Tensor | None:
    """A tensor itself, or one over arrays that take no longer to check than to look up."""
    if type(x) is Tensor:
        return x.kept()
    if type(x) is np.ndarray:
        return as_plain(x)
    small = _small(x)
    return None if small is None else small.watched()


def _small(x: Any) -> Tensor | None:
    """A tensor over the arrays of a small scipy object that are right as they are."""
    found = in_passing(x)
    if found is None or not found.right():
        return None
    return trusted(found.layout, found.shape, found.held, found.sizes)


def _bound_alone(x: Any, validate: bool, layout: AnyLayout | str | None) -> Tensor:
    """A tensor for ``x`` that no call shares; in ``layout`` where entries are put right anyhow.

    What a call remembers of values must not outlive this binding, nor the reverse.
    """
    known = _recalled(x) if validate else None
    found = _bound(x, check=validate, copies=False, layout=layout) if known is None else known
    if found is not x and _shares(found.values, x):
        return found.view()
    return found.copy() if found is not x and found is known else found


def _target(found: Tensor, layout: AnyLayout | str | None) -> Any:
    if layout is None:
        return None
    return resolve(layout, found.ndim)


def _would_copy(what: str) -> InvalidTensorError:
    return InvalidTensorError(
        f"copy=False, but {what} needs a copy", hint="leave copy=None to allow it"
    )


def argument(x: Any) -> Tensor:
    """``asarray`` for one call: binds what was seen before without looking at it closely.

    The tensor is shared by all calls with ``x``, so that what it remembers of values is not
    to be relied on.
    """
    found = _recalled(x)
    return _bound(x, check=True) if found is None else found


def _recalled(x: Any) -> Tensor | None:
    """What was bound for ``x`` before, or ``x`` itself."""
    kind = type(x)
    if kind is Tensor:
        return x.kept()
    if kind is np.ndarray:
        return as_plain(x)
    return recall(x) if hasattr(x, "__dict__") else None


def _bound(
    x: Any, *, check: bool, copies: bool = True, layout: AnyLayout | str | None = None
) -> Tensor:
    """Bind ``x``, and remember that; of what had to be copied only if ``copies``.

    Entries of scipy's that are put right come in ``layout`` where that takes one step.
    """
    if isinstance(x, Tensor):
        return x
    library = type(x).__module__.partition(".")[0]
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(x):
        small = _small(x) if check else None
        if small is not None:
            remember(x, small, shared=True)
            return small
        target = None if layout is None else resolve(layout, x.ndim)
        tensor, order = from_scipy(x, check=check, places=copies, target=target)
        shared = _shares_all(tensor.held, x)
        if check and (shared or copies):
            remember(x, tensor, shared=shared, order=order)
        return tensor
    if library == "torch":
        return _from_torch(x, check)
    if library == "sparse" and hasattr(x, "fill_value"):
        return _from_pydata(x, check)
    if hasattr(x, "__binsparse__"):
        from sparsedsl.interop.binsparse import from_binsparse

        return from_binsparse(x, check=check)
    return _from_numpy(x)


def _from_numpy(x: Any) -> Tensor:
    if isinstance(x, _NO_DATA):
        raise _unknown(x)
    array = plain_array(x, "the operand")
    if array.dtype == object:
        raise _unknown(x) if array.ndim == 0 else _objects(array)
    if array.ndim >= 2 and array.flags.f_contiguous and not array.flags.c_contiguous:
        order = tuple(reversed(range(array.ndim)))
        layout = resolve("dense", array.ndim, order)
        return Tensor(layout, array.shape, {"data": usable_values(array.T, "the operand")})
    layout = resolve("dense", array.ndim)
    return Tensor(layout, array.shape, {"data": usable_values(array, "the operand")})


_NO_DATA = (str, bytes, dict, set, Operand, type(None))


def _unknown(x: Any) -> TensorTypeError:
    if isinstance(x, Operand):
        return TensorTypeError(
            f"expected data, found {x!r} of the kernel that is being traced",
            hint="inside of a kernel write the indices: C[i, j] = A[i, k] * B[k, j]; call other "
            "kernels, sd.einsum and sd.convert outside of it",
        )
    hint = "convert it with numpy.asarray, or bind its arrays with sd.from_arrays"
    if isinstance(x, str | bytes | os.PathLike):
        hint = "a file is read with sd.read(path)"
    return TensorTypeError(
        f"expected a scipy, numpy, torch or pydata/sparse array or a sparsedsl tensor, "
        f"found {'an int of more than 64 bits' if type(x) is int else type(x).__name__}",
        hint=hint,
    )


def _objects(array: np.ndarray) -> TensorTypeError:
    held = ", ".join(sorted({type(value).__name__ for value in array.ravel()[:1000]}))
    return TensorTypeError(
        f"expected an array of numbers or bools, found "
        f"one of dtype object (of {held or 'nothing'})",
        hint="convert it to a numeric dtype: x.astype('float64')",
    )


def _shares_all(arrays: Mapping[str, np.ndarray], x: Any) -> bool:
    """Whether all arrays are, or look into, memory that a scipy object holds."""
    own = set(map(id, vars(x).values()))
    return all(id(array) in own or _shares(array, x) for array in arrays.values())


def _shares(array: np.ndarray, x: Any) -> bool:
    """Whether ``array`` is, or looks into, memory that ``x`` holds."""
    if isinstance(x, Tensor):
        return True
    if isinstance(x, np.ndarray):
        return np.may_share_memory(array, x) or not array.size
    held = getattr(x, "__dict__", None)
    if held is None:
        return type(x).__module__.partition(".")[0] == "torch"
    for part in held.values():
        for piece in part if isinstance(part, tuple | list) else (part,):
            if isinstance(piece, np.ndarray) and (
                array is piece or np.may_share_memory(array, piece)
            ):
                return True
    return not array.size


def _from_pydata(x: Any, check: bool) -> Tensor:
    """pydata/sparse: COO as it is, other formats through COO."""
    if not hasattr(x, "coords"):
        x = x.asformat("coo")
    coords = np.asarray(x.coords)
    layout = resolve("coo", x.ndim)
    columns = {f"crd{mode}": np.ascontiguousarray(column) for mode, column in enumerate(coords)}
    given = {**columns, "data": contiguous(np.asarray(x.data))}
    try:
        return bind(layout, x.shape, given, x.fill_value, check=check)
    except InvalidTensorError:
        made = canonical(layout, x.shape, bind(layout, x.shape, given, check=False).arrays)
        return Tensor(layout, made.shape, made.held, x.fill_value, made.sizes)


def _from_torch(x: Any, check: bool) -> Tensor:
    """torch: strided, COO, CSR and CSC tensors in CPU memory."""
    if str(x.device) != "cpu":
        raise TensorTypeError(
            f"expected a torch tensor in CPU memory, found device {x.device}", hint="use x.cpu()"
        )
    x = x.detach()
    if str(x.dtype) == "torch.bfloat16":  # of which torch makes no NumPy array
        raise TensorTypeError(
            "expected a torch tensor of a dtype that NumPy has, found torch.bfloat16",
            hint="convert it: x.float()",
        )
    kind = str(x.layout)
    if kind == "torch.strided":
        return _from_numpy(x.numpy(force=True))  # what is conjugated lazily is now
    if kind == "torch.sparse_coo":
        x = x.coalesce()
        indices = x.indices().numpy()
        columns = {f"crd{mode}": np.ascontiguousarray(row) for mode, row in enumerate(indices)}
        given = {**columns, "data": x.values().numpy(force=True)}
        return bind(resolve("coo", x.ndim), tuple(x.shape), given, check=check)
    names = {
        "torch.sparse_csr": ("csr", "crow_indices", "col_indices"),
        "torch.sparse_csc": ("csc", "ccol_indices", "row_indices"),
    }
    if kind not in names or x.ndim != 2:
        raise TensorTypeError(
            f"expected a strided, COO, CSR or CSC torch tensor, found {kind}",
            hint="use x.to_sparse_csr()",
        )
    name, pointers, indices = names[kind]
    given = {
        "indptr": getattr(x, pointers)().numpy(),
        "indices": getattr(x, indices)().numpy(),
        "data": x.values().numpy(force=True),
    }
    return bind(resolve(name, 2), tuple(x.shape), given, check=check)
