import pytest

from rdu.errors import MappingError
from rdu.llm import estimate
from rdu.llm.parallel import parallel
from rdu.models import llama
from rdu.specs import sn40l_node

NODE = sn40l_node()


def test_tensor_alone_is_the_plain_estimate():
    split = parallel("llama2-7b", "decode", NODE, tensor=8)
    plain = estimate(llama("llama2-7b", "decode", 1, 4096, 8), NODE).seconds
    assert split.latency == pytest.approx(plain)
    assert split.tokens_per_second == pytest.approx(1 / plain)


def test_micro_batches_fill_the_pipeline():
    def rate(parts):
        return parallel(
            "llama2-7b", "prefill", NODE, tensor=4, pipeline=2, batch=64, micro_batches=parts
        ).tokens_per_second

    assert rate(8) > 1.5 * rate(1)


def test_pipeline_latency_is_the_sum_of_its_stages_and_hand_overs():
    split = parallel("llama2-7b", "decode", NODE, tensor=2, pipeline=4)
    assert len(split.stages) == 4
    hand_over = 1e-6 + 2 * 4096 / (1e9 * NODE.p2p_gb_per_s)
    assert split.latency == pytest.approx(sum(split.stages) + 3 * hand_over)
    assert max(split.stages) == split.stages[-1]


def test_replicas_multiply_the_rate_and_exchange_gradients_in_training_only():
    def run(phase, data):
        node = sn40l_node(4 * data)
        return parallel("llama2-7b", phase, node, tensor=4, data=data, sequence=1024)

    assert run("prefill", 2).tokens_per_second == pytest.approx(
        2 * run("prefill", 1).tokens_per_second
    )
    assert run("prefill", 2).exchange == 0
    assert run("train", 2).exchange > 0
    assert run("train", 2).tokens_per_second < 2 * run("train", 1).tokens_per_second


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"tensor": 4}, "4 x 1 x 1 = 4 sockets"),
        ({"tensor": 1, "pipeline": 1, "data": 0}, "data"),
        ({"tensor": 8, "batch": 3, "micro_batches": 2}, "batch of 3"),
    ],
)
def test_refusals(arguments, told):
    with pytest.raises(MappingError, match=told):
        parallel("llama2-7b", "decode", NODE, **arguments)


def test_layers_must_divide():
    with pytest.raises(MappingError, match="126 layers"):
        parallel("llama-3.1-405b", "decode", sn40l_node(16), tensor=4, pipeline=4)
