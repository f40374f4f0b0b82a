"""The benchmarks of the paper's figures 10 and 11, by the names its rows carry."""

from __future__ import annotations

from rdu.errors import SpecError
from rdu.models.config import preset
from rdu.models.fft import flash_fft_conv
from rdu.models.operators import ModelGraph, Phase
from rdu.models.transformer import llama
from rdu.specs import sn40l_node

_TRANSFORMERS: dict[str, tuple[str, int, tuple[Phase, ...]]] = {
    "llama2-7b-4k": ("llama2-7b", 4096, ("prefill", "decode", "train")),
    "sparsegpt-13b-2k": ("sparsegpt-13b", 2048, ("train",)),
    "llama2-70b-4k": ("llama2-70b", 4096, ("prefill", "decode")),
    "bloom-176b-8k": ("bloom-176b", 8192, ("prefill", "decode")),
    "mistral-7b-2k": ("mistral-7b", 2048, ("prefill", "decode")),
    "mistral-7b-4k": ("mistral-7b", 4096, ("prefill", "decode")),
    "falcon-40b-2k": ("falcon-40b", 2048, ("prefill", "decode")),
    "llava-1.5-7b": ("llava-1.5-7b", 4096, ("prefill", "decode")),
}
"""Preset, sequence and phases."""

_BY_NAME: dict[str, tuple[str, Phase, int]] = {
    f"{name} {phase}": (model, phase, sequence)
    for name, (model, sequence, phases) in _TRANSFORMERS.items()
    for phase in phases
}

BENCHMARKS = (*_BY_NAME, "flashfftconv-1m")
"""Every benchmark's name, such as ``llama2-7b-4k decode``."""


SOCKETS = 8
"""Of every benchmark but the convolution, which has one."""


def benchmark(name: str, batch: int = 1) -> ModelGraph:
    """The operators of a benchmark on one of eight sockets (one for the convolution).

    The paper gives neither the batch nor the split. The rule here: where the weights fit one
    socket's HBM, prompts and training steps run a replica on each socket (no collective is
    needed, and what training keeps beside the weights may spill); decode steps and larger models
    are tensor parallel over all. ``batch`` counts the sequences of a replica.

    Raises
    ------
    SpecError
        For an unknown name, listing the known ones.

    Examples
    --------
    >>> benchmark("llama2-7b-4k decode").sequence
    4096
    """
    if name == "flashfftconv-1m":
        return flash_fft_conv(batch=batch)
    if name not in _BY_NAME:
        raise SpecError(f"unknown benchmark {name!r}", hint=f"known: {', '.join(BENCHMARKS)}")
    model, phase, sequence = _BY_NAME[name]
    config = preset(model)
    fits = 2 * config.parameters * config.weight_density < sn40l_node().chip.hbm_bytes
    sockets = 1 if fits and phase != "decode" else SOCKETS
    return llama(model, phase, batch, sequence, sockets)
