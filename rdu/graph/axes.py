"""Which modes and indices are the same loop, and in what order loops nest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rdu.errors import RDUError
from rdu.graph.nodes import Function


class Axes:
    """Disjoint classes of nodes; no tensor or operator owns two nodes of one class."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._owners: dict[str, set[str]] = {}
        self._label: dict[str, str] = {}
        self._origin: dict[str, int] = {}

    def add(self, node: str, owner: str, label: str) -> None:
        """Add a mode or index ``node`` of a tensor or operator ``owner``, once."""
        if node not in self._parent:
            self._parent[node] = node
            self._owners[node] = {owner}
            self._label[node] = label
            self._origin[node] = len(self._origin)

    def _find(self, node: str) -> str:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def merge(self, a: str, b: str) -> None:
        """Make two nodes one axis, unless some owner would then have it twice."""
        a, b = self._find(a), self._find(b)
        if a == b or self._owners[a] & self._owners[b]:
            return
        if self._origin[b] < self._origin[a]:
            a, b = b, a
        self._parent[b] = a
        self._owners[a] |= self._owners.pop(b)
        self._label[a] = self._label[a] or self._label[b]

    def names(self) -> dict[str, str]:
        """Return a readable, unique axis name for every node."""
        chosen: dict[str, str] = {}
        taken: set[str] = set()
        for node in self._parent:
            root = self._find(node)
            if root not in chosen:
                label = self._label[root] or "axis"
                name, n = label, 1
                while name in taken:
                    n += 1
                    name = f"{label}{n}"
                taken.add(name)
                chosen[root] = name
        return {node: chosen[self._find(node)] for node in self._parent}


def renamed(node: Any, names: dict[str, str]) -> Any:
    """Replace every provisional axis name inside a node."""
    if isinstance(node, str):
        return names.get(node, node)
    if isinstance(node, tuple):
        return tuple(renamed(part, names) for part in node)
    if dataclasses.is_dataclass(node) and not isinstance(node, Function):
        changes = {f.name: renamed(getattr(node, f.name), names) for f in dataclasses.fields(node)}
        return type(node)(**changes)
    return node


def merge_orders(orders: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Merge level orders into one loop order that each of them is a subsequence of.

    Raises
    ------
    RDUError
        If two trees nest the same two indices in opposite orders.
    """
    names: list[str] = []
    for order in orders:
        names += [axis for axis in order if axis not in names]
    before = {(o[i], o[j]) for o in orders for i in range(len(o)) for j in range(i + 1, len(o))}
    result: list[str] = []
    while len(result) < len(names):
        left = [a for a in names if a not in result]
        free = [a for a in left if not any((b, a) in before for b in left if b != a)]
        if not free:
            raise RDUError(f"the fibre trees nest {', '.join(left)} in opposite orders")
        result.append(free[0])
    return tuple(result)
