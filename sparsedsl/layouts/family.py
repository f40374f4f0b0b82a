"""Layouts of every rank, and layouts by name.

Takes: specifications as text.  Gives: ``Family`` and ``Catalogue``, which make a ``Layout``
when it is first asked for.  Invariant: nothing here depends on which layouts there are.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.layout import Layout, checked_order

MODES = 64
"""Most modes of a tensor: those of NumPy's arrays."""


@dataclass(frozen=True, slots=True)
class Family:
    """A layout of every rank: ``family.of(3)``, or ``family(order=(2, 0, 1))``.

    ``specify(rank, order)`` gives the specification, where storage level ``k`` holds the
    logical mode ``order[k]``.  ``inner(count)`` is ``specify`` for a number of dense inner modes,
    where the layout has such modes.  ``usual`` are the block sizes of a layout that is meant by
    its name alone.
    """

    name: str
    specify: Callable[[int, tuple[int, ...]], Specification]
    summary: str
    block_sizes: tuple[int, ...] = ()
    inner: Callable[[int], Callable[[int, tuple[int, ...]], Specification]] | None = None
    usual: tuple[int, ...] = ()

    def of(self, rank: int, order: Sequence[int] | None = None) -> Layout:
        """The layout of ``rank`` modes, stored in ``order`` (logical order by default)."""
        if rank > MODES:
            raise LayoutError(
                f"expected a tensor of at most {MODES} modes, found {rank}",
                hint="join modes first, as numpy.reshape does",
            )
        modes = tuple(range(rank)) if order is None else checked_order(order, rank, self.name)
        return _member(self, rank, modes)

    def __call__(
        self, *block_sizes: int, order: Sequence[int] | None = None, dense: int | None = None
    ) -> Layout | Family:
        """Fix block sizes, the number of dense inner modes, or the mode order and so the rank."""
        chosen = replace(self, block_sizes=block_sizes) if block_sizes else self
        if dense is not None:
            if self.inner is None or isinstance(dense, bool) or dense < 0:
                raise LayoutError(
                    f"expected no number of dense modes for '{self.name}', found {dense!r}"
                    if self.inner is None
                    else f"expected a number of dense modes of '{self.name}', found {dense!r}",
                    hint='such as sd.layouts["mode_generic"](dense=1)',
                )
            chosen = replace(chosen, specify=self.inner(dense))
        return chosen if order is None else chosen.of(len(tuple(order)), order)

    def __repr__(self) -> str:
        return f"<layouts {self.name}: {self.summary}>"


@dataclass(frozen=True, slots=True)
class Specification:
    """What ``Layout`` takes as text, the block sizes that its name alone means, and a few words."""

    relation: str
    value: str
    properties: tuple[str, ...] = ()
    usual: tuple[int, ...] = ()
    summary: str = ""


AnyLayout: TypeAlias = "Layout | Family"


@lru_cache(maxsize=1024)
def _member(family: Family, rank: int, order: tuple[int, ...]) -> Layout:
    given = family.specify(rank, order)
    made = Layout(family.name, given.relation, value=given.value, properties=given.properties)
    if order != tuple(range(rank)):
        object.__setattr__(made, "order", order)
    return made(*family.block_sizes) if family.block_sizes else made


class Catalogue(Mapping[str, AnyLayout]):
    """Layouts by name, upper or lower case: ``layouts["csr"]`` or ``layouts.CSR``."""

    def __init__(self, families: Sequence[Family], fixed: Mapping[str, Specification]) -> None:
        self._made: dict[str, AnyLayout] = {family.name: family for family in families}
        self._fixed = fixed
        self._names = (*self._made, *fixed)

    def __getitem__(self, name: str) -> AnyLayout:
        key = name.lower() if isinstance(name, str) else ""  # pyright: ignore[reportUnnecessaryIsInstance]
        if key not in self._made and key in self._fixed:
            given = self._fixed[key]
            self._made[key] = Layout(
                key, given.relation, value=given.value, properties=given.properties
            )
        if key not in self._made:
            raise UnknownLayoutError(
                f"unknown layout {name!r}; known are {', '.join(self)}",
                hint=self._advice(key),
            )
        return self._made[key]

    def usual(self, name: str) -> AnyLayout:
        """The layout of this name with its usual block sizes, where it takes any."""
        found = self[name]
        given = found if isinstance(found, Family) else self._fixed[name.lower()]
        return found(*given.usual) if given.usual else found

    def summary(self, name: str) -> str:
        """What a layout stores, in a few words."""
        found = self[name]
        return found.summary if isinstance(found, Family) else self._fixed[name.lower()].summary

    def _advice(self, key: str) -> str:
        name, opened, _ = key.partition("(")
        if opened and name in self:
            return f'block sizes stand outside of the name: sd.layouts["{name}"]{key[len(name) :]}'
        close = difflib.get_close_matches(key, list(self), n=2, cutoff=0.6)
        if close:
            return f"did you mean {' or '.join(close)}?"
        return "define one of your own with sd.Layout(name, relation, value=...)"

    def __getattr__(self, name: str) -> AnyLayout:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __dir__(self) -> list[str]:
        return [name.upper() for name in self._names]

    def __repr__(self) -> str:
        return f"<layouts: {', '.join(self)}>"


class UnknownLayoutError(LayoutError, KeyError, AttributeError):
    """A layout name the catalogue does not hold."""
