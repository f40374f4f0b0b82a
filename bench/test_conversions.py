"""Conversions beside scipy's, TACO's and hand-written Numba, results checked first, one thread.

    pytest bench/test_conversions.py --benchmark-group-by=func,param:case

The cases are those of the report's table (``sparsedsl/bench/conversions.py``).  ``test_ratios``
times each and its peers in turns and prints the medians.
"""

import statistics

import pytest

from sparsedsl.bench.conversions import cases, conversions

NAMES = [case.name for case in cases(quick=True)]


@pytest.fixture(scope="module")
def made(request):
    """The cases, each result checked against its peers'."""
    found = {case.name: case for case in cases(request.config.getoption("--quick", default=False))}
    for case in found.values():
        case.check()
    return found


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("who", ["ours", "scipy", "hand", "taco"])
def test_conversion(benchmark, made, case, who):
    chosen = made[case]
    call = chosen if who == "ours" else getattr(chosen, who)
    if call is None:
        pytest.skip("there is no such layout, or nothing is written by hand")
    benchmark(call.call if who == "taco" else call)


def test_ratios(request, capsys):
    """Print medians in milliseconds, the calls made in turns."""
    lines = []
    for found in conversions(request.config.getoption("--quick", default=False)):
        assert not found.error, found.error
        times = {"ours": found.ours, **found.peers}
        shown = "  ".join(f"{n} {1e3 * statistics.median(t):7.2f}" for n, t in times.items())
        lines.append(f"{found.name:28} {shown}  {1 / found.ratio(found.best):.2f}")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
