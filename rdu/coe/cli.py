"""``rdu coe``: plan a composition of experts from the command line."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from rdu.coe.composition_file import read_composition
from rdu.coe.parts import Composition
from rdu.coe.planning import Plan, draw_sweep, plan, sweep
from rdu.coe.platform import PLATFORMS, Platform
from rdu.coe.policies import POLICIES
from rdu.coe.serve import serve
from rdu.coe.trace import Trace
from rdu.console import busy, print_table
from rdu.errors import SpecError

app = typer.Typer(help="Plan and serve compositions of experts.", invoke_without_command=True)

Experts = Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of experts.")]
ExpertGB = Annotated[float, typer.Option(help="Size of one expert, GB (1e9 bytes).")]
NodeName = Annotated[str, typer.Option(help="dgx_a100, dgx_h100, sn40l_node or a TOML file.")]
Links = Annotated[int | None, typer.Option(min=1, help="Links between the two tiers.")]
Rate = Annotated[float | None, typer.Option(help="Requests per second; closed loop without.")]
Requests = Annotated[int, typer.Option(min=1, max=100_000_000, help="Length of the trace.")]
Exponent = Annotated[float, typer.Option(help="Zipf exponent of the expert choice; 0 is uniform.")]
Batch = Annotated[int, typer.Option(min=1, help="Most requests served together.")]
Tokens = Annotated[int, typer.Option(min=1, help="Output tokens of an expert.")]
Prefetch = Annotated[bool, typer.Option(help="Copy a batch's experts once routed.")]
Overlap = Annotated[bool, typer.Option(help="Copy while experts run.")]
Grouped = Annotated[bool, typer.Option(help="Run pairs of one expert together.")]
File = Annotated[
    Path | None,
    typer.Option("--composition", help="TOML file of a router and experts, instead of equal ones."),
]
Json = Annotated[bool, typer.Option("--json", help="Machine output.")]
Plot = Annotated[Path | None, typer.Option(help="Draw to this file.")]


_TRACES = ("zipf", "distinct", "bursts")


@app.callback()
def plan_command(
    context: typer.Context,
    experts: Experts = 150,
    expert_gb: ExpertGB = 14.0,
    file: File = None,
    node: NodeName = "sn40l_node",
    links: Links = None,
    rate: Rate = None,
    requests: Requests = 10_000,
    exponent: Exponent = 1.0,
    trace: Annotated[
        str, typer.Option(help=f"Who is asked for: {', '.join(_TRACES)}, or a CSV file.")
    ] = "zipf",
    batch: Batch = 1,
    output_tokens: Tokens = 20,
    prefetch: Prefetch = False,
    overlap: Overlap = False,
    group_by_expert: Grouped = False,
    as_json: Json = False,
) -> None:
    """Footprint, latency, hit rate and cost of each cache policy."""
    if context.invoked_subcommand is not None:
        return
    composition = _composition(file, experts, expert_gb)
    with busy("serving with each policy"):
        rows = plan(
            composition,
            load_platform(node, links),
            trace=_trace(trace, composition, requests, exponent, batch, output_tokens),
            rate=rate,
            prefetch=prefetch,
            overlap=overlap,
            group_by_expert=group_by_expert,
        )
    _show(rows, as_json, by="policy")


@app.command("sweep")
def sweep_command(
    counts: Annotated[str, typer.Option(help="Numbers of experts, comma separated.")] = (
        "10,20,30,40,50,75,100,150,200,400,800"
    ),
    expert_gb: ExpertGB = 14.0,
    node: Annotated[
        list[str] | None, typer.Option(help="As above; repeatable. The SN40L node by default.")
    ] = None,
    links: Links = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(POLICIES)}; repeatable. LRU by default."),
    ] = None,
    rate: Rate = None,
    requests: Requests = 2_000,
    exponent: Exponent = 1.0,
    batch: Batch = 1,
    output_tokens: Tokens = 20,
    prefetch: Prefetch = False,
    overlap: Overlap = False,
    group_by_expert: Grouped = False,
    processes: Annotated[int, typer.Option(min=1, help="Processes to share the points.")] = 1,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler instead.")] = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Latency and hit rate over the number of experts, by node and policy."""
    with _client(dask) as client, busy("serving every point"):
        rows = sweep(
            _counts(counts),
            [load_platform(name, links) for name in node or ["sn40l_node"]],
            weight_bytes=1e9 * expert_gb,
            policy=policy or ["lru"],
            rate=rate,
            requests=requests,
            exponent=exponent,
            batch=batch,
            output_tokens=output_tokens,
            prefetch=prefetch,
            overlap=overlap,
            group_by_expert=group_by_expert,
            processes=processes,
            client=client,
        )
    _show(rows, as_json, by="experts")
    if plot is not None:
        draw_sweep(rows, plot)


@app.command("serve")
def serve_command(
    trace: Annotated[Path, typer.Argument(help="CSV with a column expert and maybe arrival_s.")],
    experts: Experts = 150,
    expert_gb: ExpertGB = 14.0,
    file: File = None,
    node: NodeName = "sn40l_node",
    links: Links = None,
    policy: Annotated[str, typer.Option(help=f"One of {', '.join(POLICIES)}.")] = "lru",
    batch: Batch = 1,
    output_tokens: Tokens = 20,
    prefetch: Prefetch = False,
    overlap: Overlap = False,
    group_by_expert: Grouped = False,
    chrome_trace: Annotated[Path | None, typer.Option(help="Write the time line here.")] = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Serve the requests of a file and report latencies, switches and bytes."""
    composition = _composition(file, experts, expert_gb)
    requests = Trace.from_file(trace, composition, batch=batch, output_tokens=output_tokens)
    report = serve(
        composition,
        load_platform(node, links),
        requests,
        policy,
        prefetch,
        overlap,
        group_by_expert,
    )
    typer.echo(report.to_json() if as_json else str(report))
    if chrome_trace is not None:
        report.chrome_trace(chrome_trace)
    if plot is not None:
        report.plot(plot)


def load_platform(name: str, links: int | None = None) -> Platform:
    """A platform by its name or from a file.

    Raises
    ------
    SpecError
        Where it is neither.
    """
    if name in PLATFORMS:
        platform = PLATFORMS[name]()
    elif name.endswith(".toml"):
        platform = Platform.from_toml(name)
    else:
        raise SpecError(
            f"unknown node {name!r}", hint=f"known: {', '.join(PLATFORMS)}, or a .toml file"
        )
    return platform if links is None else platform.with_links(links)


def _composition(file: Path | None, experts: int, expert_gb: float) -> Composition:
    """The composition of a file, or equal experts."""
    return Composition.uniform(experts, 1e9 * expert_gb) if file is None else read_composition(file)


def _trace(
    name: str, composition: Composition, requests: int, exponent: float, batch: int, tokens: int
) -> Trace:
    """The named trace, or the one in a file."""
    experts = len(composition)
    match name:
        case "zipf":
            return Trace.zipf(
                requests, experts, exponent=exponent, batch=batch, output_tokens=tokens
            )
        case "distinct":
            return Trace.distinct(requests, experts, batch=batch, output_tokens=tokens)
        case "bursts":
            return Trace.bursts(requests, experts, batch=batch, output_tokens=tokens)
        case _ if name.endswith(".csv"):
            return Trace.from_file(name, composition, batch=batch, output_tokens=tokens)
        case _:
            raise SpecError(
                f"unknown trace {name!r}", hint=f"known: {', '.join(_TRACES)}, or a .csv file"
            )


@contextmanager
def _client(address: str | None) -> Generator[Any, None, None]:
    """A connection to a Dask scheduler, or ``None`` without an address."""
    if address is None:
        yield None
        return
    if importlib.util.find_spec("distributed") is None:
        raise SpecError("--dask needs the package distributed", hint="pip install distributed")
    distributed: Any = importlib.import_module("distributed")
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise SpecError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        yield client


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"--counts needs whole numbers with commas, found {text!r}") from None
    if min(counts) < 1:
        raise SpecError(f"--counts must be at least 1, found {min(counts)}")
    return counts


def _cells(row: Plan) -> dict[str, Any]:
    report = row.report
    served: dict[str, Any] = {"refusal": row.refusal}
    if report is not None:
        served = {
            "mean_ms": 1e3 * report.mean_latency,
            "p50_ms": 1e3 * report.p50,
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


def _show(rows: Sequence[Plan], as_json: bool, *, by: str) -> None:
    cells = [_cells(row) for row in rows]
    if as_json:
        typer.echo(json.dumps(cells, indent=2))
        return
    heads = [by, "footprint_gb", "resident", "nodes", "mean_ms", "p50_ms", "p99_ms"]
    heads += ["per_second", "hit_rate", "switches", "moved_gb"]
    same = ("platform",) if by == "policy" else ("platform", "policy")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in cells:
        groups.setdefault(", ".join(str(row[key]) for key in same), []).append(row)
    for title, rows_of in groups.items():
        lines = [heads, *([_text(row.get(head)) for head in heads] for row in rows_of)]
        print_table(lines, title=title, left=0)
        _notes(rows_of, by)


def _notes(rows: Sequence[dict[str, Any]], by: str) -> None:
    """What did not fit and what could not keep up, each once."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.get("refusal"):
            notes.setdefault(row["refusal"], []).append(str(row[by]))
        elif not row["stable"]:
            late = "requests come faster than they are served"
            notes.setdefault(late, []).append(str(row[by]))
    for note, names in notes.items():
        typer.echo(f"{by} {', '.join(names)}: {note}")


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.3f}" if isinstance(value, float) else str(value)
