"""Write a sparse result into a tensor that has its pattern already.

Takes: arrays of a result and a tensor of a user's.  Gives: nothing; values are written.
Invariant: the tensor is written to only after its pattern was found to be that of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.interop import argument, recall
from sparsedsl.runtime.form import Form
from sparsedsl.runtime.tensor import Tensor


def target_of(out: Any) -> Tensor:
    """Return the tensor over the arrays of ``out``: a tensor, or a scipy object bound before.

    Raises
    ------
    InvalidTensorError
        For anything else, and for a scipy object that is not sorted and free of duplicates.
    """
    target = argument(out)
    scipy = target is not out and recall(out) is target
    if target is out or (scipy and np.may_share_memory(target.values, out.data)):
        return target
    raise InvalidTensorError(
        f"expected out to be what assemble returned, found {type(out).__name__}",
        hint="C = compiled.assemble(...), then compiled.compute(..., out=C)",
    )


def store(form: Form, arrays: Mapping[str, np.ndarray], target: Tensor) -> None:
    """Store the values of a result, given by its form and arrays, in a tensor of its pattern.

    Raises
    ------
    InvalidTensorError
        For another layout, shape, dtype or pattern, and values that cannot be written.
    """
    layout, values = form.layout, arrays[form.layout.value.function]
    same = (target.form is form or target.layout == layout) and target.shape == form.shape
    if not same or values.dtype != target.dtype:
        raise InvalidTensorError(
            f"expected out to be {values.dtype} of shape {form.shape} in layout "
            f"{layout.label}, found {target.dtype} of shape {target.shape} in "
            f"{target.layout.label}"
        )
    for name in layout.functions:
        if not np.array_equal(arrays[name], target.arrays[name]):
            raise InvalidTensorError(
                f"the result has another pattern than out: {name} differs",
                hint="call assemble again; entries that come out as zero are not stored",
            )
    if not target.values.flags.writeable:
        raise InvalidTensorError("expected the values of out to be writeable")
    np.copyto(target.values, values)
    target.forget()
