"""Kernels that look entries of rows up in other rows, operands for them, and ways to run them."""

import numpy as np

from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Const,
    For,
    IntParam,
    Kernel,
    Load,
    Store,
    Var,
)

i, j, k, p, q, e, slot, key = (lb.ivar(name) for name in ("i", "j", "k", "p", "q", "e", "s", "key"))
begin, end, n = (lb.ivar(name) for name in ("begin", "end", "n"))


def over(operand, row, turn, *body):
    pointer = f"{operand}_indptr"
    return For(turn, lb.load(pointer, row), lb.load(pointer, lb.add(row, 1)), body)


def entry(operand, turn):
    return lb.load(f"{operand}_indices", turn)


def product(dtype, *parts):
    first, second, third = parts
    return Apply("mul", (Apply("mul", (first, second), dtype), third), dtype)


def params(dtype, index):
    dtypes = {"indptr": index, "indices": index, "data": dtype}
    arrays = [ArrayParam(f"{x}_{what}", d, 1) for x in "AMB" for what, d in dtypes.items()]
    return (*arrays, ArrayParam("y", dtype, 1), *(IntParam(v.name) for v in (begin, end, n)))


def looked_up(dtype="float64", index="int32", *, start=0.0, operator="add", after=(), term=None):
    """y[p] = sum(M[i, j] * A[i, k] * B[j, k]) for each entry p of M, rows of A spread out."""
    total, m, a = (Var(name, dtype) for name in ("total", "m", "a"))
    zero, b = Const(0.0, dtype), Load("B_data", (q,), dtype)
    value = product(dtype, m, a, b) if term is None else term
    sums = over(
        *("B", j, q, Assign(k, entry("B", q)), Assign(a, Load("table", (k,), dtype))),
        Assign(total, Apply(operator, (total, value), dtype)),
    )
    walk = over(
        *("M", i, p, Assign(m, Load("M_data", (p,), dtype)), Assign(j, entry("M", p))),
        *(Assign(total, Const(start, dtype)), sums, Store("y", (p,), total), *after),
    )
    body = (
        over("A", i, e, Store("table", (entry("A", e),), Load("A_data", (e,), dtype))),
        walk,
        over("A", i, e, Store("table", (entry("A", e),), zero)),
    )
    made = Allocate("table", dtype, (n,), zero)
    return Kernel("rows", params(dtype, index), (made, For(i, begin, end, body)), ())


def run_by(kernel, arguments, how):
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            interpret(kernel, own)
        case "python":
            with np.errstate(all="ignore"):
                load(source(kernel, cache=False)).py_func(*values)
        case "llvm":
            linked(direct_code(kernel, kinds(values), "rows_direct", fastmath=True))(*values)
        case _:
            dispatcher = load(source(kernel, fastmath=True, cache=False))
            linked(linkable_code(dispatcher, kinds(values), "rows_numba"))(*values)
    return own["y"]
