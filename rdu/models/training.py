"""The backward pass and the optimizer, derived from the operators of the forward pass."""

from __future__ import annotations

from collections.abc import Sequence

from rdu.models.operators import GroupBuilder, Operator, Product

ADAM_STEPS = (
    "moment1.decay",
    "moment1.add",
    "square",
    "moment2.decay",
    "moment2.add",
    "correct1",
    "correct2",
    "root",
    "epsilon",
    "divide",
    "rate",
    "update",
)
"""Elementwise operations of one Adam step."""

_ADAM_STATE = {"moment1.decay": 2, "moment1.add": 2, "moment2.decay": 2, "moment2.add": 2}
"""fp32 moments read or written, in bf16 elements a weight."""


def backward(forward: Sequence[Operator], group: str, width: int = 2) -> tuple[Operator, ...]:
    """One operator for each operand's gradient, in reverse order.

    A product has one a side; an addition, a cast and an all-reduce none (the gradient passes); a
    tensor that enters column-split weights gets an all-reduce of its gradient. Tensors used more
    than once get an addition. Activations of the forward pass are read from device memory.
    """
    b = GroupBuilder(group, forward[0].repeat, width)
    split = any(op.kind == "collective" for op in forward)
    last = forward[-1]
    gradients = {last.name: b.tensor(f"grad.{last.name}", last.output_bytes / width)}
    late: set[str] = set()
    for op in reversed(forward):
        dy = gradients.get(op.name)
        if dy is None:
            continue
        if split and op.fork:
            dy = b.add(f"{op.name}.allreduce", "collective", [dy], op.output_bytes / width)
        for index, (source, size) in enumerate(op.reads):
            dx = _operand(b, op, index, dy, barrier=dy in late)
            if op.kind == "attention" and index:
                late.add(dx)  # summed over all queries, complete only after the last
            if source in gradients:
                total = [gradients[source], dx]
                dx = b.add(f"{op.name}.sum.{source}", "elementwise", total, size / width)
            gradients[source] = dx
        if op.weight_bytes and op.kind != "gather":
            _weight(b, op, dy)
    return tuple(b.operators)


def _operand(b: GroupBuilder, op: Operator, index: int, dy: str, *, barrier: bool) -> str:
    """The gradient of one operand of ``op``; ``dy`` itself where nothing is computed."""
    if op.passes or op.kind == "collective":
        return dy
    source, size_bytes = op.reads[index]
    name, size = f"{op.name}.grad.{source}", size_bytes / b.element_bytes
    if op.product is not None:
        p = op.product
        reads, weights = [dy], op.weight_bytes / b.element_bytes
        if op.kind == "attention":
            reads.append(_saved(b, op, 1 - index))
        m, k, n = (p.m, p.n, p.k) if index == 0 else (p.k, p.m, p.n)
        turned = Product(p.count, m, k, n, p.density)
        return b.add(name, op.kind, reads, size, weights=weights, product=turned, barrier=barrier)
    if op.kind in ("layout", "gather"):
        return b.add(name, op.kind, [dy], size, barrier=barrier)
    return b.add(name, "elementwise", [dy, _saved(b, op, index)], size, barrier=barrier)


def _saved(b: GroupBuilder, op: Operator, index: int) -> str:
    """An activation kept from the forward pass."""
    source, size = op.reads[min(index, len(op.reads) - 1)]
    return b.tensor(f"saved.{source}", size / b.element_bytes)


def _weight(b: GroupBuilder, op: Operator, dy: str) -> None:
    """The gradient of a weight: a product over all tokens, or a sum of rows."""
    name, size = f"{op.name}.grad.weight", op.weight_bytes / b.element_bytes
    if op.product is None:
        b.add(name, "reduction", [dy], size)
        return
    p = op.product
    turned = Product(p.count, p.k, p.m, p.n, p.density)
    b.add(name, "gemm", [dy, _saved(b, op, 0)], size, product=turned)


def adam(weights: float, group: str, repeat: int, width: int = 2) -> tuple[Operator, ...]:
    """One Adam step over ``weights`` parameters, its two moments in fp32."""
    b = GroupBuilder(group, repeat, width)
    current = b.tensor("gradient", weights)
    for step in ADAM_STEPS:
        state = _ADAM_STATE.get(step, 1 if step == "update" else 0) * weights
        current = b.add(step, "elementwise", [current], weights, state=state)
    return tuple(b.operators)
