"""Pictures as SVG text: how a layout stores a tensor, where entries lie, which points loops visit.

Takes: layouts, tensors, kernels.  Gives: text of SVG files.  Invariant: what is drawn is asked
of the layout's relation or of the plan; no format and no kernel is drawn by a rule of its own.
"""

from sparsedsl.pictures.space import space
from sparsedsl.pictures.spy import spy
from sparsedsl.pictures.storage import storage

__all__ = ["space", "spy", "storage"]
