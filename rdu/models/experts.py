"""A routed expert layer: gated MLPs, each token sent to the experts its row of R names."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import SILU
from rdu.graph.graph import Graph, Precision
from rdu.graph.pattern import Table


def expert_layer(
    tokens: int,
    experts: int,
    width: int,
    hidden: int,
    *,
    routing: Table | None = None,
    per_token: int = 2,
    precision: Precision = Precision.BF16,
) -> Graph:
    """Build ``y[t] = sum(e, R[t, e] * (silu(x[t] W1[e]) * (x[t] W3[e])) W2[e])``.

    ``routing`` holds the coordinates ``(token, expert)`` of R's entries; without it a uniform
    pattern of ``per_token`` experts a token is assumed. Inputs in order: ``R [tokens, experts]``
    (sparse), ``x [tokens, width]``, ``W1``, ``W3`` ``[experts, width, hidden]`` and ``W2``
    ``[experts, hidden, width]``. The tree of R is ordered expert first, so that each expert's
    weights are fetched once, and those of unused experts not at all.

    >>> [operator.name for operator in expert_layer(8, 4, 16, 32).operators]
    ['Up', 'Gate', 'Silu', 'Down']
    """
    b = GraphBuilder("expert_layer", precision)
    stored = None if routing is not None else tokens * min(per_token, experts)
    r = b.input("R", (tokens, experts), pattern=routing, stored=stored, levels=(1, 0))
    x = b.input("x", (tokens, width))
    w1 = b.input("W1", (experts, width, hidden))
    w3 = b.input("W3", (experts, width, hidden))
    w2 = b.input("W2", (experts, hidden, width))
    which = (True, False, False)
    up = b.sparse_product("U", "teh", [(r, "te"), (x, "td"), (w1, "edh")], which, op="Up")
    gate = b.sparse_product("G", "teh", [(r, "te"), (x, "td"), (w3, "edh")], which, op="Gate")
    active = b.sparse_map("S", SILU, (up, "teh"), op="Silu")
    out = b.sparse_product(
        "y", "tg", [(r, "te"), (active, "teh"), (gate, "teh"), (w2, "ehg")], op="Down"
    )
    return b.finish([out])


def expert_layer_reference(
    routing: npt.NDArray[Any],
    x: npt.NDArray[Any],
    w1: npt.NDArray[Any],
    w3: npt.NDArray[Any],
    w2: npt.NDArray[Any],
) -> npt.NDArray[np.float64]:
    """Evaluate the layer densely in float64; ``routing`` is ``R`` as a dense array."""
    x, w1, w3, w2 = (np.asarray(a, dtype=np.float64) for a in (x, w1, w3, w2))
    up = np.einsum("td,edh->teh", x, w1)
    gate = np.einsum("td,edh->teh", x, w3)
    hidden = up / (1 + np.exp(-up)) * gate
    return np.einsum("te,teh,ehg->tg", np.asarray(routing, dtype=np.float64), hidden, w2)
