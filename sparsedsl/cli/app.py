"""The commands.  What is slow to import is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sparsedsl.cli.upkeep import upkeep
from sparsedsl.console import Json, busy, print_json, print_source, print_table

app = typer.Typer(
    name="sparsedsl",
    help="Compile and run sparse tensor expressions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # boxes are for terminals: what is not one gets plain lines
    rich_markup_mode="rich" if sys.stdout.isatty() and sys.stderr.isatty() else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(upkeep)

Statement = Annotated[str, typer.Argument(help='Such as "C[i,j] = A[i,k] * B[k,j]".')]
Layouts = Annotated[
    str, typer.Option(help='Layout of each tensor: "A=csr,B=bcsr(2,2)". Others are dense.')
]
Shapes = Annotated[
    str,
    typer.Option("--shape", help='Extents of indices or tensors: "i=100,j=80" or "A=100x80".'),
]
Counts = Annotated[str, typer.Option("--nnz", help='Stored entries to plan for: "A=5000".')]
Files = Annotated[
    list[str] | None,
    typer.Option("--tensor", "-t", help="NAME=FILE (.mtx, .mtx.gz, .tns, .npz, .npy)."),
]
Out = Annotated[str, typer.Option("--out", help="Layout of the result.")]
Order = Annotated[str, typer.Option(help='Loop order, such as "i k j".')]
Find = Annotated[str, typer.Option(help="How matching entries are found, such as merge.")]
Target = Annotated[Path | None, typer.Option("-o", "--output", help="File to write.")]


MORE = {"allow_extra_args": True}
"""For commands that say themselves where arguments too many belong."""


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Compile and run sparse tensor expressions."""
    if version:
        from sparsedsl import __version__

        print(__version__)
        raise typer.Exit


@app.command()
def demo(
    quick: Annotated[bool, typer.Option(help="Small inputs and few samples.")] = False,
    json: Json = False,
) -> None:
    """Time kernels against scipy on real matrices, and run an expert layer on rdu."""
    from sparsedsl.demo.show import demonstrate

    agree, record = demonstrate(quick=quick, json=json)
    if json:
        print_json(record)
    raise typer.Exit(0 if agree else 1)


@app.command(context_settings=MORE)
def explain(
    context: typer.Context,
    statement: Statement,
    layouts: Layouts = "",
    shape: Shapes = "",
    nnz: Counts = "",
    tensor: Files = None,
    out: Out = "",
    order: Order = "",
    find: Find = "auto",
    svg: Annotated[
        Path | None,
        typer.Option(help="Draw the points that the loops visit to this file (small tensors)."),
    ] = None,
    json: Json = False,
) -> None:
    """Show the iteration space, the plan, the proofs and the estimated cost of a statement.

    Tensors without a file are made up: random entries, 8 a row unless --nnz says otherwise.
    """
    from sparsedsl.cli.arguments import alone, engine, tensors

    alone(context.args)
    with busy("planning and proving"):
        given = tensors(statement, layouts=layouts, shapes=shape, counts=nnz, files=tensor or [])
        made = engine(statement, tuple(given), out, order, find)
        lowered = made.lower(list(given.values()))
        text = lowered.explain()
    if svg is not None:
        from sparsedsl.pictures.space import visited

        svg.write_text(visited(made, list(given.values())), encoding="utf-8")
    if not json:
        print(text)
        if svg is not None:
            print(f"written to {svg}")
        return
    proofs = [
        {"goal": p.name, "proved": p.proved, "seconds": p.seconds, "allows": p.allows}
        for p in lowered.proofs
    ]
    print_json(
        {
            "statement": statement,
            "iteration_space": lowered.iteration_space.splitlines(),
            "plan": lowered.plan.splitlines(),
            "proofs": proofs,
            "estimated_seconds": lowered.cost / 1e9,
        }
    )


@app.command(context_settings=MORE)
def show(
    context: typer.Context,
    statement: Statement,
    layouts: Layouts = "",
    shape: Shapes = "",
    nnz: Counts = "",
    tensor: Files = None,
    out: Out = "",
    order: Order = "",
    find: Find = "auto",
) -> None:
    """Print the code that is generated for a statement."""
    from sparsedsl.cli.arguments import alone

    alone(context.args)
    with busy("planning"):
        source = _lowered(statement, layouts, shape, nnz, tensor, (out, order, find)).source
    print_source(source)


def _lowered(
    statement: str,
    layouts: str,
    shape: str,
    nnz: str,
    tensor: list[str] | None,
    forced: tuple[str, str, str],
) -> Any:
    from sparsedsl.cli.arguments import engine, tensors

    given = tensors(statement, layouts=layouts, shapes=shape, counts=nnz, files=tensor or [])
    out, order, find = forced
    return engine(statement, tuple(given), out, order, find).lower(list(given.values()))


@app.command(context_settings=MORE)
def run(
    context: typer.Context,
    statement: Statement,
    tensor: Files = None,
    layouts: Annotated[str, typer.Option(help="Convert tensors first: A=csc.")] = "",
    out: Out = "",
    order: Order = "",
    find: Find = "auto",
    output: Target = None,
    json: Json = False,
) -> None:
    """Evaluate a statement on tensors read from files."""
    import time

    from sparsedsl.cli.arguments import alone, engine, loaded
    from sparsedsl.interop import asarray
    from sparsedsl.interop.files import write

    alone(context.args)
    with busy("reading and computing"):
        given = loaded(statement, tensor or [], layouts)
        start = time.perf_counter()
        chosen = engine(statement, tuple(given), out, order, find)
        result = asarray(chosen.run(list(given.values())))
        seconds = time.perf_counter() - start
        if output is not None:
            write(output, result)
    if json:
        print_json({**_record(result), "seconds": seconds, "output": output})
    else:
        print(f"{result!r} in {seconds:.3g} s, compilation included")
        if output is not None:
            print(f"written to {output}")


def _record(tensor: Any) -> dict[str, Any]:
    return {
        "layout": tensor.layout.label,
        "shape": tensor.shape,
        "dtype": str(tensor.dtype),
        "nnz": tensor.nnz,
        "arrays": {name: {"dtype": str(a.dtype), "shape": a.shape} for name, a in _arrays(tensor)},
    }


def _arrays(tensor: Any) -> list[tuple[str, Any]]:
    return list(tensor.arrays.items())


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="File to read.")],
    target: Annotated[Path, typer.Argument(help="File to write.")],
    layout: Annotated[str, typer.Option(help="Layout to store it in.")] = "",
    json: Json = False,
) -> None:
    """Convert a file of a tensor to another file format, another layout, or both.

    Only .npz keeps every layout; other formats store coordinates or a dense array.
    """
    from sparsedsl.cli.arguments import layout_of
    from sparsedsl.interop.files import read, write

    with busy("converting"):
        tensor = read(source)
        if layout:
            tensor = tensor.convert(layout_of(layout))
        write(target, tensor)
    if json:
        print_json({**_record(tensor), "output": target})
        return
    print(f"{tensor!r}")
    print_table([(f"{n}:", f"{a.dtype} {a.shape}") for n, a in _arrays(tensor)], indent=2)


@app.command()
def layouts(
    name: Annotated[str | None, typer.Argument(help="A layout. Default: list them all.")] = None,
    order: Annotated[
        int, typer.Option(min=1, help="Number of modes, for layouts of any order.")
    ] = 2,
    shape: Annotated[
        str, typer.Option(help="Print the bytes of a tensor of this shape: 1000x500.")
    ] = "",
    nnz: Annotated[int, typer.Option(min=0, help="With --shape: the number of entries.")] = 0,
    counts: Annotated[
        str, typer.Option(help="With --shape: lengths that --nnz does not determine: W=4.")
    ] = "",
    tensor: Annotated[
        Path | None,
        typer.Option("--tensor", "-t", help="Print the bytes that the tensor in this file takes."),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(help="With a layout: draw an example and its arrays to this file."),
    ] = None,
    json: Json = False,
) -> None:
    """List the layouts, or show one: its relation, its properties, its arrays and lengths."""
    from sparsedsl.cli.arguments import specification, summary

    if name is None:
        records = summary()
    else:
        records = [specification(name, order, (shape, nnz, counts), tensor)]
    if svg is not None:
        from sparsedsl.cli.arguments import drawn_layout

        if name is None:
            raise typer.BadParameter("name the layout to draw", param_hint="--svg")
        svg.write_text(drawn_layout(name, order), encoding="utf-8")
    if json:
        print_json(records if name is None else records[0])
        return
    if name is None:
        print_table([(r["name"], r["about"]) for r in records])
        return
    (r,) = records
    print(f"{r['name']}\n  {r['relation']}\nvalue\n  {r['value']}")
    for heading in ("properties", "block sizes", "arrays", "bytes", "example"):
        if r[heading]:
            print(heading)
            for line in r[heading]:
                print(f"  {line}")


@app.command()
def spy(
    source: Annotated[Path, typer.Argument(help="File of a matrix to read.")],
    target: Annotated[Path, typer.Argument(help="Picture to write (.svg).")],
) -> None:
    """Draw where the entries of a matrix lie."""
    from sparsedsl.interop.files import read
    from sparsedsl.pictures import spy as draw

    if target.suffix != ".svg":
        raise typer.BadParameter(f"expected a file name ending in .svg, found {target}")
    tensor = read(source)
    target.write_text(draw(tensor), encoding="utf-8")
    print(f"{tensor!r}\nwritten to {target}")


@app.command("compile")
def compile_ahead(
    statement: Statement,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Files to write, without ending: spmv for spmv.py, spmv.h, spmv.o.",
        ),
    ],
    layouts: Layouts = "",
    out: Out = "",
    order: Order = "",
    json: Json = False,
) -> None:
    """Write a kernel as a Python module (NumPy and Numba), and as a C header and object file.

    Values are float64. A kernel that needs Numba has no C files; the command says why.
    """
    from sparsedsl.cli.ahead import write_files

    with busy("planning and compiling"):
        lowered = _lowered(statement, layouts, "", "", None, (out, order, "auto"))
        written, missing = write_files(lowered, output)
    if json:
        print_json({"written": written, "missing": missing})
        return
    for path in written:
        print(f"written to {path}")
    if missing:
        print(f"no C files: {missing}")


@app.command()
def bench(
    kernels: Annotated[
        str, typer.Option(help='Names or beginnings, separated by commas: "spmv,spgemm".')
    ] = "",
    matrices: Annotated[str, typer.Option(help='Inputs, separated by commas: "a,c".')] = "",
    quick: Annotated[bool, typer.Option(help="Small inputs and few samples.")] = False,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads; every cell is timed on one thread too.")
    ] = 1,
    finds: Annotated[
        bool, typer.Option(help="Time every find beside the chosen one, over many sizes.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Markdown file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of the ratios (.png, .svg).")] = None,
    note: Annotated[str, typer.Option(help="A line to add to the report.")] = "",
    json: Json = False,
) -> None:
    """Time kernels against scipy, hand-written code and installed peers, after checking results."""
    from sparsedsl.bench.command import bench as measure
    from sparsedsl.bench.command import compare_finds

    if finds:
        record = compare_finds(quick=quick, json=json, output=output, note=note)
        if json:
            print_json(record)
        return
    agree, record = measure(
        kernels,
        matrices,
        quick=quick,
        threads=threads,
        json=json,
        output=output,
        picture=plot,
        note=note,
    )
    if json:
        print_json(record)
    raise typer.Exit(0 if agree else 1)
