"""Each kernel on each input, by this library and by each peer; results are checked first.

``pytest bench --quick`` takes small inputs, ``-k "SpGEMM and hand"`` chooses, and results come
in groups to compare.  ``sparsedsl bench`` runs the same cases in turn and reports ratios.
"""

from functools import lru_cache

import pytest

from sparsedsl.bench.cases import KERNELS, case, plain
from sparsedsl.bench.jobs import Job
from sparsedsl.bench.measure import TOLERANCE, difference
from sparsedsl.bench.peers import find

CELLS = [(kernel.name, name) for kernel in KERNELS.values() for name in kernel.inputs]


def _who(kernel):
    yield "sparsedsl", ""
    for peer, kernels in find().kernels.items():
        for variant, _ in kernels.get(kernel, []):
            yield peer, variant


@lru_cache(maxsize=1)
def prepared(kernel, name, quick):
    """A case and what scipy computes; cells follow one another, so one is kept."""
    made = case(kernel, name, quick)
    _, _, reference = find().jobs(made)[0]
    return made, plain(reference.finish(reference.call()))


@pytest.mark.parametrize(
    ("kernel", "name", "peer", "variant"),
    [(*cell, *who) for cell in CELLS for who in _who(cell[0])],
)
def test_kernel(benchmark, quick, kernel, name, peer, variant):
    made, expected = prepared(kernel, name, quick)
    jobs = {(p, v): job for p, v, job in find().jobs(made)}
    job = Job(made) if peer == "sparsedsl" else jobs[peer, variant]
    assert difference(plain(job.finish(job.call())), expected) <= TOLERANCE
    benchmark.group = f"{kernel} on {name}"
    benchmark(job.call)
