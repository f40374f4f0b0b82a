from dataclasses import replace

import numpy as np
import pytest

from rdu.errors import SpecError
from rdu.small import Recipe, train
from rdu.small.model import Decoder, forward
from rdu.small.texts import TOPICS, text_of
from rdu.small.training import initial, loss_and_gradients

TINY = Recipe(width=8, heads=2, hidden=12, layers=2, capacity=6)


def test_gradients_against_finite_differences():
    rng = np.random.default_rng(0)
    weights = {name: w.astype(np.float64) for name, w in initial(TINY, rng).items()}
    tokens = rng.integers(0, 96, (3, 7))
    _, gradients = loss_and_gradients(weights, tokens[:, :-1], tokens[:, 1:])
    for name, w in weights.items():
        direction = rng.standard_normal(w.shape)
        up, down = (
            loss_and_gradients(weights | {name: w + e * direction}, tokens[:, :-1], tokens[:, 1:])
            for e in (1e-5, -1e-5)
        )
        slope = (up[0] - down[0]) / 2e-5
        assert (gradients[name] * direction).sum() == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_the_loss_is_that_of_the_reference_forward():
    rng = np.random.default_rng(1)
    weights = initial(TINY, rng)
    tokens = rng.integers(0, 96, (2, 7))
    loss, _ = loss_and_gradients(weights, tokens[:, :-1], tokens[:, 1:])
    model = Decoder.from_weights(weights)
    expected = []
    for row in tokens:
        logits = forward(model, row[:-1].tolist()).astype(np.float64)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected += [-np.log(chances[n, target]) for n, target in enumerate(row[1:])]
    assert loss == pytest.approx(np.mean(expected), rel=1e-5)


def test_training_learns_a_line_by_heart():
    text = "the quick brown fox jumps over the lazy dog\n" * 8
    recipe = Recipe(width=24, heads=2, hidden=24, layers=1, capacity=24, batch=8, steps=200)
    losses = []
    train(text, recipe, lambda step, loss: losses.append(loss))
    assert losses[0] > 4
    assert losses[-1] < 0.8


def test_the_same_seed_gives_the_same_model():
    one, again = (train("abcdefghijklm" * 3, replace(TINY, steps=3)) for _ in range(2))
    np.testing.assert_array_equal(one.table, again.table)


def test_every_topic_has_text():
    for topic in TOPICS:
        assert len(text_of(topic)) > 50_000
    with pytest.raises(SpecError, match="unknown topic 'cooking'"):
        text_of("cooking")


def test_refusals():
    with pytest.raises(SpecError, match="characters, found 3"):
        train("abc", TINY)
    with pytest.raises(SpecError):
        train("abc" * 10, Recipe(steps=0))
