"""The three calls around a compiled program: trace, run, estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rdu.emulate.run import Manner, simulate
from rdu.emulate.values import bind, part_of, result, whole_of
from rdu.errors import RDUError
from rdu.graph.arguments import Argument, describe
from rdu.graph.graph import Graph, Precision, Rounding
from rdu.graph.nodes import is_sparse
from rdu.mapping.program import Program
from rdu.report import Report


def trace(
    kernel: Any,
    *args: Any,
    precision: str = "auto",
    rounding: str = "nearest",
    seed: int = 0,
) -> Graph:
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
        ``"bf16"`` (storage; float32 arithmetic, one rounding where an operator writes),
        ``"fp32"``, ``"int32"`` (exact modulo 2**32; inputs of other integer types are narrowed,
        and refused where a number does not fit), or ``"auto"``: int32 if the
        arguments and all that the kernel makes of them are integers, else bf16.
    rounding:
        ``"nearest"`` (ties to even) or ``"stochastic"``: bf16 results are rounded up or down at
        random, so that the mean is exact. Inputs are rounded to nearest in both.
    seed:
        Of stochastic rounding, 0 to 2**32 - 1. A seed gives the same bits whatever the fusion.

    Raises
    ------
    RDUError
        On a precision, rounding, seed, number of arguments or statement that cannot be used, and
        on stochastic rounding of sparse operators.

    Examples
    --------
    >>> import rdu, sparsedsl as sd
    >>> @sd.kernel
    ... def product(x, W):
    ...     t, d, h = sd.indices("t d h")
    ...     y = sd.output()
    ...     y[t, h] = x[t, d] * W[d, h]
    ...     return y
    >>> graph = rdu.trace(product, sd.ShapeOf((8, 16)), sd.ShapeOf((16, 32)))
    >>> graph.flops == 2 * 8 * 16 * 32
    True
    """
    storages = ("auto", *(p.value for p in Precision))
    if precision not in storages:
        raise RDUError(f"precision must be one of {', '.join(storages)}, found {precision!r}")
    if rounding not in ("nearest", "stochastic"):
        raise RDUError(f"rounding must be 'nearest' or 'stochastic', found {rounding!r}")
    if not 0 <= seed < 2**32:
        raise RDUError(f"seed must be from 0 to 2**32 - 1, found {seed}")
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
    graph = _lowered(program, arguments, name, precision)
    if rounding == "stochastic" and any(map(is_sparse, graph.operators)):
        raise RDUError(
            "stochastic rounding of sparse operators is not modelled",
            hint="pass dense arrays, or round to nearest",
        )
    return replace(graph, rounding=Rounding(rounding), seed=seed)


def _lowered(program: Any, arguments: Mapping[str, Argument], name: str, precision: str) -> Graph:
    """Lower a contraction program; ``"auto"`` takes int32 if it can."""
    from rdu.graph.from_contraction import from_contraction

    if precision != "auto":
        return from_contraction(program, arguments, name=name, precision=Precision(precision))
    kinds = {np.dtype(t.dtype).kind for t in (*program.inputs, *program.outputs)}
    if kinds & {"i", "u"} and kinds <= {"b", "i", "u"}:
        try:
            return from_contraction(program, arguments, name=name, precision=Precision.INT32)
        except RDUError:
            pass  # Something on the way is real, or the next line raises the same error.
    return from_contraction(program, arguments, name=name)


def run(program: Program, *arrays: Any, network: str = "streams") -> tuple[Any, Report]:
    """Run a compiled program on data: values and cycles from one simulation.

    Parameters
    ----------
    program:
        What ``rdu.compile`` returned.
    *arrays:
        The graph's inputs in order, of the traced shapes; rounded to the storage precision.
    network:
        ``"streams"``: tiles move at the rates of the static bandwidth model. ``"packets"``: as
        vectors and scalars, switch by switch, with credits at every hop; links that are full hold
        up the units that send.

    Returns
    -------
    The result (a tuple if there are several) and the report. Dense results are float32 arrays
    that hold values of the storage precision (int32 arrays of an int32 program); two-dimensional
    fibre trees come as
    ``scipy.sparse.csr_array``, others as dense arrays.

    Raises
    ------
    RDUError
        If the number, the shapes or the kind of the arrays do not fit the graph, if ``program``
        is not compiled, or on an unknown network.
    MappingError
        If packets move and a link has too few wires for control tokens.

    Examples
    --------
    >>> import numpy as np, rdu, sparsedsl as sd
    >>> @sd.kernel
    ... def doubled(x):
    ...     i = sd.index("i")
    ...     y = sd.output()
    ...     y[i] = 2 * x[i]
    ...     return y
    >>> x = np.arange(4.0)
    >>> y, report = rdu.run(rdu.compile(rdu.trace(doubled, x), rdu.sn40l_node(1)), x)
    >>> y.tolist(), report.cycles > 0
    ([0.0, 2.0, 4.0, 6.0], True)
    """
    manner = _manner(network)
    graph = _compiled(program).graph
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
    report = simulate(program, values, manner)
    results = tuple(
        result(
            graph, name, whole_of(program, name, [held[name] for held in values if name in held])
        )
        for name in graph.results
    )
    return (results[0] if len(results) == 1 else results), report


def estimate(program: Program, *, network: str = "streams") -> Report:
    """Time a compiled program without data; the cycles are those of :func:`run`.

    Raises
    ------
    RDUError
        If ``program`` is not compiled, or on an unknown network.
    MappingError
        If packets move and a link has too few wires for control tokens.
    """
    return simulate(_compiled(program), None, _manner(network))


def _compiled(program: Program) -> Program:
    if not isinstance(program, Program):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RDUError(
            f"expected a compiled program, found {type(program).__name__}",
            hint="trace the kernel and compile the graph first: "
            "rdu.compile(rdu.trace(kernel, *arrays), node)",
        )
    return program


def _manner(network: str) -> Manner:
    if network not in ("streams", "packets"):
        raise RDUError(f"network must be 'streams' or 'packets', found {network!r}")
    return Manner(packets=network == "packets")
