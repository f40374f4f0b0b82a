"""Objects as bytes that hold the code of their functions too, not their names alone.

Takes: objects.  Gives: bytes that make them again in any process with this package.  Like any
pickle, bytes of others may run anything: only what this process or its peers made is loaded.
"""

from __future__ import annotations

from typing import Any


def dumps(x: Any) -> bytes:
    """Return ``x`` as bytes.

    >>> loads(dumps(lambda a: a + 1))(2)
    3
    """
    from numba import cloudpickle

    return cloudpickle.dumps(x)


def loads(code: bytes) -> Any:
    """Return what ``dumps`` made these bytes of."""
    from numba import cloudpickle

    return cloudpickle.loads(code)
