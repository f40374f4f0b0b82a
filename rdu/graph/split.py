"""One graph on several sockets: axes cut into equal parts, sums over them joined.

Every socket runs the same operators on its part of the cut axes. A tensor with a cut axis is
held in parts, any other is whole on every socket. An operator that keeps a cut axis works on
its part alone (data parallel); one that sums a cut axis gives a partial result, and an
all-reduce behind it adds the parts of all sockets (tensor parallel).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rdu.errors import RDUError
from rdu.graph.graph import Graph
from rdu.graph.nodes import (
    AllReduce,
    Contract,
    Fibres,
    Map,
    Monoid,
    Operand,
    Operator,
    Position,
    Rearrange,
    Reduction,
    RmsNorm,
    Role,
    Softmax,
    SparseProduct,
    Subscript,
    Tensor,
    loop_axes,
    operands,
)


@dataclass(frozen=True, slots=True)
class Sharded:
    """What each of ``sockets`` runs, and along which mode each tensor is cut."""

    local: Graph
    sockets: int
    modes: Mapping[str, int] = field(default_factory=dict[str, int])


def shard(graph: Graph, axes: Sequence[str], sockets: int) -> Sharded:
    """Cut ``axes`` over ``sockets``.

    Raises
    ------
    RDUError
        On an unknown axis, an extent that does not divide, two cut axes in one operator, or an
        operator that needs a cut axis whole; names the operator and what to do.
    """
    for axis in axes:
        if axis not in graph.extents:
            raise RDUError(
                f"split names the axis {axis!r}, which the graph does not have",
                hint=f"axes: {', '.join(graph.extents)}",
            )
        if graph.extents[axis] % sockets:
            raise RDUError(
                f"axis {axis!r} of extent {graph.extents[axis]} does not divide over "
                f"{sockets} sockets",
                hint="choose another axis or another number of sockets",
            )
    extents = {a: n // sockets if a in axes else n for a, n in graph.extents.items()}
    modes: dict[str, int] = {}
    for tensor in graph.tensors:
        cut = [m for m, axis in enumerate(tensor.axes) if axis in axes]
        if len(cut) > 1:
            raise RDUError(f"{tensor.name} has the cut axes {', '.join(axes)}: choose one of them")
        if cut:
            modes[tensor.name] = cut[0]
            _check_tree(tensor, tensor.axes[cut[0]])
    tensors = [_local(tensor, extents) for tensor in graph.tensors]
    operators: list[Operator] = []
    for operator in graph.operators:
        summed = _check(graph, operator, axes)
        if summed is None:
            operators.append(operator)
            continue
        out = operator.output
        part = f"{out.tensor}.part"
        whole = next(t for t in tensors if t.name == out.tensor)
        tensors.append(replace(whole, name=part, role=Role.INTERMEDIATE, element_bytes=4))
        operators.append(replace(operator, output=Operand(part, out.axes)))
        reduce = AllReduce(f"{operator.name}.sum", out, Operand(part, out.axes), summed, sockets)
        operators.append(reduce)
    local = replace(graph, operators=tuple(operators), tensors=tuple(tensors), extents=extents)
    return Sharded(local, sockets, modes)


def _local(tensor: Tensor, extents: Mapping[str, int]) -> Tensor:
    return replace(tensor, shape=tuple(extents[axis] for axis in tensor.axes))


def _check_tree(tensor: Tensor, axis: str) -> None:
    if isinstance(tensor.structure, Fibres) and axis in tensor.structure.levels:
        raise RDUError(
            f"axis {axis!r} is a level of the fibre tree {tensor.name}; parts of it would differ "
            "in work from socket to socket",
            hint="cut an axis along which all tensors are dense",
        )


def _check(graph: Graph, operator: Operator, axes: Sequence[str]) -> Monoid | None:
    """Return how partial results of a summed cut axis are joined, None where there are none."""
    cut = [axis for axis in loop_axes(operator) if axis in axes]
    name = operator.name
    for operand in operands(operator):
        read = operand.axes if not isinstance(operator, Rearrange) else _plain_axes(operator)
        for axis, own in zip(read, graph.tensor(operand.tensor).axes, strict=True):
            if axis != own and (axis in axes or own in axes):
                raise RDUError(
                    f"{name} reads {operand.tensor} along {own!r} under another name, so it needs "
                    "it whole",
                    hint="cut another axis, for example that of the heads or of the hidden layer",
                )
    if len(cut) > 1:
        raise RDUError(f"{name} has the cut axes {', '.join(cut)}: choose one of them")
    if not cut:
        return None
    axis = cut[0]
    match operator:
        case Softmax(axis=whole) | RmsNorm(axis=whole) if whole == axis:
            raise RDUError(f"{name} needs the axis {axis!r} whole", hint="cut another axis")
        case Map(arguments=arguments) if any(
            isinstance(a, Position) and axis in a.axes for a in arguments
        ):
            raise RDUError(f"{name} uses positions along {axis!r}", hint="cut another axis")
        case Rearrange(subscripts=subscripts) if any(
            axis in s.axes and s != Subscript(((axis, 1),)) for s in subscripts
        ):
            raise RDUError(f"{name} reads at computed places along {axis!r}", hint="cut another")
        case _:
            pass
    if axis in operator.output.axes:
        return None
    match operator:
        case Contract() | SparseProduct() if not graph.tensor(operator.output.tensor).sparse:
            return Monoid.SUM
        case Reduction(monoid=monoid):
            return monoid
        case _:
            raise RDUError(f"{name} cannot join partial results along {axis!r}")


def _plain_axes(operator: Rearrange) -> tuple[str, ...]:
    """The axis along which each mode is read in step, ``""`` where places are computed."""
    return tuple(
        s.axes[0] if len(s.terms) == 1 and s == Subscript(((s.axes[0], 1),)) else ""
        for s in operator.subscripts
    )
