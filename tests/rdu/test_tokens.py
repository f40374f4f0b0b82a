"""Embedding and sampling as operators of the DSL: token numbers in, token numbers out."""

import numpy as np
import pytest
import scipy.sparse as sp

import rdu
import sparsedsl as sd

NODE = rdu.sn40l_node(1)
TOKENS, WORDS, WIDTH = 12, 40, 8


@sd.kernel
def step(chosen, table, head, noise):
    """Look words up, multiply, and take the best score; with Gumbel noise that samples."""
    t, v, d, u = sd.indices("t v d u")
    x, scores, top, word = sd.output(), sd.output(), sd.output(), sd.output()
    x[t, d] = sd.pattern(chosen)[t, v] * table[v, d]
    scores[t, u] = sd.sum(x[t, d] * head[d, u], over=d) + noise[t, u]
    top[t] = sd.max(scores[t, u], over=u)
    word[t] = sd.min(sd.where(scores[t, u] >= top[t], u, 2.0**24), over=u)
    return x, word


def one_hot(words):
    ones = np.ones(len(words), dtype=np.float32)
    return sp.csr_array((ones, (np.arange(len(words)), words)), shape=(len(words), WORDS))


def compiled(fusion, *arguments):
    graph = rdu.trace(step, *arguments, precision="fp32")
    return rdu.compile(graph, NODE, fusion=fusion, moves=20)


def run(words, table, head, noise, fusion):
    arguments = one_hot(words), table, head, noise
    program = compiled(fusion, *arguments)
    (x, word), report = rdu.run(program, *arguments)
    assert report.cycles == rdu.estimate(program).cycles
    return x, word.astype(int), report


def inputs(seed):
    rng = np.random.default_rng(seed)
    table, head = (
        rng.standard_normal(s).astype("float32") for s in ((WORDS, WIDTH), (WIDTH, WORDS))
    )
    return rng, rng.integers(0, WORDS, TOKENS), table, head


@pytest.mark.parametrize("fusion", ["none", "spatial"])
def test_greedy(fusion):
    _, words, table, head = inputs(1)
    x, word, _ = run(words, table, head, np.zeros((TOKENS, WORDS), "float32"), fusion)
    assert np.array_equal(x, table[words])
    assert word.tolist() == (table[words] @ head).argmax(1).tolist()


def test_of_equal_scores_the_first_word_wins():
    _, words, table, _ = inputs(2)
    flat = np.ones((WIDTH, WORDS), dtype="float32")
    _, word, _ = run(words, table, flat, np.zeros((TOKENS, WORDS), "float32"), "spatial")
    assert word.tolist() == [0] * TOKENS


def test_sampling_follows_the_probabilities():
    """Scores with Gumbel noise have their maximum at a word as often as softmax says."""
    rng, words, table, head = inputs(3)
    words[:] = words[0]
    scores = table[words[0]] @ head
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    counts = np.zeros(WORDS)
    noise = rng.gumbel(size=(25, TOKENS, WORDS)).astype("float32")
    program = compiled("spatial", one_hot(words), table, head, noise[0])
    for each in noise:
        (_, word), _ = rdu.run(program, one_hot(words), table, head, each)
        assert word.tolist() == (scores + each).argmax(1).tolist()
        counts += np.bincount(word.astype(int), minlength=WORDS)
    total = counts.sum()
    best = chances.argmax()
    spread = np.sqrt(total * chances[best] * (1 - chances[best]))
    assert abs(counts[best] - total * chances[best]) < 4 * spread


def test_only_rows_that_are_looked_up_are_streamed():
    """The table goes to the chip whole; from its scratchpad every token takes one row."""
    _, words, table, head = inputs(4)
    *_, report = run(words, table, head, np.zeros((TOKENS, WORDS), "float32"), "none")
    lookup = next(k for k in report.kernels if k.name.endswith("x"))
    assert lookup.flops <= 2 * TOKENS * WIDTH
