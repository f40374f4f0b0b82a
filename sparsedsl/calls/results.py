"""What users get of what kernels give.

Takes: tensors, or the arrays of a sparse output.  Gives: NumPy arrays, scipy matrices, tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.interop import scipy_maker, scipy_maker_of_any_shape, to_scipy
from sparsedsl.runtime.execute import Call
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.values import all_finite

Finish: TypeAlias = "Callable[[list[Any], tuple[int, ...]], Any]"
"""What makes a result of a kernel's arguments and counts."""


def finish(call: Call, extents: Mapping[str, int], scipy: bool) -> Finish:
    """Return what makes a sparse result, as its user expects it, of arguments and counts."""
    deliver = delivering(call, extents, scipy)
    if deliver is not None:
        return lambda arguments, counts: deliver(call.arrays(arguments, counts))
    form = call.form(extents)
    if not scipy:
        return lambda arguments, counts: call.tensor(arguments, counts, form)
    return lambda arguments, counts: result(call.tensor(arguments, counts, form), "sparse", True)


def delivering(
    call: Call, extents: Mapping[str, int], scipy: bool
) -> Callable[[dict[str, np.ndarray]], Any] | None:
    """Return what makes a sparse result of its arrays; None where there is more to do."""
    form = call.form(extents)
    if not call.stores or (scipy and form.fill_value):
        return None
    if scipy:
        return scipy_maker(form.layout, form.shape)
    return None if call.sized else lambda arrays: call.bound(arrays, form)


def delivering_any(
    call: Call, scipy: bool
) -> Callable[[tuple[int, ...], dict[str, np.ndarray]], Any] | None:
    """Return what makes a sparse result of its shape and arrays; None where there is more to do."""
    if not scipy or not call.stores or call.fill or len(call.recipe.indices) != 2:
        return None
    return scipy_maker_of_any_shape(call.layout)


def is_finite(found: Any) -> bool:
    """Whether all stored values of a result are finite."""
    values = found.values if isinstance(found, Tensor) else getattr(found, "data", found)
    return all_finite(np.asarray(values if isinstance(values, np.ndarray) else found))


def result(value: Tensor, kind: str, scipy: bool) -> Any:
    """Return a result as its user expects it: NumPy, scipy, or a tensor."""
    if kind != "sparse":
        array = value.values if kind == "plain" else value.to_numpy()
        return array if array.ndim else array[()]
    return to_scipy(value) if scipy and value.ndim == 2 and not value.fill_value else value
