"""Texts that every install has at hand, by topic: what the small experts are trained on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rdu.errors import SpecError


def _language() -> str:
    """The Python language reference that ``help()`` shows."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def _docstrings(module: Any) -> str:
    found: list[str] = []
    for name in sorted(set(getattr(module, "__all__", dir(module)))):
        text = inspect.getdoc(getattr(module, name, None)) or ""
        if not name.startswith("_") and text not in found:
            found.append(text)
    return "\n\n".join(found)


def _arrays() -> str:
    """Docstrings of NumPy's functions."""
    import numpy

    return _docstrings(numpy)


def _statistics() -> str:
    """Docstrings of scipy's distributions and tests."""
    import scipy.stats

    return _docstrings(scipy.stats)


TOPICS: dict[str, Callable[[], str]] = {
    "language": _language,
    "arrays": _arrays,
    "statistics": _statistics,
}


def text_of(topic: str) -> str:
    """The text of a topic.

    Raises
    ------
    SpecError
        For an unknown topic, listing the known ones.
    """
    if topic not in TOPICS:
        raise SpecError(f"unknown topic {topic!r}", hint=f"known: {', '.join(TOPICS)}")
    return TOPICS[topic]()
