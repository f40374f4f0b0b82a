"""A composition of experts small enough to run for real, trained on texts every install has.

>>> from rdu import small
>>> composition = small.shipped()
>>> [reply.expert for reply in composition.reference(["The for statement"], 4).replies]
['language']

The extra ``router`` routes by whole sentences instead: ``TextComposition(SentenceRouter.fit(texts,
minilm()), experts)``. `train` makes an expert of any text, and `Decoder.load` reads one from an
``.npz`` or ``.safetensors`` file.
"""

from rdu.small.composition import Replies, Reply, TextComposition, expert, shipped
from rdu.small.emulated import Answer, EmulatedDecoder
from rdu.small.model import Decoder, generate
from rdu.small.router import TextRouter, WordRouter
from rdu.small.sentence import SentenceEncoder, SentenceRouter, minilm
from rdu.small.training import Recipe, train

__all__ = [
    "Answer",
    "Decoder",
    "EmulatedDecoder",
    "Recipe",
    "Replies",
    "Reply",
    "SentenceEncoder",
    "SentenceRouter",
    "TextComposition",
    "TextRouter",
    "WordRouter",
    "expert",
    "generate",
    "minilm",
    "shipped",
    "train",
]
