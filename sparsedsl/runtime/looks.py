"""All operands of a call looked at in one step of machine code.

Takes: what is known of each array: a ``Sample``, a fact about its values, its kind.  Gives: a
function of the arrays.  Invariant: it says yes only where ``unchanged`` would, array by array;
where machine code cannot tell, there is no function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsedsl.runtime.unchanged import WHOLE, Sample, found_to_hold

if TYPE_CHECKING:
    from sparsedsl.codegen.looking import Record


def kind_of(array: np.ndarray) -> Record | None:
    """Ask for a plain array of the same dtype and shape."""
    from sparsedsl.codegen import looking

    return looking.like(array)


def as_sampled(array: np.ndarray, sample: Sample) -> Record | None:
    """Ask for what a sample of ``array`` holds."""
    from sparsedsl.codegen import looking

    return looking.holding(array, sample.places, sample.seen)


def fact_of(array: np.ndarray, fact: str) -> Record | None:
    """Ask for a fact of ``values.FACTS``, which holds; None where only NumPy can tell."""
    from sparsedsl.codegen import looking

    if array.size > WHOLE:
        sample = found_to_hold(fact, array)
        return None if sample is None else as_sampled(array, sample)
    if fact == "finite":
        return looking.finite(array) if array.dtype.kind in "fc" else looking.like(array)
    return None


def in_one_step(records: Sequence[Record | None]) -> Callable[[Sequence[Any]], bool] | None:
    """Return what says whether arrays, one a record, are as asked for."""
    from sparsedsl.codegen import looking

    return looking.looker(records)
