"""Rows of a narrow sparse operand that can be laid out whole before the loops that read them.

    for p in a .. b:                            for p in a .. b:
        k = indices(p)                              k = indices(p)
        for q in B_indptr(k) .. B_indptr(k + 1):    for r in 0 .. n_r:
            r = B_indices(q)                   =>       M[r] =add= X(p) * B_rows[k, r]
            M[r] =add= X(p) * B(q)

Takes: a nest that gathers its last mode in a workspace.  Gives: the scan of which each turn is
one of those coordinates.  Invariant: the sum is the same with the operand's fill in the places
that hold no entry; that no coordinate is stored twice in a row, and that searches for the
coordinate give a value everywhere, is for ``find`` to prove.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.iteration.nodes import Chain, Find, Let, Nest, Operand, Scan, Step
from sparsedsl.iteration.request import indices_of
from sparsedsl.iteration.steps import expand
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Term, Var


@dataclass(frozen=True, slots=True)
class Laid:
    """The innermost scan of a chain: rows of ``operand``, which ``pointer`` bounds.

    It runs over row ``row``, which is the value of ``index``, where it is that of one; ``column``
    loads the coordinate of an entry.  ``finds`` are the variables of the searches that follow.
    """

    operand: Operand
    scan: Scan
    column: Let
    pointer: str
    row: Term
    index: str | None
    finds: tuple[str, ...]


def laid_rows(nest: Nest) -> Laid | None:
    """Return the scan whose rows may be laid out; None where there is none of this form."""
    if len(nest.chains) != 1 or nest.assembly.kind != "workspace":
        return None
    (chain,) = nest.chains
    match [step for step in chain.steps if not isinstance(step, Find)]:
        case [*_, Scan(variable, (low,), (high,), str(name)) as scan, Let(last, value) as column]:
            finds = tuple(
                step.variable
                for step in chain.steps[chain.steps.index(column) :]
                if isinstance(step, Find)
            )
        case _:
            return None
    operand, ends = chain.operand(name), pointed(low, high)
    place = terms.var(variable)
    loaded = any(call.arguments == (place,) and value == _call(call) for call in terms.ufs(value))
    delivered = last == nest.coordinates[nest.assembly.modes[-1]]
    if ends is None or not (loaded and delivered) or operand.value.arguments != (place,):
        return None
    if name not in chain.neutral or not _multiplies(nest, chain):
        return None
    index = index_of(nest.prefix + chain.steps, ends[1], indices_of(chain.expression))
    return Laid(operand, scan, column, *ends, index, finds)


def index_of(steps: tuple[Step, ...], row: Term, indices: Collection[str]) -> str | None:
    """Return that of some indices which a row is the value of."""
    match expand(steps, row):
        case Term(((1, Var(name)),), 0) if name in indices:
            return name
        case _:
            return None


def pointed(low: Term, high: Term) -> tuple[str, Term] | None:
    """Return the array and the row of a range from one of its elements to the next."""
    match low.parts:
        case ((1, UF(pointer, (row,))),):
            after = UF(pointer, (terms.add(row, terms.const(1)),))
            return (
                (pointer, row) if low == _call(low.parts[0][1]) and high == _call(after) else None
            )
        case _:
            return None


def _call(call: UF) -> Term:
    return Term(((1, call),))


def _multiplies(nest: Nest, chain: Chain) -> bool:
    """Whether products of values of the output's float dtype are added up, as vectors can."""
    dtype = nest.output.dtype
    for node in walk(chain.expression):
        match node:
            case ct.Call("mul"):
                continue
            case ct.Literal(_, own) if own == dtype:
                continue
            case ct.Access() if _dtype(chain, node) == dtype:
                continue
            case _:
                return False
    return chain.monoid == "add" and dtype in ("float32", "float64")


def _dtype(chain: Chain, access: ct.Access) -> str:
    """Return the dtype of the tensor that an access of a chain reads."""
    return next(o.tensor.dtype for o in chain.operands if o.access == access)
