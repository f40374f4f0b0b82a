"""All operands of a call looked at in one step of machine code.

Takes: what is known of each operand and its arrays: a ``Sample``, a fact about values, a kind.
Gives: a function of the call's arguments.  Invariant: it says yes only where ``unchanged`` would,
array by array; where machine code cannot tell, there is no function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsedsl.locks import compiling
from sparsedsl.runtime import cache
from sparsedsl.runtime.unchanged import WHOLE, Sample, found_to_hold

if TYPE_CHECKING:
    from sparsedsl.codegen.looking import Record, Source
    from sparsedsl.codegen.machine import Code


def object_of(x: Any, attributes: Mapping[str, Any]) -> Record:
    """Ask for ``x`` itself, its attributes being these objects; it is not kept alive."""
    from sparsedsl.codegen import looking

    return looking.owning(x, attributes)


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


def in_one_step(
    asked: Sequence[tuple[Source, Record | None]], count: int
) -> Callable[..., bool] | None:
    """Return what says whether the arguments of a call, so many, are as asked for."""
    from sparsedsl.codegen import looking

    look = _machine_code()
    return None if look is None else looking.looker(look, asked, count)


@functools.cache
def _machine_code() -> Callable[..., Any] | None:
    """Return what looks, from disk or compiled; None where arrays cannot be read."""
    from sparsedsl.codegen import machine
    from sparsedsl.runtime import object_files

    with compiling:
        if not machine.readable():
            return None
        return machine.linked(object_files.kept(cache.default().directory, "look", _compiled))


def _compiled() -> Code:
    from sparsedsl.codegen import llvm_looking

    return llvm_looking.code()
