import numpy as np
import pytest

from rdu.errors import SpecError
from rdu.models import flash_fft_conv


def test_counts_of_the_million_point_convolution():
    graph = flash_fft_conv(channels=1)
    kinds = [op.kind for op in graph.operators]
    # 16 complex steps of four real products, less two at the real input and two at the output.
    assert kinds.count("gemm") == 4 * 8 - 2 - 2
    assert kinds.count("layout") == 2 * 6
    flops = sum(op.product.flops for op in graph.operators if op.product)
    assert flops == 28 * 2 * 32 * 2**20


def test_the_steps_are_an_fft():
    """The recursion the graph unrolls: DFT products, twiddles and transposes give numpy's FFT."""
    rng = np.random.default_rng(0)
    radix, order = 4, 3
    x = rng.standard_normal(radix**order)

    def fft(values):
        if len(values) == radix:
            return np.exp(-2j * np.pi * np.outer(range(radix), range(radix)) / radix) @ values
        rows = values.reshape(radix, -1)
        dft = np.exp(-2j * np.pi * np.outer(range(radix), range(radix)) / radix)
        mixed = dft @ rows
        count = len(values)
        twiddle = np.exp(-2j * np.pi * np.outer(range(radix), range(count // radix)) / count)
        return np.stack([fft(row) for row in mixed * twiddle], axis=1).reshape(-1)

    np.testing.assert_allclose(fft(x), np.fft.fft(x), atol=1e-12)


@pytest.mark.parametrize("arguments", [{"sequence": 100}, {"radix": 1}, {"channels": 0}])
def test_refusals(arguments):
    with pytest.raises(SpecError):
        flash_fft_conv(**arguments)
