"""The Monarch FFT graph of the paper's fusion example (figure 3, table I)."""

from __future__ import annotations

from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import MULTIPLY
from rdu.graph.graph import Graph, Precision


def monarch_fft(rows: int = 1024, inner: int = 128, precision: Precision = Precision.BF16) -> Graph:
    """Build ``Out = W1 @ transpose((W0 @ I0) * Scale)``.

    ``W0`` is ``rows x inner``, ``I0`` ``inner x rows``, ``Scale`` ``rows x rows``, ``W1``
    ``inner x rows``; operators are ``Gemm0``, ``Mul``, ``Transpose`` and ``Gemm1``. Inputs in
    order: ``I0, W0, Scale, W1``.

    >>> [operator.name for operator in monarch_fft().operators]
    ['Gemm0', 'Mul', 'Transpose', 'Gemm1']
    """
    b = GraphBuilder("monarch_fft", precision)
    data = b.input("I0", (inner, rows))
    w0 = b.input("W0", (rows, inner))
    scale = b.input("Scale", (rows, rows))
    w1 = b.input("W1", (inner, rows))
    product = b.contract("P", "ij", (w0, "ik"), (data, "kj"), op="Gemm0")
    scaled = b.map("S", "ij", MULTIPLY, (product, "ij"), (scale, "ij"), op="Mul")
    turned = b.transpose("T", "ji", (scaled, "ij"), op="Transpose")
    out = b.contract("Out", "mi", (w1, "mj"), (turned, "ji"), op="Gemm1")
    return b.finish([out])
