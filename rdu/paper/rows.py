"""One compared number, and how a list of them is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rdu.console import aligned

Kind: TypeAlias = Literal["arithmetic", "calibrated", "predicted"]


@dataclass(frozen=True, slots=True)
class Row:
    """A quantity of the paper beside ours.

    Attributes
    ----------
    name:
        The benchmark, platform or setting.
    quantity:
        What is compared; its unit where it has one.
    paper:
        The published value; ``None`` where no public value is known.
    ours:
        The value this package computes.
    error:
        ``ours / paper - 1``; ``None`` without a published value.
    kind:
        ``arithmetic``: follows from published inputs; ``calibrated``: an input was chosen so that
        published values are met; ``predicted``: from a model that has not seen the value.
    """

    name: str
    quantity: str
    paper: float | None
    ours: float
    error: float | None
    kind: Kind


def row(name: str, quantity: str, paper: float | None, ours: float, kind: Kind) -> Row:
    """Make a row, its error computed."""
    error = None if paper is None else (ours - paper) / paper if paper else ours
    return Row(name, quantity, paper, ours, error, kind)


def cells_of(rows: Iterable[Row]) -> list[tuple[str, ...]]:
    """The heads, then the cells of each row, as text."""
    cells = [("name", "quantity", "paper", "ours", "error", "kind")]
    for r in rows:
        paper = "-" if r.paper is None else f"{r.paper:.5g}"
        error = "-" if r.error is None else f"{r.error:+.1%}"
        cells.append((r.name, r.quantity, paper, f"{r.ours:.5g}", error, r.kind))
    return cells


def render(rows: Iterable[Row]) -> str:
    """The rows as aligned text."""
    return aligned(cells_of(rows), left=6)
