"""Cases that every layout goes through: layouts, shapes and dense matrices that fit them."""

from types import SimpleNamespace

import numpy as np
import pytest

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.catalogue import Family, layouts
from sparsedsl.layouts.describe import storage_bytes
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.sizes import infer_sizes

# Sizes of layouts that need some, and what a layout holds at all.
SIZES = {
    "hyb": (2,),
    "hash": (3,),
    "nm": (2, 4),
    "banded": (2, 1),
    "bcsr": (2, 3),
    "bcsc": (3, 2),
    "sell": (4,),
    "sell_sigma": (2, 4),
    "csb": (2,),
}

# Layouts of the tests' own, written as a user would.
OWN = (
    Layout(
        "padded",
        "[N, M, W] -> { [i, s] -> [i, j] : 0 <= i < N and 0 <= s < W and cols(i, s) >= 0 "
        "and j = cols(i, s) and 0 <= j < M }",
        value="data(i, s)",
    ),
    Layout(
        "one-based",
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and ptr(i) - 1 <= p < ptr(i + 1) - 1 "
        "and j = cols(p) - 1 and 0 <= j < M }",
        value="data(p)",
        properties=[
            "ptr(0) = 1",
            "nondecreasing ptr",
            "increasing cols within ptr(i) - 1 <= p < ptr(i + 1) - 1",
        ],
    ),
    Layout(
        "row-major",
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j < M }",
        value="data(M*i + j)",
    ),
    Layout(
        "columns-outside",
        "[N, M, W] -> { [s, i] -> [i, j] : 0 <= s < W and 0 <= i < N and s < len(i) "
        "and j = cols(s, i) and 0 <= j < M }",
        value="data(s, i)",
        properties=["increasing cols within 0 <= s < len(i)"],
    ),
    Layout(
        "spans",
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and first(i) <= p < last(i) "
        "and j = cols(p) and 0 <= j < M }",
        value="data(p)",
        properties=["increasing cols within first(i) <= p < last(i)"],
    ),
)


def members(rank):
    """Every layout of the catalogue at ``rank``, mode orders and block sizes included."""
    for name, entry in layouts.items():
        if isinstance(entry, Family):
            chosen = entry(2) if name == "hicoo" else entry
            yield chosen.of(rank)
            if rank > 1:
                yield chosen.of(rank, tuple(reversed(range(rank))))
        elif entry.rank == rank:
            yield entry(*SIZES[name]) if entry.blocks else entry
    if rank == 2:
        yield from (own for own in OWN if own.name != "one-based")


def holdable(layout, dense):
    """Whether ``layout`` has a place for every entry of ``dense``, from its definition."""
    if dense.ndim != 2:
        return True
    rows, columns = np.nonzero(dense)
    match layout.name:
        case "banded":
            return bool(np.all((columns - rows <= 1) & (rows - columns <= 2)))
        case "triangular" | "skyline":
            return bool(np.all(columns <= rows))
        case "pattern":
            return len(set(dense[rows, columns].tolist())) <= 1
        case "symmetric" | "packed":
            return dense.shape[0] == dense.shape[1] and bool((dense == dense.T).all())
        case "nm":
            groups = rows * 1000 + columns // 4
            return not len(groups) or int(np.unique(groups, return_counts=True)[1].max()) <= 2
        case _:
            return True


def matrices(shape, seed=0):
    """Dense arrays of every density, with one value, lower, banded and symmetric ones."""
    rng = np.random.default_rng(seed)
    for density in (0.0, 0.2, 0.6, 1.0):
        mask = rng.random(shape) < density
        yield np.where(mask, rng.integers(1, 4, shape), 0).astype(float)
        yield np.where(mask, 1.0, 0.0)
        if len(shape) == 2:
            lower = np.tril(np.where(mask, rng.random(shape) + 1, 0))
            yield np.triu(lower, -2)
            if shape[0] == shape[1]:
                yield lower + np.tril(lower, -1).T


def common(first, second, shape, seed):
    """A matrix that both layouts hold, with entries where possible; None if there is none."""
    found = [d for d in matrices(shape, seed) if holdable(first, d) and holdable(second, d)]
    return next((d for d in found if d.any()), found[0] if found else None)


def tampered(array, values):
    """Yield (kind, array) for every kind of mistake at every place."""
    yield "dtype", array.astype("float16" if values else "float64")
    if array.ndim and array.size:
        yield "short", array[:-1].copy()
    if array.ndim > 1 and array.size:
        yield "narrow", np.ascontiguousarray(array[:, :-1])
    for place in range(0 if values else array.size):
        here = int(array.flat[place])
        changes = {
            "negative": {place: -1},
            "out of range": {place: 1000},
            "hostile": {place: -(2**31)},
            "not monotone": {place: here - 1},
            "too large": {place: here + 1},
        }
        if place + 1 < array.size:
            after = int(array.flat[place + 1])
            changes["duplicate"] = {place + 1: here}
            changes["unsorted"] = {place: after, place + 1: here}
        for kind, new in changes.items():
            changed = array.copy()
            changed.flat[list(new)] = list(new.values())
            if not np.array_equal(changed, array):
                yield kind, changed


def predicted(layout, shape, nnz, arrays):
    """The bytes predicted from the number of entries, and the lengths that a message asks for."""
    counts = {}
    for _ in range(len(arrays) + 1):
        try:
            return storage_bytes(layout, shape, nnz, counts)
        except LayoutError as error:
            missing = error.message.partition("lengths ")[2].split("\n")[0].split(", ")
        values = infer_sizes(layout, shape, arrays)
        told = {name: values[name] for name in layout.sizes if name in missing}
        own = [name for name in missing if name in arrays]
        counts |= told or {own[0]: len(arrays[own[0]])}
    raise AssertionError(f"{layout.label} asks for ever more: {counts}")


def coordinates(dense):
    """Coordinates and values of the nonzeros."""
    if dense.ndim == 0:
        count = int(dense != 0)
        return np.zeros((0, count), int), np.full(count, dense[()])
    coords = np.array(np.nonzero(dense)).reshape(dense.ndim, -1)
    return coords, dense[tuple(coords)]


def scatter(shape, coords, values, dtype=float):
    """A dense array by adding every entry: a repeated coordinate would show."""
    dense = np.zeros(shape, dtype)
    if dense.ndim:
        np.add.at(dense, tuple(coords), values)
    else:
        dense += values.sum()
    return dense


def pytest_generate_tests(metafunc):
    """``member``: every 2-D layout; ``any_member``: every layout of every small rank."""
    if "member" in metafunc.fixturenames:
        found = list(members(2))
        metafunc.parametrize("member", found, ids=[layout.label for layout in found])
    if "any_member" in metafunc.fixturenames:
        found = [layout for rank in (0, 1, 3) for layout in members(rank)]
        ids = [f"{layout.rank}-{layout.label}" for layout in found]
        metafunc.parametrize("any_member", found, ids=ids)


@pytest.fixture(scope="session")
def cases():
    return SimpleNamespace(
        own={layout.name: layout for layout in OWN},
        holdable=holdable,
        matrices=matrices,
        coordinates=coordinates,
        scatter=scatter,
        members=members,
        common=common,
        predicted=predicted,
        tampered=tampered,
    )


@pytest.fixture
def shuffle():
    rng = np.random.default_rng(7)

    def apply(coords, values):
        order = rng.permutation(coords.shape[1])
        return coords[:, order], values[order]

    return apply
