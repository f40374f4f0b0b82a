import importlib.util
from math import erf

import numpy as np
import pytest

import rdu
from rdu.errors import SpecError
from rdu.small.sentence import SentenceEncoder, SentenceRouter, minilm

WIDTH, HIDDEN, WORDS, TOKENS = 8, 12, 20, 6


def tiny(seed=0):
    """A random encoder of one layer; its tokens are the lengths of the words."""
    rng = np.random.default_rng(seed)
    square, plain = (WIDTH, WIDTH), (WIDTH,)
    layer = "encoder.layer.0"
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (TOKENS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": plain,
        "embeddings.LayerNorm.bias": plain,
        f"{layer}.intermediate.dense.weight": (HIDDEN, WIDTH),
        f"{layer}.intermediate.dense.bias": (HIDDEN,),
        f"{layer}.output.dense.weight": (WIDTH, HIDDEN),
        f"{layer}.output.dense.bias": plain,
    }
    for part in ("self.query", "self.key", "self.value", "output.dense"):
        shapes |= {f"{layer}.attention.{part}.weight": square}
        shapes |= {f"{layer}.attention.{part}.bias": plain}
    for part in ("attention.output", "output"):
        shapes |= {f"{layer}.{part}.LayerNorm.{name}": plain for name in ("weight", "bias")}
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    return SentenceEncoder(weights, lambda s: [len(word) for word in s.split()], 2, TOKENS)


def by_hand(encoder, sentence):
    """The encoder once more, head by head and without padding, in float64."""
    w = {name: array.astype(np.float64) for name, array in encoder.weights.items()}

    def norm(x, name):
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    ids = [len(word) for word in sentence.split()][:TOKENS]
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    layer = "encoder.layer.0"
    q, k, v = (dense(x, f"{layer}.attention.self.{n}") for n in ("query", "key", "value"))
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = np.exp(q[:, part] @ k[:, part].T / 2)
        heads.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
    out = dense(np.hstack(heads), f"{layer}.attention.output.dense")
    x = norm(x + out, f"{layer}.attention.output.LayerNorm")
    up = dense(x, f"{layer}.intermediate.dense")
    up = up * 0.5 * (1 + np.vectorize(erf)(up / np.sqrt(2)))
    x = norm(x + dense(up, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


SENTENCES = ["a bb ccc", "one longer sentence of many more words", "x"]


def test_numpy_against_a_second_writing():
    encoder = tiny()
    found = encoder.embed(SENTENCES)
    for vector, sentence in zip(found, SENTENCES, strict=True):
        np.testing.assert_allclose(vector, by_hand(encoder, sentence), atol=2e-5)


def test_the_unit_embeds_as_numpy_does():
    encoder = tiny(1)
    found, seconds = encoder.emulated(SENTENCES, rdu.sn40l_node(sockets=1))
    np.testing.assert_allclose(found, encoder.embed(SENTENCES), atol=2e-5)
    assert seconds > 0


def test_prompts_go_to_the_nearest_texts():
    texts = {"short": "a bb c dd " * 40, "long": "wonderful sentences everywhere " * 20}
    router = SentenceRouter.fit(texts, tiny(), windows=4)
    scores = router.scores(["a bb c dd a bb", "wonderful sentences everywhere wonderful"])
    assert scores.argmax(axis=1).tolist() == [0, 1]
    assert router.weight_bytes > 0


def test_what_to_install_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"sparsedsl\[router\]"):
        minilm()
