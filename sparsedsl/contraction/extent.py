"""Extents of indices: read off the tensors they subscript, and checked.

Takes: a program and the shapes of its inputs.  Gives: one extent per index, the shapes of the
outputs, and the errors a user sees when shapes disagree.  Invariant: after `check_shapes`
every access stays inside its tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sparsedsl.contraction.expressions import walk
from sparsedsl.contraction.nodes import Access, Affine, Assign, IndexValue, Program, Reduce, Stored
from sparsedsl.errors import NotationError, Span


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an extent comes from: a tensor's mode, or what the caller asked for."""

    tensor: str
    mode: int
    span: Span | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.tensor}, mode {self.mode}" if self.mode >= 0 else self.tensor


def accesses(assign: Assign) -> Iterator[Access | Stored]:
    """Yield every ``Access`` and ``Stored`` of the statement's right side, left to right."""
    return (e for e in walk(assign.expression) if isinstance(e, Access | Stored))


def indices_of(assign: Assign) -> tuple[str, ...]:
    """Return every index of the statement, in order of first appearance, the target's first."""
    found: dict[str, None] = {n: None for s in assign.subscripts for n in s.indices}
    for expression in walk(assign.expression):
        match expression:
            case Access(_, subscripts) | Stored(_, subscripts):
                found.update((n, None) for s in subscripts for n in s.indices)
            case IndexValue(index):
                found.update((n, None) for n in index.indices)
            case Reduce(_, indices, _):
                found.update((n, None) for n in indices)
            case _:
                pass
    return tuple(found)


def index_extents(assign: Assign, program: Program) -> dict[str, tuple[tuple[str, int], ...]]:
    """Return ``{index: ((tensor, mode), ...)}``: the tensor modes that give it its extent.

    Only plain subscripts give one; an index that has none of them (``A[i + k]``, or a
    broadcast one) has an empty tuple, and its extent comes from `check_shapes`.
    """
    del program
    found: dict[str, list[tuple[str, int]]] = {name: [] for name in indices_of(assign)}
    for access in accesses(assign):
        for mode, subscript in enumerate(access.subscripts):
            if subscript.name is not None and (access.tensor, mode) not in found[subscript.name]:
                found[subscript.name].append((access.tensor, mode))
    return {name: tuple(places) for name, places in found.items()}


class Told(NamedTuple):
    """An index whose extent is that of a mode of an input, given by its place among them.

    ``others`` are further places and modes, which must agree.
    """

    name: str
    place: int
    mode: int
    others: tuple[tuple[int, int], ...]


def told(program: Program) -> tuple[Told, ...] | None:
    """Return which modes tell each extent, where inputs alone do, by plain subscripts.

    Then `check_shapes` finds for any shapes what these modes say, if those of an index agree.

    >>> from sparsedsl.contraction.nodes import Tensor
    >>> i, j = Affine.of("i"), Affine.of("j")
    >>> y = Assign("y", (i,), Access("A", (i, j)))
    >>> program = Program((Tensor("A", 2, "int8"),), (Tensor("y", 1, "int8"),), (y,), ("y",))
    >>> told(program)
    (Told(name='i', place=0, mode=0, others=()), Told(name='j', place=0, mode=1, others=()))
    """
    targets = {assign.target for assign in program.statements}
    if program.extents or len(targets) < len(program.statements):
        return None
    places = {tensor.name: place for place, tensor in enumerate(program.inputs)}
    found: dict[str, dict[tuple[int, int], None]] = {}
    for assign in program.statements:
        for access in accesses(assign):
            if access.tensor not in places:
                return None
            for mode, subscript in enumerate(access.subscripts):
                if subscript.name is None:
                    return None
                found.setdefault(subscript.name, {})[places[access.tensor], mode] = None
        if any(index not in found for index in indices_of(assign)):
            return None
    return tuple(Told(index, *first, tuple(others)) for index, (first, *others) in found.items())


def read_off(told: Sequence[Told], shapes: Sequence[tuple[int, ...]]) -> dict[str, int] | None:
    """Return ``{index: extent}`` for inputs of these shapes; None where modes disagree."""
    found: dict[str, int] = {}
    for index, place, mode, others in told:
        found[index] = extent = shapes[place][mode]
        for other, its in others:
            if shapes[other][its] != extent:
                return None
    return found


def check_shapes(
    program: Program,
    shapes: Mapping[str, tuple[int, ...]],
    extents: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return ``{index: extent}`` for inputs of these ``shapes``.

    An index that only occurs inside affine subscripts gets the largest extent that keeps them
    in range: ``A[i + k] * w[k]`` has ``i`` run over ``len(A) - len(w) + 1`` values.

    Parameters
    ----------
    extents:
        Extents that are given (a result's shape), for indices nothing else determines.

    Raises
    ------
    NotationError
        Naming both operands, the index and the sizes if two disagree; naming the subscript if
        it leaves its tensor; naming the index if nothing determines it.
    """
    return _Solver(dict(shapes), dict(program.extents) | dict(extents or {})).solve(program)


def output_shapes(program: Program, extents: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every output, given the extents of `check_shapes`."""
    return {
        assign.target: tuple(extents[s.indices[0]] for s in assign.subscripts)
        for assign in program.statements
    }


@dataclass(slots=True)
class _Solver:
    shapes: dict[str, tuple[int, ...]]
    given: dict[str, int]
    found: dict[str, tuple[int, _Place]] = field(default_factory=dict[str, tuple[int, _Place]])

    def solve(self, program: Program) -> dict[str, int]:
        self._ranks(program)
        for name, size in self.given.items():
            self.found[name] = (size, _Place("the given shape", -1))
        inputs = {tensor.name for tensor in program.inputs}
        for assign in program.statements:
            for access in accesses(assign):
                if access.tensor in inputs:
                    self._plain(access)
        for assign in program.statements:
            reads = list(accesses(assign))
            if assign.target in self.shapes:
                reads.append(Access(assign.target, assign.subscripts, assign.span))
            for access in reads:
                self._plain(access)
            self._affine(reads)
            for access in reads:
                self._padded(access)
            for index in indices_of(assign):
                if index not in self.found:
                    raise _unknown(index, assign)
            for access in reads:
                self._in_range(access)
            sizes = (self.found[s.indices[0]][0] for s in assign.subscripts)
            self.shapes.setdefault(assign.target, tuple(sizes))
        return {name: size for name, (size, _) in self.found.items()}

    def _ranks(self, program: Program) -> None:
        for tensor in program.inputs:
            shape = self.shapes[tensor.name]
            if len(shape) != tensor.rank:
                raise NotationError(
                    f"{tensor.name}: expected {tensor.rank} modes, found shape {shape}"
                )

    def _plain(self, access: Access | Stored) -> None:
        for mode, subscript in enumerate(access.subscripts):
            if subscript.name is None:
                continue
            size = self.shapes[access.tensor][mode]
            place = _Place(access.tensor, mode, access.span)
            old, where = self.found.setdefault(subscript.name, (size, place))
            if old != size:
                raise NotationError(
                    f"index {subscript.name}: expected {old} ({where}), found {size} ({place})",
                    span=access.span,
                    hint=self._differing(where.tensor, access.tensor),
                )

    def _differing(self, first: str, second: str) -> str:
        """What to do about two extents of one index."""
        names = [name for name in dict.fromkeys((first, second)) if name in self.shapes]
        shapes = " and ".join(f"{name} has shape {self.shapes[name]}" for name in names)
        return (
            f"{shapes}; an index has one extent in the whole kernel: use another one if two are "
            "meant, or change the order of subscripts if an operand is transposed"
        )

    def _affine(self, reads: list[Access | Stored]) -> None:
        """Give the largest possible extent to indices known from affine subscripts alone."""
        settled = False
        while not settled:
            settled = True
            limits: dict[str, tuple[int, _Place]] = {}
            for access in reads:
                for mode, subscript in enumerate(access.subscripts):
                    unknown = [n for n in subscript.indices if n not in self.found]
                    if len(unknown) != 1 or subscript.padded:
                        continue
                    limit = self._limit(subscript, unknown[0], self.shapes[access.tensor][mode])
                    place = _Place(access.tensor, mode, access.span)
                    if unknown[0] not in limits or limit < limits[unknown[0]][0]:
                        limits[unknown[0]] = (limit, place)
            if limits:
                self.found.update(limits)
                settled = False

    def _padded(self, access: Access | Stored) -> None:
        """Give an index that only a padded subscript mentions the extent of the mode."""
        for mode, subscript in enumerate(access.subscripts):
            unknown = [n for n in subscript.indices if n not in self.found]
            if subscript.padded and len(unknown) == 1 and dict(subscript.terms)[unknown[0]] == 1:
                size = self.shapes[access.tensor][mode]
                self.found[unknown[0]] = (size, _Place(access.tensor, mode, access.span))

    def _limit(self, subscript: Affine, index: str, size: int) -> int:
        coefficient = dict(subscript.terms)[index]
        low, high = self._bounds(subscript, index)
        room = size - 1 - high if coefficient > 0 else low
        return max(room // abs(coefficient) + 1, 0)

    def _bounds(self, subscript: Affine, without: str | None = None) -> tuple[int, int]:
        """Return the least and greatest value of the subscript, leaving one index at 0."""
        low = high = subscript.constant
        for name, coefficient in subscript.terms:
            if name != without:
                reach = coefficient * (self.found[name][0] - 1)
                low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high

    def _in_range(self, access: Access | Stored) -> None:
        for mode, subscript in enumerate(access.subscripts):
            empty = any(self.found[n][0] == 0 for n in subscript.indices)
            if subscript.name is not None or subscript.padded or empty:
                continue
            size = self.shapes[access.tensor][mode]
            low, high = self._bounds(subscript)
            if low >= 0 and high < size:
                continue
            runs = f"is {low}" if low == high else f"runs from {low} to {high}"
            hint = "negative subscripts do not count from the end" if low < 0 else None
            if subscript.terms:
                hint = (
                    f"sd.padded({access.tensor})[...] reads the fill value beyond the edges; or "
                    "pass slices as operands of their own, such as x[1:] and x[:-1]"
                )
            raise NotationError(
                f"{access.tensor}, mode {mode}: expected subscripts from 0 to {size - 1}, "
                f"found '{subscript}' which {runs}",
                span=access.span,
                hint=hint,
            )


def _unknown(index: str, assign: Assign) -> NotationError:
    return NotationError(
        f"index {index} has no extent: it subscripts no operand",
        span=assign.span,
        hint=f"use {index} as a subscript on the right, or give the result's shape: "
        "sd.output(shape=(...))",
    )
