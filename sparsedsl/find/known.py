"""A nest and what is known of its sizes: bytes that it reads, turns of its loops.

Takes: a nest, the finds chosen for it, and sizes.  Gives: ``Known``.  Invariant: every number is
positive, or zero bytes of a result that is not dense.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sparsedsl.find.choose import Choice
from sparsedsl.iteration import weights
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.nodes import Find, Let, Nest, Operand, Scan, Step
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.steps import fixed_turns
from sparsedsl.spf import terms

INDEX = 4
"""Bytes of an index, about: int64 ones are rare."""


@dataclass(frozen=True, slots=True)
class Known:
    """A nest, and what is known of it; ``warm`` tensors are read for another output, too."""

    nest: Nest
    choices: Mapping[str, Choice]
    sizes: Sizes
    warm: frozenset[str]

    @property
    def width(self) -> int:
        """Bytes of a value of the result."""
        return np.dtype(self.nest.output.dtype).itemsize

    @property
    def result(self) -> float:
        """Bytes of the result, if it is dense."""
        return self.width * math.prod(map(self.sizes.extent, self.nest.coordinates))

    @property
    def touched(self) -> float:
        """Bytes of all operands, and of a dense result: what comes in turn, call after call."""
        stored = {o.tensor.name: self.stored(o) for c in self.nest.chains for o in c.operands}
        return sum(stored.values()) + self.result * (self.nest.assembly.kind == "dense")

    def stored(self, operand: Operand) -> float:
        """Return the bytes of an operand's values, and of one coordinate for each."""
        size = np.dtype(operand.tensor.dtype).itemsize
        if operand.total:
            indices = (i for s in operand.access.subscripts for i in s.indices)
            return size * math.prod(map(self.sizes.extent, indices))
        entries = self.sizes.entries.get(operand.dims[-1], 1.0) if operand.dims else 1.0
        return (size + INDEX) * entries

    def turns(self, steps: tuple[Step, ...], place: int, operands: Mapping[str, Operand]) -> float:
        """Return how often a scan turns each time it is entered."""
        scan = steps[place]
        assert isinstance(scan, Scan)
        fixed = fixed_turns(scan)
        if scan.operand is None or fixed is not None:
            return self.sizes.extent(scan.variable) if fixed is None else float(fixed)
        operand = operands[scan.operand]
        at = operand.dims.index(scan.variable)
        bound = {s.variable for s in steps[:place] if isinstance(s, Scan | Let | Find)}
        if at and operand.dims[at - 1] not in bound:
            # one range of all that the dimensions between have
            outer = [self.sizes.entries.get(d, 1.0) for d in operand.dims[:at] if d in bound]
            every = self.sizes.entries.get(scan.variable, 1.0)
            return max(every / max([1.0, *outer[-1:]]), 1e-6)
        extents = {extent_name(i): terms.const(int(n)) for i, n in self.sizes.extents.items()}
        ends = (terms.substitute(high, extents) for high in scan.highs)
        room = (max(float(end.constant), 1.0) for end in ends if not end.parts)
        return min([weights.length(steps[:place], operand, scan, self.sizes), *room])
