"""The time line of a node: what compute and the switch link did, and when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rdu.errors import SpecError

EventKind: TypeAlias = Literal["router", "run", "copy", "write back"]

_LANES: dict[EventKind, str] = {
    "router": "compute",
    "run": "compute",
    "copy": "link",
    "write back": "link",
}
_COLOURS: dict[EventKind, str] = {
    "router": "tab:gray",
    "run": "tab:blue",
    "copy": "tab:orange",
    "write back": "tab:red",
}


@dataclass(frozen=True, slots=True)
class Event:
    """``name`` (an expert or the router) from ``start`` to ``end``, in seconds."""

    kind: EventKind
    name: str
    start: float
    end: float

    @property
    def lane(self) -> str:
        """``"compute"`` or ``"link"``."""
        return _LANES[self.kind]


def write_chrome_trace(events: Iterable[Event], path: str | Path) -> None:
    """Write ``events`` as Chrome trace JSON, times in microseconds."""
    rows = [
        {
            "name": f"{event.kind} {event.name}",
            "cat": event.kind,
            "ph": "X",
            "ts": event.start * 1e6,
            "dur": (event.end - event.start) * 1e6,
            "pid": 0,
            "tid": event.lane,
        }
        for event in events
    ]
    Path(path).write_text(json.dumps({"traceEvents": rows, "displayTimeUnit": "ms"}))


def draw(events: Sequence[Event], path: str | Path, *, title: str = "", limit: int = 400) -> None:
    """Draw the first ``limit`` events, one lane for compute and one for the link.

    Raises
    ------
    SpecError
        Where matplotlib is not installed or does not know the suffix of ``path``.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SpecError(
            "drawing needs matplotlib, which is not installed", hint="pip install 'sparsedsl[plot]'"
        ) from None
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    axes = figure.subplots()
    for kind, colour in _COLOURS.items():
        bars = [(e.start, e.end - e.start) for e in events[:limit] if e.kind == kind]
        row = 1 if _LANES[kind] == "compute" else 0
        if not bars:
            continue
        axes.broken_barh(
            bars, (row - 0.4, 0.8), facecolors=colour, edgecolor="white", linewidth=0.6, label=kind
        )
    _label(axes, events[:limit])
    axes.set_yticks([0, 1], ["link", "compute"])
    axes.set_xlabel("seconds")
    axes.set_title(title)
    if events:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    try:
        figure.savefig(path)
    except ValueError as error:
        raise SpecError(f"cannot draw to {path}: {error}") from None


def _label(axes: Any, events: Sequence[Event]) -> None:
    """Write each event's name on its bar where it is wide enough to be read."""
    if not events:
        return
    shown = max(event.end for event in events) - min(event.start for event in events)
    for event in events:
        # About 90 characters fit the width of the picture, and 75 lines on their side.
        length = event.end - event.start
        if length < shown / 75:
            continue
        turned = 90 if length < len(event.name) / 90 * shown else 0
        middle, row = (event.start + event.end) / 2, 1 if event.lane == "compute" else 0
        style = {"ha": "center", "va": "center", "size": 7, "color": "white"}
        axes.text(middle, row, event.name, rotation=turned, clip_on=True, **style)
