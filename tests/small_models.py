"""Formulas evaluated over concrete arrays, by their definition."""

import itertools

from sparsedsl.contraction import nodes as ct
from sparsedsl.find import formula as fo
from sparsedsl.iteration.space import make_operand
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Term


def operand_of(layout):
    access = ct.Access("B", (ct.Affine.of("i"), ct.Affine.of("j")))
    return make_operand("B", ct.Tensor("B", 2, "float64"), access, layout, "B")


class OutsideError(Exception):
    """A call reads outside its array: the axiom says nothing there."""


def interleaved(numbers):
    bits = ("".join(pair) for pair in zip(*(f"{n:08b}" for n in numbers), strict=True))
    return int("".join(bits), 2)


def value_of(term, env, arrays):
    match term:
        case Term(((1, UF(function, arguments)),), 0) if function.startswith("interleaved"):
            return interleaved([value_of(a, env, arrays) for a in arguments])
    for call in terms.ufs(term):
        place = tuple(value_of(a, env, arrays) for a in call.arguments)
        shape = arrays[call.function].shape
        if not all(0 <= p < n for p, n in zip(place, shape, strict=True)):
            raise OutsideError
    return int(terms.evaluate(term, env, arrays))


def holds(formula, env, arrays, reach):
    """Evaluate a formula over concrete arrays; quantifiers run over ``reach``."""
    match formula:
        case fo.Compare(operator, left, right):
            a, b = value_of(left, env, arrays), value_of(right, env, arrays)
            return {"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b}[operator]
        case fo.All(parts):
            return all(holds(p, env, arrays, reach) for p in parts)
        case fo.Any(parts):
            return any(holds(p, env, arrays, reach) for p in parts)
        case fo.Not(part):
            return not holds(part, env, arrays, reach)
        case fo.Implies(premise, conclusion):
            return not holds(premise, env, arrays, reach) or holds(conclusion, env, arrays, reach)
        case fo.Forall(variables, body, _):
            for values in itertools.product(reach, repeat=len(variables)):
                try:
                    inner = env | dict(zip(variables, values, strict=True))
                    if not holds(body, inner, arrays, reach):
                        return False
                except OutsideError:
                    continue
            return True
