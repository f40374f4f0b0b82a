"""What planning one output reads, and the accesses and indices of its statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sparsedsl.contraction import nodes as ct
from sparsedsl.iteration.cost import Unevenness
from sparsedsl.iteration.work import Work
from sparsedsl.layouts.layout import Layout


@dataclass(frozen=True, slots=True)
class Request:
    """All that planning one output reads.

    ``entries`` gives, for each tensor, the number of tuples up to each of its layout's
    dimensions, ``lengths`` how long ranges are, and ``uneven`` how unevenly entries lie in them,
    where that is known; ``extents`` the extent of each index.  ``annihilating`` permits skipping
    products with an implicit zero, ``exact`` says that evaluating such a product gives the same.
    ``order`` forces the order of logical indices,
    ``workspace`` how a sparse output is gathered (``"sort"``: as a stream; among the others
    ``find`` chooses).
    ``turning`` permits copies of dense operands in another order of their modes.
    ``patterns`` names, for a tensor, another one that holds equal index arrays; ``implied`` are
    the tensors that no caller gives, and that are not copied.
    ``whole`` is the statement before it was split into terms, if its operands may be merged.
    ``strict`` says which coordinates are taken to come out of order, as ``output.Target`` does.
    ``calls`` are expected with the same operands, so that copies that are kept cost as many times
    less.
    ``effort`` bounds the states a search visits, ``work`` those of all searches, ``ceiling`` the
    cost of a plan;
    ``copying`` is how many accesses a plan must read from copies at least.
    """

    statements: tuple[ct.Assign, ...]
    program: ct.Program
    layouts: Mapping[str, Layout]
    output: Layout
    extents: Mapping[str, int]
    entries: Mapping[str, Mapping[str, float]]
    annihilating: bool = True
    exact: bool = True
    order: tuple[str, ...] | None = None
    workspace: str = "auto"
    whole: ct.Assign | None = None
    effort: int = 4000
    ceiling: float = float("inf")
    copying: int = 0
    turning: bool = True
    patterns: Mapping[str, str] = field(default_factory=dict[str, str])
    implied: frozenset[str] = frozenset()
    lengths: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )
    uneven: Mapping[str, Mapping[str, Unevenness]] = field(
        default_factory=dict[str, Mapping[str, Unevenness]]
    )
    strict: int = 0
    calls: int = 1
    work: Work = field(default_factory=Work, compare=False, repr=False)


def accesses(request: Request) -> list[ct.Access]:
    """Return the distinct accesses of all statements, in order of appearance."""
    found: dict[ct.Access, None] = {}
    for statement in request.statements:
        for access in accesses_of(statement.expression):
            found.setdefault(access)
    return list(found)


def accesses_of(node: ct.Expression) -> list[ct.Access]:
    """Return the distinct accesses of an expression, patterns included, left to right."""
    return list(dict.fromkeys(occurrences(node)))


def occurrences(node: ct.Expression) -> list[ct.Access]:
    """Return every occurrence of an access in an expression, patterns included."""
    match node:
        case ct.Access():
            return [node]
        case ct.Stored(tensor, subscripts, span):
            return [ct.Access(tensor, subscripts, span)]
        case ct.Call(_, arguments):
            return [a for argument in arguments for a in occurrences(argument)]
        case ct.Reduce(_, _, body):
            return occurrences(body)
        case ct.Literal() | ct.IndexValue() | ct.Extent():
            return []


def indices_of(node: ct.Expression) -> list[str]:
    """Return the index names an expression mentions, in order of appearance."""
    match node:
        case ct.Access(_, subscripts, _) | ct.Stored(_, subscripts, _):
            return list(dict.fromkeys(i for s in subscripts for i in s.indices))
        case ct.IndexValue(index):
            return list(index.indices)
        case ct.Call(_, arguments):
            return list(dict.fromkeys(i for a in arguments for i in indices_of(a)))
        case ct.Reduce(_, indices, body):
            return list(dict.fromkeys([*indices_of(body), *indices]))
        case ct.Literal() | ct.Extent():
            return []
