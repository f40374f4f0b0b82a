"""Composition of experts: a router, experts in two memory tiers, and what serving them takes.

>>> from rdu import coe
>>> report = coe.serve(coe.Composition.uniform(40), coe.dgx_a100(), coe.Trace.zipf(100, 40))
>>> report.switches
33
"""

from rdu.coe.composition_file import read_composition
from rdu.coe.parts import LLAMA2_7B_BYTES, Composition, Expert, Router
from rdu.coe.platform import PLATFORMS, Platform, dgx_a100, dgx_h100, sn40l_node
from rdu.coe.policies import POLICIES
from rdu.coe.report import ServingReport
from rdu.coe.serve import serve
from rdu.coe.trace import Trace

__all__ = [
    "LLAMA2_7B_BYTES",
    "PLATFORMS",
    "POLICIES",
    "Composition",
    "Expert",
    "Platform",
    "Router",
    "ServingReport",
    "Trace",
    "dgx_a100",
    "dgx_h100",
    "read_composition",
    "serve",
    "sn40l_node",
]
