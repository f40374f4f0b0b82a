"""What planning knows of a tensor.

Takes: nothing.  Gives: ``Source``.  Invariant: says nothing of stored values or indices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparsedsl.layouts.layout import Layout


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of one tensor before it is seen: enough to plan, not to run.

    ``entries`` gives the number of tuples up to each physical dimension; ``index_dtypes``
    the dtype of each index array by its own name.  ``implied`` says that no caller gives the
    tensor: its coordinates follow from its layout, and its values are not read.
    """

    layout: Layout
    shape: tuple[int, ...]
    entries: Mapping[str, float]
    index_dtypes: Mapping[str, str]
    implied: bool = False
