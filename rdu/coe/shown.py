"""Plans as tables or JSON; every column's unit is in its name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from rdu.coe.capacity import Capacity
from rdu.coe.planning import Plan
from rdu.console import print_table
from rdu.errors import CapacityError

_SERVED = (
    "mean_ms",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "per_second",
    "hit_rate",
    "switches",
    "moved_gb",
)


def _cells(row: Plan) -> dict[str, Any]:
    report = row.report
    served: dict[str, Any] = {"refusal": row.refusal}
    if report is not None:
        served = {
            "mean_ms": 1e3 * report.mean_latency,
            "p50_ms": 1e3 * report.p50,
            "p90_ms": 1e3 * report.p90,
            "p99_ms": 1e3 * report.p99,
            "per_second": report.throughput,
            "hit_rate": report.hit_rate,
            "switches": report.switches,
            "moved_gb": sum(report.bytes_moved.values()) / 1e9,
            "stable": row.stable,
        }
    return {
        "platform": row.platform,
        "policy": row.policy,
        "experts": row.experts,
        "footprint_gb": row.footprint_bytes / 1e9,
        "resident": row.resident,
        "nodes": row.nodes,
        **served,
    }


_LATE = "requests come faster than they are served"


def show_plans(rows: Sequence[Plan], as_json: bool, *, by: str) -> None:
    """Print plans that differ in ``by``, a policy or a number of experts.

    Raises
    ------
    CapacityError
        After printing, where nothing could be served at all.
    """
    cells = [_cells(row) for row in rows]
    reasons = {row.refusal for row in rows}
    if as_json:
        typer.echo(json.dumps(cells, indent=2))
    else:
        # One reason for all is the error below.
        _print(cells, by, notes=len(reasons) > 1 or None in reasons)
    if None not in reasons:
        raise CapacityError(str(rows[0].refusal), hint=rows[0].advice)


def show_most(found: Sequence[Capacity], within_ms: float, share: float, as_json: bool) -> None:
    """Print the most experts of each node and policy."""
    rows: list[dict[str, Any]] = []
    for each in found:
        best = {} if each.best is None else _cells(each.best)
        rows.append({**best, "platform": each.platform, "policy": each.policy})
        rows[-1].setdefault("experts", 0)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    heads = ("platform", "policy", "experts", "footprint_gb", "resident", *_SERVED)
    title = f"most experts with {share:g} % of requests within {within_ms:g} ms"
    lines = [heads, *([_text(row.get(head)) for head in heads] for row in rows)]
    print_table(lines, title=title, left=2)
    for each in found:
        if each.best is None:
            typer.echo(f"{each.platform}, {each.policy}: {_too_slow(each.tried[0], share)}")


def _too_slow(one: Plan, share: float) -> str:
    """Why not even one expert is served in time."""
    if one.report is None:
        return str(one.refusal)
    reached = f"one expert takes {1e3 * one.report.percentile(share):,.1f} ms"
    return reached if one.stable else f"{reached}, {_LATE}"


def _print(cells: Sequence[dict[str, Any]], by: str, *, notes: bool) -> None:
    heads = [by, "footprint_gb", "resident", "nodes", *_SERVED]
    same = ("platform",) if by == "policy" else ("platform", "policy")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in cells:
        groups.setdefault(", ".join(str(row[key]) for key in same), []).append(row)
    for title, rows_of in groups.items():
        lines = [heads, *([_text(row.get(head)) for head in heads] for row in rows_of)]
        print_table(lines, title=title, left=0)
        if notes:
            _notes(rows_of, by)


def _notes(rows: Sequence[dict[str, Any]], by: str) -> None:
    """What did not fit and what could not keep up, each once."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.get("refusal"):
            notes.setdefault(row["refusal"], []).append(str(row[by]))
        elif not row["stable"]:
            notes.setdefault(_LATE, []).append(str(row[by]))
    for note, names in notes.items():
        typer.echo(f"{by} {', '.join(names)}: {note}")


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.3f}" if isinstance(value, float) else str(value)
