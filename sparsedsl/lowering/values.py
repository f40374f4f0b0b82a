"""The values of operands while a chain is lowered: where they are bound, and to what.

Takes: operands whose positions become known.  Gives: statements that load them, and the
expression each access stands for.  Invariant: a value is loaded at most once on a path.
"""

from __future__ import annotations

from collections.abc import Callable

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.iteration.nodes import Operand
from sparsedsl.loops.nodes import Assign, Expr, Load, Stmt, Var
from sparsedsl.lowering.emitter import Emitter


class Values:
    """What the accesses of one expression stand for so far."""

    def __init__(self, emitter: Emitter, expression: ct.Expression) -> None:
        self.emitter = emitter
        self.expression = expression
        self.known: dict[ct.Access, Expr] = {}
        self.bound: set[str] = set()
        self.laid_out: dict[str, Load] = {}

    def uses(self, operand: Operand) -> tuple[bool, bool]:
        """Return whether the operand's value, and whether its pattern, is read."""
        value = stored = False
        for node in walk(self.expression):
            if isinstance(node, ct.Access) and node == operand.access:
                value = True
            elif isinstance(node, ct.Stored):
                same = (node.tensor, node.subscripts)
                stored |= same == (operand.access.tensor, operand.access.subscripts)
        return value, stored

    def load(self, operand: Operand) -> Load:
        """Return the stored value at the operand's position, or what a find laid out."""
        if operand.name in self.laid_out:
            return self.laid_out[operand.name]
        place = operand.value
        return self.emitter.load(place.function, place.arguments, operand.tensor.dtype)

    def bind(self, operand: Operand, value: Expr, hit: Expr) -> None:
        """Let the operand's access stand for ``value``, its pattern for ``hit``."""
        used, stored = self.uses(operand)
        self.bound.add(operand.name)
        if used:
            self.known[operand.access] = value
        if stored:
            self.known[pattern(operand)] = hit

    def bind_loaded(self, operand: Operand, hit: Expr) -> list[Stmt]:
        """Bind the operand to its stored value, loaded here."""
        value = local(operand, "v", operand.tensor.dtype)
        self.bind(operand, value, hit)
        return [Assign(value, self.load(operand))] if self.uses(operand)[0] else []

    def apart(self, body: Callable[[], list[Stmt]]) -> list[Stmt]:
        """Emit ``body`` in a place of its own: what it loads is not loaded elsewhere."""
        bound, known = set(self.bound), dict(self.known)
        found = body()
        self.bound, self.known = bound, known
        return found


def pattern(operand: Operand) -> ct.Access:
    """Return the key under which an operand's pattern is kept among the values."""
    return ct.Access(f"?{operand.access.tensor}", operand.access.subscripts)


def local(operand: Operand, suffix: str, type: str) -> Var:
    """Return a variable of an operand, named apart from its dimensions and arrays."""
    taken = {*operand.dims, *operand.existentials}
    taken |= {used for _, used in (*operand.functions, *operand.parameters)}
    name = f"{operand.name}_{suffix}"
    while name in taken:
        name += "_"
    return Var(name, type)
