"""Who asks a tensor for an array or a text: scipy does for operators and in its constructors.

Takes: the frame that asks.  Gives: whether it is one of scipy's, and which.  Invariant: code of
the user's, or of another library's, is never taken for scipy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType


def by_operator_of_scipy(frame: FrameType | None) -> bool:
    """Whether an operator of scipy's asks for its operand, however many calls within scipy ago."""
    return any(asking.f_code.co_name in _OPERATORS for asking in _of_scipy(frame))


def by_constructor_of_scipy(frame: FrameType | None) -> bool:
    """Whether a class of scipy's is being made of what it asks."""
    return any(asking.f_code.co_name == "__init__" for asking in _of_scipy(frame))


def _of_scipy(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the calls within scipy that led to ``frame``, the last first."""
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("scipy.sparse."):
        yield frame
        frame = frame.f_back


_OPERATORS = (
    {
        f"__{reflected}{name}__"
        for name in ("add", "sub", "mul", "matmul", "truediv", "div", "pow", "and", "or", "xor")
        for reflected in ("", "r")
    }
    | {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge")}
    | {"dot"}
)
