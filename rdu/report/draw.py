"""A report as a picture: pipeline diagram, stalls of each stage, roofline of each kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from rdu.picture import Circle, Label, Line, Picture, Rectangle, colour_of
from rdu.report.records import KernelReport, Roof, StageReport

_LEFT, _TIME, _BARS, _ROW = 210, 640, 150, 18
_BUSY, _STARVED, _BLOCKED, _IDLE = "#4878a8", "#e9c46a", "#c8553d", "#e6e9ee"
_LAUNCH = "#bbbbbb"
_ROOF = 330


def draw_report(
    time: tuple[int, float],
    launched: Sequence[KernelReport],
    stages: Sequence[StageReport],
    roofs: Sequence[Roof],
    path: Path,
) -> Path:
    """Write the picture of a run that took ``time`` (cycles, seconds).

    The suffix of ``path`` chooses the format.
    """
    several = any(stage.socket for stage in stages)
    stages = [stage for stage in stages if stage.socket == 0]
    names = {stage.kernel for stage in stages}
    kernels = [kernel for kernel in launched if kernel.name in names]
    rows = len(stages) + len(kernels)
    top = 58
    width = _LEFT + _TIME + _BARS + 40
    picture = Picture(width, top + rows * _ROW + 60 + _ROOF)
    cycles, seconds = time
    head = f"{seconds * 1e6:.2f} us, {cycles:,} cycles, {len(kernels)} kernel"
    head += "s" * (len(kernels) != 1)
    if several:
        head += " (socket 0 of several)"
    picture.add(Label(10, 20, head, 13, bold=True))
    _legend(picture, width)
    _lanes(picture, time, stages, kernels, top)
    _roofs(picture, roofs, top + rows * _ROW + 50)
    return picture.save(path)


def _legend(picture: Picture, width: float) -> None:
    x = width - 402.0
    parts = ((_LAUNCH, "launch"), (_BUSY, "busy"), (_STARVED, "starved"), (_BLOCKED, "blocked"))
    for colour, name in parts:
        picture.add(Rectangle(x, 11, 10, 10, colour), Label(x + 14, 20, name))
        x += 72
    picture.add(Rectangle(x, 11, 10, 10, _IDLE), Label(x + 14, 20, "present, not busy"))


def _lanes(
    picture: Picture,
    time: tuple[int, float],
    stages: Sequence[StageReport],
    kernels: Sequence[KernelReport],
    top: float,
) -> None:
    """One row a stage under a row for its kernel; time to the right, stalls behind it."""
    cycles, seconds = time
    scale = _TIME / max(cycles, 1)
    bars = _LEFT + _TIME + 20
    picture.add(Label(bars + 4, top - 6, "busy / starved / blocked", 10, colour="#555555"))
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _LEFT + share * _TIME
        bottom = top + (len(stages) + len(kernels)) * _ROW
        picture.add(Line(((x, top), (x, bottom)), "#dddddd"))
        text = f"{share * seconds * 1e6:.2f} us"
        anchor = "end" if share == 1 else "middle"
        picture.add(Label(x, top - 6, text, 10, anchor, "#555555"))
    y = top
    for number, kernel in enumerate(kernels):
        launch = _LEFT + kernel.start * scale
        begin = launch + kernel.launch_cycles * scale
        length = max(kernel.cycles * scale, 0.5)
        picture.add(
            Label(8, y + 13, _short(kernel.name, 32), 11, bold=True),
            Rectangle(launch, y + 5, max(begin - launch, 0.5), 8, _LAUNCH),
            Rectangle(begin, y + 5, length, 8, colour_of(number)),
        )
        y += _ROW
        for stage in stages:
            if stage.kernel == kernel.name:
                base = kernel.start + kernel.launch_cycles
                _lane(picture, stage, base, scale, y, bars)
                y += _ROW


def _lane(
    picture: Picture, stage: StageReport, base: int, scale: float, y: float, bars: float
) -> None:
    picture.add(
        Label(20, y + 13, _short(f"{stage.name} ({stage.pcus} PCU, {stage.pmus} PMU)", 34), 10),
        Rectangle(
            _LEFT + (base + stage.start) * scale,
            y + 3,
            max((stage.end - stage.start) * scale, 0.5),
            _ROW - 6,
            _IDLE,
        ),
    )
    for low, high in _joined(stage.spans, 0.4 / scale):
        x = _LEFT + (base + low) * scale
        picture.add(Rectangle(x, y + 3, max((high - low) * scale, 0.3), _ROW - 6, _BUSY))
    x, total = bars, max(stage.busy + stage.starved + stage.blocked, 1)
    for count, colour in (
        (stage.busy, _BUSY),
        (stage.starved, _STARVED),
        (stage.blocked, _BLOCKED),
    ):
        part = (_BARS - 10) * count / total
        picture.add(Rectangle(x, y + 3, part, _ROW - 6, colour))
        x += part


def _joined(spans: Sequence[tuple[int, int]], gap: float) -> list[tuple[int, int]]:
    """Join spans too close to be told apart, so that pictures of long runs stay small."""
    found: list[tuple[int, int]] = []
    for low, high in spans:
        if found and low - found[-1][1] <= gap:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found


def _roofs(picture: Picture, roofs: Sequence[Roof], top: float) -> None:
    """Log-log: operations a second over operations a byte, the two roofs, a point a kernel."""
    left, right, bottom = 80.0, 560.0, top + _ROOF - 60
    real = [roof for roof in roofs if roof.flops_per_second > 0]
    picture.add(Label(10, top - 8, "roofline of each kernel (without launch)", 12, bold=True))
    if not real:
        picture.add(Label(left, top + 30, "no kernel computes and moves data", 11))
        return
    peak, rate = real[0].peak_flops, real[0].peak_bytes
    low = min(0.5, *(r.intensity for r in real)) / 2
    high = max(peak / rate, *(r.intensity for r in real)) * 4
    floor = min(low * rate, *(r.flops_per_second for r in real)) / 2

    def at(intensity: float, speed: float) -> tuple[float, float]:
        x = left + (right - left) * math.log(intensity / low) / math.log(high / low)
        y = bottom - (bottom - top - 24) * math.log(speed / floor) / math.log(2 * peak / floor)
        return x, y

    _axes(picture, at, (low, high, floor), (peak, rate), (left, right, top, bottom))
    for n, roof in enumerate(roofs):
        if roof.flops_per_second:
            picture.add(Circle(*at(roof.intensity, roof.flops_per_second), 5, colour_of(n)))
        if n < 14:
            line = top + 26 + n * 17
            picture.add(
                Circle(right + 26, line - 4, 5, colour_of(n)),
                Label(right + 38, line, _reached(roof), 10),
            )
    if len(roofs) > 14:
        picture.add(Label(right + 38, top + 26 + 14 * 17, f"and {len(roofs) - 14} more", 10))


def _reached(roof: Roof) -> str:
    """What a kernel comes to; one that computes nothing has no place under the roofs."""
    share = f"{100 * roof.share:.0f} % of the {roof.bound} roof"
    if not roof.flops_per_second:
        return f"{_short(roof.kernel, 26)}: no operations, {share}"
    return (
        f"{_short(roof.kernel, 26)}: {roof.flops_per_second / 1e12:.3g} TFLOP/s at "
        f"{roof.intensity:.3g} a byte, {share}"
    )


def _axes(
    picture: Picture,
    at: Callable[[float, float], tuple[float, float]],
    bounds: tuple[float, float, float],
    roof: tuple[float, float],
    edges: tuple[float, float, float, float],
) -> None:
    """Grid, scales and the two roofs."""
    low, high, floor = bounds
    peak, rate = roof
    left, right, top, bottom = edges
    for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        x, _ = at(10.0**power, peak)
        picture.add(Line(((x, top + 20), (x, bottom)), "#eeeeee"))
        picture.add(Label(x, bottom + 14, f"{10.0**power:g}", 10, "middle", "#555555"))
    for power in range(math.ceil(math.log10(floor)), math.floor(math.log10(2 * peak)) + 1):
        _, y = at(low, 10.0**power)
        picture.add(Line(((left, y), (right, y)), "#eeeeee"))
        picture.add(Label(left - 6, y + 4, f"{10.0 ** (power - 12):g}", 10, "end", "#555555"))
    picture.add(
        Line((at(low, low * rate), at(peak / rate, peak), at(high, peak)), "#333333", 2),
        Label((left + right) / 2, bottom + 32, "operations a byte (HBM and DDR)", 10, "middle"),
        Label(left - 6, top + 13, "TFLOP/s", 10, "end"),
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
