import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.graph.pattern import join, random_table, reorder, sort_rows


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_join_is_the_support_of_the_product(seed, n, k, m):
    rng = np.random.default_rng(seed)
    a, b = rng.random((n, k)) < 0.5, rng.random((k, m)) < 0.5
    found = join(np.argwhere(a), "ik", np.argwhere(b), "kj")
    expected = np.argwhere(a[:, :, None] & b[None, :, :])
    assert np.array_equal(sort_rows(found), sort_rows(expected))


def test_join_without_shared_axes():
    assert join(np.array([[0], [2]]), "i", np.array([[1], [3]]), "j").tolist() == [
        [0, 1],
        [0, 3],
        [2, 1],
        [2, 3],
    ]


def test_reorder_projects_and_sorts():
    table = np.array([[0, 3], [1, 2], [2, 3]])
    assert reorder(table, "ij", "ji").tolist() == [[2, 1], [3, 0], [3, 2]]
    assert reorder(table, "ij", "j").tolist() == [[2], [3]]


def test_random_table_has_exactly_the_entries():
    table = random_table((50, 70), 333)
    assert table.shape == (333, 2)
    assert len(sort_rows(table)) == 333
    assert np.array_equal(table, random_table((50, 70), 333))
    assert random_table((10**6, 10**6, 10**4), 100).shape == (100, 3)
