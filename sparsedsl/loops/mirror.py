"""Two loops that read the same entries, joined: an entry of a symmetric matrix is visited once.

    for i: for p in row(i): y[i] =add= f(p)        for i: for p in row(i): y[i] =add= f(p)
    for j: for p in row(j): y[c(p)] =add= g(p)  =>                         y[c(p)] =add= g(p)

Takes and gives the statements of a kernel.  Invariant: both only combine values into one array,
by one monoid, and read it nowhere: each element meets the same values, in another order.  Sums
over all turns are combined in a variable of each loop, in their order.
Where both loop over columns inside, two rows must be known to differ: one is then kept in
registers (``loops.reflected``), without which the loops are faster apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sparsedsl.loops import build as lb
from sparsedsl.loops.effects import changes, fresh, reads, straight_names, uses
from sparsedsl.loops.nodes import Assign, Binary, Comment, Const, Expr, For, If, Stmt, Store
from sparsedsl.loops.reflected import halves, is_later, opening
from sparsedsl.loops.rows import renamed
from sparsedsl.loops.walk import statements

Body = tuple[Stmt, ...]

ONCE = Comment("both parts, each entry read once")
"""What is said of loops that were joined."""


def mirrored(body: Sequence[Stmt], names: Iterable[str]) -> list[Stmt]:
    """Return ``body`` with neighbouring loops over the same entries joined.

    ``names`` are those of the kernel's parameters.
    """
    places = [n for n, s in enumerate(body) if isinstance(s, For)]
    if len(places) != 2:
        return list(body)
    first, second = (body[place] for place in places)
    assert isinstance(first, For)
    assert isinstance(second, For)
    between, after = body[places[0] + 1 : places[1]], body[places[1] + 1 :]
    summed = not all(isinstance(s, Comment) for s in between)
    if summed and not _are_sums(between, after):
        return list(body)
    renames = _apart(first, second, between, {*names, *changes(body)})
    if renames is None:
        return list(body)
    own = {**renames, second.variable.name: first.variable.name}
    *begun, other = renamed((*(s for s in between if isinstance(s, Assign)), second), own)
    assert isinstance(other, For)
    joined = _joined(first, other, summed=summed)
    if joined is None:
        return list(body)
    once: list[Stmt] = [*begun, ONCE, joined]
    start, end = places[0], places[1] + 1
    if summed:
        once += [s for s in between if isinstance(s, Store)] + list(renamed(tuple(after), renames))
        end = len(body)
    elif start and isinstance(body[start - 1], Comment):
        start -= 1
    if first.stop != second.stop:
        once = [If(lb.eq(first.stop, second.stop), tuple(once), tuple(body[start:end]))]
    return [*body[:start], *once, *body[end:]]


def _are_sums(between: Sequence[Stmt], after: Sequence[Stmt]) -> bool:
    """Whether a variable holds what each loop combines, and is delivered after the loop."""
    delivered = all(
        isinstance(s, Comment) or (isinstance(s, Store) and s.combine is not None)
        for s in (*(s for s in between if not isinstance(s, Assign)), *after)
    )
    begun = [s for s in between if isinstance(s, Assign)]
    return delivered and all(isinstance(s.value, Const) for s in begun)


def _joined(first: For, second: For, *, summed: bool) -> For | None:
    """Return one loop for two, where they only combine into one array and read the same.

    What they combine may be ``summed`` in variables instead: then neither stores anything.
    """
    if first.step != 1 or second.step != 1:
        return None
    if first.start != second.start and not _starts_empty(second, first.start):
        return None
    stores = [s for s in statements((first, second)) if isinstance(s, Store)]
    if summed:
        return None if stores else _nested(first, second)
    if len({(s.array, s.combine) for s in stores}) != 1 or stores[0].combine is None:
        return None
    if stores[0].array in set(uses((first, second))):
        return None
    return _nested(first, second)


def _apart(
    first: For, second: For, between: Sequence[Stmt], taken: set[str]
) -> dict[str, str] | None:
    """Return names of its own for all that the second loop assigns and the first does, too."""
    loops = (first, second)
    stored = {s.array for s in statements((*loops, *between)) if isinstance(s, Store)}
    if any(isinstance(s, Store) for s in between) and stored & set(uses(loops)):
        return None
    begun = {s.variable.name for s in between if isinstance(s, Assign)}
    clash = (changes((second,)) & changes((first,))) - stored - {second.variable.name}
    if not clash <= straight_names((second,)) | _loops(second) | _begun(second) | begun:
        return None  # a value that is carried from turn to turn
    return {name: fresh(name, taken) for name in sorted(clash | begun)}


def _begun(loop: For) -> set[str]:
    """Return the variables that each turn assigns before it reads them, such as its sums."""
    found, seen = set[str](), set[str]()
    for statement in loop.body:
        seen |= set(uses((statement,)))
        if isinstance(statement, Assign) and statement.variable.name not in seen:
            found.add(statement.variable.name)
        seen |= changes((statement,))
    return found


def _loops(loop: For) -> set[str]:
    return {s.variable.name for s in statements((loop,)) if isinstance(s, For)}


def _nested(first: For, second: For) -> For | None:
    """Join the bodies of two loops of one variable, down to the loop over the entries."""
    inner = [n for n, s in enumerate(first.body) if isinstance(s, For)]
    others = [n for n, s in enumerate(second.body) if isinstance(s, For)]
    if not inner and not others:
        return replace(first, body=_once(first.body, second.body))
    if len(inner) != 1 or len(others) != 1:
        return None
    one, two = first.body[inner[0]], second.body[others[0]]
    assert isinstance(one, For)
    assert isinstance(two, For)
    before = second.body[: others[0]]
    if not all(isinstance(s, Assign | Comment) for s in before):
        return None
    (two,) = renamed((two,), {two.variable.name: one.variable.name})
    assert isinstance(two, For)
    if (one.start, one.step) != (two.start, two.step):
        return None
    rest: Body = ()
    if one.stop != two.stop:
        if not _reaches(one.stop, two.stop, second):
            return None
        rest = (replace(one, start=two.stop),)
        one = replace(one, stop=two.stop)
    columns = any(isinstance(s, For) for s in statements((*one.body, *two.body)))
    both = (_two_rows(one, two) if columns else None) or _nested(one, two)
    if both is None:
        return None
    after = (*rest, *first.body[inner[0] + 1 :], *second.body[others[0] + 1 :])
    return replace(first, body=(*first.body[: inner[0]], *before, both, *after))


def _starts_empty(loop: For, start: Expr) -> bool:
    """Whether a loop may start one earlier, at ``start``, since it does nothing there."""
    inner = [s for s in loop.body if isinstance(s, For)]
    plain = all(isinstance(s, For | Assign | Comment) for s in loop.body)
    if loop.start != lb.add(start, 1) or len(inner) != 1 or not plain:
        return False
    return (inner[0].start, inner[0].stop) == (start, loop.variable)


def _reaches(stop: Expr, other: Expr, outer: For) -> bool:
    """Whether a range ends no earlier than another one in each turn of a loop around it."""
    if isinstance(stop, Binary) and stop.operator == "min":
        return _reaches(stop.left, other, outer) and _reaches(stop.right, other, outer)
    if stop == lb.add(other, 1) or stop in _least(other):
        return True
    return other == outer.variable and stop in _least(outer.stop)


def _least(stop: Expr) -> list[Expr]:
    """Return what the end of a range is the least of."""
    if isinstance(stop, Binary) and stop.operator == "min":
        return [*_least(stop.left), *_least(stop.right)]
    return [stop]


def _two_rows(first: For, second: For) -> For | None:
    """Join loops over entries with loops over columns inside, where one row stays in registers."""
    both = replace(first, body=_once(first.body, second.body))
    nested = all(_is_nested(loop) for loop in (first, second))
    return both if nested or halves(both) is not None else None


def _is_nested(loop: For) -> bool:
    """Whether loops are inside of those over columns: no row of these stays in registers."""
    columns = [s for s in statements(loop.body) if isinstance(s, For)]
    return any(isinstance(s, For) for s in statements(columns[0].body)) if columns else False


def opened(body: Sequence[Stmt], shape: Sequence[Expr], start: Expr) -> list[Stmt] | None:
    """Return a joined body with every row of a matrix set to ``start`` where it begins.

    None where it is not known that each row is set before anything is added to it: rows that
    are written beside that of a turn must be those of turns before.
    """
    match body:
        case [Comment() as title, For() as loop]:
            row = _row_of(loop, shape, start)
            return None if row is None else [title, _begun_with(loop, row)]
        case [If(_, (Comment() as title, For() as loop), apart) as both]:
            row = _row_of(loop, shape, start)
            if row is None:
                return None
            filled = replace(loop, body=(row,))
            return [replace(both, then=(title, _begun_with(loop, row)), otherwise=(filled, *apart))]
        case _:
            return None


def _row_of(loop: For, shape: Sequence[Expr], start: Expr) -> For | None:
    """Return the loop that sets the row of a turn, None where that may be too late or not all."""
    inner = [s for s in loop.body if isinstance(s, For)]
    found = halves(inner[0]) if inner else None
    if found is None or not is_later(found) or len(shape) != 2:
        return None
    whole = (loop.start, loop.stop, found.held.column.stop) == (lb.i(0), *shape)
    return opening(found, start) if whole and found.held.place == (loop.variable,) else None


def _begun_with(loop: For, row: For) -> For:
    """Return a loop that sets a row right before the entries that are added to it."""
    place = next(n for n, s in enumerate(loop.body) if isinstance(s, For))
    return replace(loop, body=(*loop.body[:place], row, *loop.body[place:]))


def _once(first: Body, second: Body) -> Body:
    """Put the second body behind the first, without what it assigns to the same values again.

    Only combining stores are in between, to an array that neither reads.
    """
    assigned = [s.variable.name for s in statements(first) if isinstance(s, Assign)]
    known = {
        s.value: s.variable.name
        for s in first
        if isinstance(s, Assign)
        and assigned.count(s.variable.name) == 1
        and s.variable.name not in reads(s.value)
    }
    return (*first, *_without(second, known))


def _without(body: Body, known: Mapping[Expr, str]) -> Body:
    names: dict[str, str] = {}
    kept: list[Stmt] = []
    for statement in body:
        (node,) = renamed((statement,), names)
        if isinstance(node, Assign) and node.value in known:
            names[node.variable.name] = known[node.value]
        elif isinstance(node, If) and not node.otherwise:
            kept.append(replace(node, then=_without(node.then, known)))
        else:
            kept.append(node)
    return tuple(kept)
