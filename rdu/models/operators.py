"""A model as a list of operators: what each reads, writes, computes and sends, per socket.

This is the analytical counterpart of `rdu.graph`: shapes and counts only, for models too large to
hold. Operators of one group run in the order given; a group runs as often as its ``repeat`` says
(once a decoder layer, say), and fusion never crosses its border.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "gemm", "attention", "elementwise", "reduction", "layout", "gather", "collective"
]
"""``gemm`` has a weight, ``attention`` multiplies two activations (or a key-value cache)."""

Phase: TypeAlias = Literal["prefill", "decode", "train"]


@dataclass(frozen=True, slots=True)
class Product:
    """``count`` matrix products ``m x k`` by ``k x n``; ``density`` of their work is done."""

    count: int
    m: int
    k: int
    n: int
    density: float = 1.0

    @property
    def flops(self) -> float:
        """A multiply and an add are two operations."""
        return 2.0 * self.count * self.m * self.k * self.n * self.density


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator on one socket.

    Attributes
    ----------
    name:
        Unique in its group; also the name of the tensor it makes.
    reads:
        ``(tensor, bytes)`` of each activation read; a tensor no operator of the group makes comes
        from outside the group.
    weight_bytes:
        Weights read, shared by all tokens.
    state_bytes:
        Bytes of the key-value cache, of optimizer state or of saved activations read or written:
        in device memory whatever the fusion.
    output_bytes:
        Bytes of the tensor made.
    product:
        The matrix products, if any.
    elements:
        Elements that pass through the SIMD units.
    network_bytes:
        Payload of an all-reduce.
    barrier:
        True where the result can start only when some input is complete, so that a fused kernel
        holds everything alive at this point in scratchpads.
    passes:
        True where the gradient passes unchanged: additions and casts.
    fork:
        True where the output enters column-split weights, so that its gradient is a partial sum.
    element_bytes:
        Width of the numbers computed with: 2 for bf16, 4 for fp32.
    """

    name: str
    kind: Kind
    group: str
    reads: tuple[tuple[str, float], ...]
    output_bytes: float
    weight_bytes: float = 0.0
    state_bytes: float = 0.0
    product: Product | None = None
    elements: float = 0.0
    network_bytes: float = 0.0
    barrier: bool = False
    passes: bool = False
    fork: bool = False
    repeat: int = 1
    element_bytes: int = 2

    @property
    def accumulates(self) -> bool:
        """Whether the result is a weight's gradient, summed over all tokens."""
        return self.kind == "gemm" and not self.weight_bytes

    @property
    def input_bytes(self) -> float:
        """Activations read."""
        return sum(size for _, size in self.reads)

    @property
    def flops(self) -> float:
        """Operations on matrix units, or one an element."""
        return self.product.flops if self.product is not None else self.elements

    @property
    def memory_bytes(self) -> float:
        """Device memory traffic when the operator is a kernel of its own."""
        return self.input_bytes + self.output_bytes + self.weight_bytes + self.state_bytes


@dataclass(frozen=True, slots=True)
class ModelGraph:
    """A model in one phase on ``tensor_parallel`` sockets.

    Attributes
    ----------
    batch, sequence:
        Sequences, and tokens of each: of the prompt, or already in the cache in ``decode``.
    cache_bytes:
        Key-value cache per socket at this length.
    resident_bytes:
        Weights per socket, with gradients and optimizer state in ``train``.
    alternating:
        Layers of two kinds follow each other in turn, so that none of their kernels is the one
        before.
    """

    name: str
    phase: Phase
    batch: int
    sequence: int
    tensor_parallel: int
    operators: tuple[Operator, ...]
    resident_bytes: float = 0.0
    cache_bytes: float = 0.0
    alternating: bool = False

    @property
    def groups(self) -> dict[str, tuple[Operator, ...]]:
        """Operators by group, in order."""
        found: dict[str, list[Operator]] = {}
        for operator in self.operators:
            found.setdefault(operator.group, []).append(operator)
        return {name: tuple(ops) for name, ops in found.items()}

    @property
    def flops(self) -> float:
        """All operations of one socket."""
        return sum(op.flops * op.repeat for op in self.operators)

    @property
    def weight_bytes(self) -> float:
        """Weights one socket reads in one pass."""
        return sum(op.weight_bytes * op.repeat for op in self.operators)

    @property
    def calls(self) -> int:
        """Kernels when every operator is one."""
        return sum(op.repeat for op in self.operators)


@dataclass(slots=True)
class GroupBuilder:
    """Collects the operators of one group; tensors are named by the operator that makes them."""

    group: str
    repeat: int = 1
    element_bytes: int = 2
    operators: list[Operator] = field(default_factory=list[Operator])
    _sizes: dict[str, float] = field(default_factory=dict[str, float])

    def tensor(self, name: str, elements: float) -> str:
        """Declare a tensor that comes from outside the group."""
        self._sizes[name] = elements
        return name

    def size(self, tensor: str) -> float:
        """Elements of a tensor."""
        return self._sizes[tensor]

    def add(
        self,
        name: str,
        kind: Kind,
        reads: Iterable[str],
        elements: float,
        *,
        weights: float = 0.0,
        state: float = 0.0,
        product: Product | None = None,
        work: float | None = None,
        barrier: bool = False,
        passes: bool = False,
        fork: bool = False,
    ) -> str:
        """Append an operator that makes ``elements`` elements; return its tensor's name.

        ``weights`` and ``state`` count elements; ``work`` the elements that pass the SIMD units,
        by default the larger of input and output.
        """
        read = tuple(dict.fromkeys(reads))
        width = self.element_bytes
        if work is None:
            moves = kind in ("layout", "gather", "collective") or product is not None
            largest = max([elements, *(self._sizes[t] for t in read)])
            work = 0.0 if moves else largest
        self.operators.append(
            Operator(
                name=name,
                kind=kind,
                group=self.group,
                reads=tuple((t, self._sizes[t] * width) for t in read),
                output_bytes=elements * width,
                weight_bytes=weights * width,
                state_bytes=state * width,
                product=product,
                elements=work,
                network_bytes=elements * width if kind == "collective" else 0.0,
                barrier=barrier,
                passes=passes,
                fork=fork,
                repeat=self.repeat,
                element_bytes=width,
            )
        )
        self._sizes[name] = elements
        return name
