"""Calls of specialisations: the long way, and short ways for calls like those before.

Takes: a specialisation and arguments.  Gives: what users expect of a call: NumPy arrays, scipy
matrices or tensors.  Invariant: the short ways give what the long way would.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.calls.arrays import PreparedArrays
from sparsedsl.calls.passing import Plans
from sparsedsl.calls.prepared import Prepared, PreparedSteps, prepare
from sparsedsl.calls.results import result
from sparsedsl.calls.reuse import store
from sparsedsl.calls.seen import MISS, mark
from sparsedsl.calls.specialisation import Specialisation
from sparsedsl.interop import Numbers, any_numbers, as_arrays, with_numbers
from sparsedsl.options import Options, current
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.values import refused


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What the types of a call's arguments say: which values to look at, what to return."""

    fresh: tuple[int, ...]
    scipy: bool


@functools.lru_cache(maxsize=1024)
def _kinds(types: tuple[type, ...]) -> _Kinds:
    plain = (np.ndarray, np.generic, bool, int, float, complex)
    sparse = [t for t in types if not issubclass(t, plain)]
    scipys = all(t.__module__.startswith("scipy.sparse") for t in sparse)
    fresh = tuple(place for place, t in enumerate(types) if t is not Tensor)
    return _Kinds(fresh, bool(sparse) and scipys)


RECENT = 32
"""Calls that the next one may be like: a program may call a kernel with some matrices in turn."""

CONVERSIONS = 8
"""Dtypes of Python numbers among the arguments that are remembered."""

FEW = 2
"""Prepared calls up to which each is asked whether the next one is like it."""

_AnyPrepared: TypeAlias = "Prepared | PreparedArrays | PreparedSteps"

_Latest: TypeAlias = "tuple[int, int, int, int, _AnyPrepared | None]"
"""A prepared call, and the first and the last place of its operands with who is there."""

_NONE: _Latest = (0, 0, 0, 0, None)


class Runner:
    """Runs specialisations, and prepares calls like those made more than once.

    ``_met_before`` has calls by the identities of kernel and operands, and what says that these are
    alive.  ``_prepared`` are the newest first; where they are more than a few, they are looked up
    by ``_alike``: of each set of places where operands are no plain arrays, those by what is there.
    Of many, ``_before`` served the call before, and ``_latest``, asked first, several in a row.
    ``_numbers`` run the calls with Python numbers, apart from those with NumPy's: the dtypes that
    they take follow from the other arguments, so that one number is not like another of a dtype.
    """

    def __init__(self) -> None:
        self._met_before: dict[tuple[int, ...], tuple[weakref.ref[Any], ...]] = {}
        self._prepared: tuple[_AnyPrepared, ...] = ()
        self._alike: dict[tuple[int, ...], dict[int, list[_AnyPrepared]]] = {}
        self._before: _AnyPrepared | None = None
        self._latest: _Latest = _NONE
        self._plans = Plans()
        self._numbers: tuple[tuple[Numbers, Runner], ...] = ()

    def again(self, given: Sequence[Any]) -> Any:
        """Return the result of a call like one of those before, or ``MISS``."""
        if self._numbers and any_numbers(given):
            return self._with_numbers(given)
        options, found = current(), MISS
        try:
            if self._alike:
                found = self._among_many(given, options)
            else:
                for prepared in self._prepared:
                    if prepared.options is options:
                        found = prepared.run(given)
                        if found is not MISS:
                            break
        except (ValueError, MemoryError) as error:
            raise refused(error) from None
        if found is not MISS:
            return found
        if any_numbers(given):
            return MISS
        arrays = as_arrays(given)
        return self._in_passing(given, options) if arrays is None else self.again(arrays)

    def _with_numbers(self, given: Sequence[Any]) -> Any:
        """Return the result of a call with Python numbers like one of those before, or ``MISS``."""
        for numbers, runner in self._numbers:
            arrays = with_numbers(given, numbers)
            if arrays is not None:
                found = runner.again(arrays)
                if found is not MISS:
                    if runner is not self._numbers[0][1]:
                        self.of(numbers)  # asked first from now on
                    return found
        return MISS

    def of(self, numbers: Numbers) -> Runner:
        """Return what runs the calls with these Python numbers: itself where there are none."""
        if not numbers:
            return self
        known = dict(self._numbers)
        runner = known.pop(numbers, None) or Runner()
        self._numbers = ((numbers, runner), *known.items())[:CONVERSIONS]
        return runner

    def _among_many(self, given: Sequence[Any], options: Options) -> Any:
        """Return the result of a call like one of many before, or ``MISS``."""
        first, one, last, other, latest = self._latest
        if (
            latest is not None
            and latest.options is options
            and last < len(given)
            and id(given[first]) == one
            and id(given[last]) == other
        ):
            found = latest.run(given)
            if found is not MISS:
                return found
        for prepared in self._like(given):
            if prepared.options is options:
                found = prepared.run(given)
                if found is not MISS:
                    if prepared is self._before:
                        self._latest = _at_ends(prepared, given)
                    self._before = prepared
                    return found
        return MISS

    def _like(self, given: Sequence[Any]) -> list[_AnyPrepared]:
        """Return the preparations of calls with these very operands, and perhaps others."""
        found: list[_AnyPrepared] = []
        for places, known in self._alike.items():
            if not places or places[-1] < len(given):
                found += known.get(mark(places, given), ())
        return found

    def _in_passing(self, given: Sequence[Any], options: Options) -> Any:
        """Return the result of a call with small operands that no call before had, or ``MISS``."""
        found = self._plans.find(given, options)
        if found is None:
            return MISS
        plan, operands = found
        if self._met(plan.special, given):
            return MISS
        try:
            return plan.run(operands)
        except (ValueError, MemoryError) as error:
            raise refused(error) from None

    def again_into(self, given: Sequence[Any], target: Tensor) -> bool:
        """Store the sparse result of a call like one of the last; False where there is none."""
        options = current()
        for prepared in self._like(given) if self._alike else self._prepared:
            if prepared.options is not options or not isinstance(prepared, Prepared):
                continue
            call = prepared.call
            if not call.stores:
                continue
            arguments = prepared.gathered(given)
            if arguments is None:
                continue
            try:
                counts = call.assemble(
                    arguments, prepared.rooms, prepared.stored, prepared.parallel
                )
            except (ValueError, MemoryError) as error:
                raise refused(error) from None
            store(call.form(prepared.extents), call.arrays(arguments, counts), target)
            return True
        return False

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
        if out is None:
            self._plans.learn(special, given, current(), scipy)
        found = tuple([result(values[name], kind, scipy) for name, kind in special.results])
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
        fresh = [special.names[place] for place in kinds.fresh]
        special = special.matching(named)
        try:
            values = special.run(named, out, fresh)
        except (ValueError, MemoryError) as error:
            raise refused(error) from None
        # what is met again may come again; new operands each time would be prepared for nothing
        if self._met(special, given) and out is None:
            self._prepare(special, named, given, kinds.scipy)
        return values

    def _met(self, special: Specialisation, given: Sequence[Any]) -> bool:
        """Whether one of the last calls was with these very operands; remember this one."""
        operands = [x for x in given if type(x) is not np.ndarray]
        identities = (id(special), *map(id, operands))
        held = self._met_before.get(identities)
        # an operand that is gone may have left its place in memory to another
        if held is not None and all(x() is not None for x in held):
            return True
        if len(self._met_before) >= RECENT:
            self._met_before.clear()
        held = tuple([weakref.ref(x) for x in operands if type(x).__weakrefoffset__])
        self._met_before[identities] = held
        return False

    def _prepare(
        self,
        special: Specialisation,
        named: Mapping[str, Tensor],
        given: Sequence[Any],
        scipy: bool,
    ) -> None:
        made = prepare(special, current(), given, named, scipy)
        if made is None or made.seen is None:
            return
        older = [one for one in self._prepared if not _superseded(one, made)]
        self._prepared = (made, *older)[:RECENT]
        alike: dict[tuple[int, ...], dict[int, list[_AnyPrepared]]] = {}
        for one in self._prepared:
            seen = one.seen
            if seen is not None:  # an operand may go at any time
                alike.setdefault(seen.places, {}).setdefault(seen.mark, []).append(one)
        self._alike = alike if len(self._prepared) > FEW else {}
        self._before, self._latest = None, _NONE


def _at_ends(prepared: _AnyPrepared, given: Sequence[Any]) -> _Latest:
    """Return a prepared call to be asked first for operands like these; none without operands."""
    if prepared.seen is None or not prepared.seen.places:
        return _NONE
    first, last = prepared.seen.places[0], prepared.seen.places[-1]
    return first, id(given[first]), last, id(given[last]), prepared


def _superseded(one: _AnyPrepared, newer: _AnyPrepared) -> bool:
    """Whether a preparation serves no more, now that there is a newer one."""
    if one.seen is None or newer.seen is None:
        return True
    # for the same arguments, of which one holds other arrays than it did
    return one.options is newer.options and one.seen.replaced_by(newer.seen)
