"""Calls of specialisations: the long way, and the short way for a call like the last.

Takes: a specialisation and arguments.  Gives: what users expect of a call: NumPy arrays, scipy
matrices or tensors.  Invariant: the short way gives what the long way would.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsedsl.interop import scipy_maker
from sparsedsl.options import current
from sparsedsl.prepared import MISS, Prepared, prepare
from sparsedsl.reuse import store
from sparsedsl.runtime.execute import Call
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.values import refused
from sparsedsl.specialisation import Specialisation


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What the types of a call's arguments say: which values to look at, what to return."""

    fresh: tuple[bool, ...]
    scipy: bool


@functools.lru_cache(maxsize=1024)
def _kinds(types: tuple[type, ...]) -> _Kinds:
    plain = (np.ndarray, np.generic, bool, int, float, complex)
    sparse = [t for t in types if not issubclass(t, plain)]
    scipys = all(t.__module__.startswith("scipy.sparse") for t in sparse)
    return _Kinds(tuple(t is not Tensor for t in types), bool(sparse) and scipys)


class Runner:
    """Runs specialisations, and prepares the next call where two alike follow each other."""

    def __init__(self) -> None:
        self._last: Specialisation | None = None
        self._prepared: Prepared | None = None

    def again(self, given: Sequence[Any]) -> Any:
        """Return the result of a call like the last one, or ``MISS``."""
        prepared = self._prepared
        if prepared is None or prepared.options is not current():
            return MISS
        try:
            return prepared(given)
        except (ValueError, MemoryError) as error:
            raise refused(error) from None

    def again_into(self, given: Sequence[Any], target: Tensor) -> bool:
        """Store the sparse result of a call like the last one; False where it is not like it."""
        prepared = self._prepared
        if prepared is None or prepared.options is not current() or not prepared.call.stores:
            return False
        arguments, call = prepared.gathered(given), prepared.call
        if arguments is None:
            return False
        extents, parallel = prepared.extents, prepared.parallel
        try:
            counts = call.assemble(arguments, prepared.rooms, prepared.stored, parallel)
        except (ValueError, MemoryError) as error:
            raise refused(error) from None
        store(call.form(extents), call.arrays(arguments, counts), target)
        return True

    def run(
        self,
        special: Specialisation,
        tensors: Sequence[Tensor],
        given: Sequence[Any],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> Any:
        """Return what the user expects of a specialisation: a result, or a tuple of them."""
        scipy = _kinds(tuple(map(type, given))).scipy
        values = self.values(special, tensors, given, out)
        found = tuple(_result(values[name], kind, scipy) for name, kind in special.results)
        return found if special.traced.result_is_tuple else found[0]

    def values(
        self,
        special: Specialisation,
        tensors: Sequence[Tensor],
        given: Sequence[Any],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, Tensor]:
        """Return every tensor of a specialisation, computed for these arguments."""
        kinds = _kinds(tuple(map(type, given)))
        named = dict(zip(special.names, tensors, strict=True))
        fresh = {name for name, new in zip(special.names, kinds.fresh, strict=True) if new}
        special = special.matching(named)
        try:
            values = special.run(named, out, fresh)
        except (ValueError, MemoryError) as error:
            raise refused(error) from None
        if out is None and special is self._last:
            self._prepare(special, named, given, kinds.scipy)
        self._last = special
        return values

    def _prepare(
        self,
        special: Specialisation,
        named: Mapping[str, Tensor],
        given: Sequence[Any],
        scipy: bool,
    ) -> None:
        self._prepared = None
        if len(special.groups) != 1 or special.traced.result_is_tuple:
            return
        ready = special.prepare(0)
        ((_, kind),) = special.results
        call = ready.call
        dense = call.recipe.kind == "dense"
        if ready.group.layout is not ready.group.assembled or (kind == "plain") != dense:
            return
        extents = special.extents_of(named)
        if ready.group.constant(extents) is not None:
            return
        finish = None if dense else _finish(call, extents, scipy)
        parallel = special.choices.parallel
        self._prepared = prepare(call, current(), given, named, extents, parallel, finish)


def _finish(
    call: Call, extents: Mapping[str, int], scipy: bool
) -> Callable[[list[Any], tuple[int, ...]], Any]:
    """Return what makes a sparse result, as its user expects it, of arguments and counts."""
    form = call.form(extents)
    if scipy and call.stores and not form.fill_value:
        make = scipy_maker(form.layout, form.shape)
        if make is not None:
            return lambda arguments, counts: make(call.arrays(arguments, counts))
    if not scipy:
        return lambda arguments, counts: call.tensor(arguments, counts, form)
    return lambda arguments, counts: _result(call.tensor(arguments, counts, form), "sparse", True)


def _result(value: Tensor, kind: str, scipy: bool) -> Any:
    """Return a result as its user expects it: NumPy, scipy, or a tensor."""
    if kind != "sparse":
        array = value.values if kind == "plain" else value.to_numpy()
        return array if array.ndim else array[()]
    return value.to_scipy() if scipy and value.ndim == 2 and not value.fill_value else value
