"""Kernels written by hand, as lowering would make them."""

from sparsedsl.loops.build import (
    add,
    bit_and,
    bit_or,
    block,
    conj,
    const,
    ctpop,
    cttz,
    eq,
    floordiv,
    gt,
    i,
    ivar,
    length,
    load,
    lt,
    max_,
    mul,
    ne,
    shift_left,
    shift_right,
    store,
    sub,
)
from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Break,
    Comment,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Resize,
    ScalarParam,
    Var,
    While,
)


def csr(name, index="int32", dtype="float64"):
    return (
        ArrayParam(f"{name}_indptr", index, 1),
        ArrayParam(f"{name}_indices", index, 1),
        ArrayParam(f"{name}_data", dtype, 1),
    )


def times(left, right, dtype="float64"):
    return Apply("mul", (left, right), dtype)


def spmv(index="int32", dtype="float64"):
    row, p, j = ivar("i"), ivar("p"), ivar("j")
    product = times(load("A_data", p, type=dtype), load("x", j, type=dtype), dtype)
    body = (Assign(j, load("A_indices", p)), store("y", [row], product, "add"))
    inner = For(p, load("A_indptr", row), load("A_indptr", add(row, 1)), body)
    params = (*csr("A", index, dtype), ArrayParam("x", dtype, 1), ArrayParam("y", dtype, 1))
    notes = ("y[i] = sum(k, A[i, k] * x[k])", "", "scanned: A; x: determined")
    return Kernel("spmv", (*params, IntParam("N")), (For(row, i(0), ivar("N"), (inner,)),), ("y",),
                  notes)  # fmt: skip


def spgemm():
    """Gustavson's product with a dense workspace and a bitmap of its columns."""
    row, p, q, j, w = (ivar(name) for name in "ipqjw")
    k, word, count, nnz = ivar("k"), ivar("word"), ivar("count"), ivar("nnz")
    a = Var("a", "float64")
    place = shift_right(j, 6)
    scatter = (
        Assign(j, load("B_indices", q)),
        store("work", [j], times(a, load("B_data", q, type="float64")), "add"),
        store("bits", [place], bit_or(load("bits", place), shift_left(i(1), bit_and(j, 63)))),
    )
    products = (
        Assign(k, load("A_indices", p)),
        Assign(a, load("A_data", p, type="float64")),
        For(q, load("B_indptr", k), load("B_indptr", add(k, 1)), scatter),
    )
    grow = (
        Resize("C_indices", max_(add(nnz, count), mul(length("C_indices"), 2))),
        Resize("C_data", length("C_indices")),
    )
    gather = (
        Assign(j, add(mul(w, 64), cttz(word))),
        store("C_indices", [nnz], j),
        store("C_data", [nnz], load("work", j, type="float64")),
        store("work", [j], const(0.0, "float64")),
        Assign(nnz, add(nnz, 1)),
        Assign(word, bit_and(word, sub(word, 1))),
    )
    body = block(
        Assign(nnz, i(0)),
        Allocate("C_indptr", "int32", (add(ivar("N"), 1),), Const(0, "int32")),
        Allocate("C_indices", "int32", (length("A_indices"),)),
        Allocate("C_data", "float64", (length("C_indices"),)),
        Allocate("work", "float64", (ivar("M"),), Const(0.0, "float64")),
        Allocate("bits", "int64", (floordiv(add(ivar("M"), 63), 64),), Const(0, "int64")),
        For(row, i(0), ivar("N"), block(
            For(p, load("A_indptr", row), load("A_indptr", add(row, 1)), products),
            Assign(count, i(0)),
            For(w, i(0), length("bits"), (Assign(count, add(count, ctpop(load("bits", w)))),)),
            If(gt(add(nnz, count), length("C_indices")), grow),
            Comment("walk the touched columns in order"),
            For(w, i(0), length("bits"), (
                Assign(word, load("bits", w)),
                store("bits", [w], 0),
                While(ne(word, 0), gather),
            )),
            store("C_indptr", [add(row, 1)], nnz),
        )),
        Resize("C_indices", nnz),
        Resize("C_data", nnz),
    )  # fmt: skip
    return Kernel(
        "spgemm",
        (*csr("A"), *csr("B"), IntParam("N"), IntParam("M")),
        body,
        ("C_indptr", "C_indices", "C_data"),
        ("C[i, j] = sum(k, A[i, k] * B[k, j])",),
    )


def mixed():
    """Many kinds of statement in float32, with names that mean something in Python."""
    p, n = ivar("range"), ivar("len")
    v = Var("u64", "float32")
    half, scale = Const(0.5, "float32"), Var("scale", "float32")
    clipped = Apply("minimum", (Apply("sigmoid", (Apply("mul", (v, scale), "float32"),),
                                      "float32"), half), "float32")  # fmt: skip
    positive = Apply("gt", (v, Const(0.0, "float32")), "bool")
    body = (
        Allocate("flags", "bool", (n,), Const(False, "bool")),
        Allocate("low", "float32", (n, i(2)), Const(float("inf"), "float32")),
        For(p, i(0), n, (
            Assign(v, load("np", i(1), p, type="float32", proved=False)),
            If(conj(lt(p, 3), positive), (
                store("low", [p, 0], clipped, "min"),
                store("flags", [p], Const(True, "bool"), "any"),
            ), (
                If(eq(p, 5), (Break(),), (
                    store("low", [p, 1], Apply("floordiv", (v, half), "float32")),
                )),
            )),
        ), 2),
    )  # fmt: skip
    params = (ArrayParam("np", "float32", 2), ScalarParam("scale", "float32"), IntParam("len"))
    return Kernel("mixed", params, body, ("low", "flags"))


__all__ = ["mixed", "spgemm", "spmv"]
