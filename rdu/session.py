"""The three calls around a compiled program: trace, run, estimate."""

from __future__ import annotations

from typing import Any

from rdu.emulate.run import simulate
from rdu.emulate.values import bind, part_of, result, whole_of
from rdu.errors import RDUError
from rdu.graph.graph import Graph, Precision
from rdu.mapping.program import Program
from rdu.report import Report


def trace(kernel: Any, *args: Any, precision: str = "bf16") -> Graph:
    """Turn a ``sparsedsl`` kernel and its arguments into a dataflow graph.

    Parameters
    ----------
    kernel:
        A ``sparsedsl.kernel``, or a contraction program.
    *args:
        Its arguments in order: NumPy arrays, SciPy sparse arrays, ``sd.Tensor`` or
        ``sd.ShapeOf(shape, dtype, nnz)``. Of a sparse argument known by nnz alone a uniform
        pattern is assumed (``graph.assumed`` names it).
    precision:
        ``"bf16"`` (storage; float32 arithmetic, one rounding where an operator writes) or
        ``"fp32"``.

    Raises
    ------
    RDUError
        On a precision, a number of arguments or a statement that cannot be used.
    """
    from rdu.graph.arguments import describe
    from rdu.graph.from_contraction import from_contraction

    try:
        storage = Precision(precision)
    except ValueError:
        raise RDUError(f"precision must be 'bf16' or 'fp32', found {precision!r}") from None
    name = "kernel"
    if hasattr(kernel, "contraction"):
        program = kernel.contraction(*args).program
        name = getattr(kernel, "__name__", name)
    elif hasattr(kernel, "statements"):
        program = kernel
    else:
        raise RDUError(
            f"expected a sparsedsl kernel or a contraction program, found {type(kernel).__name__}",
            hint="decorate the function with @sparsedsl.kernel",
        )
    if len(args) != len(program.inputs):
        raise RDUError(f"the kernel has {len(program.inputs)} inputs, {len(args)} were given")
    pairs = zip(program.inputs, args, strict=True)
    arguments = {tensor.name: describe(arg) for tensor, arg in pairs}
    return from_contraction(program, arguments, name=name, precision=storage)


def run(program: Program, *arrays: Any) -> tuple[Any, Report]:
    """Run a compiled program on data: values and cycles from one simulation.

    Parameters
    ----------
    program:
        What ``rdu.compile`` returned.
    *arrays:
        The graph's inputs in order, of the traced shapes; rounded to the storage precision.

    Returns
    -------
    The result (a tuple if there are several) and the report. Dense results are float32 arrays
    that hold values of the storage precision; two-dimensional fibre trees come as
    ``scipy.sparse.csr_array``, others as dense arrays.

    Raises
    ------
    RDUError
        If the number, the shapes or the kind of the arrays do not fit the graph.
    """
    graph = program.graph
    if len(arrays) != len(graph.inputs):
        raise RDUError(
            f"the graph has {len(graph.inputs)} inputs ({', '.join(graph.inputs)}), "
            f"{len(arrays)} arrays were given"
        )
    bound = {
        name: bind(graph, name, array) for name, array in zip(graph.inputs, arrays, strict=True)
    }
    values = [
        {name: part_of(program, name, value, socket) for name, value in bound.items()}
        for socket in range(program.sockets)
    ]
    report = simulate(program, values)
    results = tuple(
        result(
            graph, name, whole_of(program, name, [held[name] for held in values if name in held])
        )
        for name in graph.results
    )
    return (results[0] if len(results) == 1 else results), report


def estimate(program: Program) -> Report:
    """Time a compiled program without data; the cycles are those of :func:`run`."""
    return simulate(program, None)
