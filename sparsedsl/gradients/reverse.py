"""A program to the program of its gradients, by reverse accumulation.

Takes: a contraction program, the inputs to differentiate by, and which of them are read
through selectors.  Gives: a program whose results are the gradients.  Invariant: the cotangent
of a statement flows to every access of its right side as one more statement; no statement has
a dense result that is larger than an operand or a result of the original program.

The derivative by a stored value is that by the access ``A[i, j]``, summed over all places
where the value stands.  A selector ``s`` is a tensor of one more mode, ``s[p, i, j] = 1`` where
the ``p``-th stored value of ``A`` is that of ``(i, j)``, so

    y[i] = sum(j, A[i, j] * x[j])  =>  dA[p] = sum(i j, s[p, i, j] * (dy[i] * x[j]))
                                       dx[j] = sum(i, dy[i] * A[i, j])

See Griewank and Walther, "Evaluating Derivatives", chapter 3, for reverse accumulation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from sparsedsl.contraction.algebra import support
from sparsedsl.contraction.bindings import distinct, free_indices, rename
from sparsedsl.contraction.derivatives import call, derivatives, number, product
from sparsedsl.contraction.expressions import dtype_of, walk
from sparsedsl.contraction.lift import lift
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
    Tensor,
)
from sparsedsl.contraction.verify import verify
from sparsedsl.contraction.versions import settled
from sparsedsl.errors import PlanError


@dataclass(frozen=True, slots=True)
class Names:
    """What the added tensors are called: cotangents of results, selectors, gradients."""

    cotangents: Mapping[str, str]
    selectors: Mapping[str, str]
    gradients: Mapping[str, str]


def names_of(program: Program, wrt: Sequence[str], selected: frozenset[str]) -> Names:
    """Return names that the program does not use."""
    taken = {t.name for t in (*program.inputs, *program.outputs)}

    def fresh(prefix: str, names: Sequence[str]) -> dict[str, str]:
        made = {name: f"{prefix}_{name}" for name in names}
        while taken & set(made.values()):
            made = {name: f"{new}_" for name, new in made.items()}
        taken.update(made.values())
        return made

    return Names(
        fresh("cot", program.results),
        fresh("sel", [name for name in wrt if name in selected]),
        fresh("grad", wrt),
    )


def plainly_read(program: Program, name: str) -> bool:
    """Whether every access of ``name`` has distinct plain indices as subscripts."""
    accesses = (e for s in program.statements for e in walk(s.expression) if isinstance(e, Access))
    return all(_plain(a.subscripts) for a in accesses if a.tensor == name)


def _plain(subscripts: Sequence[Affine]) -> bool:
    names = [s.name for s in subscripts]
    return None not in names and len(set(names)) == len(names)


@dataclass(frozen=True, slots=True)
class _Flow:
    """A cotangent that reaches ``tensor[subscripts]`` in a statement over ``indices``."""

    subscripts: tuple[Affine, ...]
    cotangent: Expression
    indices: tuple[str, ...]
    body: Expression


_Reached: TypeAlias = "tuple[Access, Expression]"
"""An access and a cotangent that reaches it."""


@dataclass(slots=True)
class _Reverse:
    program: Program
    wrt: tuple[str, ...]
    names: Names
    added: list[Tensor]
    relevant: frozenset[str]
    flows: dict[str, list[_Flow]] = field(default_factory=dict[str, list[_Flow]])
    statements: list[Assign] = field(default_factory=list[Assign])
    outputs: list[Tensor] = field(default_factory=list[Tensor])

    def known(self) -> Program:
        """Every tensor so far, for questions of dtype."""
        inputs = (*self.program.inputs, *self.added)
        return Program(inputs, (*self.program.outputs, *self.outputs), (), ())

    def run(self) -> Program:
        # what reads an output comes after the last of its statements
        for target in dict.fromkeys(s.target for s in reversed(self.program.statements)):
            if target not in self.relevant:
                continue
            cotangent = self._cotangent_of(target)
            if cotangent is None:
                continue
            for statement in self.program.statements:
                if statement.target == target:
                    self._statement(statement, cotangent)
        for name in self.wrt:
            self._gradient(name)
        forward = self._needed()
        return verify(
            Program(
                (*self.program.inputs, *self.added),
                (*(self.program.tensor(n) for n in forward), *self.outputs),
                (
                    *(s for s in self.program.statements if s.target in forward),
                    *self.statements,
                ),
                tuple(self.names.gradients[n] for n in self.wrt),
            )
        )

    def _needed(self) -> list[str]:
        """The original outputs that the gradients read, in order."""
        read = {a.tensor for s in self.statements for a in _reads(s.expression)}
        for statement in reversed(self.program.statements):
            if statement.target in read:
                read |= {a.tensor for a in _reads(statement.expression)}
        return [t.name for t in self.program.outputs if t.name in read]

    def _cotangent_of(self, target: str) -> str | None:
        """The tensor that holds the cotangent of an output; None where nothing reaches it."""
        given = self.names.cotangents.get(target)
        flows = self.flows.get(target, [])
        if not flows:
            return given
        rank = self.program.tensor(target).rank
        places = self._places(target, rank)
        terms = [self._flow(f, places) for f in flows]
        if given is not None:
            terms.append(Access(given, tuple(map(Affine.of, places))))
        value = _added(terms)
        mask = self._mask(target, places)
        for factor in mask:
            value = call("mul", factor, value)
        name = f"d_{target}"
        while name in {t.name for t in (*self.known().inputs, *self.known().outputs)}:
            name += "_"
        self._assign(name, places, value)
        return name

    def _places(self, name: str, rank: int) -> tuple[str, ...]:
        """Indices of a tensor's own: an index has one extent in the whole program."""
        tensors = [t.name for t in (*self.program.inputs, *self.program.outputs)]
        return tuple(f"g{tensors.index(name)}m{n}" for n in range(rank))

    def _mask(self, target: str, places: tuple[str, ...]) -> list[Stored]:
        """Patterns outside which an intermediate is its fill whatever its operands are."""
        statements = [s for s in self.program.statements if s.target == target]
        if len(statements) != 1:
            return []
        (statement,) = statements
        found = support(statement.expression, self.program)
        left = [s.name or "" for s in statement.subscripts]
        names = dict(zip(left, places, strict=True))
        if len(found) != 1:
            return []
        masks: list[Stored] = []
        for access in sorted(found[0], key=lambda a: a.tensor):
            if set(free_indices(access)) <= set(left):
                renamed = rename(access, names)
                assert isinstance(renamed, Access)
                masks.append(Stored(renamed.tensor, renamed.subscripts))
        return masks

    def _statement(self, statement: Assign, cotangent: str) -> None:
        """Send the cotangent of a statement's target to the accesses of its right side."""
        value: Expression = Access(cotangent, statement.subscripts)
        indices = tuple(s.name or "" for s in statement.subscripts)
        body = statement.expression
        if isinstance(body, Reduce):
            indices, reached = (*indices, *body.indices), self._through(body, statement, value)
            body = body.body
        else:
            reached = self._adjoint(body, value)
        for access, found in reached:
            flow = _Flow(access.subscripts, found, indices, body)
            self.flows.setdefault(access.tensor, []).append(flow)

    def _through(self, node: Reduce, statement: Assign, value: Expression) -> Iterator[_Reached]:
        """Yield what the cotangent of a reduction gives the accesses of its body."""
        match node.monoid:
            case "add":
                yield from self._adjoint(node.body, value)
            case "min" | "max":
                # equal bodies share the cotangent of the one that was taken
                best = Access(statement.target, statement.subscripts)
                taken = call("eq", node.body, best)
                dtype = dtype_of(node, self.program)
                one, zero = number(1, dtype), number(0, dtype)
                counted = Reduce("add", node.indices, call("where", taken, one, zero))
                for access, found in self._adjoint(node.body, call("div", value, counted)):
                    yield access, call("where", taken, found, zero)
            case _:
                raise PlanError(
                    f"the gradient of '{node.monoid}' is not defined here",
                    span=statement.span,
                    hint="sums, minima and maxima have one; a product is exp of a sum of logs",
                )

    def _adjoint(self, node: Expression, value: Expression) -> Iterator[_Reached]:
        """Yield what the cotangent ``value`` of an expression gives each access in it."""
        match node:
            case Access(tensor, _):
                if tensor in self.relevant:
                    yield node, value
            case Call("where", (condition, yes, no)):
                # the choice comes last: what is not chosen may have infinite derivatives
                zero = number(0, dtype_of(node, self.program))
                for access, found in self._adjoint(yes, value):
                    yield access, call("where", condition, found, zero)
                for access, found in self._adjoint(no, value):
                    yield access, call("where", condition, zero, found)
            case Call(_, arguments):
                dtype = dtype_of(node, self.program)
                if np.dtype(dtype).kind != "f":
                    return
                for argument, part in zip(arguments, derivatives(node, dtype), strict=True):
                    if part is not None and self._depends(argument):
                        yield from self._adjoint(argument, product(value, part))
            case _:
                assert isinstance(node, Literal | Stored | IndexValue | Extent)

    def _depends(self, node: Expression) -> bool:
        return any(isinstance(e, Access) and e.tensor in self.relevant for e in walk(node))

    def _gradient(self, name: str) -> None:
        """State the gradient by an input: by position where it has a selector, else by index."""
        flows = self.flows.get(name, [])
        tensor = self.program.tensor(name)
        selector = self.names.selectors.get(name)
        if selector is None:
            places = self._places(name, tensor.rank)
            terms = [self._flow(f, places) for f in flows]
        else:
            places = self._places(name, 1)
            terms = [self._selected(f, selector, places[0]) for f in flows]
        if not flows:
            raise PlanError(
                f"the result does not depend on '{name}' in a way that has a derivative",
                hint="leave it out of wrt",
            )
        self._assign(self.names.gradients[name], places, _added(terms))

    def _flow(self, flow: _Flow, places: tuple[str, ...]) -> Expression:
        """A cotangent over ``places``, the other indices of its statement summed."""
        if not _plain(flow.subscripts):
            raise PlanError(
                "a gradient needs intermediates that are read by plain indices",
                hint="read them as T[i, j], without repeated or shifted indices",
            )
        own = [s.name or "" for s in flow.subscripts]
        value = distinct(self._summed(flow, flow.cotangent, own), frozenset(places))
        return rename(value, dict(zip(own, places, strict=True)))

    def _selected(self, flow: _Flow, selector: str, position: str) -> Expression:
        access = Access(selector, (Affine.of(position), *flow.subscripts))
        return self._summed(flow, call("mul", access, flow.cotangent), [])

    def _summed(self, flow: _Flow, value: Expression, own: Sequence[str]) -> Expression:
        gone = tuple(n for n in dict.fromkeys(flow.indices) if n not in own)
        for index in gone:
            if index not in free_indices(value):
                value = call("mul", value, self._ones(index, flow.body))
        return Reduce("add", gone, value) if gone else value

    def _ones(self, index: str, body: Expression) -> Expression:
        """A factor 1 that says how far an index goes: an operand with it, to the power 0."""
        access = next(e for e in walk(body) if isinstance(e, Access) and index in free_indices(e))
        dtype = self.known().tensor(access.tensor).dtype
        return call("pow", access, number(0.0, dtype))

    def _assign(self, name: str, places: tuple[str, ...], value: Expression) -> None:
        value = distinct(value, frozenset(places))
        dtype = dtype_of(value, self.known())
        self.outputs.append(Tensor(name, len(places), dtype))
        self.statements.append(Assign(name, tuple(map(Affine.of, places)), value))


def _added(terms: Sequence[Expression]) -> Expression:
    total, *others = terms
    for term in others:
        total = call("add", total, term)
    return total


def _reads(expression: Expression) -> list[Access | Stored]:
    return [e for e in walk(expression) if isinstance(e, Access | Stored)]


def reverse(program: Program, wrt: Sequence[str], names: Names, added: Sequence[Tensor]) -> Program:
    """Return the program that computes the gradients by ``wrt``.

    Parameters
    ----------
    names:
        Of `names_of`.
    added:
        The inputs besides the program's own: cotangents and selectors, in the order given.

    Raises
    ------
    PlanError
        For a reduction without a derivative, an operand the results do not depend on, or an
        intermediate read by computed subscripts.
    """
    lifted = lift(settled(program))
    relevant = set(wrt)
    for statement in lifted.statements:
        if any(a.tensor in relevant for a in _reads(statement.expression)):
            relevant.add(statement.target)
    lifted = replace(lifted, results=program.results)
    pass_ = _Reverse(lifted, tuple(wrt), names, list(added), frozenset(relevant))
    return pass_.run()
