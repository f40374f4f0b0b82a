"""Arrays that were tampered with: refused with the property and the place, or still a tensor."""

import re

import numpy as np

from sparsedsl.errors import InvalidTensorError, TensorTypeError
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import stored
from sparsedsl.layouts.properties import property_text
from sparsedsl.spf.text import constraint_text

ALWAYS = ("short", "narrow", "dtype")
"""Kinds that no data survives."""


def says_what(layout, name, message):
    """Whether a message names a property, a constraint of the relation, or what an array lacks."""
    properties = [f"'{property_text(item)}' " for item in layout.properties]
    parts = layout.structures
    broken = [f" breaks {constraint_text(c)}: " for part in parts for c in part.invariants]
    own = [f"expected {name} to be one of "]
    own += [f"expected {other} to have length " for other in layout.arrays]
    own += [f"{other}.shape[" for other in layout.arrays]
    own += [f"the layout needs {other}(" for other in layout.arrays]
    own += [f" leaves {other}, which has length" for other in layout.arrays]
    own += [" is stored twice"]
    return any(text in message for text in (*properties, *broken, *own))


def says_where(kind, message):
    """Whether a message tells the place: an element, values of dims, an axis or two entries."""
    places = (
        r"\w+\(\d+(, \d+)*\) = -?\d+",
        r"where \w+ = \d+",
        r"along axis \d",
        r"\.shape\[\d\]",
        r"as entries \d+ and \d+",
    )
    return kind == "dtype" or any(re.search(place, message) for place in places)


def test_every_mistake_is_named_with_its_place(member, cases):
    fitting = [d for d in cases.matrices((5, 5), 2) if cases.holdable(member, d) and d.any()]
    dense = sorted(fitting, key=np.count_nonzero)[len(fitting) // 2]
    arrays = construct(member, dense.shape, *cases.coordinates(dense))
    for name in member.arrays:
        values, refused = name == member.value.function, 0
        for kind, changed in cases.tampered(arrays[name], values):
            given = {**arrays, name: changed}
            try:
                validate(member, dense.shape, given)
            except (InvalidTensorError, TensorTypeError) as error:
                message = str(error)
                assert says_what(member, name, message), f"{name}, {kind}: {message}"
                assert says_where(kind, message), f"{name}, {kind}: {message}"
                refused += 1
                continue
            assert kind not in ALWAYS, f"{name}, {kind}"
            found, _ = stored(member, dense.shape, given)
            assert ((found >= 0) & (found < np.array(dense.shape)[:, None])).all()
            once = len(np.unique(found, axis=1).T) == found.shape[1]
            assert once or member.repeats, f"{name}, {kind}"
        assert refused or not arrays[name].size, name
