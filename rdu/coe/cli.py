"""``rdu coe``: plan a composition of experts from the command line."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rdu.coe.capacity import Capacity, most_experts
from rdu.coe.composition_file import read_composition
from rdu.coe.parts import Composition
from rdu.coe.planning import Plan, draw_sweep, plan, sweep
from rdu.coe.platform import PLATFORMS, Platform
from rdu.coe.policies import POLICIES
from rdu.coe.serve import serve
from rdu.coe.shown import show_most, show_plans
from rdu.coe.trace import Trace
from rdu.console import busy, refuse_unused
from rdu.errors import SpecError

app = typer.Typer(help="Plan and serve compositions of experts.", invoke_without_command=True)


def _above_zero(value: float | None) -> float | None:
    """The value of an option that must be finite and above 0, in the units of the option."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"expected a finite number above 0, found {value:g}")
    return value


def _from_zero(value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"expected a finite number of at least 0, found {value:g}")
    return value


def _percent(value: float) -> float:
    if not 0 < value <= 100:
        raise typer.BadParameter(f"expected a percentage above 0 and up to 100, found {value:g}")
    return value


Experts = Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of experts.")]
ExpertGB = Annotated[
    float, typer.Option(callback=_above_zero, help="Size of one expert, GB (1e9 bytes).")
]
NodeName = Annotated[str, typer.Option(help="dgx_a100, dgx_h100, sn40l_node or a TOML file.")]
Links = Annotated[
    int | None,
    typer.Option(min=1, help="Links from DDR or host memory to HBM. Default: the node's."),
]
Rate = Annotated[
    float | None,
    typer.Option(
        callback=_above_zero,
        help="Requests per second (Poisson). Default: the file's times, else one batch after "
        "another.",
    ),
]
Requests = Annotated[int, typer.Option(min=1, max=100_000_000, help="Length of the trace.")]
Exponent = Annotated[
    float,
    typer.Option(callback=_from_zero, help="Zipf exponent of the popularity; 0 is uniform."),
]
Batch = Annotated[int, typer.Option(min=1, help="Largest batch.")]
Tokens = Annotated[int, typer.Option(min=1, help="Output tokens of each request.")]
Prefetch = Annotated[bool, typer.Option(help="Copy all experts of a batch once it is routed.")]
Overlap = Annotated[bool, typer.Option(help="Copy experts while others run.")]
Grouped = Annotated[bool, typer.Option(help="Run a batch's requests to one expert together.")]
Window = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Choose each batch among this many waiting requests. Default: in order of arrival.",
    ),
]
Nodes = Annotated[
    list[str] | None,
    typer.Option(
        "--node",
        help="dgx_a100, dgx_h100, sn40l_node or a TOML file; repeatable. Default: sn40l_node.",
    ),
]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", help=f"One of {', '.join(POLICIES)}; repeatable. Default: lru."),
]
Processes = Annotated[int, typer.Option(min=1, help="Processes that share the sweep.")]
File = Annotated[
    Path | None,
    typer.Option("--composition", help="TOML file of a router and experts, instead of --experts."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
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
        str, typer.Option(help=f"Requests: {', '.join(_TRACES)}, or a CSV file.")
    ] = "zipf",
    batch: Batch = 1,
    output_tokens: Tokens = 20,
    prefetch: Prefetch = False,
    overlap: Overlap = False,
    group_by_expert: Grouped = False,
    window: Window = None,
    as_json: Json = False,
) -> None:
    """Footprint, latency, hit rate and cost of each cache policy."""
    if context.invoked_subcommand is not None:
        return
    if file is not None:
        refuse_unused(
            context, ("experts", "expert_gb"), "equal experts, and --composition names others"
        )
    if trace != "zipf":
        refuse_unused(context, ("exponent",), "the trace zipf")
    if trace.endswith(".csv"):
        refuse_unused(context, ("requests",), "traces that are drawn")
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
            window=window,
        )
    show_plans(rows, as_json, by="policy")


@app.command("sweep")
def sweep_command(
    counts: Annotated[str, typer.Option(help="Numbers of experts, comma separated.")] = (
        "10,20,30,40,50,75,100,150,200,400,800"
    ),
    expert_gb: ExpertGB = 14.0,
    node: Nodes = None,
    links: Links = None,
    policy: Policies = None,
    rate: Rate = None,
    requests: Requests = 2_000,
    exponent: Exponent = 1.0,
    batch: Batch = 1,
    output_tokens: Tokens = 20,
    prefetch: Prefetch = False,
    overlap: Overlap = False,
    group_by_expert: Grouped = False,
    window: Window = None,
    processes: Processes = 1,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, instead of --processes.")
    ] = None,
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
            window=window,
            processes=processes,
            client=client,
        )
    if plot is not None:
        draw_sweep(rows, plot)
    show_plans(rows, as_json, by="experts")
    _tell_written(as_json, plot)


@app.command("most")
def most_command(
    within_ms: Annotated[
        float, typer.Option(callback=_above_zero, help="Latency limit in milliseconds.")
    ],
    share: Annotated[
        float, typer.Option(callback=_percent, help="Percent of requests within the limit.")
    ] = 99.0,
    expert_gb: ExpertGB = 14.0,
    node: Nodes = None,
    links: Links = None,
    policy: Policies = None,
    rate: Rate = None,
    requests: Requests = 20_000,
    exponent: Exponent = 1.0,
    batch: Batch = 1,
    output_tokens: Tokens = 20,
    prefetch: Prefetch = False,
    overlap: Overlap = False,
    group_by_expert: Grouped = False,
    window: Window = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """The largest number of experts that each node and policy serves within a latency."""
    found: list[Capacity] = []
    with busy("serving more and fewer experts"):
        for platform in [load_platform(name, links) for name in node or ["sn40l_node"]]:
            for chosen in policy or ["lru"]:
                serve_some = partial(
                    _served,
                    platform=platform,
                    weight_bytes=1e9 * expert_gb,
                    policy=chosen,
                    rate=rate,
                    requests=requests,
                    exponent=exponent,
                    batch=batch,
                    output_tokens=output_tokens,
                    prefetch=prefetch,
                    overlap=overlap,
                    group_by_expert=group_by_expert,
                    window=window,
                )
                limit = 1e-3 * within_ms
                found.append(
                    most_experts(serve_some, platform, 1e9 * expert_gb, limit, share=share)
                )
    if plot is not None:
        draw_sweep([row for each in found for row in each.tried], plot, 1e-3 * within_ms)
    show_most(found, within_ms, share, as_json)
    _tell_written(as_json, plot)


def _tell_written(as_json: bool, *paths: Path | None) -> None:
    """Name the files that were written; JSON stays alone."""
    for path in paths:
        if path is not None and not as_json:
            typer.echo(f"wrote {path}")


def _served(count: int, **options: Any) -> Plan:
    """The plan for one number of experts."""
    (row,) = sweep([count], options.pop("platform"), **options)
    return row


@app.command("serve")
def serve_command(
    context: typer.Context,
    trace: Annotated[
        Path, typer.Argument(help="CSV: expert, optionally arrival_s and conversation.")
    ],
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
    window: Window = None,
    chrome_trace: Annotated[Path | None, typer.Option(help="Write the time line here.")] = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Serve the requests of a file and report latencies, switches and bytes."""
    if file is not None:
        refuse_unused(
            context, ("experts", "expert_gb"), "equal experts, and --composition names others"
        )
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
        window=window,
    )
    typer.echo(report.to_json() if as_json else str(report))
    if chrome_trace is not None:
        report.chrome_trace(chrome_trace)
    if plot is not None:
        report.plot(plot)
    _tell_written(as_json, chrome_trace, plot)


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
        client = distributed.Client(address, timeout=30)
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
