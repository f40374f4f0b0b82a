"""Random kernels that keep every rule of loop IR, with arguments to run them on."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from sparsedsl.loops import build
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Break,
    Cast,
    Comment,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Length,
    Load,
    Not,
    Prefetch,
    Resize,
    ScalarParam,
    Select,
    Store,
    Var,
    While,
)

PARAMS = (
    ArrayParam("a", "int32", 1),
    ArrayParam("b", "int64", 1),
    ArrayParam("f", "float64", 1),
    ArrayParam("g", "float32", 2),
    ArrayParam("h", "bool", 1),
    IntParam("n"),
    IntParam("m"),
    ScalarParam("s", "float64"),
    ScalarParam("t", "float32"),
)
SMALL = st.integers(-4, 4)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, -1.5, 0.1, 1e300, float("inf"), float("nan")])
INT_OPERATORS = ["+", "-", "*", "//", "%", "min", "max", "&", "|", "^", "<<", ">>"]


def arguments(seed=0):
    """Fresh arguments for ``PARAMS``."""
    rng = np.random.default_rng(seed)
    specials = np.array([0.0, -0.0, np.inf, np.nan, 1.5])
    return {
        "a": rng.integers(-9, 9, 5, np.int32),
        "b": rng.integers(-9, 9, 4, np.int64),
        "f": np.concatenate([rng.standard_normal(3), specials]),
        "g": rng.standard_normal((3, 2)).astype(np.float32),
        "h": np.array([True, False, True]),
        "n": 3,
        "m": -2,
        "s": 0.3,
        "t": np.float32(0.7),
    }


@dataclass
class Scope:
    """What a statement may use: variables by type, arrays by dtype and ndim, fresh names."""

    variables: dict[str, str]
    arrays: dict[str, tuple[str, int]]
    fixed: set[str]
    counter: list[int] = field(default_factory=lambda: [0])
    in_loop: bool = False

    def inner(self, loop=False):
        return Scope(
            dict(self.variables),
            dict(self.arrays),
            set(self.fixed),
            self.counter,
            self.in_loop or loop,
        )

    def fresh(self, letter):
        self.counter[0] += 1
        return f"{letter}{self.counter[0]}"

    def of(self, type):
        return [name for name, found in self.variables.items() if found == type]


def place(draw, scope, array, depth):
    """Draw subscripts that are always in range."""
    ndim = scope.arrays[array][1]
    return tuple(
        Binary("%", draw_int(draw, scope, depth), Length(array, axis), INT) for axis in range(ndim)
    )


def draw_int(draw, scope, depth=2):
    kind = draw(st.integers(0, 8 if depth else 1))
    if kind == 0 or (kind == 1 and not scope.of(INT)):
        return build.i(draw(SMALL))
    if kind == 1:
        return Var(draw(st.sampled_from(scope.of(INT))), INT)
    if kind in (2, 3):
        array = draw(st.sampled_from([n for n, (d, _) in scope.arrays.items() if "int" in d]))
        return Load(array, place(draw, scope, array, depth - 1), INT, draw(st.booleans()))
    if kind == 4:
        return Select(
            draw_bool(draw, scope, depth - 1),
            draw_int(draw, scope, depth - 1),
            draw_int(draw, scope, depth - 1),
            INT,
        )
    if kind == 5:
        word = Binary("|", draw_int(draw, scope, depth - 1), build.i(8), INT)
        return Apply(draw(st.sampled_from(["cttz", "ctpop"])), (word,), INT)
    operator = draw(st.sampled_from(INT_OPERATORS))
    left = draw_int(draw, scope, depth - 1)
    right = draw_int(draw, scope, depth - 1)
    if operator in ("//", "%"):
        right = Binary("|", Binary("&", right, build.i(6), INT), build.i(1), INT)
    if operator in ("<<", ">>"):
        right = Binary("&", right, build.i(7), INT)
    return Binary(operator, left, right, INT)


def draw_float(draw, scope, type, depth=2):
    kind = draw(st.integers(0, 7 if depth else 1))
    if kind == 0 or (kind == 1 and not scope.of(type)):
        with np.errstate(over="ignore"):
            return Const(float(np.dtype(type).type(draw(FLOATS))), type)
    if kind == 1:
        return Var(draw(st.sampled_from(scope.of(type))), type)
    if kind in (2, 3):
        array = draw(st.sampled_from([n for n, (d, _) in scope.arrays.items() if d == type]))
        return Load(array, place(draw, scope, array, depth - 1), type, draw(st.booleans()))
    if kind == 4:
        other = "float32" if type == "float64" else "float64"
        operand = draw(st.sampled_from([draw_int, None]))
        if operand is None:
            return Cast(draw_float(draw, scope, other, depth - 1), type)
        return Cast(draw_int(draw, scope, depth - 1), type)
    if kind == 5:
        return Apply(
            "where",
            (
                draw_bool(draw, scope, depth - 1),
                draw_float(draw, scope, type, depth - 1),
                draw_float(draw, scope, type, depth - 1),
            ),
            type,
        )
    operator = draw(st.sampled_from(["add", "sub", "mul", "minimum", "maximum", "div"]))
    pair = (draw_float(draw, scope, type, depth - 1), draw_float(draw, scope, type, depth - 1))
    return Apply(operator, pair, type)


def draw_bool(draw, scope, depth=2):
    kind = draw(st.integers(0, 5 if depth else 0))
    if kind == 0:
        return Const(draw(st.booleans()), BOOL)
    if kind == 1:
        return Not(draw_bool(draw, scope, depth - 1))
    if kind == 2:
        pair = (draw_bool(draw, scope, depth - 1), draw_bool(draw, scope, depth - 1))
        return Binary(draw(st.sampled_from(["and", "or"])), *pair, BOOL)
    if kind == 3:
        array = "h"
        return Load(array, place(draw, scope, array, depth - 1), BOOL, draw(st.booleans()))
    operator = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
    if kind == 4:
        pair = (draw_float(draw, scope, "float64", depth - 1), Var("s", "float64"))
    else:
        pair = (draw_int(draw, scope, depth - 1), draw_int(draw, scope, depth - 1))
    return Binary(operator, *pair, BOOL)


def draw_value(draw, scope, type):
    if type == INT:
        return draw_int(draw, scope)
    return draw_bool(draw, scope) if type == BOOL else draw_float(draw, scope, type)


def draw_statement(draw, scope, depth):
    """Draw one or two statements; ``scope`` grows by what they define."""
    kind = draw(st.sampled_from(["assign", "assign", "store", "store", "allocate", "comment"]
                                + ["prefetch"]
                                + ["for", "for", "if", "while", "resize"] * bool(depth)
                                + ["break"] * scope.in_loop))  # fmt: skip
    match kind:
        case "assign":
            type = draw(st.sampled_from([INT, INT, BOOL, "float64", "float32"]))
            again = [name for name in scope.of(type) if name not in scope.fixed]
            old = bool(again) and draw(st.booleans())
            name = draw(st.sampled_from(again)) if old else scope.fresh("v")
            value = draw_value(draw, scope, type)
            scope.variables[name] = type
            return (Assign(Var(name, type), value),)
        case "store":
            array = draw(st.sampled_from(sorted(scope.arrays)))
            dtype = scope.arrays[array][0]
            combine = draw(st.sampled_from([None, "add", "mul", "min", "max"]))
            if dtype == BOOL:
                combine = draw(st.sampled_from([None, "any", "all", "add"]))
            value = draw_value(draw, scope, INT if "int" in dtype else dtype)
            where = place(draw, scope, array, 1)
            return (Store(array, where, value, combine, draw(st.booleans())),)
        case "allocate":
            name = scope.fresh("w")
            dtype = draw(st.sampled_from(["int32", "int64", "float64", "float32"]))
            zero = Const(0.0 if "float" in dtype else 0, dtype)
            value = draw(st.sampled_from([zero, replace_value(zero, 1), replace_value(zero, -1)]))
            shape = tuple(build.i(draw(st.integers(1, 4))) for _ in range(draw(st.integers(1, 2))))
            scope.arrays[name] = (dtype, len(shape))
            return (Allocate(name, dtype, shape, value),)
        case "resize":
            local = [n for n, (_, d) in scope.arrays.items() if d == 1 and n.startswith("w")]
            if not local:
                return (Comment("nothing to resize"),)
            array = draw(st.sampled_from(local))
            dtype = scope.arrays[array][0]
            start = Var(scope.fresh("q"), INT)
            fill = Store(array, (start,), Const(0.0 if "float" in dtype else 0, dtype))
            length = draw(st.integers(1, 6))
            return (
                Assign(Var("before", INT), build.i(0)),
                Assign(Var("before", INT), Length(array)),
                Resize(array, build.i(length)),
                For(start, Var("before", INT), Length(array), (fill,)),
            )
        case "prefetch":
            array = draw(st.sampled_from(sorted(scope.arrays)))
            return (Prefetch(array, place(draw, scope, array, 1)),)
        case "comment":
            return (Comment(draw(st.sampled_from(["note", "two\nlines", ""]))),)
        case "for":
            inner = scope.inner(loop=True)
            variable = Var(scope.fresh("k"), INT)
            inner.variables[variable.name] = INT
            inner.fixed.add(variable.name)
            stop = Binary("%", draw_int(draw, scope, 1), build.i(4), INT)
            step = draw(st.sampled_from([1, 1, 1, 2, -1]))
            return (For(variable, build.i(draw(SMALL)), stop, draw_body(draw, inner, depth), step),)
        case "while":
            inner = scope.inner(loop=True)
            name = scope.fresh("c")
            inner.variables[name] = INT
            inner.fixed.add(name)
            down = Assign(Var(name, INT), build.sub(Var(name, INT), 1))
            condition = build.gt(Var(name, INT), 0)
            body = (down, *draw_body(draw, inner, depth))
            return (Assign(Var(name, INT), build.i(draw(SMALL))), While(condition, body))
        case "if":
            then = draw_body(draw, scope.inner(), depth)
            otherwise = draw_body(draw, scope.inner(), depth) if draw(st.booleans()) else ()
            return (If(draw_bool(draw, scope), then, otherwise),)
        case _:
            return (Break(),)


def replace_value(constant, value):
    return Const(type(constant.value)(value), constant.type)


def draw_body(draw, scope, depth):
    result = []
    for _ in range(draw(st.integers(0, 4 if depth == 3 else 3))):
        result.extend(draw_statement(draw, scope, depth - 1))
        if isinstance(result[-1], Break):
            break
    return tuple(result)


@st.composite
def kernels(draw):
    """Draw a kernel over ``PARAMS`` that ends normally on ``arguments()``."""
    scope = Scope(
        {"n": INT, "m": INT, "s": "float64", "t": "float32"},
        {p.name: (p.dtype, p.ndim) for p in PARAMS if isinstance(p, ArrayParam)},
        {"n", "m", "s", "t"},
    )
    body = draw_body(draw, scope, 3) + draw_body(draw, scope, 3)
    results = tuple(sorted(set(scope.variables) | set(scope.arrays)))
    return Kernel("random_kernel", PARAMS, body, results, ("random",))


def same_results(left, right):
    """Raise unless two tuples of results are equal bit for bit, NaN equal to NaN."""
    assert len(left) == len(right)
    for one, two in zip(left, right, strict=True):
        one, two = np.asarray(one), np.asarray(two)
        assert one.shape == two.shape
        np.testing.assert_array_equal(one, two)
        if one.dtype.kind == "f":
            plain = ~np.isnan(one)
            np.testing.assert_array_equal(np.signbit(one)[plain], np.signbit(two)[plain])
