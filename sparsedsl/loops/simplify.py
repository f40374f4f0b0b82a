"""Smaller loop IR of the same meaning.

Takes and gives a kernel that ``loops.verify`` accepts.  Invariant: simplifying again changes
nothing; results are the same bit for bit, since value arithmetic is left alone.

Integer expressions (``a``, ``b`` any; ``c``, ``d`` constants)::

    c op d          =>  its value, unless it overflows or is undefined
    c + a           =>  a + c
    (a + c) + d     =>  a + (c+d)           likewise with -
    a + 0, a - 0    =>  a                   a + -c  =>  a - c
    a - a           =>  0                   (a + c) - (a + d)  =>  c-d
    a * 1, a // 1   =>  a                   a * 0, a % 1  =>  0
    min(a, a)       =>  a                   likewise max
    a & 0           =>  0                   a & a, a | a, a | 0, a ^ 0, a << 0, a >> 0  =>  a
    a ^ a           =>  0
    a < a           =>  False               a <= a  =>  True, and so on

Conditions::

    not not a       =>  a                   not (a < b)  =>  a >= b     (ints)
    True and a      =>  a                   False and a  =>  False      likewise or
    a and a         =>  a

Others::

    x if True else y      =>  x             x if a else x  =>  x            likewise where
    x ** 2                =>  x * x         (x a variable or an element)
    int64(x): int64       =>  x             conversions of int constants  =>  the constant

Statements::

    if True: A else: B    =>  A             if False: A else: B    =>  B
    if c: else: B         =>  if not c: B   if c: (nothing)        =>  nothing
    for x in 3 .. 2: A    =>  nothing       for x in a .. b: (nothing)  =>  nothing
    while False: A        =>  nothing       break; A               =>  break
    x = x                 =>  nothing
    x = c, assigned once  =>  c wherever x is read
    x never read          =>  no assignment of x
    A never read          =>  no allocation of A, no store to it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from sparsedsl.loops import build
from sparsedsl.loops.build import FALSE, TRUE
from sparsedsl.loops.effects import arrays
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Apply,
    Assign,
    Binary,
    Break,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Length,
    Load,
    Not,
    Pack,
    Part,
    Prefetch,
    Resize,
    Select,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.walk import (
    expressions,
    operands,
    statements,
    with_bodies,
    with_children,
    with_operands,
)

_INTEGER: dict[str, Callable[[Expr, Expr], Expr]] = {
    "+": build.add,
    "-": build.sub,
    "*": build.mul,
    "//": build.floordiv,
    "%": build.mod,
    "min": build.min_,
    "max": build.max_,
    "&": build.bit_and,
    "|": build.bit_or,
    "^": build.bit_xor,
    "<<": build.shift_left,
    ">>": build.shift_right,
}


def simplify(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with the rules of this module applied until none applies.

    >>> from sparsedsl.loops.nodes import Assign, If, IntParam
    >>> n, m = build.ivar("n"), build.ivar("m")
    >>> body = (Assign(m, Binary("+", n, build.i(0), INT)), If(TRUE, (), (Break(),)))
    >>> simplify(Kernel("f", (IntParam("n"),), body, ("m",))).body == (Assign(m, n),)
    True
    """
    while True:
        constants = _constants(kernel)
        body = _block(kernel.body, constants)
        smaller = replace(kernel, body=_without_dead(replace(kernel, body=body)))
        if smaller == kernel:
            return kernel
        kernel = smaller


def expression(node: Expr, constants: Mapping[str, Const] | None = None) -> Expr:
    """Return ``node`` simplified, with the variables in ``constants`` replaced."""
    known = constants or {}
    node = with_children(node, lambda child: expression(child, known))
    match node:
        case Var(name):
            return known.get(name, node)
        case Binary("and", left, right):
            return build.conj(left, right)
        case Binary("or", left, right):
            return build.disj(left, right)
        case Binary(operator, left, right, "bool") if operator in build.COMPARISONS:
            return build.compare(operator, left, right)
        case Binary(operator, left, right, "int") if left.type == INT and right.type == INT:
            return _INTEGER[operator](left, right)
        case Not(operand):
            return build.not_(operand)
        case Select(condition, yes, no, type, even) if yes.type == type == no.type:
            return build.select(condition, yes, no, even=even)
        case Cast(operand, type):
            return build.cast(operand, type)
        case Apply("where", (Const(bool(chosen)), yes, no), type):
            taken = yes if chosen else no
            return taken if taken.type == type else node
        case Apply("pow", (Var() | Load() as base, Const(value)), type) if value == 2:
            # rounded alike, and no power has to be taken
            return Apply("mul", (base, base), type) if base.type == type != "bool" else node
        case _:
            return node


def _constants(kernel: Kernel) -> dict[str, Const]:
    """Return the variables assigned once in the text, a constant, and not returned."""
    assigned: Counter[str] = Counter()
    values: dict[str, Const] = {}
    for statement in statements(kernel.body):
        match statement:
            case Assign(variable, value):
                assigned[variable.name] += 1
                if isinstance(value, Const) and value.type == variable.type:
                    values[variable.name] = value
            case For(variable):
                assigned[variable.name] += 1
            case _:
                pass
    kept = set(kernel.results)
    return {name: v for name, v in values.items() if assigned[name] == 1 and name not in kept}


def _block(body: tuple[Stmt, ...], constants: Mapping[str, Const]) -> tuple[Stmt, ...]:
    result: list[Stmt] = []
    for statement in body:
        changed = with_operands(statement, lambda node: expression(node, constants))
        changed = with_bodies(changed, lambda inner: _block(inner, constants))
        result.extend(_statement(changed))
        if any(isinstance(s, Break) for s in result):
            # what an inlined branch or this statement left after a break cannot run
            cut = next(k for k, s in enumerate(result) if isinstance(s, Break))
            return tuple(result[: cut + 1])
    return tuple(result)


def _statement(node: Stmt) -> tuple[Stmt, ...]:
    """Return what stands in the place of ``node``, whose parts are simplified."""
    match node:
        case Assign(variable, value) if variable == value:
            return ()
        case If(condition, then, otherwise):
            if condition in (TRUE, FALSE):
                return then if condition == TRUE else otherwise
            if _silent(then) and _silent(otherwise):
                return ()
            if _silent(then):
                return (If(build.not_(condition), otherwise),)
            return (replace(node, otherwise=()),) if _silent(otherwise) else (node,)
        case For(_, start, stop, body, step):
            first, past = (start, stop) if step > 0 else (stop, start)
            if build.compare("<", first, past) == FALSE or _silent(body):
                return ()
            return (node,)
        case While(condition) if condition == FALSE:
            return ()
        case _:
            return (node,)


def _silent(body: tuple[Stmt, ...]) -> bool:
    return all(isinstance(statement, Comment) for statement in body)


def _without_dead(kernel: Kernel) -> tuple[Stmt, ...]:
    """Return the body without variables and local arrays that nothing reads."""
    read = set(kernel.results) | {param.name for param in kernel.params}
    for statement in statements(kernel.body):
        own = statement.variable.name if isinstance(statement, Assign) else None
        for operand in operands(statement):
            for node in expressions(operand):
                match node:
                    case Var(name) if name != own:
                        read.add(name)
                    case Load() | Part() | Length():
                        read.update(arrays(node))
                    case _:
                        pass

    def alive(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(
            with_bodies(s, alive) for s in body if _defines(s) is None or _defines(s) in read
        )

    return alive(kernel.body)


def _defines(statement: Stmt) -> str | None:
    """Return the name that is all ``statement`` changes, if there is one."""
    match statement:
        case Assign(Var(name)):
            return name
        case Store(array) | Allocate(array) | Resize(array) | Prefetch(array) | Pack(array):
            return array
        case _:
            return None
