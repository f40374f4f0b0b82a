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


def test_small_models_run_a_replica_a_socket_where_tokens_are_many():
    assert benchmark("mistral-7b-4k prefill").tensor_parallel == 1
    assert benchmark("sparsegpt-13b-2k train").tensor_parallel == 1
    assert benchmark("mistral-7b-4k decode").tensor_parallel == 8
    assert benchmark("falcon-40b-2k prefill").tensor_parallel == 8
