"""Frozen descriptions of the hardware, read from TOML files that name every unit and source."""

from __future__ import annotations

from rdu.specs.chip import Chip, Node, sn40l_node

__all__ = ["Chip", "Node", "sn40l_node"]
