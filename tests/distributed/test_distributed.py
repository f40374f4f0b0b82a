"""A local cluster of three processes: the results, the blocks, and a worker killed midway."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client, LocalCluster

import rdu
import sparsedsl as sd
from sparsedsl.distributed.split import bounds, cut, joined


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


@pytest.fixture(scope="module")
def client():
    options = {"dashboard_address": ":0", "silence_logs": 50}
    with (
        LocalCluster(n_workers=3, threads_per_worker=1, processes=True, **options) as cluster,
        Client(cluster) as made,
    ):
        yield made


@pytest.fixture(name="A", scope="module")
def matrix():
    rng = np.random.default_rng(0)
    return sp.random_array((90, 70), density=0.1, rng=rng, format="csr")


def test_rows_are_joined_and_sums_combined(A, client):
    x = np.arange(70.0)
    for split in ("i", "j"):
        found = sd.distributed.compute(spmv, A, x, client=client, split=split)
        np.testing.assert_allclose(found, A @ x)


@pytest.mark.parametrize("split", ["j", "k"])
def test_sparse_blocks_give_a_sparse_result(split, A, client):
    found = sd.distributed.compute(product, A, A.T.tocsr(), client=client, split=split)
    assert isinstance(found, sp.csr_array)
    assert found.has_canonical_format
    np.testing.assert_allclose(found.toarray(), (A @ A.T).toarray())


def test_dask_arrays_of_sparse_blocks_go_in_and_come_out(A, client):
    rows = [A[:20], A[20:75], A[75:]]
    parts = [da.from_array(r, chunks=r.shape, asarray=False) for r in rows]
    lazy = sd.distributed.compute(
        product, da.concatenate(parts), A.T.tocsr(), client=client, split="i", lazy=True
    )
    assert lazy.chunks == ((20, 55, 15), (90,))
    blocks = [client.compute(b).result() for b in lazy.to_delayed().ravel()]
    assert all(sp.issparse(b) for b in blocks)
    np.testing.assert_allclose(sp.vstack(blocks).toarray(), (A @ A.T).toarray())


def test_a_killed_worker_does_not_change_the_result(A, client):
    found, pids = {}, client.run(os.getpid)
    big = sp.random_array((1500, 1500), density=0.2, rng=np.random.default_rng(1), format="csr")

    def work():
        found["C"] = sd.distributed.compute(product, big, big, client=client, split="i", blocks=12)

    thread = threading.Thread(target=work)
    thread.start()
    busy = ()
    while not busy:
        time.sleep(0.01)
        busy = [w for w, tasks in client.processing().items() if tasks]
    os.kill(pids[busy[0]], signal.SIGKILL)
    thread.join(120)
    assert abs(found["C"] - big @ big).max() < 1e-9


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, scipy.sparse as sp, sparsedsl as sd
from distributed import Client, LocalCluster

@sd.kernel
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C

def interrupt(client):
    while not any(client.processing().values()):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    big = sp.random_array((1200, 1200), density=0.2, rng=np.random.default_rng(1), format="csr")
    options = {"dashboard_address": ":0", "silence_logs": 50}
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
        with Client(cluster) as client:
            threading.Thread(target=interrupt, args=[client], daemon=True).start()
            try:
                sd.distributed.compute(product, big, big, client=client, split="i", blocks=12)
            except KeyboardInterrupt:
                print("interrupted")
            until = time.time() + 120
            while (any(client.processing().values()) or client.futures) and time.time() < until:
                time.sleep(0.05)
            print(sum(map(len, client.processing().values())), len(client.futures))
            A = big[:90]
            C = sd.distributed.compute(product, A, A.T.tocsr(), client=client, split="i")
            print(abs(C - A @ A.T).max() < 1e-9)
"""


def test_an_interrupt_takes_the_tasks_back(tmp_path):
    """Nothing is left to run on the workers, and the next computation is right."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interrupted", "0", "0", "True"]


def test_sweeps_of_rdu_go_over_the_same_client(client):
    """Compiling and timing on the workers give what they give here."""
    nodes = [rdu.sn40l_node(sockets) for sockets in (1, 2)]
    graph = rdu.models.monarch_fft(64, 16)
    here = [rdu.compile(graph, node, split="j", moves=20) for node in nodes]
    there = client.map(partial(rdu.compile, graph, split="j", moves=20), nodes)
    found = client.gather(client.map(rdu.estimate, there))
    assert [r.cycles for r in found] == [rdu.estimate(p).cycles for p in here]


def test_what_cannot_be_split_is_refused(A, client):
    @sd.kernel
    def diagonal(A):
        i = sd.index("i")
        y = sd.output()
        y[i] = A[i, i]
        return y

    @sd.kernel
    def inside(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = sd.exp(sd.sum(A[i, j] * x[j], over=j))
        return y

    x = np.ones(70)
    for kernel, arguments, split, match in (
        (spmv, (A, x), "k", "it has i, j"),
        (diagonal, (A,), "i", "twice"),
        (inside, (A, x), "j", "inside an expression"),
    ):
        with pytest.raises(sd.PlanError, match=match):
            sd.distributed.compute(kernel, *arguments, client=client, split=split)


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dcsr", "dense"])
@pytest.mark.parametrize("mode", [0, 1])
def test_blocks_hold_every_entry_once(layout, mode, A):
    whole = sd.asarray(A, layout)
    ends = bounds(np.bincount(A.tocoo().coords[mode], minlength=A.shape[mode]), 5)
    pieces = cut(whole, mode, ends)
    assert all(p.validate().layout == whole.layout for p in pieces)
    np.testing.assert_array_equal(joined(pieces, mode).to_numpy(), A.toarray())


def test_blocks_are_balanced_by_work():
    weights = np.zeros(1000, int)
    weights[:10] = 500
    ends = bounds(weights, 4)
    loads = [weights[a:b].sum() for a, b in pairwise(ends)]
    assert max(loads) <= 1500
