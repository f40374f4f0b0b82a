"""The joint iteration space: logical indices and every operand's physical dimensions.

Takes: a statement's accesses and the operands' layouts.  Gives: ``Operand`` nodes whose
constraints relate both kinds of dimensions.  Invariant: no two operands share a physical
dimension; two uses of one tensor share its arrays, two tensors of one pattern its index arrays.

Source: the paper's composition of the contraction's access map with the inverse of the
layout relation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sparsedsl.contraction import nodes as ct
from sparsedsl.errors import PlanError
from sparsedsl.iteration.nodes import Operand
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import Range
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Conjunct, Constraint, FloorDiv, Mod, Product, Term, Var


def extent_name(index: str) -> str:
    """Return the name of the extent of a logical index."""
    return f"n_{index}"


def subscript_term(subscript: ct.Affine) -> Term:
    """Return an affine index expression as a term over logical indices."""
    parts = [terms.scale(c, terms.var(name)) for name, c in subscript.terms]
    return terms.add(terms.const(subscript.constant), *parts)


def make_operands(
    name: str, tensor: ct.Tensor, access: ct.Access, layout: Layout, pattern: str
) -> tuple[Operand, ...]:
    """Put one access into its tensor's layout relation, an operand for each part of a union.

    ``pattern`` is the tensor whose index arrays are read.  No two parts store the same
    coordinate: that was checked when the tensor was bound.
    """
    parts = range(len(layout.relation.conjuncts))
    return tuple(_operand(name, tensor, access, layout, pattern, part) for part in parts)


def make_operand(
    name: str, tensor: ct.Tensor, access: ct.Access, layout: Layout, pattern: str
) -> Operand:
    """Put one access into its tensor's layout relation.

    Raises
    ------
    PlanError
        If the layout is a union of parts, which have no joint storage order.
    """
    if len(layout.relation.conjuncts) != 1:
        raise PlanError(
            f"expected a layout of one part for {tensor.name}, found {layout.name} "
            f"with {len(layout.relation.conjuncts)} parts",
            hint="convert the tensor to a layout of one part first",
        )
    return _operand(name, tensor, access, layout, pattern, 0)


@lru_cache(maxsize=1024)
def _operand(
    name: str, tensor: ct.Tensor, access: ct.Access, layout: Layout, pattern: str, part: int
) -> Operand:
    relation = layout.relation
    conjunct = relation.conjuncts[part]
    parameters = _parameter_names(tensor, access, layout, pattern)
    rename: dict[str, Term] = {d: terms.var(f"{name}_{d}") for d in relation.inputs}
    rename |= {e: terms.var(f"{name}_{e}") for e in conjunct.exists}
    rename |= {p: terms.var(q) for p, q in parameters.items()}
    functions = {f: f"{pattern}_{f}" for f in layout.functions}
    functions[layout.value.function] = f"{tensor.name}_{layout.value.function}"
    extra: list[Constraint] = []
    for output, subscript in zip(relation.outputs, access.subscripts, strict=True):
        logical = subscript_term(subscript)
        if output in relation.inputs:
            extra.append(Constraint(terms.subtract(rename[output], logical), equality=True))
        else:
            rename[output] = logical

    for index in _indirect(access):
        # an index found from such a subscript may lie outside its extent
        parameters[extent_name(index)] = extent_name(index)
        last = terms.subtract(terms.var(extent_name(index)), terms.const(1))
        extra.append(Constraint(terms.var(index), equality=False))
        extra.append(Constraint(terms.subtract(last, terms.var(index)), equality=False))

    def put(term: Term) -> Term:
        return rename_functions(terms.substitute(term, rename), functions)

    loads = _loads(layout, part)
    invariants: list[Constraint] = []
    constraints: list[Constraint] = [
        Constraint(put(c.term), c.equality) for c in conjunct.constraints
    ]
    for constraint in conjunct.constraints:
        load = _is_load_range(constraint, loads)
        if load is not None:
            instead = terms.substitute(constraint.term, {load: loads[load]})
            promised = Constraint(put(instead), constraint.equality)
            # what the relation states of the array itself marks padding: no data promises it
            if promised not in constraints:
                invariants.append(promised)
    ranges = [Constraint(put(c.term), c.equality) for c in _ranges(layout, conjunct)]
    invariants += ranges
    value = put(Term(((1, layout.value),)))
    call = value.parts[0][1]
    assert isinstance(call, UF)
    return Operand(
        name=name,
        tensor=tensor,
        access=access,
        layout=layout,
        part=part,
        dims=tuple(f"{name}_{d}" for d in relation.inputs),
        existentials=tuple(f"{name}_{e}" for e in conjunct.exists),
        constraints=(*extra, *constraints, *ranges),
        invariants=tuple(invariants),
        value=call,
        total=tensor.total and not any(s.padded for s in access.subscripts),
        functions=tuple(functions.items()),
        parameters=tuple(parameters.items()),
        pattern=pattern,
    )


def _parameter_names(
    tensor: ct.Tensor, access: ct.Access, layout: Layout, pattern: str
) -> dict[str, str]:
    names: dict[str, str] = {}
    for mode, (parameter, subscript) in enumerate(
        zip(layout.extents, access.subscripts, strict=True)
    ):
        index = subscript.name
        names[parameter] = extent_name(index) if index else f"n_{tensor.name}_{mode}"
    for size in layout.sizes:
        names[size] = f"{pattern}_{size}"
    return names


def _indirect(access: ct.Access) -> list[str]:
    """Name the indices that occur in subscripts other than a plain index."""
    subscripts = [s for s in access.subscripts if s.name is None]
    return list(dict.fromkeys(i for s in subscripts for i in s.indices))


def _loads(layout: Layout, part: int) -> dict[str, Term]:
    """Map each coordinate that is a pure load, ``j = indices(p)``, to its call."""
    found: dict[str, Term] = {}
    for constraint in layout.relation.conjuncts[part].constraints:
        if not constraint.equality or len(constraint.term.parts) != 2 or constraint.term.constant:
            continue
        atoms = {type(a): (c, a) for c, a in constraint.term.parts}
        if set(atoms) != {Var, UF} or atoms[Var][0] + atoms[UF][0] != 0:
            continue
        variable, call = atoms[Var][1], atoms[UF][1]
        assert isinstance(variable, Var)
        if abs(atoms[Var][0]) == 1 and variable.name in layout.relation.outputs:
            found.setdefault(variable.name, Term(((1, call),)))
    return found


def _ranges(layout: Layout, conjunct: Conjunct) -> list[Constraint]:
    """State the range that a property gives an array, of each call of it.

    Where ``j = G*b + offs(s)``, that offsets lie below ``G`` is what tells ``b`` from ``j``.
    """
    found: list[Constraint] = []
    calls = terms.all_ufs(c.term for c in conjunct.constraints)
    for item in layout.properties:
        for call in calls:
            if isinstance(item, Range) and call.function == item.function:
                value = Term(((1, call),))
                below = terms.subtract(terms.subtract(item.high, value), terms.const(1))
                found.append(Constraint(terms.subtract(value, item.low), equality=False))
                found.append(Constraint(below, equality=False))
    return found


def _is_load_range(constraint: Constraint, loads: Mapping[str, Term]) -> str | None:
    """Name the loaded coordinate if the constraint is a plain range on it."""
    if constraint.equality:
        return None
    names = terms.variables(constraint.term) & loads.keys()
    calls = any(isinstance(a, UF) for _, a in constraint.term.parts)
    return next(iter(names)) if len(names) == 1 and not calls else None


def rename_functions(term: Term, names: Mapping[str, str]) -> Term:
    """Rename the uninterpreted functions of a term."""

    def atom(node: UF | FloorDiv | Mod | Product | Var) -> Term:
        match node:
            case Var(name):
                return terms.var(name)
            case UF(function, arguments):
                inner = (rename_functions(a, names) for a in arguments)
                return terms.uf(names.get(function, function), *inner)
            case FloorDiv(a, b):
                return terms.floordiv(rename_functions(a, names), rename_functions(b, names))
            case Mod(a, b):
                return terms.mod(rename_functions(a, names), rename_functions(b, names))
            case Product(a, b):
                left, right = rename_functions(a, names), rename_functions(b, names)
                return Term(((1, Product(left, right)),))

    parts = [terms.scale(c, atom(a)) for c, a in term.parts]
    return terms.add(terms.const(term.constant), *parts)
