"""Published values: read in the paper's text and tables, or off its vector figures.

Nothing here is computed by this package; nothing here is an input of a model unless the module
that reads it says so.
"""

from __future__ import annotations

SWITCH_MS = {"dgx_a100": 437.5, "dgx_h100": 218.75, "sn40l_node": 14.0}
"""Copying one expert into HBM (figures 1 and 12)."""

RUN_20_MS = {"dgx_a100": 136.5, "dgx_h100": 97.6, "sn40l_node": 66.67}
"""One Llama-2-7B run of 20 tokens, batch 1, eight sockets (figure 12)."""

FIGURE_12_AXIS = (*range(10, 101, 5), 150, 200, 400)
"""The plotted numbers of experts."""

_FIGURE_12: dict[tuple[str, int], tuple[float, float, int]] = {
    ("dgx_a100", 1): (273.0, 710.5, 50),
    ("dgx_h100", 1): (195.2, 414.0, 50),
    ("sn40l_node", 1): (133.3, 147.3, 40),
    ("dgx_a100", 8): (1228.5, 4728.5, 45),
    ("dgx_h100", 8): (878.4, 2628.4, 45),
    ("sn40l_node", 8): (712.0, 712.0, 10),
}
_FIGURE_12_LAST = {"dgx_a100": 150, "dgx_h100": 150, "sn40l_node": 400}


def figure_12_ms(platform: str, batch: int, experts: int) -> float | None:
    """The plotted latency, or ``None`` where the line has ended (out of memory)."""
    if experts > _FIGURE_12_LAST[platform]:
        return None
    resident, spilled, first_spilled = _FIGURE_12[platform, batch]
    return spilled if experts >= first_spilled else resident


def _runs(lengths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(nodes for nodes, count in enumerate(lengths, 1) for _ in range(count))


FIGURE_13_DGX_NODES = _runs((4, 5, 4, 5, 4, 5, 4, 5, 5, 4, 5, 4, 5, 4, 5, 5, 4, 5, 4, 4))
"""Nodes at 10, 20, ..., 900 experts: four points at one node, five at two, and so on."""

FIGURE_13_SN40L_NODES = _runs((87, 3))
"""The same for SN40L: one node up to 870 experts, two from 880."""

TABLE_5_OVERALL: dict[str, dict[tuple[int, int], float]] = {
    "dgx_a100": {(8, 20): 6.6, (1, 20): 4.8, (8, 200): 4.2, (1, 200): 3.9},
    "dgx_h100": {(8, 20): 3.7, (1, 20): 2.8, (8, 200): 2.7, (1, 200): 2.6},
}
"""By (batch, output tokens)."""

TABLE_5_EXPERT: dict[str, dict[int, float]] = {
    "dgx_a100": {20: 2.0, 200: 3.2},
    "dgx_h100": {20: 1.5, 200: 2.3},
}
"""By output tokens."""

TABLE_5_SWITCHING = {"dgx_a100": 31.0, "dgx_h100": 15.0}
"""Printed without decimals; the prose says 16 for the second."""

TABLE_4_TOKENS_PER_SECOND = {"llama-3.1-8b": 1042.0}
"""Sixteen sockets, BF16, sequence 8192."""

FIGURE_10: dict[str, tuple[float, float]] = {
    "llama2-7b-4k prefill": (2.13, 2.20),
    "llama2-7b-4k decode": (0.97, 8.00),
    "sparsegpt-13b-2k train": (2.40, 2.46),
    "llama2-70b-4k prefill": (1.49, 1.52),
    "llama2-70b-4k decode": (1.28, 1.82),
    "llama2-7b-4k train": (2.55, 2.68),
    "mistral-7b-4k prefill": (13.07, 13.91),
    "mistral-7b-4k decode": (4.20, 10.20),
    "flashfftconv-1m": (13.17, 13.17),
}
"""Speed-up over unfused: fused with software, and with hardware orchestration."""

FIGURE_11: dict[str, float] = {
    "llama2-7b-4k prefill": 11.70,
    "llama2-7b-4k decode": 67.68,
    "sparsegpt-13b-2k train": 27.04,
    "llama2-70b-4k prefill": 55.16,
    "llama2-70b-4k decode": 57.19,
    "llama2-7b-4k train": 4.97,
    "mistral-7b-4k prefill": 35.60,
    "mistral-7b-4k decode": 75.06,
    "flashfftconv-1m": 117.00,
}
"""Kernel calls unfused over fused."""

TABLE_1: dict[str, float] = {"none": 39.5, "gemm0-mul-transpose": 102.6, "spatial": 410.4}
"""Operational intensity of the Monarch FFT example, FLOP per byte, by fusion."""

HC24_SWITCH_MS = 10.0
"""Llama-3.1-8B switch on sixteen sockets, vendor's conference slide (0.01 s)."""

RUN_200_MS_RANGE = (340.0, 402.0)
"""Run time of 200 tokens on the SN40L node that table V leaves possible."""

HC24_DDR_BYTES_PER_SECOND = 1.6e12
"""Sixteen sockets, the same slide."""

DECODER_HBM_SHARE = 0.85
"""Share of HBM bandwidth that one kernel of a whole decoder layer reaches, in the prose."""

DECODER_UNIT_SHARE = 0.90
"""Share of the compute and memory units that it uses."""
