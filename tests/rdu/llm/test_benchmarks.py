import pytest

from rdu.errors import SpecError
from rdu.models import BENCHMARKS, benchmark


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_operators(name):
    graph = benchmark(name)
    assert graph.calls > 50
    assert graph.phase in name or name == "flashfftconv-1m"


def test_unknown_name():
    with pytest.raises(SpecError, match="unknown benchmark 'llama2-7b decode'"):
        benchmark("llama2-7b decode")
