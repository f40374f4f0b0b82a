"""Each subscript is proved inside its array, or the kernel tests it."""

import re
from dataclasses import replace

import numpy as np
import pytest
from expressions import EXPRESSIONS, draw
from levels import check, compiling, interpreting, remembering_proofs

import sparsedsl as sd
from sparsedsl.find import certificates
from sparsedsl.find.context import Context
from sparsedsl.find.queries import Prover
from sparsedsl.find.widths import widest
from sparsedsl.iteration.nodes import Scan
from sparsedsl.pipeline import planned as planning
from sparsedsl.pipeline import stages
from sparsedsl.pipeline.groups import Settings
from sparsedsl.spf import terms

BLOCKS = {"bcsr": (2, 3), "bcsc": (3, 2), "sell": (2,), "csb": (3,), "banded": (2, 1), "hash": (4,)}
LAYOUTS = ("csr", "csc", "coo", "coo_unsorted", "dcsr", "bcsr", "dia", "ell", "sell", "hash")
LAYOUTS += ("vbl", "rle", "morton", "triangular", "skyline", "banded", "ragged", "bitmap", "dense")


def planned(name, layout, rng=None):
    """The units of an expression with its first operand in a layout, the others in CSR."""
    chosen = sd.layouts[layout]
    expr = EXPRESSIONS[name]
    layouts = {n: sd.layouts["csr" if r == 2 else "csf"] for n, r in expr.sparse()}
    layouts["A"] = chosen(*BLOCKS[layout]) if layout in BLOCKS else chosen
    tensors, truth = draw(expr, layouts, rng or np.random.default_rng(0))
    special = sd.kernel(expr.body).engine.specialise(list(tensors.values()))
    with interpreting(), remembering_proofs():
        check(special, tensors, truth, expr.rtol)
    return [ready.unit for ready in special.ready.values()]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["spmv", "product", "add"])
def test_every_subscript_is_proved(name, layout):
    for unit in planned(name, layout):
        assert unit.certificates
        assert not [str(c) for c in unit.certificates if c.verdict == "checked"]
        assert "boundscheck" not in unit.source
        read = {a for a in re.findall(r"\b([AB]_\w+)\[", unit.source) if "_table" not in a}
        # of these the kernel makes one itself, and cuts subscripts to its length
        read -= {a for a in read if a.endswith("_words")}
        # parts of ranges are read where the ranges are
        read = {a.removesuffix("_low").removesuffix("_high") for a in read}
        assert read <= {c.array for c in unit.certificates}


@pytest.mark.parametrize("layout", ["csr", "triangular", "symmetric", "skyline", "banded"])
@pytest.mark.parametrize("turned", [False, True])
def test_extents_that_are_equal_bound_each_other(layout, turned):
    """Two indices of a square tensor have extents of different names."""

    @sd.kernel
    def square(T):
        i, j, k = sd.indices("i j k")
        C = sd.output("csr")
        C[i, j] = T[i, k] * (T[j, k] if turned else T[k, j])
        return C

    dense = np.tril(np.random.default_rng(0).random((7, 7)))
    dense = dense + dense.T if layout == "symmetric" else dense
    chosen = sd.layouts[layout]
    T = sd.convert(dense, chosen(6, 0) if layout in BLOCKS else chosen)
    special = square.engine.specialise([T])
    with interpreting(), remembering_proofs():
        np.testing.assert_allclose(square(T).to_numpy(), dense @ (dense.T if turned else dense))
    found = [c for ready in special.ready.values() for c in ready.unit.certificates]
    assert found
    assert not [str(c) for c in found if c.verdict == "checked"]


@pytest.mark.parametrize("layout", ["csr", "coo", "ell", "dia", "bcsr", "sell", "skyline"])
def test_arrays_one_shorter_are_not_proved(layout, monkeypatch):
    lengths = certificates._lengths

    def shorter(operand):
        return {
            array: tuple(None if x is None else terms.subtract(x, terms.ONE) for x in axes)
            for array, axes in lengths(operand).items()
        }

    monkeypatch.setattr(certificates, "_lengths", shorter)
    (unit,) = planned("spmv", layout)
    values = [c for c in unit.certificates if c.array == "A_data"]
    assert any(c.verdict == "checked" for c in values)
    assert "boundscheck=True" in unit.source


@pytest.mark.parametrize(
    ("least", "extra", "proved"), [(0, 0, True), (-1, 0, False), (0, 1, False), (1, -1, True)]
)
def test_both_ends_of_a_subscript_are_proved(least, extra, proved):
    """``least <= i < n + extra`` read at ``i`` in an array of ``n`` elements."""
    n, i = terms.var("n"), terms.var("i")
    scan = Scan("i", (terms.const(least),), (terms.add(n, terms.const(extra)),), None)
    context = Context((scan,), {})
    verdict = certificates._verdict(Prover(2000), context, i, n, frozenset(), None)
    assert (verdict != "checked") is proved


@pytest.mark.parametrize("turned", [False, True])
def test_a_subscript_is_proved_at_each_of_its_reads(turned, monkeypatch):
    """One of two reads with the same subscript goes one element too far."""
    (unit,) = planned("spmv", "csr")
    reads = certificates._reads

    def twice(steps, chain):
        for read in reads(steps, chain):
            far = [
                replace(s, highs=tuple(terms.add(high, terms.ONE) for high in s.highs))
                if isinstance(s, Scan)
                else s
                for s in read.steps
            ]
            free = replace(read.operand, constraints=())
            both = (read, replace(read, operand=free, steps=tuple(far)))
            yield from reversed(both) if turned else both

    def verdicts():
        signs = tuple(frozenset() for _ in unit.nest.chains)
        found = certificates.certify(Prover(2000), unit.nest, signs)
        return {str(c): c.verdict for c in found}

    before = verdicts()
    monkeypatch.setattr(certificates, "_reads", twice)
    after = verdicts()
    assert "checked" not in before.values()
    assert "checked" in after.values()


def test_what_is_not_proved_is_compared_when_bound():
    """Without its property the pointers may fall, and no term says how long arrays are."""
    csr = sd.layouts["csr"]
    loose = sd.Layout(
        "loose", csr.text, value="data(p)", properties=["increasing indices within "
        "indptr(i) <= p < indptr(i + 1)"]
    )  # fmt: skip
    dense = np.array([[1.0, 0, 2], [0, 3, 0]])
    arrays = {"indptr": [0, 2, 3], "indices": [0, 2, 1], "data": [1.0, 2.0, 3.0]}
    A = sd.from_arrays(loose, (2, 3), arrays)
    special = sd.kernel(EXPRESSIONS["spmv"].body).engine.specialise([A, sd.asarray(np.ones(3))])
    for level in (interpreting, compiling):
        with level():
            check(special, {"A": A, "x": sd.asarray(np.ones(3))}, {"A": dense, "x": np.ones(3)})
    unit = special.ready[0].unit
    assert {c.verdict for c in unit.certificates if c.array == "A_data"} == {"bound"}
    arrays["indptr"] = [0, 2, 4]
    with pytest.raises(sd.InvalidTensorError, match="which has length 3"):
        sd.from_arrays(loose, (2, 3), arrays)


def test_index_values_that_may_leave_64_bits_are_refused(monkeypatch):
    (unit,) = planned("spmv", "bcsr")
    extents = dict.fromkeys(unit.group.extents, 100)
    dtypes = dict.fromkeys(("A_indptr", "A_indices"), "int32")
    assert widest(unit.nest, extents, dtypes) >= 3 * 2**31
    assert widest(replace(unit.nest, chains=()), extents, dtypes) == 0
    monkeypatch.setattr(planning, "widest", lambda *_: 2**63)
    with pytest.raises(sd.PlanError, match=r"may leave 64 bits: its values reach 2\*\*64"):
        stages.compile_group(unit.group, Settings())


def test_how_much_larger_operands_may_be_is_known():
    """Extents of a compiled kernel may grow until index values could leave 64 bits, not beyond."""
    strided = sd.kernel(EXPRESSIONS["strided"].body)
    x = np.arange(40.0)
    (unit,) = strided.lower(x).units
    grows = unit.recipe.grows
    sizes = [
        widest(unit.nest, dict.fromkeys(unit.group.extents, 4 ** (4 + k)), {})
        for k in (grows - 1, grows + 2)
    ]
    assert sizes[0] < 2**63 <= sizes[1]
    compiled = strided.compile(x)
    np.testing.assert_array_equal(compiled(np.arange(4000.0)), np.arange(0, 4000.0, 2))
    ready = compiled._special.ready
    ready[0].call.recipe = replace(ready[0].call.recipe, grows=1)
    np.testing.assert_array_equal(compiled(np.arange(100.0)), np.arange(0, 100.0, 2))
    with pytest.raises(sd.PlanError, match="less than 128 values of i, found 20000"):
        compiled(np.arange(40000.0))


def test_an_explanation_lists_them():
    A = sd.asarray(np.eye(3), "csr")
    text = sd.kernel(EXPRESSIONS["spmv"].body).explain(A, np.ones(3))
    assert "bounds (6 subscripts proved, 0 not: none is tested at run time)" in text
    assert "  proved: 0 <= A_p < A_indptr(n_i) for A_indices" in text
    assert "in 64 bits" in text
