"""Models: transformers and long convolutions as operator lists, and graphs to run.

>>> from rdu.models import llama
>>> llama("llama2-7b", "decode").calls
1932
"""

from __future__ import annotations

from rdu.models.benchmarks import BENCHMARKS, benchmark
from rdu.models.config import PRESETS, Latent, TransformerConfig, preset
from rdu.models.fft import flash_fft_conv
from rdu.models.hf_config import from_hf_config
from rdu.models.monarch import monarch_fft
from rdu.models.operators import ModelGraph, Operator
from rdu.models.transformer import llama

__all__ = [
    "BENCHMARKS",
    "PRESETS",
    "Latent",
    "ModelGraph",
    "Operator",
    "TransformerConfig",
    "benchmark",
    "flash_fft_conv",
    "from_hf_config",
    "llama",
    "monarch_fft",
    "preset",
]
