"""What planning knows of a tensor.

Takes: nothing.  Gives: ``Source``.  Invariant: says nothing of stored values, and of indices no
more than how unevenly they lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from sparsedsl.iteration.cost import Changes, Unevenness
from sparsedsl.iteration.output import levels_of, ranges
from sparsedsl.layouts.layout import Layout
from sparsedsl.magnitudes import ratio, rounded


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of one tensor before it is seen: enough to plan, not to run.

    ``entries`` gives the number of tuples up to each physical dimension; ``index_dtypes``
    the dtype of each index array by its own name.  ``uneven`` tells of dimensions whose indices
    were looked at, where it matters, and ``changes`` how ranges differ from the one before, which
    only estimates of times ask for.  ``implied`` says that no caller gives
    the tensor: its coordinates follow from its layout, and its values are not read.
    """

    layout: Layout
    shape: tuple[int, ...]
    entries: Mapping[str, float]
    index_dtypes: Mapping[str, str]
    implied: bool = False
    uneven: Mapping[str, Unevenness] = field(default_factory=dict[str, Unevenness])
    changes: Mapping[str, Changes] = field(default_factory=dict[str, Changes])

    @property
    def sizes(self) -> dict[str, float]:
        """``entries`` as plans count them, by magnitude."""
        return {dim: rounded(count) for dim, count in self.entries.items()}

    @property
    def turns(self) -> tuple[float, ...]:
        """How often a loop over the entries meets a value of each mode's index, by magnitude."""
        found = [max(self.sizes.values(), default=1.0)] * self.layout.rank
        assembly = levels_of(self.layout)
        if assembly is not None:
            for count, level in zip(self.sizes.values(), assembly.levels, strict=True):
                for _, mode in level.coordinates:
                    found[mode] = count
        return tuple(found)

    @property
    def lengths(self) -> dict[str, float]:
        """How long the ranges are that pointers give, by magnitude."""
        ranged = ranges(self.layout)
        counts = [1, *map(int, self.entries.values())]
        pairs = zip(self.entries, pairwise(counts), strict=True)
        return {d: 2.0 ** ratio(count, to) for d, (to, count) in pairs if d in ranged}
