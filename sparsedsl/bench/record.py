"""A run as records that JSON takes.

Takes: ``Run``.  Gives: dictionaries; times in seconds, bandwidth in bytes a second.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from sparsedsl.bench.measure import Timed
from sparsedsl.bench.run import Run
from sparsedsl.bench.summary import Row, coiterating, summary, targets


def record(run: Run) -> dict[str, Any]:
    """Return everything as JSON takes it; times in seconds, bandwidth in bytes a second."""

    def timed(t: Timed) -> dict[str, Any]:
        common = {"median": t.median, "least": t.least, "samples": list(t.seconds)}
        if not t.ratios:
            return {"name": t.name, "variant": t.variant, **common}
        more = {"ratio": t.ratio, "spread": list(t.spread), "least_ratio": t.least_ratio}
        return {"name": t.name, "variant": t.variant, **common, **more}

    cells = [
        {
            "kernel": c.kernel,
            "input": c.input,
            "coiterates": c.coiterates,
            "bytes": c.bytes,
            "sparsedsl": timed(c.ours) if c.ours else None,
            "peers": [timed(t) for t in c.peers],
            "errors": c.errors,
        }
        for c in run.cells
    ]
    return {
        "quick": run.quick,
        "machine": run.machine,
        "inputs": run.inputs,
        "bandwidth": run.bandwidth,
        "versions": run.versions,
        "absent": run.absent,
        "summary": [_row(row) for row in summary(run)],
        "coiteration": [_row(row) for row in summary(run, coiterating(run))],
        "targets": [
            {**asdict(t), "reached": None if math.isnan(t.reached) else t.reached, "met": t.met}
            for t in targets(run)
        ],
        "cells": cells,
        "tiny_calls": [
            {
                "kernel": o.kernel,
                "scipy": o.scipy,
                "arguments": o.arguments,
                "bound": o.bound,
                "compiled": o.compiled,
                "cold": list(o.cold),
                "new": list(o.new),
            }
            for o in run.overheads
        ],
        "threads": [
            {
                "kernel": s.kernel,
                "input": s.input,
                "threads": s.threads,
                "one": list(s.one),
                "several": list(s.several),
                "ratio": s.ratio,
                "same": s.same,
            }
            for s in run.speedups
        ],
        "conversions": [asdict(c) for c in run.conversions],
        "memory": [{**asdict(m), "ratio": m.ratio} for m in run.memories],
        "first_calls": [
            {
                "kernel": f.kernel,
                "cold": None if math.isnan(f.cold) else f.cold,
                "disk": None if math.isnan(f.disk) else f.disk,
                "imported": None if math.isnan(f.imported) else f.imported,
            }
            for f in run.firsts
        ],
        "growth": {g.kind: g.seconds for g in run.growths},
    }


def _row(row: Row) -> dict[str, Any]:
    mean = row.mean if row.cells else None
    return {"peer": row.peer, "cells": row.cells, "mean_ratio": mean, "under_par": row.under}
