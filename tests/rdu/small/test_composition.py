"""The real composition: text in, routed, text out, every layer on the emulated unit."""

from dataclasses import replace

import numpy as np
import pytest

import rdu
from rdu.coe import sn40l_node
from rdu.errors import SpecError
from rdu.memory.tiers import Tier
from rdu.small import Decoder, EmulatedDecoder, TextComposition, WordRouter, expert, shipped
from rdu.small.model import decode, encode, forward, generate
from rdu.small.training import Recipe, initial

NODE = rdu.sn40l_node(sockets=1)
PROMPTS = ["The for stateme", "Return a new arr", "the null hypoth"]


@pytest.fixture(scope="module")
def composition():
    return shipped()


@pytest.fixture(scope="module")
def replies(composition):
    return composition.run(PROMPTS, 5, NODE)


def test_the_emulator_writes_what_numpy_writes(composition, replies):
    expected = composition.reference(PROMPTS, 5)
    assert [r.expert for r in replies.replies] == ["language", "arrays", "statistics"]
    assert [(r.expert, r.text) for r in replies.replies] == [
        (r.expert, r.text) for r in expected.replies
    ]
    assert all(r.seconds > 0 for r in replies.replies)
    assert replies.seconds > replies.router_seconds > 0


def test_an_answer_is_one_kernel_a_layer(composition):
    model = composition.experts["language"]
    answer = EmulatedDecoder(model, NODE).generate("The for", 2)
    # Eight passes: seven characters, then the first one written.
    assert answer.kernels == 8 * (len(model.layers) + 2)
    read = 4 * (model.parameters - model.positions.size)
    assert answer.hbm_bytes > 8 * read


def test_serving_the_batch_switches_where_two_experts_fit(composition, replies):
    two = 2.0 * expert("arrays").parameters * 2 + composition.router.weight_bytes
    platform = replace(sn40l_node(), hbm=Tier("hbm", 1.1 * two, 1e12))
    report = composition.serve(replies, platform)
    assert report.switches == 3
    assert report.seconds == pytest.approx(replies.seconds + report.time["stall"])
    back = composition.serve(replace(replies, replies=replies.replies * 2), platform)
    assert back.switches == 6  # least recently used: each is evicted before it comes again


def test_shipped_experts_know_their_topics(composition):
    """Each text is likelier under the expert trained on it than under the others."""
    samples = {
        "language": "If a class defines the attribute, the statement raises",
        "arrays": "Returns\n-------\nout : ndarray\n    An array of the same",
        "statistics": "the probability density function of the distribution",
    }
    for topic, text in samples.items():
        tokens = encode(text)
        losses = {}
        for name, model in composition.experts.items():
            logits = forward(model, tokens[:-1]).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            losses[name] = -np.log(chances[range(len(tokens) - 1), tokens[1:]]).mean()
        assert min(losses, key=losses.get) == topic


def random_model(seed=0):
    recipe = Recipe(width=8, heads=2, hidden=12, layers=2, capacity=12)
    return Decoder.from_weights(initial(recipe, np.random.default_rng(seed)))


def test_blocks_of_a_prompt_change_nothing():
    model = random_model()
    one = EmulatedDecoder(model, NODE).generate("abcde", 3)
    blocks = EmulatedDecoder(model, NODE, block=3).generate("abcde", 3)
    assert one.text == blocks.text == generate(model, "abcde", 3)
    assert blocks.kernels < one.kernels
    half = EmulatedDecoder(model, NODE, precision="bf16", block=3).generate("abcde", 3)
    assert half.seconds < blocks.seconds


def test_weights_survive_files(tmp_path):
    model = random_model()
    model.save(tmp_path / "model.npz")
    again = Decoder.load(tmp_path / "model.npz")
    for name, array in model.weights.items():
        np.testing.assert_array_equal(array.astype(np.float16), again.weights[name])
    with pytest.raises(SpecError, match="cannot read the weights"):
        Decoder.load(tmp_path / "none.npz")
    weights = dict(model.weights)
    del weights["layers.1.w3"]
    with pytest.raises(SpecError, match=r"lack 'layers\.1\.w3'"):
        Decoder.from_weights(weights)
    with pytest.raises(SpecError, match="'norm': expected"):
        Decoder.from_weights(model.weights | {"norm": np.ones(3)})


def test_text_and_tokens():
    assert decode(encode("héllo\t\n")) == "h llo \n"


def test_refusals(composition):
    with pytest.raises(SpecError, match="exceed the 12"):
        EmulatedDecoder(random_model(), NODE).generate("a" * 12, 1)
    with pytest.raises(SpecError, match="at least one character"):
        generate(random_model(), "", 1)
    with pytest.raises(SpecError, match="unknown expert 'cooking'"):
        expert("cooking")
    with pytest.raises(SpecError, match="no such expert"):
        TextComposition(composition.router, {"language": random_model()})
    with pytest.raises(SpecError, match="at least two experts"):
        WordRouter.train({"one": "text"})
