"""Elementwise functions the models use; a traced kernel brings its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from rdu.graph.nodes import Function


def _sigmoid(x: Any) -> Any:
    # exp of a non-positive number only, so nothing overflows.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _silu(x: Any) -> Any:
    return x * _sigmoid(x)


def _causal(x: Any, scale: Any, key: Any, query: Any) -> Any:
    return np.where(key <= query, x * scale, -np.inf)


ADD = Function("add", np.add)
SUBTRACT = Function("sub", np.subtract)
MULTIPLY = Function("mul", np.multiply)
COPY = Function("copy", np.positive)
SIGMOID = Function("sigmoid", _sigmoid)
SILU = Function("silu", _silu)
DIVIDE = Function("div", np.divide)
EXP = Function("exp", np.exp)
MAXIMUM = Function("max", np.maximum)
CAUSAL = Function("causal", _causal)
ONE = Function("one", np.ones_like)
