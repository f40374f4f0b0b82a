"""Rows gathered in a hash table, against dense NumPy and dictionaries: growth, order, width."""

import numpy as np
import pytest
from levels import check_result, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.loops.interpret import ExecutionError
from sparsedsl.loops.nodes import For, If
from sparsedsl.lowering import hashed, sorting

WIDE = 2**40


def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def cheapest(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output(fill_value=np.inf)
    C[i, j] = sd.min(A[i, k] + B[k, j], over=k)
    return C


def kernel(body=product, out="csr", **choices):
    # a kernel of its own, so that none is remembered
    return sd.kernel(body, out=out, workspace="hash", **choices)


def operands(dtype="float64", seed=0):
    """Factors whose rows of products are empty, short, long enough to grow, and cancel."""
    rng = np.random.default_rng(seed)
    a = rng.integers(-1, 2, (8, 12))
    a[1], a[2], a[3], a[3, 4] = 1, 0, 0, 1
    b = rng.integers(-2, 3, (12, 700)) * (rng.random((12, 700)) < 0.08)
    b[4], b[5, ::2] = 0, 1
    b[4, 3:14] = 2
    if np.dtype(dtype).kind in "bu":
        a, b = abs(a), abs(b)
    return a.astype(dtype), b.astype(dtype)


def run(dtype="float64", seed=0):
    a, b = operands(dtype, seed)
    special = kernel().engine.specialise([store(x, x != 0, "csr") for x in (a, b)])
    with remembering_proofs():
        assert special.unit(0).nest.assembly.ordering == "hash"
        found = special.run({"A": store(a, a != 0, "csr"), "B": store(b, b != 0, "csr")})["C"]
    # sums of bools count
    check_result(found, a @ b if a.dtype != bool else a.astype(int) @ b)
    return found


def test_interpreted():
    with interpreting():
        found = run()
    lengths = np.diff(found.arrays["indptr"])
    # rows that are empty, sorted by insertion, and sorted by digits in a table that grew
    assert lengths.min() == 0
    assert ((lengths > 0) & (lengths <= hashed.SHORT)).any()
    assert lengths.max() > 4 * hashed.LEAST


@pytest.mark.parametrize("dtype", ["float32", "complex128", "uint64", "bool"])
def test_compiled(dtype):
    run(dtype, seed=1)


def test_a_fill_that_is_not_zero():
    rng = np.random.default_rng(1)
    a, b = (np.where(rng.random(s) < 0.2, rng.random(s), np.inf) for s in ((9, 30), (30, 200)))
    a[4] = np.inf
    tensors = [store(x, np.isfinite(x), "csr", fill=np.inf) for x in (a, b)]
    found = kernel(cheapest)(*tensors)
    np.testing.assert_array_equal(found.to_numpy(), (a[:, :, None] + b[None]).min(axis=1))
    assert found.fill_value == np.inf
    found.validate()


def test_threads_give_the_same_bits():
    rng = np.random.default_rng(2)
    tensors = []
    for shape in ((300, 200), (200, 900)):
        x = rng.random(shape) * (rng.random(shape) < 0.05)
        tensors.append(store(x, x != 0, "csr"))
    results = []
    product_of_rows = kernel(parallel=True)
    for threads in (1, 2, 3):
        with sd.options(threads=threads):
            results.append(product_of_rows(*tensors))
    for other in results[1:]:
        for name, array in results[0].arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name])


def hypersparse(seed, rows, columns):
    """Return a tensor of 2**40 rows and columns as a dictionary and as stored."""
    rng = np.random.default_rng(seed)
    keys = sorted(set(zip(rng.choice(rows, 300), rng.choice(columns, 300), strict=True)))
    values = rng.integers(1, 9, len(keys)).astype(float)
    arrays = {"crd0": [k[0] for k in keys], "crd1": [k[1] for k in keys]}
    found = {name: np.array(a) for name, a in arrays.items()}
    tensor = sd.from_arrays("coo", (WIDE, WIDE), {**found, "data": values})
    return dict(zip(keys, values, strict=True)), tensor.convert("dcsr")


def test_extents_that_no_array_has():
    # coordinates that share their low bits, the last one of the extent among them
    keys = np.append(np.arange(59) * 2**32 + 5, WIDE - 1)
    (a, A), (b, B) = (hypersparse(seed, keys, keys) for seed in (0, 1))
    found = sd.kernel(product, out="dcsr")
    assert "add to a hash table" in found.lower(A, B).explain()
    expected: dict[tuple[int, int], float] = {}
    for (i, k), x in a.items():
        for (other, j), y in b.items():
            if k == other:
                expected[i, j] = expected.get((i, j), 0.0) + x * y
    C = found(A, B)
    C.validate()
    entries = C.convert("coo").arrays
    keys = zip(entries["crd0"].tolist(), entries["crd1"].tolist(), strict=True)
    assert dict(zip(keys, entries["data"], strict=True)) == expected


def test_explanation_says_what_it_takes():
    a, b = operands()
    text = kernel().lower(*(store(x, x != 0, "csr") for x in (a, b))).explain()
    assert "put in order by sorting what it lists" in text
    assert "workspace C_slots: int64[C_entries * 2] (up to about 16.4 kB)" in text


def test_wide_modes_choose_it():
    rng = np.random.default_rng(3)
    shape = (40, 1 << 24)
    wide = sd.from_arrays(
        "csr",
        shape,
        {
            "indptr": np.arange(41) * 6,
            "indices": np.sort(rng.choice(shape[1], (40, 6))).ravel(),
            "data": np.ones(240),
        },
    )
    a = np.eye(40) + np.eye(40, k=7)
    found = sd.kernel(product, out="csr")
    ordering = found.engine.specialise([store(a, a != 0, "csr"), wide]).unit(0).nest.assembly
    assert ordering.ordering == "hash"
    assert found(store(a, a != 0, "csr"), wide).values.sum() == 240 + 6 * 33


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (hashed, "_free_slots", lambda sink: If(hashed.lb.FALSE, ())),
        (sorting, "For", lambda v, a, b, body, step=1: For(v, a, b, body[:1], step)),
    ],
)
def test_what_is_wrong_is_caught(monkeypatch, module, name, wrong):
    monkeypatch.setattr(module, name, wrong)
    with pytest.raises((ExecutionError, AssertionError, ValueError)), interpreting():
        run()
