"""The command line ``rdu``: demonstrate, estimate and run programs; experts and the paper."""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import rdu
from rdu.console import busy, print_table, refuse_unused, steps
from rdu.errors import RDUError, SpecError
from rdu.llm.cli import estimate_model, model_of
from rdu.user_graph import load

app = typer.Typer(
    help="Emulate a reconfigurable dataflow unit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # boxes are for terminals: what is not one gets plain lines
    rich_markup_mode="rich" if sys.stdout.isatty() and sys.stderr.isatty() else None,
)

Fusion = Annotated[
    str, typer.Option(help="none, pattern, spatial, or operator names joined by '-' and ','.")
]
Orchestration = Annotated[str, typer.Option(help="hardware, software or looped.")]
ChipFile = Annotated[Path | None, typer.Option("--chip", help="TOML file of a chip or node.")]
Split = Annotated[
    str, typer.Option(help="Axes to cut over all sockets, such as h or t,h (rdu trace lists them).")
]
Pipeline = Annotated[bool, typer.Option("--pipeline", help="Give each socket a run of operators.")]
Sockets = Annotated[
    int | None,
    typer.Option(min=1, help="Sockets of the node; a model is split over all (tensor parallel)."),
]
Precision = Annotated[
    str, typer.Option(help="bf16, fp32, int32, or auto: int32 for integers, else bf16.")
]
Network = Annotated[
    str, typer.Option(help="streams (static rates) or packets (switch by switch, with credits).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Source = Annotated[
    str, typer.Argument(help="monarch, experts, or FILE.py:function returning (kernel, arguments).")
]
Trace = Annotated[Path | None, typer.Option(help="Write a Chrome trace to this file.")]
Plot = Annotated[
    Path | None, typer.Option(help="Draw time, stalls and roofline to this .svg or .png.")
]
Draw = Annotated[
    Path | None, typer.Option(help="Draw the placement and routes to this .svg or .png.")
]

Memory = Annotated[Path | None, typer.Option(help="Draw the memory map to this .svg or .png.")]


@app.command()
def demo(
    chip: ChipFile = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of the expert layer.")] = 64,
    as_json: Json = False,
) -> None:
    """Run Table I of the paper, a routed expert layer unfused and fused, and small decoders."""
    node = _node(chip)
    graph = rdu.models.monarch_fft()
    intensities = [
        {"fusion": fusion, "paper": _oi(graph, fusion, "paper"), "strict": _oi(graph, fusion)}
        for fusion in ("none", "gemm0-mul-transpose", "full")
    ]
    experts, arrays = _experts(tokens)
    rows: list[dict[str, Any]] = []
    results: list[Any] = []
    for fusion in steps(("none", "pattern", "spatial")):
        program = rdu.compile(experts, node, fusion=fusion)
        result, report = rdu.run(program, *arrays)
        results.append(result)
        rows.append(_row(fusion, report))
    same = all(np.array_equal(results[0], other) for other in results[1:])
    with busy("training small decoders and letting them write"):
        written = _written(node)
    if as_json:
        out = {"monarch_fft": intensities, "expert_layer": rows, "equal_results": same}
        out["composition"] = written
        typer.echo(json.dumps(out, indent=2))
        return
    _print_table("Monarch FFT, operations per byte (table I)", intensities)
    typer.echo()
    _print_table(f"Routed expert layer, {tokens} tokens, 8 experts, 2 a token", rows)
    typer.echo(f"results equal bit for bit: {'yes' if same else 'NO'}")
    typer.echo()
    _print_table("Small decoders trained on texts at hand, routed to one of three", written)


def _written(node: rdu.Node) -> list[dict[str, Any]]:
    """Prompts answered by the small composition, on the unit and in NumPy."""
    from rdu import small

    prompts, count = ["If the iterable is ", "Return a new array ", "the distribution is "], 8
    composition = small.shipped()
    ours, numpy = composition.run(prompts, count, node), composition.reference(prompts, count)
    return [
        {
            "prompt": reply.prompt,
            "expert": reply.expert,
            "text": reply.text,
            "as NumPy": "yes" if reply.text == other.text else "NO",
            "microseconds": round(1e6 * reply.seconds, 1),
        }
        for reply, other in zip(ours.replies, numpy.replies, strict=True)
    ]


_OF_GRAPHS = ("split", "pipeline", "precision", "network", "trace", "plot", "draw")
_OF_MODELS = ("phase", "batch", "sequence")


@app.command()
def estimate(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="monarch, experts, FILE.py:function, a model such as llama2-7b, or a config.json."
        ),
    ] = "monarch",
    fusion: Fusion = "spatial",
    orchestration: Orchestration = "hardware",
    split: Split = "",
    pipeline: Pipeline = False,
    sockets: Sockets = None,
    chip: ChipFile = None,
    precision: Precision = "auto",
    network: Network = "streams",
    as_json: Json = False,
    trace: Trace = None,
    plot: Plot = None,
    draw: Draw = None,
    memory: Memory = None,
    phase: Annotated[str, typer.Option(help="For a model: prefill, decode or train.")] = "decode",
    batch: Annotated[int, typer.Option(min=1, help="For a model: number of sequences.")] = 1,
    sequence: Annotated[
        int, typer.Option(min=1, help="For a model: tokens of each sequence.")
    ] = 4096,
) -> None:
    """Estimate the time of a graph, without data, or of a whole language model."""
    model = model_of(source)
    if model is not None:
        refuse_unused(context, _OF_GRAPHS, "a graph that is mapped, not of a whole model")
        node = _node(chip, 8 if sockets is None else sockets)
        estimate_model(
            model,
            node,
            phase=phase,
            batch=batch,
            sequence=sequence,
            fusion=fusion,
            orchestration=orchestration,
            as_json=as_json,
            memory=memory,
        )
        return
    refuse_unused(context, _OF_MODELS, "a whole model, such as llama2-7b")
    graph, _ = _graph(source, precision)
    program = rdu.compile(
        graph,
        _node(chip, sockets),
        fusion=fusion,
        orchestration=orchestration,
        split=tuple(axis for axis in split.split(",") if axis),
        pipeline=pipeline,
    )
    _tell_of_idle(program, sockets)
    report = rdu.estimate(program, network=network)
    _show(program, report, as_json, trace, plot, draw, memory)


@app.command()
def run(
    source: Source = "experts",
    fusion: Fusion = "spatial",
    orchestration: Orchestration = "hardware",
    split: Split = "",
    pipeline: Pipeline = False,
    sockets: Sockets = None,
    chip: ChipFile = None,
    precision: Precision = "auto",
    network: Network = "streams",
    as_json: Json = False,
    trace: Trace = None,
    plot: Plot = None,
    draw: Draw = None,
    memory: Memory = None,
) -> None:
    """Compile a graph and run it on data (its own, or random for the named graphs)."""
    graph, arrays = _graph(source, precision)
    program = rdu.compile(
        graph,
        _node(chip, sockets),
        fusion=fusion,
        orchestration=orchestration,
        split=tuple(axis for axis in split.split(",") if axis),
        pipeline=pipeline,
    )
    _tell_of_idle(program, sockets)
    with busy("emulating"):
        _, report = rdu.run(program, *arrays, network=network)
    _show(program, report, as_json, trace, plot, draw, memory)


@app.command("trace")
def trace_command(
    source: Source = "monarch",
    precision: Precision = "auto",
    draw: Annotated[Path | None, typer.Option(help="Draw the graph to this .svg or .png.")] = None,
) -> None:
    """Print the dataflow graph of a kernel."""
    graph, _ = _graph(source, precision)
    typer.echo(str(graph))
    if draw is not None:
        typer.echo(f"wrote {graph.draw(draw)}")


def _tell_of_idle(program: rdu.Program, asked: int | None) -> None:
    """Say that sockets that were asked for are not used."""
    if asked is None or asked <= program.sockets:
        return
    axes = ", ".join(program.graph.extents)
    typer.echo(f"rdu: of {asked} sockets {program.sockets} in use", err=True)
    typer.echo(
        f"hint: --split cuts axes over all of them ({axes}), --pipeline gives each a kernel",
        err=True,
    )


def _show(
    program: rdu.Program,
    report: rdu.Report,
    as_json: bool,
    trace: Path | None,
    plot: Path | None,
    draw: Path | None,
    memory: Path | None,
) -> None:
    written = [
        write(path)
        for write, path in (
            (report.chrome_trace, trace),
            (report.plot, plot),
            (program.draw, draw),
            (program.draw_memory, memory),
        )
        if path is not None
    ]
    if as_json:
        typer.echo(report.to_json())
        return
    typer.echo(str(program))
    typer.echo(str(report))
    print_table(report.stall_cells(), left=2)
    for path in written:
        typer.echo(f"wrote {path}")


def _row(fusion: str, report: rdu.Report) -> dict[str, Any]:
    return {
        "fusion": fusion,
        "kernels": len(report.kernels),
        "sram bytes": report.bytes["sram"],
        "hbm bytes": report.bytes["hbm"],
        "ddr bytes": report.bytes["ddr"],
        "flops a byte": round(report.operational_intensity, 1),
        "microseconds": round(report.seconds * 1e6, 2),
        "of it launching": round(report.launch_seconds * 1e6, 2),
    }


def _oi(graph: rdu.Graph, fusion: str, accounting: str = "strict") -> float:
    return round(graph.operational_intensity(fusion, accounting=accounting), 1)


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    cells = [[f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()] for row in rows]
    print_table([list(rows[0]), *cells], title=title)


def _node(path: Path | None, sockets: int | None = None) -> rdu.Node:
    node = rdu.sn40l_node() if path is None else rdu.Node.from_toml(path)
    return node if sockets is None else replace(node, sockets=sockets)


def _graph(source: str, precision: str) -> tuple[rdu.Graph, list[Any]]:
    if source == "monarch":
        graph = rdu.models.monarch_fft(precision=_storage(precision))
        rng = np.random.default_rng(0)
        return graph, [rng.standard_normal(graph.tensor(n).shape) for n in graph.inputs]
    if source == "experts":
        return _experts(64, precision)
    kernel, arguments = load(source, _suggestion(source))
    return rdu.trace(kernel, *arguments, precision=precision), arguments


def _suggestion(source: str) -> str:
    """What a source that names nothing may have meant."""
    if Path(source).is_dir():
        return f"the folder {source} holds no config.json"
    if source.endswith(".py"):
        return f"name a function of the file, as in {source}:function"
    near = difflib.get_close_matches(source, ("monarch", "experts", *rdu.models.PRESETS), 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return "use monarch, experts, FILE.py:function, a model's name (estimate) or a config.json"


def _experts(tokens: int, precision: str = "auto") -> tuple[rdu.Graph, list[Any]]:
    from scipy.sparse import csr_array

    from rdu.models.experts import expert_layer

    experts, width, hidden = 8, 64, 128
    rng = np.random.default_rng(0)
    dense = np.zeros((tokens, experts))
    for row in dense:
        row[rng.choice(experts, 2, replace=False)] = rng.dirichlet((1, 1))
    arrays: list[Any] = [csr_array(dense), rng.standard_normal((tokens, width))]
    shapes = ((experts, width, hidden), (experts, width, hidden), (experts, hidden, width))
    arrays += [rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]
    routing = np.argwhere(dense != 0).astype(np.int64)
    graph = expert_layer(
        tokens, experts, width, hidden, routing=routing, precision=_storage(precision)
    )
    return graph, arrays


def _storage(precision: str) -> rdu.Precision:
    """Return the precision of a named graph, which is of real numbers."""
    try:
        return rdu.Precision("bf16" if precision == "auto" else precision)
    except ValueError:
        raise RDUError(
            f"precision must be auto, bf16, fp32 or int32, found {precision!r}"
        ) from None


def _mount() -> None:
    """Add the sub-commands of the serving runtime and of the paper's tables."""
    from rdu.coe.cli import app as coe
    from rdu.paper.cli import app as paper

    app.add_typer(coe, name="coe")
    app.add_typer(paper, name="paper")


_mount()


def main() -> None:
    """Entry point: a user's mistake is one clear line and exit status 2."""
    try:
        app()
    except (RDUError, SpecError) as error:
        typer.echo(f"rdu: {error}", err=True)
        sys.exit(2)
    except ValueError as error:
        typer.echo(f"rdu: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"rdu: {where}{error.strerror or error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
