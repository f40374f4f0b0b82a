"""scipy's sparse classes with products, sums and differences computed by sparsedsl.

``replaced()`` puts ``A @ B``, ``A + B``, ``A - B`` and ``A.multiply(B)`` in place of scipy's own.
These stay scipy's:

- numbers as operands: in scipy they mean other things for each operator;
- sums and elementwise products of two shapes: a kernel says which indices are shared;
- dtypes that no layout holds: extended precision and objects.
"""

from collections import Counter
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.contraction.nodes import VALUE_DTYPES

FORMATS = ("csr", "csc", "coo", "bsr", "dia")
USED = Counter()


def ours(name, first, second):
    """Whether sparsedsl computes this."""
    plain = type(second) is np.ndarray and second.ndim > 0
    if not sp.issparse(second) and not plain:
        return False
    held = all(x.dtype.name in VALUE_DTYPES for x in (first, second))
    return held and ("matmul" in name or first.shape == second.shape)


def sparse_of(result, like):
    """A result as scipy's class for the first operand."""
    if isinstance(result, np.ndarray):
        return result
    made = result if sp.issparse(result) else result.to_scipy()
    kind = sp.spmatrix if isinstance(like, sp.spmatrix) else sp.sparray
    if not isinstance(made, kind):
        made = getattr(sp, f"{made.format}_{'matrix' if kind is sp.spmatrix else 'array'}")(made)
    return made.asformat("csr" if like.format in ("coo", "dia") else like.format)


def operator(name, compute, usual, turned=False):
    def method(self, other):
        if not ours(name, self, other):
            return usual(self, other)
        USED[name] += 1
        first, second = sd.asarray(self), sd.asarray(other)
        found = compute(second, first) if turned else compute(first, second)
        return sparse_of(found, self)

    return method


OPERATORS = {
    "__matmul__": (lambda a, b: a @ b, False),
    "__rmatmul__": (lambda a, b: a @ b, True),
    "__add__": (lambda a, b: a + b, False),
    "__radd__": (lambda a, b: a + b, True),
    "__sub__": (lambda a, b: a - b, False),
    "__rsub__": (lambda a, b: a - b, True),
    "multiply": (lambda a, b: a * b, False),
}


@contextmanager
def replaced(names=tuple(OPERATORS)):
    """Inside the block scipy's classes use our operators."""
    before = []
    for form in FORMATS:
        for kind in ("array", "matrix"):
            owner = getattr(sp, f"{form}_{kind}")
            for name in names:
                compute, turned = OPERATORS[name]
                before.append((owner, name, name in vars(owner), getattr(owner, name)))
                setattr(owner, name, operator(name, compute, getattr(owner, name), turned))
    try:
        yield USED
    finally:
        for owner, name, own, usual in before:
            if own:
                setattr(owner, name, usual)
            else:
                delattr(owner, name)
