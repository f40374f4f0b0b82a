import pytest

from rdu.errors import SpecError
from rdu.llm import estimate, generate, speculative
from rdu.models import llama
from rdu.specs import sn40l_node

NODE = sn40l_node()


def test_an_answer_is_a_prompt_and_its_steps():
    answer = generate("llama2-7b", NODE, 128, 20)
    prefill = estimate(llama("llama2-7b", "prefill", 1, 4096, 8), NODE).seconds
    step = estimate(llama("llama2-7b", "decode", 1, 4096, 8), NODE).seconds
    assert answer.seconds == pytest.approx(prefill + 19 * step)
    assert answer.tokens_per_second == pytest.approx(1 / step)


def test_padding_costs():
    exact = generate("llama2-7b", NODE, 128, 20, padded=None)
    assert exact.prefill < 0.1 * generate("llama2-7b", NODE, 128, 20).prefill


def test_a_perfect_draft_is_worth_its_tokens():
    plain = 1 / estimate(llama("llama2-70b", "decode", 1, 4096, 8), NODE).seconds
    poor = speculative("llama2-70b", "llama2-7b", NODE, 4096, drafted=4, acceptance=0.0)
    good = speculative("llama2-70b", "llama2-7b", NODE, 4096, drafted=4, acceptance=0.99)
    assert poor < plain < good < 5 * plain


def test_refusals():
    with pytest.raises(SpecError, match="5000 tokens does not fit"):
        generate("llama2-7b", NODE, 5000, 20)
    with pytest.raises(SpecError, match="whole number from 1"):
        generate("llama2-7b", NODE, 0, 20)
    with pytest.raises(SpecError, match="acceptance"):
        speculative("llama2-70b", "llama2-7b", NODE, 8, acceptance=1.0)
    with pytest.raises(SpecError, match="drafted"):
        speculative("llama2-70b", "llama2-7b", NODE, 8, drafted=0)
