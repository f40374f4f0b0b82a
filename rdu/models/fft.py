"""FlashFFTConv: a long convolution by Monarch FFTs (section VI-B)."""

from __future__ import annotations

from rdu.errors import SpecError
from rdu.models.operators import GroupBuilder, ModelGraph, Product


def flash_fft_conv(
    sequence: int = 1 << 20, channels: int = 64, batch: int = 1, radix: int = 32
) -> ModelGraph:
    """``y = ifft(fft(u) * k)`` of a real sequence, one socket, every complex step in real parts.

    An FFT of ``radix ** order`` points is ``order`` products with a ``radix x radix`` DFT matrix,
    with a twiddle multiplication and a transpose between them. The first product has a real
    input, the last one a real output.

    Parameters
    ----------
    sequence:
        Points, a power of ``radix``.
    channels, batch:
        Independent sequences; ``batch`` of them share a filter.

    Raises
    ------
    SpecError
        Where ``sequence`` is no power of ``radix``, or a number is below 1.

    Examples
    --------
    >>> flash_fft_conv().calls
    95
    """
    for key, value in (("channels", channels), ("batch", batch), ("radix", radix - 1)):
        if value < 1:
            raise SpecError(f"{key} is too small: {value if key != 'radix' else radix}")
    order = 0
    while radix**order < sequence:
        order += 1
    if radix**order != sequence or not order:
        raise SpecError(f"sequence must be a power of radix {radix}, found {sequence}")
    points = sequence * channels * batch
    b = GroupBuilder("convolution")
    maker = _Complex(b, points, radix)
    re, im = b.tensor("u", points), None
    re, im = maker.transform("fft", re, im, order, real_output=False)
    assert im is not None
    filters = 2 * sequence * channels
    re, im = maker.multiply("filter", re, im, filters)
    maker.transform("ifft", re, im, order, real_output=True)
    return ModelGraph("flashfftconv", "prefill", batch, sequence, 1, tuple(b.operators))


class _Complex:
    """Complex arithmetic on pairs of real tensors."""

    def __init__(self, builder: GroupBuilder, points: int, radix: int) -> None:
        self.b, self.points, self.radix = builder, points, radix

    def transform(
        self, name: str, re: str, im: str | None, order: int, *, real_output: bool
    ) -> tuple[str, str | None]:
        for step in range(order):
            if step:
                assert im is not None
                re, im = self.multiply(f"{name}.twiddle{step}", re, im, 2 * self.points_of_one())
                re = self.turn(f"{name}.turn{step}.re", re)
                im = self.turn(f"{name}.turn{step}.im", im)
            last = real_output and step == order - 1
            re, im = self.product(f"{name}.dft{step}", re, im, real_output=last)
        return re, im

    def points_of_one(self) -> int:
        """Entries of one twiddle table, shared by all sequences."""
        return self.radix**2

    def product(
        self, name: str, re: str, im: str | None, *, real_output: bool
    ) -> tuple[str, str | None]:
        """A product with the DFT matrix: up to four real products and two sums."""
        rr = self._gemm(f"{name}.rr", re)
        if im is None:
            return rr, self._gemm(f"{name}.ri", re)
        ii = self._gemm(f"{name}.ii", im)
        out = self._map(f"{name}.re", [rr, ii])
        if real_output:
            return out, None
        cross = [self._gemm(f"{name}.ri", re), self._gemm(f"{name}.ir", im)]
        return out, self._map(f"{name}.im", cross)

    def multiply(self, name: str, re: str, im: str, table: float) -> tuple[str, str]:
        """A complex multiplication with a constant: four products and two sums."""
        rr, ii = self._map(f"{name}.rr", [re], table / 2), self._map(f"{name}.ii", [im], table / 2)
        ri, ir = self._map(f"{name}.ri", [re], table / 2), self._map(f"{name}.ir", [im], table / 2)
        return self._map(f"{name}.re", [rr, ii]), self._map(f"{name}.im", [ri, ir])

    def turn(self, name: str, x: str) -> str:
        return self.b.add(name, "layout", [x], self.points)

    def _gemm(self, name: str, x: str) -> str:
        columns = self.points // self.radix
        product = Product(1, columns, self.radix, self.radix)
        table = self.radix * self.radix
        return self.b.add(name, "gemm", [x], self.points, weights=table, product=product)

    def _map(self, name: str, reads: list[str], table: float = 0.0) -> str:
        return self.b.add(name, "elementwise", reads, self.points, weights=table)
