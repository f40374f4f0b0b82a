"""Results in mirrored layouts, such as symmetric ones: one half is computed, for both.

Takes: the statements of an output, and layouts.  Gives: whether they give a tensor and its mirror
image the same, by form; and requests that compute the first half alone.  Invariant: at no
coordinate outside of the half that operands store is there anything but the fill.

    S[i, j] = A[i, j] * x[i] * x[j]   =>   L[i, j] = H[i, j] * x[i] * x[j]

with ``L`` and ``H`` the halves of ``S`` and ``A`` that are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from sparsedsl.contraction import algebra
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.iteration.request import Request, accesses_of
from sparsedsl.layouts.layout import Layout
from sparsedsl.pipeline.mirrors import arranged, canonical, is_square, mirror_of, partial, swapped


@lru_cache(maxsize=128)
def half_of(layout: Layout) -> Layout:
    """Return the layout of the first half of a mirrored one, with its arrays."""
    from sparsedsl.conversion.target_from_layout import first_of

    half = first_of(layout)
    assert half is not None
    return half


def is_symmetric(
    statements: Sequence[ct.Assign],
    program: ct.Program,
    layout: Layout,
    layouts: Mapping[str, Layout],
    *,
    annihilating: bool,
) -> bool:
    """Whether an output in ``layout`` is its mirror image, and its first half that of operands."""
    mirror = mirror_of(layout)
    if mirror is None:
        return False
    used = {a.tensor for s in statements for a in accesses_of(s.expression)}
    found = {name: mirror_of(layouts[name]) for name in used if name in layouts}
    names = frozenset(name for name, other in found.items() if other is not None)
    if any(other is not None and other.where != mirror.where for other in found.values()):
        return False
    return bool(names) and all(_is_mirrored(s, program, names, annihilating) for s in statements)


def _is_mirrored(
    statement: ct.Assign, program: ct.Program, names: frozenset[str], annihilating: bool
) -> bool:
    match statement.subscripts:
        case (row, column) if row.name and column.name and row.name != column.name:
            pair = row.name, column.name
        case _:
            return False
    body = statement.expression
    if isinstance(body, ct.Reduce):
        body = body.body
    used = accesses_of(body)
    plain = {tuple(s.name for s in a.subscripts) for a in used if a.tensor in names}
    square = is_square(body, pair) or all(a.tensor in names for a in used)
    if any(isinstance(node, ct.Reduce) for node in walk(body)) or not square:
        return False
    if not plain <= {pair, pair[::-1]}:
        return False
    support = algebra.support(statement.expression, program, annihilating)
    if not support or not all({a.tensor for a in case} & names for case in support):
        return False
    first, second = (arranged(node, names, pair) for node in (body, swapped(body, pair)))
    return canonical(first) == canonical(second)


def first_half(request: Request) -> Request:
    """Return a request that reads the first half of mirrored tensors, and gives that of the result.

    Entries are told of the half's coordinates alone.
    """
    mirrors = {name: mirror_of(layout) for name, layout in request.layouts.items()}
    halves = {name: mirror.half for name, mirror in mirrors.items() if mirror is not None}
    pair = tuple(s.name or "" for s in request.statements[0].subscripts)
    assert len(pair) == 2
    names = frozenset(halves)

    def lower(statement: ct.Assign) -> ct.Assign:
        match statement.expression:
            case ct.Reduce(monoid, indices, body):
                half: ct.Expression = ct.Reduce(monoid, indices, arranged(body, names, pair))
            case body:
                half = arranged(body, names, pair)
        return replace(statement, expression=half)

    return replace(
        partial(request, names),
        statements=tuple(map(lower, request.statements)),
        whole=None if request.whole is None else lower(request.whole),
        layouts={**request.layouts, **halves},
        implied=request.implied | names,  # a copy would hold both halves
    )
