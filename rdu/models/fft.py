"""FlashFFTConv: a long convolution by Monarch FFTs (section VI-B)."""

from __future__ import annotations

from dataclasses import dataclass

from rdu.errors import SpecError
from rdu.memory.tiers import counts
from rdu.models.operators import GroupBuilder, ModelGraph, Product

_PRODUCTS = (("rr", "re", "re"), ("ii", "im", "im"), ("ri", "re", "im"), ("ir", "im", "re"))
"""Name, operand part and table part of the four real products of a complex one."""


def flash_fft_conv(
    sequence: int = 1 << 20,
    channels: int = 768,
    batch: int = 1,
    radix: int = 32,
    element_bytes: int = 4,
) -> ModelGraph:
    """``y = ifft(fft(u) * k)`` of a real sequence, one socket, every complex step in real parts.

    An FFT of ``radix ** order`` points is ``order`` products with a ``radix x radix`` DFT matrix,
    with a twiddle multiplication and a transpose between them. The first product has a real
    input, the last one a real output. A transpose needs the whole sequence before it.

    Parameters
    ----------
    sequence:
        Points, a power of ``radix``.
    channels, batch:
        Independent sequences; ``batch`` of them share a filter, which streams in with them.
    element_bytes:
        4 for fp32, 2 for bf16. Frameworks have no complex numbers of bf16.

    Raises
    ------
    SpecError
        Where ``sequence`` is no power of ``radix``, or a number is below 1.

    Examples
    --------
    >>> flash_fft_conv().calls
    95
    """
    counts("convolution", sequence=sequence, channels=channels, batch=batch)
    counts("convolution", **{"radix - 1": radix - 1})
    order = 0
    while radix**order < sequence:
        order += 1
    if radix**order != sequence or not order:
        raise SpecError(f"sequence must be a power of radix {radix}, found {sequence}")
    if element_bytes not in (2, 4):
        raise SpecError(f"element_bytes must be 2 (bf16) or 4 (fp32), found {element_bytes!r}")
    b = GroupBuilder("convolution", element_bytes=element_bytes)
    maker = _Complex(b, sequence * channels * batch, sequence, radix)
    re, im = b.tensor("u", maker.points), None
    re, im = maker.transform("fft", re, im, order, real_output=False)
    assert im is not None
    for part in ("filter.k.re", "filter.k.im"):
        b.tensor(part, sequence * channels)
    re, im = maker.multiply("filter", re, im, streamed="filter.k")
    maker.transform("ifft", re, im, order, real_output=True)
    sequences = batch * channels
    return ModelGraph("flashfftconv", "prefill", sequences, sequence, 1, tuple(b.operators))


@dataclass(frozen=True, slots=True)
class _Complex:
    """Complex arithmetic on pairs of real tensors of ``points`` elements."""

    b: GroupBuilder
    points: int
    sequence: int
    radix: int

    def transform(
        self, name: str, re: str, im: str | None, order: int, *, real_output: bool
    ) -> tuple[str, str | None]:
        """``order`` products with the DFT matrix, twiddles and transposes between them."""
        for step in range(order):
            if step:
                assert im is not None
                re, im = self.multiply(f"{name}.twiddle{step}", re, im)
                re = self._turn(f"{name}.turn{step}.re", re)
                im = self._turn(f"{name}.turn{step}.im", im)
            last = real_output and step == order - 1
            re, im = self.product(f"{name}.dft{step}", re, im, real_output=last)
        return re, im

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

    def multiply(
        self, name: str, re: str, im: str, *, streamed: str | None = None
    ) -> tuple[str, str]:
        """A complex multiplication by a table, all sequences' own (streamed) or shared."""
        parts: dict[str, str] = {}
        for label, side, part in _PRODUCTS:
            x = re if side == "re" else im
            if streamed:
                parts[label] = self._map(f"{name}.{label}", [x, f"{streamed}.{part}"])
            else:
                table = self.sequence if label in ("rr", "ii") else 0
                parts[label] = self._map(f"{name}.{label}", [x], table)
        real = self._map(f"{name}.re", [parts["rr"], parts["ii"]])
        return real, self._map(f"{name}.im", [parts["ri"], parts["ir"]])

    def _turn(self, name: str, x: str) -> str:
        return self.b.add(name, "layout", [x], self.points, barrier=True)

    def _gemm(self, name: str, x: str) -> str:
        product = Product(1, self.points // self.radix, self.radix, self.radix)
        table = self.radix * self.radix
        return self.b.add(name, "gemm", [x], self.points, weights=table, product=product)

    def _map(self, name: str, reads: list[str], table: float = 0.0) -> str:
        return self.b.add(name, "elementwise", reads, self.points, weights=table)
