"""An emulator of a reconfigurable dataflow unit, after the SN40L (MICRO 2024).

>>> import rdu
>>> from rdu.models.monarch import monarch_fft
>>> program = rdu.compile(monarch_fft(64, 16), rdu.sn40l_node(), fusion="spatial")
>>> len(program.kernels)
1
>>> rdu.estimate(program).flops
266240
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdu.errors import CapacityError, DeadlockError, MappingError, RDUError, SpecError
from rdu.graph.graph import Graph, Precision
from rdu.mapping.compile import compile_graph as compile
from rdu.mapping.program import Program
from rdu.report import Report
from rdu.session import estimate, run, trace
from rdu.specs import Chip, Node, sn40l_node

if TYPE_CHECKING:
    from rdu import coe, models, paper

__all__ = [
    "CapacityError",
    "Chip",
    "DeadlockError",
    "Graph",
    "MappingError",
    "Node",
    "Precision",
    "Program",
    "RDUError",
    "Report",
    "SpecError",
    "coe",
    "compile",
    "estimate",
    "models",
    "paper",
    "run",
    "sn40l_node",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name in ("coe", "models", "paper"):
        import importlib

        return importlib.import_module(f"rdu.{name}")
    raise AttributeError(f"module 'rdu' has no attribute {name!r}")
