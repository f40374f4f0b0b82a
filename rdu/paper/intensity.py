"""Operational intensity of the Monarch FFT example by fusion (table I)."""

from __future__ import annotations

from rdu.models.monarch import monarch_fft
from rdu.paper import published
from rdu.paper.rows import Row, row


def table_1() -> list[Row]:
    """FLOP per byte: in the paper's accounting, and with every byte counted once."""
    graph = monarch_fft()
    rows: list[Row] = []
    for fusion, paper in published.TABLE_1.items():
        name = f"monarch fft {fusion}"
        ours = graph.operational_intensity(fusion, accounting="paper")
        rows.append(row(name, "flop per byte", paper, ours, "arithmetic"))
        strict = graph.operational_intensity(fusion, accounting="strict")
        rows.append(row(name, "flop per byte, strict", None, strict, "arithmetic"))
    return rows
