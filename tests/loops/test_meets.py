"""Short ranges searched for one another's indices at once: by every level; what is left alone."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.codegen import processor
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.ahead import ahead
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.meets import meets
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    ArrayParam,
    Assign,
    Break,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Part,
    Prefetch,
    Var,
    While,
)
from sparsedsl.loops.operations import ExecutionError, apply
from sparsedsl.loops.verify import VerificationError, verify
from sparsedsl.loops.walk import statements

p, q, j, n, high, low, first, past = (
    lb.ivar(name) for name in ("p", "q", "j", "n", "high", "low", "first", "past")
)
MACHINES = ["interpreter", "python", *(["llvm", "numba"] if processor.has_masks() else [])]
"""What a kernel is run by: machine code where the processor has the instructions."""


def searching(index="int32", other="int32"):
    """List the places of keys[first .. past] and held[low .. high] that hold the same index."""
    search = While(
        lb.lt(q, high), (If(lb.eq(lb.load("held", q), j), (Break(),)), Assign(q, lb.add(q, 1)))
    )
    work = (
        lb.store("found", (n, lb.i(0)), p),
        lb.store("found", (n, lb.i(1)), q),
        lb.store("found", (n, lb.i(2)), j),
        Assign(n, lb.add(n, 1)),
    )
    body = (Assign(j, lb.load("keys", p)), Assign(q, low), search, If(lb.lt(q, high), work))
    params = (
        ArrayParam("keys", index, 1),
        ArrayParam("held", other, 1),
        ArrayParam("found", "int64", 2),
        *(IntParam(name) for name in ("first", "past", "low", "high")),
    )
    return Kernel("searching", params, (Assign(n, lb.i(0)), For(p, first, past, body)), ("n",))


def machine(kernel, values, how):
    """Return what runs a kernel on such values, in place."""
    match how:
        case "interpreter":
            names = [param.name for param in kernel.params]
            return lambda *given: interpret(kernel, dict(zip(names, given, strict=True)))
        case "python":
            return load(source(kernel, cache=False)).py_func
        case "llvm":
            return linked(direct_code(kernel, kinds(values), "meets_direct", fastmath=True))
        case _:
            code = linkable_code(load(source(kernel, cache=False)), kinds(values), "meets_numba")
            return linked(code)


def ranges(index, rng, sizes):
    """Yield two ranges of distinct indices in any order, at places inside longer arrays."""
    for count, others in sizes:
        extent = int(rng.choice([count + others + 1, 40]))
        pick = rng.permutation(extent + 4)
        first, low = int(rng.integers(0, 3)), int(rng.integers(0, 3))
        keys = np.concatenate([pick[:first], rng.permutation(extent)[:count], pick[:2]])
        held = np.concatenate([pick[:low], rng.permutation(extent)[:others], pick[:3]])
        yield keys.astype(index), held.astype(index), first, count, low, others


@pytest.mark.parametrize("how", MACHINES)
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_pairs(index, how):
    """Of ranges of no index, of few, of as many as a word has bits for, and of more."""
    kernel = verify(meets(verify(searching(index, index))))
    assert any(
        isinstance(s, Assign) and isinstance(s.value, Apply) for s in statements(kernel.body)
    )
    sizes = [(a, b) for a in (*range(10), 17) for b in (*range(10), 17)]
    run = None
    for keys, held, start, count, begin, others in ranges(index, np.random.default_rng(4), sizes):
        found = np.full((24, 3), -5)
        values = [keys, held, found, start, start + count, begin, begin + others]
        run = run or machine(kernel, values, how)
        (total,) = run(*values)
        expected = [
            (at, begin + int(np.flatnonzero(held[begin : begin + others] == keys[at])[0]), keys[at])
            for at in range(start, start + count)
            if keys[at] in held[begin : begin + others]
        ]
        assert total == len(expected)
        assert np.array_equal(found[:total], np.reshape(expected, (-1, 3)))
        assert (found[total:] == -5).all()


def loop_of(kernel):
    return kernel.body[-1]


def changed(old, new):
    """Return the kernel with one statement of its loop replaced."""
    kernel = searching()
    loop = loop_of(kernel)
    assert old in loop.body
    body = tuple(s if s != old else new for s in loop.body)
    return replace(kernel, body=(kernel.body[0], replace(loop, body=body)))


def test_other_forms_are_left_alone():
    key, start, search, work = loop_of(searching()).body
    steps = search.body
    for old, new in (
        (key, Assign(j, lb.load("keys", lb.add(p, 1)))),
        (key, Assign(j, lb.mul(p, 2))),
        (key, lb.store("found", (n, lb.i(0)), p)),
        (start, Assign(q, lb.load("found", n, 0))),
        (start, Assign(lb.ivar("other"), low)),
        (search, While(lb.lt(q, past), steps)),
        (search, While(lb.lt(q, high), (steps[0], Assign(q, lb.add(q, 2))))),
        (search, While(lb.lt(q, high), (steps[1],))),
        (search, While(lb.lt(q, high), (If(lb.lt(lb.load("held", q), j), (Break(),)), steps[1]))),
        (search, While(lb.lt(q, high), (If(lb.eq(lb.load("held", n), j), (Break(),)), steps[1]))),
        (work, If(lb.lt(q, past), work.then)),
        (work, If(lb.lt(q, high), work.then, (Assign(n, lb.add(n, 1)),))),
        (work, If(lb.lt(q, high), (lb.store("held", (q,), lb.i(7)),))),
        (work, If(lb.lt(q, high), (Assign(high, lb.sub(high, 1)),))),
    ):
        kernel = changed(old, new)
        assert meets(kernel) == kernel


def test_indices_of_different_widths_are_left_alone():
    kernel = searching("int32", "int64")
    assert meets(kernel) == kernel


def test_what_a_loop_leaves_behind_is_kept():
    """A key that is read after the loop is the last one, whether it was found or not."""
    kernel = searching()
    later = replace(kernel, body=(*kernel.body[:-1], Assign(j, lb.i(0)), kernel.body[-1]))
    later = replace(later, body=(*later.body, lb.store("found", (lb.i(0), lb.i(0)), j)))
    assert meets(verify(later)) == later


KEYS = Part("keys", lb.i(0), lb.i(3), "int32*8")
WIDE = Part("wide", lb.i(0), lb.i(3), "int64*8")


@pytest.mark.parametrize(
    ("arguments", "type"),
    [
        ((KEYS, n, KEYS), INT),
        ((KEYS, n, WIDE, n), INT),
        ((KEYS, n, n, n), INT),
        ((KEYS, n, KEYS, n), "int32*8"),
        ((Part("keys", lb.i(0), n, "int32*16"), n, KEYS, n), INT),
    ],
)
def test_verifier(arguments, type):
    params = ArrayParam("keys", "int32", 1), ArrayParam("wide", "int64", 1), IntParam("n")
    wrong = Assign(Var("found", type), Apply("alike", arguments, type))
    with pytest.raises(VerificationError, match="alike of"):
        verify(Kernel("broken", params, (wrong,), ()))


def test_negative_indices_are_no_indices():
    some, negative = np.arange(8), np.arange(8) - 1
    assert apply("alike", (some, 8, some, 8), INT) == sum(1 << 9 * k for k in range(7)) - 2**63
    with pytest.raises(ExecutionError, match="negative"):
        apply("alike", (some, 8, negative, 8), INT)


def rows(index="int32"):
    """Go over rows of two operands that are read one after the other."""
    i, m = (lb.ivar(name) for name in ("i", "m"))
    loop = replace(
        loop_of(searching(index, index)),
        start=lb.load("pointer", i),
        stop=lb.load("pointer", lb.add(i, 1)),
    )
    ends = (
        Assign(low, lb.load("others", i)),
        Assign(high, lb.load("others", lb.add(i, 1))),
    )
    params = (
        *(ArrayParam(name, index, 1) for name in ("keys", "held", "pointer", "others")),
        ArrayParam("found", "int64", 2),
        IntParam("m"),
    )
    return Kernel("rows", params, (Assign(n, lb.i(0)), For(i, lb.i(0), m, (*ends, loop))), ("n",))


def test_rows_are_fetched_a_page_ahead():
    kernel = meets(verify(rows()))
    fetched = verify(ahead(kernel, {"keys": 3.0, "held": 3.0}))
    places = {s.array: s.subscripts[0] for s in statements(fetched.body) if isinstance(s, Prefetch)}
    # an earlier variable holds where each row begins
    assert {name: place.right for name, place in places.items()} == {
        "keys": lb.i(1024),
        "held": lb.i(1024),
    }
    assert not any(isinstance(s, Prefetch) for s in statements(ahead(kernel, {}).body))
    inner = [s for s in statements(fetched.body) if isinstance(s, Assign)]
    assert isinstance(next(s.value for s in inner if s.variable == places["held"].left), Load)


def random_rows(rng, shape, dtype, most):
    """Return a matrix with rows of 0 to ``most`` entries."""
    held = np.zeros(shape, dtype)
    for row in held:
        count = min(int(rng.integers(0, most + 1)), shape[1])
        columns = rng.choice(shape[1], count, replace=False) if count else []
        row[columns] = rng.integers(1, 5, count)
    return sp.csr_array(held)


def as_index(matrix, index):
    parts = (matrix.data, matrix.indices.astype(index), matrix.indptr.astype(index))
    return sp.csr_array(parts, shape=matrix.shape)


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "complex128", "bool"])
@pytest.mark.parametrize("shape", [(1, 9), (30, 12), (7, 1), (5, 0), (0, 4)])
def test_elementwise(shape, dtype, index):
    """Rows of no entries, of up to 8, and of more; both find nothing, or everything."""

    @sd.kernel(find="linear")
    def product(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] * B[i, j]
        return C

    rng = np.random.default_rng(list(map(ord, dtype + index)))
    for most in (1, 4, 8, 12):
        A, B = (as_index(random_rows(rng, shape, dtype, most), index) for _ in range(2))
        for second in (B, A):
            found = product(A, second)
            assert found.has_sorted_indices
            np.testing.assert_array_equal(found.toarray(), A.toarray() * second.toarray())


@pytest.mark.parametrize("operand", ["B", "M"])
@pytest.mark.parametrize("most", [2, 6, 11])
def test_masked_products(operand, most):
    @sd.kernel(find={operand: "linear"})
    def masked(A, B, M):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = M[i, j] * A[i, k] * B[k, j]
        return C

    rng = np.random.default_rng(most)
    A, B, M = (random_rows(rng, shape, "float64", most) for shape in ((25, 40), (40, 30), (25, 30)))
    expected = M.toarray() * (A.toarray() @ B.toarray())
    np.testing.assert_array_equal(masked(A, B, M).toarray(), expected)


def test_threads_give_the_same_bits():
    @sd.kernel(find="linear")
    def product(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] * B[i, j]
        return C

    rng = np.random.default_rng(8)
    shape = (3000, 20)
    A, B = (random_rows(rng, shape, "float64", 9) for _ in range(2))
    A.data, B.data = rng.random(A.nnz), rng.random(B.nnz)
    with sd.options(threads=1):
        alone = product(A, B)
    with sd.options(threads=2, parallel_threshold=0):
        shared = product(A, B)
    for name in ("data", "indices", "indptr"):
        assert getattr(alone, name).tobytes() == getattr(shared, name).tobytes()
    np.testing.assert_array_equal(alone.toarray(), A.toarray() * B.toarray())
