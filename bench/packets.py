"""Cycles of kernels with packets and with the static bandwidth model, on a suite of graphs.

    python bench/packets.py

``static`` are the cycles where tiles move at the rate of their busiest link, ``packets`` those with
the network inside the emulation; ``no queue`` are packets on links with as many tracks and places
as are wanted: what it has over ``static`` are the ways of operands, and vectors that leave evenly.
Launches are left out. ``hops`` are those of all packets, ``waiting`` the part of them that a cycle
of waiting comes to on average.
"""

from __future__ import annotations

import time

import numpy as np
import scipy.sparse as sp

import rdu
import sparsedsl as sd
from rdu.models.decoder_layer import LLAMA2_7B, LayerShape, decoder_layer
from rdu.models.experts import expert_layer
from rdu.models.monarch import monarch_fft

WIDE = {"vector_tracks": 64, "scalar_tracks": 64, "fifo_depth": 4}


@sd.kernel
def spmv(A, x):
    i, k = sd.indices("i k")
    y = sd.output()
    y[i] = A[i, k] * x[k]
    return y


@sd.kernel
def added(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


@sd.kernel
def product(A, X):
    i, k, j = sd.indices("i k j")
    Y = sd.output()
    Y[i, j] = A[i, k] * X[k, j]
    return Y


@sd.kernel
def mlp(x, W, V):
    t, d, h, o = sd.indices("t d h o")
    hidden, y = sd.output(), sd.output()
    hidden[t, h] = sd.silu(sd.sum(x[t, d] * W[d, h], over=d))
    y[t, o] = hidden[t, h] * V[h, o]
    return y


def suite():
    """Names, graphs and how they are compiled."""
    rng = np.random.default_rng(0)
    one, eight = rdu.sn40l_node(1), rdu.sn40l_node(8)
    sparse = [sp.random_array((2000, 2000), density=0.01, format="csr", rng=rng) for _ in range(2)]
    dense = [rng.standard_normal(s) for s in ((2000,), (2000, 64))]
    layers = [rng.standard_normal(s) for s in ((512, 512), (512, 1024), (1024, 512))]
    small = LayerShape(64, 128, 512, 8, 8, 64, 1024)
    yield "Monarch FFT, unfused", monarch_fft(), one, {"fusion": "none"}
    yield "Monarch FFT", monarch_fft(), one, {}
    yield "MLP, 512 tokens", rdu.trace(mlp, *layers), one, {}
    yield "small decoder layer, 64 tokens", decoder_layer(small), one, {}
    yield "routed experts, 64 tokens", expert_layer(64, 8, 64, 128), one, {}
    yield "A @ x, 40,000 entries", rdu.trace(spmv, sparse[0], dense[0]), one, {}
    yield "A + B, 40,000 entries each", rdu.trace(added, *sparse), one, {}
    yield "A @ X, 64 columns", rdu.trace(product, sparse[0], dense[1]), one, {}
    yield "Llama-2-7B layer, 8 sockets", decoder_layer(LLAMA2_7B), eight, {"split": ("g", "m")}


def cycles(program, network):
    """Cycles of all kernels, without launches."""
    return sum(kernel.cycles for kernel in rdu.estimate(program, network=network).kernels)


def main() -> None:
    """Print a row for every graph."""
    print("| graph | static | packets | no queue | hops | waiting | s |")
    print("|---|---|---|---|---|---|---|")
    warm = rdu.compile(monarch_fft(64, 32), rdu.sn40l_node(1))
    rdu.estimate(warm, network="packets")
    for name, graph, node, options in suite():
        program = rdu.compile(graph, node, **options)
        static = cycles(program, "streams")
        begin = time.process_time()
        report = rdu.estimate(program, network="packets")
        spent = time.process_time() - begin
        found = sum(kernel.cycles for kernel in report.kernels)
        hops, stalls = (sum(k.network[key] for k in report.kernels) for key in ("hops", "stalls"))
        wide = rdu.Node(node.chip.with_changes(**WIDE), node.sockets, node.p2p_gb_per_s)
        free = "-"
        if hops < 5_000_000:
            most = cycles(rdu.compile(graph, wide, **options), "packets")
            free = f"{most / static:.2f}"
        print(
            f"| {name} | {static:,} | {found / static:.2f} | {free} | {hops:,} | "
            f"{stalls / max(hops, 1):.2f} | {spent:.1f} |"
        )


if __name__ == "__main__":
    main()
