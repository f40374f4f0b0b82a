"""A layout: a relation from places in arrays to logical coordinates, and what holds of it.

Takes: text.  Gives: ``Layout``, all that scanning, finding, building, checking and converting
read.  Invariant: a layout whose block sizes are bound has structures and axis lengths; equal
keys mean equal specifications.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from sparsedsl.errors import LayoutError, Span
from sparsedsl.layouts.extent import Lengths, axis_lengths, size_in
from sparsedsl.layouts.properties import (
    Property,
    Repeated,
    calls,
    parse_property,
    property_text,
    substituted,
    terms_of,
)
from sparsedsl.layouts.structure import Structure, require_calls, structures
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.lex import span_of
from sparsedsl.spf.nodes import UF, Conjunct, FloorDiv, Mod, Product, Relation, Term, Var
from sparsedsl.spf.parse import parse_relation, parse_term, renewed
from sparsedsl.spf.text import constraint_text, relation_text


@dataclass(frozen=True, init=False, eq=False)
class Layout:
    """A storage layout given by its specification alone.

    Parameters
    ----------
    name:
        For messages and ``repr``.
    relation:
        ``"[N, M] -> { [i, p] -> [i, j] : ... }"``: physical dimensions in storage order to
        logical coordinates.  The first parameters, one per logical mode, are the extents; a
        parameter that multiplies or divides, or that no array's length tells, is a block
        size, bound by calling the layout; the others are found from the arrays' lengths.
    value:
        Where the stored value of a place is: ``"data(p)"``.
    properties:
        What the index arrays promise: ``nondecreasing f``, ``increasing f``, ``injective f``,
        ``lexicographic (f, g)`` (all four also ``within lo <= p < hi``), ``permutation f``,
        ``range f in [a, b)``, ``morton (f, g)``, ``f(0) = 0``, ``disjoint (f, g)`` of
        intervals from ``f`` to ``g`` (also ``within``); ``repeated (f, g)`` says that
        a coordinate may be stored several times and its values add up.

    Attributes
    ----------
    extents, sizes, blocks:
        Names of the three kinds of parameters.
    functions:
        Index array name -> number of subscripts, in order of first use.
    lengths:
        Array name -> one ``Term`` per axis (None: any length the data fits in).
    structures:
        The constraints of each alternative, sorted by purpose.
    key:
        Text that identifies the specification, block sizes included.

    Raises
    ------
    LayoutError
        For text that cannot be read and for relations that give no way to scan, with a caret
        where there is a place.

    Examples
    --------
    >>> rows = Layout("rows", "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and "
    ...               "indptr(i) <= p < indptr(i+1) and j = indices(p) and 0 <= j < M }",
    ...               value="data(p)", properties=["indptr(0) = 0", "nondecreasing indptr"])
    >>> rows.arrays
    ('indptr', 'indices', 'data')
    >>> [t.text(length) for length in rows.lengths["indices"]]
    ['indptr(N)']
    """

    name: str
    relation: Relation
    value: UF
    properties: tuple[Property, ...]
    block_sizes: tuple[int, ...] = ()
    order: tuple[int, ...] | None = None
    functions: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)
    structures: tuple[Structure, ...] = field(default=(), repr=False)
    lengths: Mapping[str, Lengths] = field(default_factory=dict[str, Lengths], repr=False)
    blocks: tuple[str, ...] = ()
    key: str = field(default="", repr=False)

    def __init__(
        self, name: str, relation: str, *, value: str, properties: Iterable[str] = ()
    ) -> None:
        for given, what in ((name, "name"), (relation, "relation"), (value, "value")):
            if not isinstance(given, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise LayoutError(
                    f"a layout's {what} is text, found {type(given).__name__}",
                    hint='write sd.Layout("csr", "[N, M] -> { ... }", value="data(p)")',
                )
        if not name.strip() or not name.isprintable():
            raise LayoutError(
                f"expected a layout's name of characters that can be printed, found {name!a}",
                hint='such as "csr"',
            )
        if isinstance(properties, str):
            properties = (properties,)
        read = parse_relation(relation)
        try:
            place = _value(value, read)
            given_properties: tuple[Property, ...] = tuple(
                parse_property(item, read, t.all_ufs(place.arguments)) for item in properties
            )
            self._set(name, read, place, given_properties)
        except LayoutError as error:
            error.span = error.span or _named(error.message, relation)
            raise

    def _set(
        self,
        name: str,
        relation: Relation,
        value: UF,
        properties: tuple[Property, ...],
        block_sizes: tuple[int, ...] = (),
        order: tuple[int, ...] | None = None,
    ) -> None:
        """Fill in all attributes; the derived ones only when no block size is unbound."""
        put = object.__setattr__
        put(self, "name", name)
        put(self, "relation", relation)
        put(self, "value", value)
        put(self, "properties", properties)
        put(self, "block_sizes", block_sizes)
        put(self, "order", order)
        if len(relation.parameters) < len(relation.outputs):
            lacking = relation.outputs[len(relation.parameters)]
            raise LayoutError(
                f"expected one extent per logical mode before other parameters, found "
                f"parameters [{', '.join(relation.parameters)}] for {self.rank} modes: none "
                f"for '{lacking}'",
                hint="write [N, M] -> { [...] -> [i, j] : ... }",
            )
        put(self, "functions", _arities(relation, value))
        parts: tuple[Structure, ...] = ()
        lengths: dict[str, Lengths] = {}
        blocks = _factors(relation, value, properties)
        if not blocks:
            parts = structures(relation)
            require_calls(parts, value, properties)
            lengths = axis_lengths(relation.parameters, parts, value, properties)
            sizes = relation.parameters[self.rank :]
            told = {size_in(x, sizes) for axes in lengths.values() for x in axes}
            blocks = tuple(size for size in sizes if size not in told)
        put(self, "structures", parts)
        put(self, "lengths", lengths)
        put(self, "blocks", blocks)
        shown = "; ".join(property_text(item) for item in properties)
        place = t.text(t.atom(value))
        put(self, "key", f"{name}: {relation_text(relation)}; value {place}; {shown}")

    @classmethod
    def _of(cls, *arguments: Any) -> Layout:
        made = object.__new__(cls)
        made._set(*arguments)
        return made

    @property
    def text(self) -> str:
        """The relation in the layout language."""
        return relation_text(self.relation)

    @cached_property
    def halves(self) -> int:
        """Number of alternatives that store the same: 2 where one mirrors the other."""
        return [part.dims for part in self.structures].count(self.structures[0].dims)

    @cached_property
    def rank(self) -> int:
        """Number of logical modes."""
        return len(self.relation.outputs)

    @cached_property
    def extents(self) -> tuple[str, ...]:
        """The parameters that are the logical extents, in mode order."""
        return self.relation.parameters[: self.rank]

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        """Parameters found from the lengths of arrays."""
        unbound = self.blocks
        return tuple(p for p in self.relation.parameters[self.rank :] if p not in unbound)

    @cached_property
    def arrays(self) -> tuple[str, ...]:
        """Names of the index arrays, then of the value array."""
        return (*self.functions, self.value.function)

    @cached_property
    def repeats(self) -> bool:
        """Whether a coordinate may be stored several times, its values to be added up."""
        return any(isinstance(item, Repeated) for item in self.properties)

    @cached_property
    def label(self) -> str:
        """The name with block sizes and mode order."""
        details = [str(size) for size in self.block_sizes]
        if self.order is not None:
            details.append(f"order={self.order}")
        return f"{self.name}({', '.join(details)})" if details else self.name

    @cached_property
    def _hash(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Layout) and self.key == other.key)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        state = (self.name, self.relation, self.value, self.properties)
        return Layout._of, (*state, self.block_sizes, self.order)

    def __repr__(self) -> str:
        return f"<layout {self.label}: {self.text}>"

    @cached_property
    def signature(self) -> str:
        """The storage alone: the specification without names of its own and properties."""
        relation = self.relation
        names = {
            **{name: f"n{k}" for k, name in enumerate(relation.parameters)},
            **{name: f"p{k}" for k, name in enumerate(relation.outputs)},
            **{name: f"d{k}" for k, name in enumerate(relation.inputs)},
        }
        change = {name: t.var(new) for name, new in names.items()}
        outputs = ", ".join(names[name] for name in relation.outputs)
        parts = [
            " and ".join(sorted(constraint_text(renewed(c, change)) for c in x.constraints))
            for x in relation.conjuncts
        ]
        place = t.text(t.substitute(t.atom(self.value), change))
        return f"[{outputs}] {len(relation.inputs)} {' or '.join(parts)}; {place}"

    def with_properties(self, properties: Iterable[Property]) -> Layout:
        """The same storage with other promises."""
        state = (self.name, self.relation, self.value, tuple(properties))
        return Layout._of(*state, self.block_sizes, self.order)

    def require_bound(self) -> Layout:
        """Return the layout itself; LayoutError when block sizes are missing."""
        if self.blocks:
            sizes = ", ".join(self.blocks)
            example = ", ".join("4" for _ in self.blocks)
            raise LayoutError(
                f"the layout '{self.name}' needs block sizes ({sizes}) before it can be used",
                hint=f'give them as sd.layouts["{self.name}"]({example})',
            )
        return self

    def __call__(self, *block_sizes: int, order: Sequence[int] | None = None) -> Layout:
        """Bind block sizes (or all parameters that are no extents), or permute modes.

        ``order[k]`` is the logical mode that the layout's k-th mode becomes:
        ``csr(order=(1, 0))`` stores columns.

        Raises
        ------
        LayoutError
            For the wrong number of sizes, sizes below 1, or an order that is no permutation.
        """
        made = self
        if block_sizes or (self.blocks and order is None):
            made = made._blocked(block_sizes)
        return made if order is None else made._permuted(order)

    def _blocked(self, block_sizes: tuple[int, ...]) -> Layout:
        names = self.blocks
        if len(block_sizes) > len(names):
            names = self.relation.parameters[self.rank :]
        if len(block_sizes) != len(names):
            wanted = f"{len(self.blocks)} block sizes ({', '.join(self.blocks)})"
            raise LayoutError(
                f"expected {wanted if self.blocks else 'no block sizes'} for '{self.name}', found "
                f"{len(block_sizes)}",
                hint=f"the layout is {self.text}",
            )
        factors = _factors(self.relation, self.value, self.properties)
        sizes = tuple(
            _whole(size, f"block size {name} of '{self.name}'", int(name in factors))
            for name, size in zip(names, block_sizes, strict=True)
        )
        if 0 in sizes and not self._holds_some(names, sizes):
            shown = ", ".join(f"{name} = {size}" for name, size in zip(names, sizes, strict=True))
            raise LayoutError(
                f"'{self.name}' has no place for any entry where {shown}",
                hint=f"give sizes of at least 1; the layout is {self.text}",
            )
        return Layout._sized(self, names, sizes)

    def _holds_some(self, names: tuple[str, ...], sizes: tuple[int, ...]) -> bool:
        """Whether an entry can have a place for these sizes."""
        values: dict[str, Term] = {n: t.const(size) for n, size in zip(names, sizes, strict=True)}
        parts = ([renewed(x, values) for x in c.constraints] for c in self.relation.conjuncts)
        return not all(map(isl.is_empty, parts))

    @staticmethod
    @lru_cache(maxsize=256)
    def _sized(layout: Layout, names: tuple[str, ...], sizes: tuple[int, ...]) -> Layout:
        """Return ``layout`` with sizes for parameters, the same one for equal sizes."""
        values: dict[str, Term] = {n: t.const(size) for n, size in zip(names, sizes, strict=True)}
        relation = layout.relation
        kept = tuple(name for name in relation.parameters if name not in values)
        conjuncts = tuple(
            Conjunct(c.exists, tuple(renewed(x, values) for x in c.constraints))
            for c in relation.conjuncts
        )
        value = layout.value
        return Layout._of(
            layout.name,
            Relation(kept, relation.inputs, relation.outputs, conjuncts),
            UF(value.function, tuple(t.substitute(x, values) for x in value.arguments)),
            tuple(substituted(item, values) for item in layout.properties),
            (*layout.block_sizes, *sizes),
            layout.order,
        )

    def _permuted(self, order: Sequence[int]) -> Layout:
        modes = checked_order(order, self.rank, self.name)
        before = self.order or tuple(range(self.rank))
        outputs, parameters = list(self.relation.outputs), list(self.relation.parameters)
        for position, mode in enumerate(modes):
            outputs[mode] = self.relation.outputs[position]
            parameters[mode] = self.relation.parameters[position]
        relation = Relation(
            tuple(parameters), self.relation.inputs, tuple(outputs), self.relation.conjuncts
        )
        total: tuple[int, ...] | None = tuple(modes[mode] for mode in before)
        if total == tuple(range(self.rank)):
            total = None
        return Layout._of(self.name, relation, self.value, self.properties, self.block_sizes, total)


def checked_order(order: Sequence[int], rank: int, name: str) -> tuple[int, ...]:
    """``order`` as a permutation of the modes; LayoutError otherwise."""
    try:
        modes = tuple(operator.index(mode) for mode in order)
    except (TypeError, ValueError):
        modes = ()
    if sorted(modes) != list(range(rank)):
        raise LayoutError(
            f"expected order= to be a permutation of 0..{rank - 1} for '{name}', found {order!r}",
            hint=f"for example order={tuple(reversed(range(rank)))}",
        )
    return modes


def _whole(size: object, what: str, least: int) -> int:
    try:
        value = int(size)  # pyright: ignore[reportArgumentType]
        exact = value == size
    except (TypeError, ValueError):
        value, exact = 0, False
    if not exact or isinstance(size, bool | str):
        raise LayoutError(
            f"expected a whole number for {what}, found {size!r}",
            hint='block sizes are ints, as in sd.layouts["bcsr"](2, 3)',
        )
    if not least <= value < 2**31:
        limit = f"at least {least}" if value < least else "less than 2**31"
        raise LayoutError(
            f"expected {limit} for {what}, found {value}",
            hint="it multiplies or divides in the relation" if least and value < least else None,
        )
    return value


def _named(message: str, text: str) -> Span | None:
    """Where the name that a message quotes first stands in a text; of calls, the last one."""
    quoted = re.search(r"'(\w+)'", message)
    if quoted is None:
        return None
    places = [*re.finditer(rf"\b{quoted[1]}\b", text)]
    calls = [place for place in places if text[place.end() :].lstrip().startswith("(")]
    found = calls[-1:] or places[:1]
    return span_of(text, found[0].start(), found[0].end()) if found else None


def _value(text: str, relation: Relation) -> UF:
    if text.strip().isidentifier():
        raise _no_place(text)
    names = (*relation.parameters, *relation.inputs)
    term = parse_term(text, parameters=relation.parameters, names=names)
    match term:
        case Term(((1, UF() as call),), 0):
            taken = {inner.function for inner in calls(relation)}
            taken |= {inner.function for inner in t.all_ufs(call.arguments)}
            if call.function in taken:
                raise LayoutError(
                    f"'{call.function}' is an index array and cannot hold the values too",
                    hint="give the value array a name of its own, such as data",
                )
            return call
        case _:
            raise _no_place(text)


def _no_place(text: str) -> LayoutError:
    return LayoutError(
        f"expected value= to be a position in one array, found {text!r}",
        span=span_of(text, 0, len(text)),
        hint='write value="data(p)", p being a dimension of the storage',
    )


def _arities(relation: Relation, value: UF) -> dict[str, int]:
    found: dict[str, int] = {}
    for call in (*calls(relation), *t.all_ufs(value.arguments)):
        arity = found.setdefault(call.function, len(call.arguments))
        if arity != len(call.arguments):
            raise LayoutError(
                f"'{call.function}' is called with {arity} and with {len(call.arguments)} "
                "subscripts",
                hint="an index array has one number of axes",
            )
    return found


def _factors(relation: Relation, value: UF, properties: tuple[Property, ...]) -> tuple[str, ...]:
    """Parameters other than extents that multiply something or divide it."""
    found: set[str] = set()
    terms = [c.term for conjunct in relation.conjuncts for c in conjunct.constraints]
    terms += value.arguments
    for item in properties:
        terms += terms_of(item)
    candidates = relation.parameters[len(relation.outputs) :]
    for term in terms:
        for node in t.atoms(term):
            match node:
                case Product(left, right):
                    sides = (left, right)
                case FloorDiv(_, denominator) | Mod(_, denominator):
                    sides = (denominator,)
                case _:
                    continue
            for side in sides:
                found |= {n.name for _, n in side.parts if isinstance(n, Var)}
    return tuple(name for name in candidates if name in found)
