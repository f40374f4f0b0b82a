"""A layer of experts, written once: compiled for this processor and mapped to the emulator.

Every token ``t`` is routed to a few experts by a sparse matrix ``R[t, e]`` of weights.  An
expert is a gated MLP: ``(silu(x W1) * (x W3)) W2``.  The emulated unit runs the layer fused
into one spatial kernel, and as one kernel for each operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import sparsedsl as sd
from sparsedsl.demo.measure import median_seconds, relative_error


@sd.kernel
def expert_layer(R, x, W1, W3, W2):  # pyright: ignore
    """Run each token through the experts it is routed to, and weigh what they give."""
    t, e, d, h, o = sd.indices("t e d h o")
    gate, up, hidden = sd.output("csf"), sd.output("csf"), sd.output("csf")
    y = sd.output()
    gate[t, e, h] = sd.pattern(R)[t, e] * x[t, d] * W1[e, d, h]
    up[t, e, h] = sd.pattern(R)[t, e] * x[t, d] * W3[e, d, h]
    hidden[t, e, h] = sd.silu(gate[t, e, h]) * up[t, e, h]
    y[t, o] = R[t, e] * hidden[t, e, h] * W2[e, h, o]
    return y


@dataclass(frozen=True, slots=True)
class Mapped:
    """One way to run the layer on the emulated unit; bytes by tier of memory."""

    fusion: str
    kernels: int
    bytes: Mapping[str, int]
    operational_intensity: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Experts:
    """Errors are relative to the largest value of a float64 reference in NumPy."""

    sizes: str
    program: str
    error: float
    tolerance: float
    seconds: float
    mapped: tuple[Mapped, ...]
    fused_equals_unfused: bool
    emulated_error: float
    emulated_tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether every result is within its tolerance, and fusion changed no bit."""
        near = self.error <= self.tolerance and self.emulated_error <= self.emulated_tolerance
        return bool(near and self.fused_equals_unfused)


def data(quick: bool) -> tuple[Any, ...]:
    """Routing of each token to two experts, tokens and weights, from a fixed seed."""
    import scipy.sparse as sp

    tokens, experts, model, hidden = (16, 4, 16, 32) if quick else (64, 8, 64, 128)
    rng = np.random.default_rng(0)
    chosen = np.argsort(rng.random((tokens, experts)), axis=1)[:, :2]
    weights = rng.dirichlet(np.ones(2), size=tokens)
    places = (np.repeat(np.arange(tokens), 2), chosen.ravel())
    R = sp.coo_array((weights.ravel(), places), shape=(tokens, experts)).tocsr()
    R.sort_indices()
    x = rng.standard_normal((tokens, model))
    W1, W3 = rng.standard_normal((2, experts, model, hidden)) / np.sqrt(model)
    W2 = rng.standard_normal((experts, hidden, model)) / np.sqrt(hidden)
    return tuple(v.astype("float32") for v in (R, x, W1, W3, W2))


def reference(R: Any, x: np.ndarray, W1: np.ndarray, W3: np.ndarray, W2: np.ndarray) -> np.ndarray:
    """The layer in NumPy, float64, one expert after the other."""
    routes = R.toarray().astype("float64")
    y = np.zeros(x.shape)
    for expert in range(routes.shape[1]):
        gate = x.astype("float64") @ W1[expert]
        up = x.astype("float64") @ W3[expert]
        y += routes[:, [expert]] * ((gate / (1 + np.exp(-gate)) * up) @ W2[expert])
    return y


def run_experts(quick: bool) -> Experts:
    """Run the layer everywhere and compare."""
    from sparsedsl.contraction.text import program_text

    given = data(quick)
    expected = reference(*given)
    found = expert_layer(*given)
    mapped, results = _on_the_unit(given)
    R, x, W1 = given[:3]
    return Experts(
        sizes=(
            f"{R.shape[0]} tokens of {x.shape[1]} values, {R.shape[1]} experts of "
            f"{W1.shape[2]} hidden units, {R.nnz} routes"
        ),
        program=program_text(expert_layer.lower(*given).program),
        error=relative_error(found, expected),
        tolerance=64 * float(np.finfo(np.float32).eps),
        seconds=median_seconds(lambda: expert_layer(*given), quick),
        mapped=mapped,
        fused_equals_unfused=all(np.array_equal(results[0], y) for y in results[1:]),
        emulated_error=max(relative_error(y, expected) for y in results),
        # inputs, each product and each of four operators are rounded to 8 bits of mantissa
        emulated_tolerance=8 * 2.0**-8,
    )


def _on_the_unit(given: tuple[Any, ...]) -> tuple[tuple[Mapped, ...], list[np.ndarray]]:
    import rdu

    node = rdu.sn40l_node(sockets=1)
    graph = rdu.trace(expert_layer, *given)
    mapped: list[Mapped] = []
    results: list[np.ndarray] = []
    for fusion in ("spatial", "none"):
        result, report = rdu.run(rdu.compile(graph, node, fusion=fusion), *given)
        results.append(np.asarray(result, dtype="float64"))
        mapped.append(
            Mapped(
                fusion=fusion,
                kernels=len(report.kernels),
                bytes=dict(report.bytes),
                operational_intensity=report.operational_intensity,
                seconds=report.seconds,
            )
        )
    return tuple(mapped), results
