"""Analytical performance of large models: kernels, launches, collectives and their time."""

from rdu.llm.collectives import Peers
from rdu.llm.estimate import Assumptions, Estimate, KernelTime, estimate
from rdu.llm.fusion import Fusion, Kernel, cut
from rdu.llm.generate import Generation, generate, speculative
from rdu.llm.launch import Orchestration, config_bytes, launch_seconds

__all__ = [
    "Assumptions",
    "Estimate",
    "Fusion",
    "Generation",
    "Kernel",
    "KernelTime",
    "Orchestration",
    "Peers",
    "config_bytes",
    "cut",
    "estimate",
    "generate",
    "launch_seconds",
    "speculative",
]
