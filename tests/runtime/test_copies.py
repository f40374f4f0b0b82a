"""Copies of operands that are kept, and go with what they were made of."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels_called import dense_product, matrix, spgemm, spmv, unsorted
from levels import pattern_of, store

import sparsedsl as sd
from sparsedsl.interop import argument, recall
from sparsedsl.layouts.catalogue import hierarchical
from sparsedsl.runtime.copies import copied


def repeated(A):
    """A matrix that stores each entry twice."""
    indptr = 2 * A.indptr
    return type(A)((A.data.repeat(2), A.indices.repeat(2), indptr), shape=A.shape)


CHANGES = {
    "a value": lambda A: A.data.__setitem__(0, A.data[0] + 1.0),
    "the sign of a zero": lambda A: A.data.__setitem__(1, -0.0),
    "an infinity": lambda A: A.data.__setitem__(0, np.inf),
    "all values": lambda A: A.data.__imul__(3.0),
    "other values": lambda A: setattr(A, "data", A.data[::-1].copy()),
    "a coordinate": lambda A: A.indices.__setitem__(0, (A.indices[0] + 1) % A.shape[1]),
    "the shape": lambda A: A.resize(A.shape[0], A.shape[1]),
    "sorted": lambda A: A.sort_indices(),
    "nothing": lambda A: None,
}


@pytest.mark.parametrize("kind", [unsorted, repeated])
@given(changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=6))
def test_copies_of_unsorted_matrices_follow_every_change(kind, changes):
    A, x = kind(matrix()), np.arange(1.0, 6.0)
    for change in ["nothing", "nothing", *changes, "nothing"]:
        CHANGES[change](A)
        found = spmv(A, x)
        np.testing.assert_array_equal(found, dense_product(A, x))


def test_a_sorted_copy_is_kept_with_its_matrix_and_is_of_no_one_else():
    A = unsorted(matrix())
    first = recall(A) or (spmv(A, np.ones(5)), recall(A))[1]
    assert recall(A) is first
    assert not np.shares_memory(first.values, sd.asarray(A).values)
    bound = sd.asarray(A)
    bound.values[:] = 7.0
    np.testing.assert_array_equal(spmv(A, np.ones(5)), A.toarray().sum(axis=1))
    A.data *= 2.0
    second = recall(A)
    assert second is not first
    assert second.arrays["indices"] is first.arrays["indices"]
    gone = weakref.ref(second)
    del A, second
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("bind", [lambda x: x, sd.asarray])
def test_copies_in_other_layouts_follow_every_value(bind):
    A, B = matrix(0, (60, 50)), matrix(1, (50, 60)).tocsc()
    kernel = sd.kernel(spgemm.function, order="i k j")
    operands = bind(A), bind(B)
    (copy,) = kernel.lower(*operands)._special.prepare(0).call.recipe.copies
    assert copy.source == "B"
    kept = []
    for value in (None, None, 3.5, 1e300, -0.0, 1.0, None):
        if value is not None:
            A.data[0] = B.data[-1] = value
        found = sd.asarray(kernel(*operands)).to_numpy()
        np.testing.assert_array_equal(found, A.toarray() @ B.toarray())
        kept.append(copied(argument(operands[1]), hierarchical(copy.order, copy.thin)))
    assert kept[0] is kept[1]
    assert kept[5] is kept[6]
    assert len(set(map(id, kept))) == 5


def test_copies_go_with_their_source():
    B = sd.asarray(matrix())
    gone = weakref.ref(copied(B, sd.layouts.CSC))
    assert copied(B, B.layout) is B
    assert gone() is not None
    del B
    gc.collect()
    assert gone() is None


def below_or_stored(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.sum((j <= i) ^ sd.pattern(A)[i, j], over=j)
    return y


@pytest.mark.parametrize("layout", ["symmetric", "hyb", "bcsr", "coo_unsorted", "ell", "csc"])
def test_a_copy_of_which_the_pattern_is_asked_keeps_stored_zeros(layout):
    mask = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]], bool)
    A = store(np.zeros((4, 4)), mask, layout)
    wanted = ((np.tri(4) > 0) ^ pattern_of(A)).sum(axis=1)
    np.testing.assert_array_equal(sd.kernel(below_or_stored)(A), wanted)


def test_a_copy_is_no_argument_that_has_its_name():
    """The copies of ``A`` and one of the user's own arguments would share a name."""
    mask = np.eye(3, dtype=bool)
    A, other = store(2 * np.eye(3), mask, "symmetric"), store(np.ones((3, 3)), mask, "csr")
    copies = [c.name for u in sd.kernel(below_or_stored).lower(A).units for c in u.recipe.copies]
    assert len(copies) == 1
    names = {"sd": sd}
    exec(
        f"def both(A, {copies[0]}):\n"
        "    i, j = sd.indices('i j')\n"
        "    y = sd.output()\n"
        "    y[i] = sd.sum((j <= i) ^ sd.pattern(A)[i, j], over=j)"
        f" + sd.sum({copies[0]}[i, j], over=j)\n"
        "    return y\n",
        names,
    )
    wanted = ((np.tri(3) > 0) ^ mask).sum(axis=1) + 1
    np.testing.assert_array_equal(sd.kernel(names["both"])(A, other), wanted)
