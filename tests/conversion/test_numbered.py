"""Entries that are numbered as they come, strips of one group at a time."""

import numpy as np
import pytest
from converted import agree, layout_of

from sparsedsl.conversion import numbered, run
from sparsedsl.layouts.catalogue import resolve


def listed(lengths, rank, seed, index="int32"):
    """Sorted coordinates whose innermost groups have those lengths, with gaps between groups."""
    rng = np.random.default_rng(seed)
    outer = np.cumsum(rng.integers(1, 3, len(lengths)))
    columns = [np.repeat(outer, lengths)]
    if rank == 3:  # groups share the outermost coordinate
        columns = [columns[0] // 5, columns[0]]
    columns.append(np.concatenate([np.sort(rng.permutation(700)[:n]) for n in lengths]))
    shape = tuple(int(x.max()) + 2 for x in columns)
    arrays = {f"crd{k}": x.astype(index) for k, x in enumerate(columns)}
    return shape, {**arrays, "data": rng.random(len(columns[0]))}


S = numbered.STRIP
LENGTHS = {
    "one": [1],
    "short": [1, 2, 3, 1, 1, 5] * 20,
    "a strip": [S],
    "strips": [S, S, 2 * S, S],
    "across": [S - 1, 2, S + 1, 3 * S, 1, 1, 2 * S - 1, 7 * S + 3],
    "long": [500, 1, 600, 2, 400],
}


@pytest.mark.parametrize(
    ("rank", "target"),
    [*((2, name) for name in ("csr", "dcsr", "csf", "pattern", "bcsr(1, 4)")), (3, "csf")],
)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_groups_of_any_length(lengths, rank, target, interpreted):
    """Groups that end with a strip, that go on, that have several strips."""
    source, to = resolve("coo", rank), layout_of(target, rank)
    shape, arrays = listed(LENGTHS[lengths], rank, 1)
    if target == "pattern":
        arrays["data"][:] = 2.0
    made = interpreted(source, to, shape, arrays)
    assert made is not None
    agree(source, to, shape, arrays, made)


@pytest.mark.parametrize("index", ["int32", "int64"])
def test_groups_of_any_length_by_compiled_code(index):
    for rank, target in ((2, "csr"), (3, "csf")):
        shape, arrays = listed(LENGTHS["across"], rank, 2, index)
        source, to = resolve("coo", rank), resolve(target, rank)
        made = run.convert(source, to, shape, arrays)
        assert made is not None
        agree(source, to, shape, arrays, made)
