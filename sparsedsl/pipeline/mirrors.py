"""Sums over mirrored tensors, such as symmetric ones: each stored entry is visited once.

Takes: a request.  Gives: a request of the same results that reads the first half of such tensors
alone, or None.  Invariant: a coordinate of the first half counts for its mirror image, too, where
that lies in the shape and is another one; each mirrored tensor is read at these two alone.

    s = sum((i, j), x[i] * A[i, j] * x[j])
        =>  s = sum((i, j), where(i > j, f + f, f)),  f = x[i] * L[i, j] * x[j]

with ``L`` the half of ``A`` that is stored.  Sums are taken in another order, which rounding
shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import dtype_of, walk
from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.conversion.order import coordinate, extent
from sparsedsl.conversion.unions import alone
from sparsedsl.iteration.cases import support_of
from sparsedsl.iteration.request import Request, accesses, accesses_of
from sparsedsl.layouts.layout import Layout
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Atom, Constraint, Term, Var

ASSOCIATIVE = frozenset(monoid.operator for monoid in MONOIDS.values())

IDEMPOTENT = frozenset({"min", "max", "any", "all"})
"""Monoids that combine a value with itself to the same value."""

ROW, COLUMN = coordinate(0), coordinate(1)

NAMES = frozenset({ROW, COLUMN, extent(0), extent(1)})


@dataclass(frozen=True, slots=True)
class Mirror:
    """The first half of a layout, and ``where`` a coordinate of it has a mirror image, too.

    The constraints are over coordinates and extents of its modes.
    """

    half: Layout
    where: tuple[Constraint, ...]


def once(request: Request) -> Request | None:
    """Return a request that visits each entry of mirrored tensors once, None where it may not."""
    found: dict[str, Mirror] = {}
    for access in accesses(request):
        mirror = mirror_of(request.layouts[access.tensor])
        if mirror is not None and access.tensor not in request.implied:
            found[access.tensor] = mirror
    wanted = {mirror.where for mirror in found.values()}
    if len(wanted) != 1 or request.whole is not None or not request.annihilating:
        return None
    (where,) = wanted
    request = partial(request, frozenset(found))
    statements: list[ct.Assign] = []
    for statement in request.statements:
        if any(a.tensor in found for a in accesses_of(statement.expression)):
            body = _halved(request, statement, frozenset(found), where)
            if body is None:
                return None
            statement = replace(statement, expression=body)
        statements.append(statement)
    return replace(
        request,
        statements=tuple(statements),
        layouts={**request.layouts, **{name: mirror.half for name, mirror in found.items()}},
        implied=request.implied | frozenset(found),  # a copy would hold both halves
    )


def partial(request: Request, names: frozenset[str]) -> Request:
    """Return the request with tensors that do not store every coordinate: their halves do not."""
    inputs = tuple(
        replace(tensor, total=False) if tensor.name in names else tensor
        for tensor in request.program.inputs
    )
    return replace(request, program=replace(request.program, inputs=inputs))


@lru_cache(maxsize=128)
def mirror_of(layout: Layout) -> Mirror | None:
    """Return the halves of a layout of matrices whose second alternative mirrors its first.

    >>> from sparsedsl.layouts.catalogue import resolve
    >>> from sparsedsl.spf.text import constraint_text
    >>> [constraint_text(c) for c in mirror_of(resolve("symmetric", 2)).where]
    ['c0 < n1', 'c1 < c0']
    >>> mirror_of(resolve("hyb", 2)) is None
    True
    """
    if len(layout.structures) != 2 or layout.rank != 2 or layout.repeats:
        return None
    first, second = layout.structures
    row, column = layout.relation.outputs
    places = first.definition(row), first.definition(column)
    if NAMES & {*layout.relation.parameters, *layout.relation.inputs, row, column}:
        return None
    if first.dims != second.dims or (second.definition(column), second.definition(row)) != places:
        return None
    names: dict[Atom, Term] = {
        Var(name): t.var(extent(mode)) for mode, name in enumerate(layout.extents)
    }
    for mode, place in enumerate(places):
        match place:
            case Term(((1, atom),), 0):
                names[atom] = t.var(coordinate(mode))
            case _:
                return None
    one, two = (
        [
            Constraint(t.replace(c.term, names), c.equality)
            for c in (*part.scan, *part.filters, *part.invariants)
        ]
        for part in (first, second)
    )
    here, there = ([c for c in part if _is_plain(c)] for part in (one, two))
    other = {*one, *two} - {*here, *there}
    if not other <= {*one} & {*two} or not all(isl.implied(c, there) for c in here):
        return None
    where = tuple(c for c in there if not isl.implied(c, here))
    if not isl.is_empty([*here, *where, Constraint(t.subtract(t.var(ROW), t.var(COLUMN)), True)]):
        return None  # the image of a coordinate on the diagonal is itself
    return Mirror(alone(layout, 0), where)


def _is_plain(constraint: Constraint) -> bool:
    """Whether a constraint is about coordinates and extents alone."""
    return not t.ufs(constraint.term) and t.variables(constraint.term) <= NAMES


def _halved(
    request: Request, statement: ct.Assign, names: frozenset[str], where: Sequence[Constraint]
) -> ct.Reduce | None:
    """Return a reduction over one half of the tensors named, None where it is not the same."""
    match statement.expression:
        case ct.Reduce(monoid, indices, body):
            pass
        case _:
            return None
    pair = _pair(body, names)
    if pair is None or not {*pair} <= {*indices} or monoid not in {"add", *IDEMPOTENT}:
        return None
    # elsewhere nothing is visited: there the body is what the monoid leaves as it is
    if not all({a.tensor for a in case} & names for case in support_of(request, statement)):
        return None
    output = request.program.tensor(statement.target)
    if any(isinstance(e, ct.Reduce) for e in walk(body)) or (
        monoid == "add" and dtype_of(body, request.program) != output.dtype
    ):
        return None  # what is added twice must not overflow before
    body = arranged(body, names, pair)
    mirrored = arranged(swapped(body, pair), names, pair)
    same = canonical(body) == canonical(mirrored)
    square = is_square(body, pair)
    if same and monoid in IDEMPOTENT:
        return ct.Reduce(monoid, indices, body)
    if not same and not square:
        return None
    condition = _condition(where, pair, square=square)
    if condition is None:
        return None
    both = ct.Call(MONOIDS[monoid].operator, (body, body if same else mirrored))
    return ct.Reduce(monoid, indices, ct.Call("where", (condition, both, body)))


def _pair(body: ct.Expression, names: frozenset[str]) -> tuple[str, str] | None:
    """Return the two indices that all tensors named are read at, and no other tensor is."""
    used = accesses_of(body)
    pairs = {a.subscripts for a in used if a.tensor in names}
    plain = {tuple(s.name for s in subscripts) for subscripts in pairs}
    match sorted(plain, key=str)[:1]:
        case [(str() as row, str() as column)] if row != column:
            pass
        case _:
            return None
    if not plain <= {(row, column), (column, row)}:
        return None
    for access in used:
        read = {index for s in access.subscripts for index in s.indices}
        if access.tensor not in names and {row, column} <= read:
            return None
    return row, column


def swapped(node: ct.Expression, pair: tuple[str, str]) -> ct.Expression:
    """Return an expression with each of two indices in place of the other."""
    row, column = pair
    other = {row: column, column: row}

    def turned(index: ct.Affine) -> ct.Affine:
        return replace(index, terms=tuple(sorted((other.get(n, n), k) for n, k in index.terms)))

    return _mapped(node, turned)


def arranged(node: ct.Expression, names: frozenset[str], pair: tuple[str, str]) -> ct.Expression:
    """Return an expression that reads the tensors named at a pair of indices in its order."""
    subscripts = tuple(map(ct.Affine.of, pair))
    match node:
        case ct.Access() | ct.Stored() if node.tensor in names:
            return replace(node, subscripts=subscripts)
        case ct.Call(operator, arguments):
            return ct.Call(operator, tuple(arranged(a, names, pair) for a in arguments))
        case _:
            return node


def _mapped(node: ct.Expression, change: Callable[[ct.Affine], ct.Affine]) -> ct.Expression:
    match node:
        case ct.Access() | ct.Stored():
            return replace(node, subscripts=tuple(map(change, node.subscripts)))
        case ct.IndexValue(index):
            return ct.IndexValue(change(index))
        case ct.Call(operator, arguments):
            return ct.Call(operator, tuple(_mapped(a, change) for a in arguments))
        case _:
            return node


def canonical(node: ct.Expression) -> object:
    """Return something equal for expressions that differ by the order of terms and factors."""
    match node:
        case ct.Call(operator, arguments) if OPERATORS[operator].commutative:
            parts = list(_operands(node, operator))
            return operator, tuple(sorted(map(str, map(canonical, parts))))
        case ct.Call(operator, arguments):
            return operator, tuple(map(canonical, arguments))
        case ct.Access(tensor, subscripts):
            return tensor, tuple(map(str, subscripts))
        case _:
            return str(node)


def _operands(node: ct.Expression, operator: str) -> Iterator[ct.Expression]:
    """Yield what a commutative operator combines, through calls of it where order is free."""
    match node:
        case ct.Call(inner, arguments) if inner == operator:
            for argument in arguments:
                if operator in ASSOCIATIVE:
                    yield from _operands(argument, operator)
                else:
                    yield argument
        case _:
            yield node


def is_square(body: ct.Expression, pair: tuple[str, str]) -> bool:
    """Whether two indices have one extent: some mode of a tensor is read at both."""
    read = {
        (access.tensor, mode, subscript.name)
        for access in accesses_of(body)
        for mode, subscript in enumerate(access.subscripts)
    }
    row, column = pair
    return any((name, mode, column) in read for name, mode, index in read if index == row)


def _condition(
    where: Sequence[Constraint], pair: tuple[str, str], *, square: bool
) -> ct.Expression | None:
    """Return where a coordinate has a mirror image, as an expression; None if it is too long."""
    equal = Constraint(t.subtract(t.var(extent(0)), t.var(extent(1))), True)
    sizes = [(t.var(extent(mode)), t.var(coordinate(mode))) for mode in (0, 1)]
    box = [Constraint(t.subtract(t.subtract(n, c), t.ONE), False) for n, c in sizes]
    found: list[ct.Expression] = []
    for constraint in where:
        if square and isl.implied(constraint, [*box, equal]):
            continue
        compared = _compared(constraint, pair)
        if compared is None:
            return None
        found.append(compared)
    return reduce(lambda a, b: ct.Call("and", (a, b)), found) if found else None


def _compared(constraint: Constraint, pair: tuple[str, str]) -> ct.Expression | None:
    """Return ``a - b + constant >= 0`` as a comparison of two values."""
    parts = {atom.name: factor for factor, atom in constraint.term.parts if isinstance(atom, Var)}
    constant = constraint.term.constant
    if constraint.equality or sorted(parts.values()) != [-1, 1] or constant not in (0, -1):
        return None
    more, less = sorted(parts, key=lambda name: -parts[name])
    values = {
        **{coordinate(m): ct.IndexValue(ct.Affine.of(name)) for m, name in enumerate(pair)},
        **{extent(m): ct.Extent(name) for m, name in enumerate(pair)},
    }
    return ct.Call("gt" if constant else "ge", (values[more], values[less]))
