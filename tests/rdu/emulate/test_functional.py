import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.emulate import functional as f
from rdu.graph.graph import Precision
from rdu.graph.nodes import Contract, Monoid, Operand, Subscript


def test_rounding_is_bf16_nearest_even():
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 3e38, np.nan, -0.0, np.inf], np.float32)
    expected = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(f.rounded(values, Precision.BF16), expected, equal_nan=True)
    assert f.rounded(values, Precision.BF16)[1] == 1.0
    assert np.array_equal(f.rounded(values, Precision.FP32), values, equal_nan=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), *(st.integers(1, 9) for _ in range(4)))
def test_contract_sums_in_ascending_order(seed, b, m, k, n):
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((b, m, k)).astype(np.float32)
    right = rng.standard_normal((b, k, n)).astype(np.float32)
    operator = Contract(
        "g",
        Operand("c", ("m", "b", "n")),
        Operand("l", ("b", "m", "k")),
        Operand("r", ("b", "k", "n")),
    )
    total = f.contract(operator, None, left, right)
    found = f.contracted(operator, total, (m, b, n))
    expected = np.zeros((b, m, n), np.float32)
    for step in range(k):
        expected += left[:, :, step, None] * right[:, step, None, :]
    assert np.array_equal(found, expected.transpose(1, 0, 2))
    # Cutting the sum into tiles changes nothing.
    cut = k // 2
    parts = f.contract(operator, None, left[:, :, :cut], right[:, :cut]) if cut else None
    parts = f.contract(operator, parts, left[:, :, cut:], right[:, cut:])
    assert np.array_equal(parts, total)


@pytest.mark.parametrize("monoid", list(Monoid))
def test_reductions_over_tiles(monoid):
    rng = np.random.default_rng(1)
    tile = rng.integers(-2, 3, (3, 4, 5)).astype(np.float32)
    numpy = {
        Monoid.SUM: np.sum,
        Monoid.PRODUCT: np.prod,
        Monoid.MINIMUM: np.min,
        Monoid.MAXIMUM: np.max,
        Monoid.ANY: np.any,
        Monoid.ALL: np.all,
    }[monoid]
    total = f.reduced(monoid, None, tile[:, :2], "ijk", "ki")
    total = f.reduced(monoid, total, tile[:, 2:], "ijk", "ki")
    assert np.array_equal(total, numpy(tile, axis=1).T.astype(np.float32))


def test_softmax_and_norm():
    x = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(f.softmax(x, 1), e / e.sum(1, keepdims=True), rtol=1e-5)
    w = np.arange(7, dtype=np.float32)
    expected = x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-5) * w
    np.testing.assert_allclose(f.rms_norm(x, w, 1, 1e-5), expected, rtol=1e-5)
    np.testing.assert_allclose(f.softmax(x.T, 0).T, f.softmax(x, 1))
    assert np.isfinite(f.softmax(np.full((1, 3), 1e30, np.float32), 1)).all()


def test_rearranged_reads_affine_subscripts():
    whole = np.arange(20, dtype=np.float32).reshape(4, 5)
    spans = {"i": slice(1, 3), "j": slice(0, 2)}
    patterns = (Subscript((("i", 1),)), Subscript((("i", 1), ("j", 2))))
    found = f.rearranged(whole, patterns, ("i", "j"), spans)
    assert found.tolist() == [[whole[i, i + 2 * j] for j in range(2)] for i in (1, 2)]
