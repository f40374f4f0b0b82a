"""Requests that read some operands from copies in other layouts.

Takes: a request.  Gives: variants of it, each with the copies it needs.  Invariant: a copy
holds the same entries, sorted, in a tree of levels in some mode order.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TypeAlias

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.iteration.cost import Unevenness
from sparsedsl.iteration.nodes import Conversion, Nest, Operand, Scan, Step
from sparsedsl.iteration.output import ranges
from sparsedsl.iteration.request import Request, occurrences
from sparsedsl.iteration.steps import depends_on
from sparsedsl.layouts.catalogue import dense_order, hierarchical, resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact
from sparsedsl.spf import terms

Change: TypeAlias = "tuple[ct.Access, Layout, tuple[int, ...], bool]"

MOST_VARIANTS = 24
"""Variants planned at most."""

PERMUTED = 3
"""Modes of a tensor up to which copies in every mode order are considered."""

THIN = 16.0
"""Coordinates for an entry from which the root of a copy is a list."""


def variants(
    request: Request, accesses: list[ct.Access]
) -> list[tuple[Request, tuple[Conversion, ...]]]:
    """Return requests with one, two or all accesses read from sorted hierarchical copies.

    The last one reads every access from a copy in its natural order: a tree is searched level
    by level, so that loops over the indices reach every entry of it whatever the subscripts.
    """
    given = [a for a in accesses if a.tensor not in request.implied]
    sparse = [a for a in given if not request.program.tensor(a.tensor).total]
    single: list[list[Change]] = []
    for access in sparse:
        rank = len(access.subscripts)
        natural = tuple(range(rank))
        layouts: list[tuple[Layout, tuple[int, ...], bool]] = []
        for order in itertools.permutations(natural) if rank <= PERMUTED else [natural]:
            thin = _is_thin(request, access, order)
            layouts.append((hierarchical(order, thin), order, thin))
        native = request.layouts[access.tensor]
        single.append([(access, *made) for made in layouts if made[0].key != native.key])
    choices = [[change] for changes in single for change in changes]
    for first, second in itertools.combinations(single, 2):
        choices.extend([a, b] for a in first for b in second)
    every = [changes[0] for changes in single if changes]
    enough = [changes for changes in choices if len(changes) >= request.copying][:MOST_VARIANTS]
    if len(every) > 2 and every not in enough:
        enough.append(every)
    return [_converted(request, changes) for changes in enough]


def turned(request: Request, nest: Nest) -> tuple[Request, tuple[Conversion, ...]]:
    """Return the request with dense operands that innermost loops step across stored along them.

    A loop that reads one element of each row of a matrix fetches a line of memory for each.  Where
    entries of sparse operands say which column is read, loops over rows are to go along them.
    """
    changes: dict[ct.Access, Change] = {}
    for chain in nest.chains if request.turning else ():
        sparse = [o.access for o in chain.operands if not o.total]
        told = frozenset(i for a in sparse for s in a.subscripts for i in s.indices)
        steps = nest.prefix + chain.steps
        scans = [s.variable for s in steps if isinstance(s, Scan)]
        for operand in chain.operands:
            order = _turned_order(request, operand, steps, scans[-1], told) if scans else None
            if order is not None:
                layout = resolve("dense", len(order), order)
                changes[operand.access] = (operand.access, layout, order, False)
    return _converted(request, list(changes.values())) if changes else (request, ())


def _turned_order(
    request: Request, operand: Operand, steps: tuple[Step, ...], inner: str, told: frozenset[str]
) -> tuple[int, ...] | None:
    """Return the order of modes in which a loop steps through neighbours; None if it does.

    The loop is ``inner``, or that over the one mode whose index is not ``told`` by entries.
    """
    own = dense_order(operand.layout) if operand.total else None
    if own is None or len(own) < 2 or operand.tensor.name in request.implied:
        return None
    places = operand.value.arguments
    read = [frozenset(operand.access.subscripts[mode].indices) for mode in own]
    free = [k for k, names in enumerate(read) if not names & told]
    inside = [k for k, x in enumerate(places) if inner in depends_on(steps, terms.variables(x))]
    moving = free if len(free) == 1 and read[-1] & told else inside
    if len(moving) != 1 or moving[0] == len(own) - 1:
        return None
    mode = own[moving[0]]
    return (*(m for m in own if m != mode), mode)


def summed(request: Request, accesses: list[ct.Access]) -> tuple[Request, tuple[Conversion, ...]]:
    """Return the request with copies of tensors whose repeated entries must be added up first.

    Those that enter sums of products alone are read as they are: each entry adds its product.
    """
    changes: list[Change] = []
    for access in accesses:
        if request.layouts[access.tensor].repeats and not _distributes(request, access):
            order = tuple(range(len(access.subscripts)))
            thin = _is_thin(request, access, order)
            changes.append((access, hierarchical(order, thin), order, thin))
    return _converted(request, changes) if changes else (request, ())


def _distributes(request: Request, access: ct.Access) -> bool:
    """Whether every statement is a sum of products with the access as a factor, if it has it."""
    if request.program.tensor(access.tensor).dtype == "bool":
        return False
    for statement in request.statements:
        count = sum(a == access for a in occurrences(statement.expression))
        match statement.expression:
            case ct.Reduce("add", _, body) if count == 1 and _is_factor(body, access):
                continue
            case _ if count:
                return False
            case _:
                continue
    return True


def _is_factor(node: ct.Expression, access: ct.Access) -> bool:
    match node:
        case ct.Call("mul", arguments):
            return any(_is_factor(a, access) for a in arguments)
        case _:
            return node == access


def _is_thin(request: Request, access: ct.Access, order: tuple[int, ...]) -> bool:
    """Whether the root mode has so many more coordinates than entries that a list is better."""
    if not order:
        return False
    index = access.subscripts[order[0]].name
    entries = max(request.entries[access.tensor].values(), default=1.0)
    return float(request.extents.get(index or "", 1)) > THIN * entries


def _converted(request: Request, changes: list[Change]) -> tuple[Request, tuple[Conversion, ...]]:
    layouts = dict(request.layouts)
    entries = dict(request.entries)
    lengths, uneven = dict(request.lengths), dict(request.uneven)
    statements, whole = request.statements, request.whole
    inputs = list(request.program.inputs)
    conversions: list[Conversion] = []
    for access, layout, modes, thin in changes:
        source = request.program.tensor(access.tensor)
        asked = _pattern_asked(request, access)
        copy = replace(source, name=_name(request, source.name, modes, thin=thin, whole=asked))
        conversions.append(Conversion(copy, source.name, layout, modes, thin, asked))
        if copy not in inputs:
            inputs.append(copy)
        layouts[copy.name] = layout
        total = held(request, source.name)
        entries[copy.name] = _estimate(layout, modes, access, request, total)
        lengths[copy.name] = _lengths(layout, modes, access, request)
        uneven[copy.name] = _uneven(request, source.name, layout, modes)
        statements = tuple(
            replace(s, expression=_redirect(s.expression, access, copy.name)) for s in statements
        )
        if whole is not None:
            redirected = _redirect(whole.expression, access, copy.name)
            whole = replace(whole, expression=redirected)
    program = replace(request.program, inputs=tuple(inputs))
    unique = tuple(dict.fromkeys(conversions))
    changed = replace(
        request,
        statements=statements,
        whole=whole,
        program=program,
        layouts=layouts,
        entries=entries,
        lengths=lengths,
        uneven=uneven,
    )
    return changed, unique


def held(request: Request, name: str) -> float:
    """Return how many entries a copy of a tensor holds: both halves of what is stored once."""
    return request.layouts[name].halves * max(request.entries[name].values(), default=1.0)


def of_operands(conversions: tuple[Conversion, ...]) -> tuple[Conversion, ...]:
    """Return the copies, each made of an operand: a copy of a copy is one of what that is of."""
    sources: dict[str, str] = {}
    for copy in conversions:
        sources[copy.tensor.name] = sources.get(copy.source, copy.source)
    return tuple(replace(copy, source=sources[copy.tensor.name]) for copy in conversions)


def with_sizes(request: Request, nest: Nest) -> Request:
    """Return the request with the sizes of the copies that a nest reads."""
    entries, lengths, uneven = dict(request.entries), dict(request.lengths), dict(request.uneven)
    read = {o.tensor.name: o.access for chain in nest.chains for o in chain.operands}
    for copy in nest.conversions:
        name = copy.tensor.name
        if name in read:
            total = held(request, copy.source)
            entries[name] = _estimate(copy.layout, copy.order, read[name], request, total)
            source = replace(read[name], tensor=copy.source)
            lengths[name] = _lengths(copy.layout, copy.order, source, request)
            uneven[name] = _uneven(request, copy.source, copy.layout, copy.order)
    return replace(request, entries=entries, lengths=lengths, uneven=uneven)


def _pattern_asked(request: Request, access: ct.Access) -> bool:
    """Whether the pattern is asked for of a layout that also stores padding."""
    if exact(request.layouts[access.tensor]):
        return False
    asked = ct.Stored(access.tensor, access.subscripts)
    return any(node == asked for s in request.statements for node in walk(s.expression))


def _name(request: Request, source: str, modes: tuple[int, ...], *, thin: bool, whole: bool) -> str:
    """Name a copy: another one has another name, in other statements too."""
    order = "".join(str(m) for m in modes)
    name = f"{source}_{order}" + "_thin" * thin + "_whole" * whole
    given = {t.name for t in (*request.program.inputs, *request.program.outputs)}
    while name in given:
        name += "_"
    return name


def _estimate(
    layout: Layout, modes: tuple[int, ...], access: ct.Access, request: Request, total: float
) -> dict[str, float]:
    """Guess how many tuples each level of a copy holds, as if entries were spread evenly."""
    found: dict[str, float] = {}
    room = 1.0
    for dim, mode in zip(layout.relation.inputs, modes, strict=False):
        index = access.subscripts[mode].name
        room *= float(request.extents.get(index or "", 1)) or 1.0
        found[dim] = min(room, total)
    if not modes:
        return found
    if layout.relation.inputs[0] in layout.relation.outputs:
        mode = modes[0]
        found[layout.relation.inputs[0]] = float(
            request.extents.get(access.subscripts[mode].name or "", 1)
        )
    found[layout.relation.inputs[-1]] = total
    return found


def _lengths(
    layout: Layout, modes: tuple[int, ...], access: ct.Access, request: Request
) -> dict[str, float]:
    """Return how long rows of a copied matrix are: the same entries, in another number of rows."""
    known = [*request.lengths.get(access.tensor, {}).values()]
    ranged = ranges(request.layouts[access.tensor])
    if (
        len(known) != 1
        or len(modes) != 2
        or layout.relation.inputs[0] not in layout.relation.outputs
    ):
        return {}
    ((_, _, mode),) = ranged.values()
    before, after = (
        float(request.extents.get(access.subscripts[m].name or "", 1)) or 1.0
        for m in (1 - mode, modes[0])
    )
    return {layout.relation.inputs[-1]: known[0] * before / after}


def _uneven(
    request: Request, source: str, layout: Layout, modes: tuple[int, ...]
) -> dict[str, Unevenness]:
    """Guess how unevenly the entries of a copy lie: as in its source, or as columns did there."""
    known = request.uneven.get(source, {})
    if not known or not modes:
        return {}
    dim, found = [*known.items()][-1]
    _, _, mode = ranges(request.layouts[source])[dim]
    return {layout.relation.inputs[-1]: found if mode == modes[-1] else found.across}


def _redirect(node: ct.Expression, access: ct.Access, name: str) -> ct.Expression:
    match node:
        case ct.Access() if node == access:
            return replace(node, tensor=name)
        case ct.Stored() if (node.tensor, node.subscripts) == (access.tensor, access.subscripts):
            return replace(node, tensor=name)
        case ct.Call(operator, arguments):
            return ct.Call(operator, tuple(_redirect(a, access, name) for a in arguments))
        case ct.Reduce(monoid, indices, body):
            return ct.Reduce(monoid, indices, _redirect(body, access, name))
        case _:
            return node
