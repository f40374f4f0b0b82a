"""Stores past the caches: only of what is appended and not read, and of the same meaning."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from llvmlite import binding, ir

import sparsedsl as sd
from sparsedsl.api import statement_engine
from sparsedsl.calls.choices import Choices
from sparsedsl.codegen.llvm_kernel import kernel_function
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.python import source
from sparsedsl.find import passing as rule
from sparsedsl.loops import build as lb
from sparsedsl.loops import passing as change
from sparsedsl.loops import text
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import ArrayParam, Assign, For, If, IntParam, Kernel, Store
from sparsedsl.loops.optimise import optimise
from sparsedsl.loops.passing import passing
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements

p, c, limit = (lb.ivar(name) for name in ("p", "c", "limit"))


def filtering(dtype="float64", *more, index="int32"):
    """Append the values above zero and their places, at the counter ``c``."""
    value = lb.load("a", p, type=dtype)
    appended = (
        lb.store("places", [c], lb.cast(p, index)),
        lb.store("kept", [c], value),
        *more,
        Assign(c, lb.add(c, 1)),
    )
    above = If(lb.lt(lb.const(0.0, dtype), value), appended)
    arrays = (("a", dtype), ("places", index), ("kept", dtype), ("marks", "bool"))
    params = (*(ArrayParam(n, d, 1) for n, d in arrays), IntParam("limit"))
    body = (Assign(c, lb.i(0)), For(p, lb.i(0), limit, (above,)))
    return Kernel("filtering", params, body, ("c",), ("what it does",))


def marked(kernel):
    return {
        s.array for s in statements(kernel.body) if isinstance(s, Store) and s.passing is not None
    }


def llvm(kernel):
    module = ir.Module("filtering")
    kernel_function(module, kernel, ())
    binding.parse_assembly(str(module)).verify()
    return str(module)


def given(dtype="float64", index="int32"):
    a = np.random.default_rng(0).standard_normal(1000).astype(dtype)
    return {
        "a": a,
        "places": np.zeros(1000, index),
        "kept": np.zeros(1000, dtype),
        "marks": np.zeros(1000, bool),
        "limit": 1000,
    }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("least", [1, 1000, 1001])
def test_what_is_appended_is_stored_past_the_caches(least, dtype, index, monkeypatch):
    monkeypatch.setattr(change, "ROOM", least)
    plain = verify(filtering(dtype, index=index))
    changed = verify(passing(plain, limit))
    assert marked(plain) == set()
    assert marked(changed) == {"places", "kept"}
    (line,) = (s for s in text.kernel(changed).splitlines() if s.strip().startswith("kept["))
    assert line.endswith("past the caches if passes")
    assert source(changed, cache=False).count("  # past the caches if passes\n") == 2
    assert llvm(plain).count("!nontemporal") == llvm(plain).count("fence") == 0
    assert llvm(changed).count("!nontemporal") == 2
    assert llvm(changed).count("fence seq_cst") == 1
    by_hand, by_machine = given(dtype, index), given(dtype, index)
    interpret(changed, by_hand)
    code = direct_code(changed, kinds(list(by_machine.values())), "filtering", fastmath=False)
    (count,) = linked(code)(*by_machine.values())
    assert count == np.count_nonzero(by_hand["a"] > 0)
    for name in ("places", "kept"):
        assert by_machine[name].tobytes() == by_hand[name].tobytes()


def test_what_is_read_again_is_not():
    before = lb.sub(c, 1)
    behind = If(
        lb.lt(lb.i(0), c), (lb.store("kept", [c], lb.load("kept", before, type="float64")),)
    )
    assert marked(passing(filtering("float64", behind), limit)) == {"places"}


def test_nor_are_sums_elements_of_loops_and_bytes():
    added = replace(lb.store("marks", [c], lb.const(True, "bool")), array="marks")
    kernel = filtering("float64", added)
    assert marked(passing(kernel, limit)) == {"places", "kept"}
    loop = For(p, lb.i(0), limit, (lb.store("kept", [p], lb.const(1.0, "float64")),))
    assert passing(replace(kernel, body=(loop,), results=()), limit).body == (loop,)
    adding = Store("kept", (c,), lb.const(1.0, "float64"), "add")
    kernel = replace(kernel, body=(Assign(c, lb.i(0)), adding))
    assert passing(kernel, limit) == kernel


def test_only_large_results_are():
    kernel = verify(filtering())
    assert marked(optimise(kernel, checked=True)) == set()
    assert marked(optimise(kernel, large=limit, checked=True)) == {"places", "kept"}


def add(A, B):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[i, j] = A[i, j] + B[i, j]
    return C


def matmul(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, j] = sd.sum(A[i, k] * B[k, j], over=k)
    return C


def bands(offsets, rows=300_000):
    """A matrix with entries at these distances from the diagonal, of some values."""
    rng = np.random.default_rng(len(offsets))
    columns = np.sort((np.arange(rows)[:, None] + offsets) % rows, axis=1)
    indptr = np.arange(rows + 1) * len(offsets)
    values = rng.standard_normal(columns.size)
    return sp.csr_array((values, columns.ravel().astype(np.int32), indptr.astype(np.int32)))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_large_sum(threads):
    A, B = bands(np.arange(8)), bands(np.arange(4, 12))
    summed = sd.kernel(add)
    with sd.options(threads=threads):
        (unit,) = summed.lower(A, B).units
        assert marked(unit.kernel) == {"C_data", "C_indices"}
        assert unit.recipe.shared.streams
        assert "three or more threads may share the loop over i" in summed.lower(A, B).explain()
        found = summed(A, B)
    expected = A + B
    for name in ("indptr", "indices", "data"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


def test_entries_that_are_all_kept():
    A = bands(np.arange(8))

    @sd.kernel
    def twice(A):
        i, j = sd.indices("i j")
        C = sd.output("csr")
        C[i, j] = 2 * A[i, j]
        return C

    (unit,) = twice.lower(A).units
    assert marked(unit.kernel) == {"C_data", "C_indices"}
    assert "every entry of C_data is kept" in unit.source
    assert twice(A).data.tobytes() == (2 * A).data.tobytes()


@pytest.mark.parametrize(
    ("statement", "alone"),
    [
        ("C[i,j] = A[i,j] + B[i,j]", True),
        ("C[i,j] = A[i,j] * B[i,j]", True),
        ("C[i,j] = A[i,j] * x[j]", True),
        ("C[i,j] = A[i,j] + B[i,j] + D[i,j]", False),
        ("C[i,j] = exp(A[i,j]) * B[i,j]", False),
        ("C[i,j] = A[i,j] * P[i,k] * Q[j,k]", False),
    ],
)
def test_one_thread_does_what_waits_for_the_memory_alone(statement, alone):
    A, B, D = bands(np.arange(8)), bands(np.arange(4, 12)), bands(np.arange(9))
    n = A.shape[0]
    given = {"A": A, "B": B, "D": D, "x": np.ones(n), "P": np.ones((n, 2)), "Q": np.ones((n, 2))}
    used = {name: x for name, x in given.items() if f"{name}[" in statement}
    engine = statement_engine(statement, tuple(used), Choices())
    (unit,) = engine.lower(tuple(used.values())).units
    assert "C_data" in marked(unit.kernel)
    assert unit.recipe.shared.streams == alone


def test_a_small_sum_stays_in_the_caches():
    A = bands(np.arange(8), 3000)
    assert "past the caches" not in sd.kernel(add).lower(A, A).source


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dcsr"])
@pytest.mark.parametrize("statement", [add, matmul])
def test_every_result_is_the_same_past_the_caches(statement, layout, monkeypatch, tmp_path):
    A = sp.random_array((60, 60), density=0.2, format="csr", rng=1)
    B = sp.random_array((60, 60), density=0.3, format="csr", rng=2)
    given = sd.asarray(A, layout=layout), sd.asarray(B, layout=layout)
    plain = sd.kernel(statement)(*given)
    monkeypatch.setattr(rule, "CACHES", 0.0)
    monkeypatch.setattr(rule, "RUN", 0.0)
    monkeypatch.setattr(change, "ROOM", 0)
    with sd.options(cache_dir=tmp_path):
        kernel = sd.kernel(statement)
        found = kernel(*given)
        if statement is add and layout != "coo":
            assert "past the caches" in kernel.lower(*given).source
    for name, array in plain.arrays.items():
        assert array.tobytes() == found.arrays[name].tobytes()
