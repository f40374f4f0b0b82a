"""Call a compiled kernel on bound tensors and bind what it returns.

Takes: a recipe, a dispatcher and tensors.  Gives: a tensor.  Invariant: the arrays handed to
the kernel are those the plan was proved for; outputs are cut to the entries written.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.layouts.catalogue import hierarchical
from sparsedsl.layouts.layout import Layout
from sparsedsl.options import current
from sparsedsl.runtime import blocks
from sparsedsl.runtime.arguments import Gather, Given, several
from sparsedsl.runtime.copies import copied, turned
from sparsedsl.runtime.form import Form, fill_scalar
from sparsedsl.runtime.outputs import (
    INT32_ENTRIES,
    Rooms,
    check_entries,
    check_memory,
    check_room,
    cut,
    make_arrays,
)
from sparsedsl.runtime.places import Places
from sparsedsl.runtime.recipe import Made, Recipe
from sparsedsl.runtime.sharing import Sharing
from sparsedsl.runtime.splits import Splits
from sparsedsl.runtime.streams import from_stream
from sparsedsl.runtime.tensor import Tensor, bound
from sparsedsl.runtime.together import Together
from sparsedsl.runtime.unchanged import still_holds

Function: TypeAlias = "Callable[..., tuple[int, ...]]"

Parts: TypeAlias = "tuple[tuple[str, int, int | None, bool], ...]"
"""For each stored array of an output its name, its place, what counts it and whether it has an
element more."""

LONG = 1 << 14
"""Elements from which it pays not to fill an array with zeros first."""

FEW = 1 << 12
"""Entries of a result that the next one may have, too, though its operands hold fewer."""

MOST = 1 << 26
"""Entries to make room for at first."""


def unusual(
    checks: Sequence[tuple[str, str]], tensors: Mapping[str, Tensor], fresh: Container[str]
) -> frozenset[str]:
    """Return the tensors whose values forbid skipping implicit zeros, given what must hold of them.

    The values of ``fresh`` ones may have changed since the last call (``runtime.unchanged``);
    what is known of the others holds.
    """
    bad: list[str] = []
    for fact, name in checks:
        tensor = tensors[name]
        if not (still_holds(fact, tensor.values) if name in fresh else tensor.holds(fact)):
            bad.append(name)
    return frozenset(bad)


def make_copies(recipe: Recipe, tensors: MutableMapping[str, Tensor]) -> None:
    """Add the copies in other layouts that the kernel reads."""
    for copy in recipe.copies:
        if copy.name not in tensors:
            source = tensors[copy.source]
            if copy.dense:
                tensors[copy.name] = turned(source, copy.order)
            else:
                layout = hierarchical(copy.order, copy.thin)
                tensors[copy.name] = copied(source, layout, whole=copy.whole)


def make_sides(
    call: Call,
    tensors: MutableMapping[str, Tensor],
    extents: Mapping[str, int],
    given: Sequence[np.ndarray | None],
) -> None:
    """Add the dense outputs that a kernel computes beside its own, in new arrays or those given."""
    for place, side in enumerate(call.sides):
        if side.recipe.kind != "dense":
            continue
        form, array = side.form(extents), given[place] if given else None
        array = side.fresh(side.axes(extents)) if array is None else array
        tensors[side.recipe.output] = Tensor.of(form, {side.layout.value.function: array})


def _checks(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """Return which facts must hold of the stored values of which tensors."""
    return (
        *(("finite", name) for name in recipe.finite),
        *(("nonzero", name) for name in recipe.nonzero),
        *recipe.bounded,
    )


class Call:
    """One kernel, ready to be called.

    Parameters
    ----------
    recipe, layout:
        How to call it, and the layout it stores its output in.
    load:
        Returns the compiled function for arguments such as those given.
    beside:
        The layouts of the outputs that it computes beside that one.
    gather:
        Where arguments stand, if the kernel is that of another call, which this output is beside.

    Attributes
    ----------
    axes:
        Gives the shape of a dense output's array from the extents.
    shape:
        Gives the shape of the output from the extents.
    checks:
        What must hold of the stored values of which tensors at each call.
    stores:
        Whether the kernel writes the arrays of a sparse output's layout.
    sized:
        Whether the arrays say how large parts of the layout are.
    stored_in:
        Of each of those arrays its name, its place among the arguments, which result counts what
        was written (None: all of it) and whether there is one element more.
    sides:
        What makes the outputs beside that one: none of them is called.
    latest:
        Stands for the operands of the last call, where calls tell.
    """

    def __init__(
        self,
        recipe: Recipe,
        layout: Layout,
        load: Callable[[Sequence[Any]], Function],
        beside: Sequence[Layout] = (),
        gather: Gather | None = None,
    ) -> None:
        blocks.keep_less()
        self.recipe = recipe
        self.layout = layout
        self.dtype = np.dtype(recipe.dtype)
        self.fill = fill_scalar(recipe.fill, self.dtype)
        self.checks = _checks(recipe)
        self._load = load
        self._kernel: Function | None = None
        self.gather = gather or Gather(recipe)
        share = None if gather is not None else recipe.shared
        self.sharing = None if share is None else Sharing(recipe, share, self.gather)
        self._used = sorted({a.tensor for a in recipe.arguments if a.kind == "array"})
        zero = recipe.initial == 0 and not str(recipe.initial).startswith("-")
        self._zero = zero and not recipe.overwritten
        self.axes = several([recipe.indices[mode] for mode in recipe.places])
        self.shape = several(recipe.indices)
        self._made = tuple(_Room.of(made, recipe, self.gather) for made in recipe.made)
        self.stores = recipe.kind not in ("dense", "stream")
        self._rooms = tuple((m.place, m.dtype, m.index, m.ends, m.covered) for m in self._made)
        named = {made.name: made for made in self._made}
        self.stored_in = tuple(
            (name, named[name].place, named[name].used, named[name].ends)
            for name in (layout.arrays if self.stores else ())
        )
        self.sized = bool(layout.sizes)
        self.sides = tuple(
            Call(side, own, load, gather=self.gather)
            for side, own in zip(recipe.sides, beside, strict=True)
        )
        sparse = [each for each in (self, *self.sides) if each.recipe.kind != "dense"]
        self._together = Together(sparse) if len(sparse) > 1 else None
        self._forms: dict[tuple[int, ...], Form] = {}
        self._room = (0, 0)
        self.latest: object = None

    def __call__(
        self,
        tensors: MutableMapping[str, Tensor],
        extents: Mapping[str, int],
        target: np.ndarray | None,
        parallel: bool | str,
    ) -> Tensor:
        """Run the kernel and return its output in ``layout``; add sparse ones beside to tensors.

        ``target`` is an array for a dense output, which holds what it is accumulated from.
        ``parallel`` is True, False or ``"auto"``.
        """
        arguments = self.gather(tensors, extents)
        if self._together is not None:
            stored = self.stored(tensors)
            own, *others = self._together.assemble(arguments, extents, stored, parallel)
            for side, counts in zip(self._together.calls[1:], others, strict=True):
                form = side.form(extents)
                tensors[side.recipe.output] = side.tensor(arguments, counts, form)
            return self.tensor(arguments, own, self.form(extents))
        if self.recipe.kind != "dense":
            rooms, stored = self.rooms(extents), self.stored(tensors)
            counts = self.assemble(arguments, rooms, stored, parallel)
            return self.tensor(arguments, counts, self.form(extents))
        form = self.form(extents)
        array = self.fresh(self.axes(extents)) if target is None else target
        self.compute(arguments, extents, array, parallel)
        return Tensor.of(form, {self.layout.value.function: array})

    def compute(
        self,
        arguments: list[Any],
        extents: Mapping[str, int],
        array: np.ndarray,
        parallel: bool | str,
        splits: Splits | None = None,
    ) -> None:
        """Run the kernel of a dense output on its arguments; ``array`` is written to.

        ``splits`` are those of operands that are known to be as they were at the last call.
        """
        for place in self.gather.holes.values():
            arguments[place] = array
        kernel = self.loaded(arguments)
        sharing = self.sharing
        if parallel is False or sharing is None or not sharing.worth(parallel, current()):
            kernel(*arguments)
        else:
            sharing.fill(kernel, arguments, extents, array, splits)

    @property
    def kernel(self) -> Function | None:
        """The compiled function, once there was a call."""
        return self._kernel

    def maker(self, shape: tuple[int, ...]) -> Callable[[Any, np.dtype], np.ndarray]:
        """Return what makes the array of a dense output, of a shape and a dtype."""
        if self._zero or self.recipe.overwritten:
            return blocks.maker(shape, self.dtype, zero=self._zero)
        return lambda shape, _: self.fresh(shape)

    def expected(self, stored: int) -> int:
        """Return the entries to make room for, where operands hold so many values."""
        before, enough = self._room
        return enough if before == stored else min(max(stored, min(enough, FEW)), MOST)

    def expect(self, stored: int, needed: int) -> None:
        """Note what operands of so many values needed."""
        self._room = stored, needed

    def room(self, stored: int) -> int | None:
        """Return the entries that the last call of operands with so many values needed."""
        before, enough = self._room
        return enough if before == stored else None

    def fresh(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array a dense output is accumulated in."""
        if self._zero:
            return blocks.zeros(shape, self.dtype)
        return self.initial(blocks.maker(shape, self.dtype)(shape, self.dtype))

    def initial(self, array: np.ndarray) -> np.ndarray:
        """Fill a dense output with what it is accumulated from, if it is."""
        if not self.recipe.overwritten:
            array.fill(self.recipe.initial)
        return array

    def form(self, extents: Mapping[str, int]) -> Form:
        """Return the form of the output, checked to fit in memory when first met."""
        shape = self.shape(extents)
        form = self._forms.get(shape)
        if form is None:
            if self.recipe.kind == "dense":
                check_memory(self.recipe, shape)
            sizes = dict(zip(self.layout.extents, shape, strict=True))
            form = Form(self.layout, shape, self.fill, MappingProxyType(sizes))
            if len(self._forms) > 64:
                self._forms.clear()
            self._forms[shape] = form
        return form

    def stored(self, tensors: Mapping[str, Given]) -> int:
        """Return how many values the kernel's operands hold together."""
        return sum([tensors[name].values.size for name in self._used])

    def assemble(
        self,
        arguments: list[Any],
        rooms: Rooms,
        stored: int,
        parallel: bool | str,
        places: Places | None = None,
    ) -> tuple[int, ...]:
        """Run the kernel of a sparse output, put its arrays among the arguments, return counts.

        ``rooms`` says how to make the arrays, for the extents of this call.
        It is first given as much room as the operands hold, or the last result had, if that was
        small; just what it asked for when operands of as many values were there last.  Where it
        finds that too little, it is called again with what it asks for.  Threads that share its
        loop count first, unless they know their ``places``: these are of operands that are known
        to be as they were.
        """
        sharing, past = self.sharing, self.gather.piece.get("past")
        if parallel is not False and sharing is not None:
            counts = self._shared(sharing, arguments, rooms, parallel, places)
            if counts is not None:
                check_entries(self.recipe, counts[-1])
                return counts
        room = self.expected(stored)
        while True:
            make_arrays(arguments, rooms, room)
            if past is not None:
                arguments[past] = room
            counts = self.loaded(arguments)(*arguments)
            if counts[0] <= room and counts[-1] <= room:
                self.expect(stored, counts[0])
                if room > INT32_ENTRIES:
                    check_entries(self.recipe, counts[-1])
                if sharing is not None and sharing.gaps:
                    sharing.close_gaps(arguments)
                if sharing is not None and places is not None and self._kernel is not None:
                    sharing.learn(self._kernel, arguments, places)
                return counts
            room = max(counts[0], counts[-1])
            check_room(self.recipe, room)

    def _shared(
        self,
        sharing: Sharing,
        arguments: list[Any],
        rooms: Rooms,
        parallel: bool | str,
        places: Places | None,
    ) -> tuple[int, ...] | None:
        """Have threads share the loop of a sparse output, if that is worth it."""
        # what is as long as an extent is made first: counting writes nothing to it
        grown = tuple(room for room in rooms if room[3] is None)
        make = partial(self._make_checked, arguments, grown)
        if places is not None and places.known(current().thread_count):
            make_arrays(arguments, rooms, 0)
            kernel = self.loaded(arguments)
            counts = sharing.placed(kernel, arguments, make, places)
            if counts is not None:
                return counts
        if not sharing.worth(parallel, current()):
            return None
        make_arrays(arguments, rooms, 0)
        kernel = self.loaded(arguments)
        (counts,) = sharing.append(kernel, arguments, lambda totals: make(*totals), places)
        return counts

    def _make_checked(self, arguments: list[Any], rooms: Rooms, room: int) -> None:
        check_room(self.recipe, room)
        make_arrays(arguments, rooms, room)

    def rooms(self, extents: Mapping[str, int]) -> Rooms:
        """Return how to make the arrays of a sparse output for these extents."""
        made: list[tuple[int, Callable[..., np.ndarray], np.dtype, int | None, int]] = []
        for place, dtype, index, ends, covered in self._rooms:
            extent = None if index is None else extents[index]
            length = None if extent is None else extent + ends
            make = _maker(extent, covered=covered) if ends else blocks.empty
            made.append((place, make, dtype, length, int(ends)))
        return tuple(made)

    def loaded(self, arguments: Sequence[Any]) -> Function:
        """Return the compiled function, for arguments such as these."""
        found = self._kernel
        if found is None:
            found = self._kernel = self._load(arguments)
        return found

    def arrays(self, arguments: Sequence[Any], counts: Sequence[int]) -> dict[str, np.ndarray]:
        """Return the arrays of a sparse output by name, cut to what was written."""
        return cut_to(self.stored_in, arguments, counts)

    def tensor(self, arguments: Sequence[Any], counts: Sequence[int], form: Form) -> Tensor:
        """Return a sparse output that was assembled as a tensor."""
        if not self.stores:
            columns = [arguments[made.place][: counts[-1]] for made in self._made]
            return from_stream(self.recipe, self.layout, columns, form.shape)
        found = self.arrays(arguments, counts)
        if self.sized:
            return bound(self.layout, form.shape, found, self.fill)
        return self.bound(found, form)

    def bound(self, arrays: dict[str, np.ndarray], form: Form) -> Tensor:
        """Return the tensor over arrays of the output, which say nothing of its sizes."""
        return Tensor.of(Form(form.layout, form.shape, form.fill_value, form.sizes), arrays)


def cut_to(
    parts: Parts, arrays: Sequence[np.ndarray], counts: Sequence[int]
) -> dict[str, np.ndarray]:
    """Return the arrays of a sparse output by name, cut to what was written."""
    found: dict[str, np.ndarray] = {}
    for name, place, used, ends in parts:
        array = arrays[place]
        if used is not None and (count := counts[used] + ends) != len(array):
            array = cut(array, count)
        found[name] = array
    return found


def _maker(length: int | None, *, covered: bool) -> Callable[..., np.ndarray]:
    """Return what makes an array of ends: of zeros, unless the kernel stores all but the first."""
    if length is None:
        return _ends
    return _from_zero if covered and length >= LONG else np.zeros


def _ends(length: int, dtype: np.dtype) -> np.ndarray:
    """Return an array for the ends of what is appended: a kernel stores those after the first."""
    return _from_zero(length, dtype) if length >= LONG else np.zeros(length, dtype)


def _from_zero(length: int, dtype: np.dtype) -> np.ndarray:
    """Return an array whose first element is zero, and the others anything."""
    array = blocks.empty(length, dtype)
    array[0] = 0
    return array


@dataclass(frozen=True, slots=True)
class _Room:
    """One array of a sparse output: ``used`` is the result that counts what was written."""

    name: str
    place: int
    dtype: np.dtype
    index: str | None
    ends: bool
    covered: bool
    used: int | None

    @staticmethod
    def of(made: Made, recipe: Recipe, gather: Gather) -> _Room:
        kind, _, index = made.length.partition(" ")
        return _Room(
            made.array,
            gather.holes[made.param],
            np.dtype(made.dtype),
            None if kind == "room" else index,
            made.ends,
            made.covered,
            recipe.results.index(made.used) if made.used else None,
        )
