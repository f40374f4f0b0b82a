"""What an explanation says beside the plan: proofs kept, time-outs, alternatives, bytes, time."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.find import queries, smt
from sparsedsl.find.rates import CAUSES


@pytest.fixture(name="A")
def matrix():
    return sp.random_array((40, 40), density=0.2, format="csr", rng=0)


def spgemm():
    @sd.kernel
    def spgemm(A, B):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = A[i, k] * B[k, j]
        return C

    return spgemm


def product():
    @sd.kernel
    def product(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] * B[i, j]
        return C

    return product


def test_proofs_are_kept_with_the_kernel(A, tmp_path, monkeypatch):
    with sd.options(cache_dir=str(tmp_path)):
        first = product().lower(A, A)
        assert first.proofs
        monkeypatch.setattr(smt, "_answer", None)  # any question now fails
        again = product().lower(A, A)
        assert again.proofs == first.proofs
        for path in tmp_path.rglob("*.proofs"):
            path.write_text(path.read_text().replace("proved", "PROVED"))
        with pytest.raises(TypeError):
            _ = product().lower(A, A).proofs


def late(*names):
    """A prover that runs out of time on questions of these names, of any where none is given."""

    def prove(question, timeout_ms, known):
        found = smt.prove(question, timeout_ms, known)
        wanted = not names or question.name in names
        return replace(found, verdict="timed out") if wanted else found

    return prove


def test_time_outs_degrade_the_plan_and_are_told(A, tmp_path, monkeypatch):
    monkeypatch.setattr(queries, "prove", late("B_p sorted"))
    with sd.options(cache_dir=str(tmp_path), solver_timeout_ms=401):
        text = product().explain(A, A)
        found = product()(A, A)
    assert "1 timed out after 401 ms: the plan does without" in text
    assert "B_p sorted: timed out, not used: search by comparison" in text
    assert "merge: not proved: rising, sorted" in text
    np.testing.assert_array_equal(found.toarray(), A.multiply(A).toarray())


def test_a_limit_too_low_for_any_plan_says_so(A, tmp_path, monkeypatch):
    monkeypatch.setattr(queries, "prove", late())
    with sd.options(cache_dir=str(tmp_path)), pytest.raises(sd.PlanError) as caught:
        _ = product().lower(A, A).plan
    assert "no find is legal" in str(caught.value)
    assert "solver_timeout_ms" in caught.value.hint


def test_the_solver_tells_too_little_time_from_an_answer():
    x, y = "(declare-const x Int)", "(declare-const y Int)"
    hard = f"{x}{y}(assert (= (* x x x) (+ 3 (* y y y y) (* 7 x y))))(assert (> x 10))"
    assert smt._ask(hard, 1) == "timed out"
    assert smt._ask(f"{x}(assert (< x x))", 1000) == "proved"
    free = "(declare-fun f (Int) Int)(assert (forall ((a Int)) (! (< 0 (f a)) :pattern ((f a)))))"
    assert smt._ask(f"{x}{free}(assert (= (f x) 3))", 1000) == "unknown"


def test_alternatives_and_workspaces(A):
    text = spgemm().explain(A, A)
    assert "workspace C_sums: float64[n_j] (320 bytes)" in text
    orders = re.findall(
        r"alternative loops ([ijk ]+\b).*: estimated [\d.e-]+ ms, ([\d.e+]+) times the plan's", text
    )
    assert len(orders) >= 2
    assert "i k j" not in dict(orders)
    ratios = [float(ratio) for _, ratio in orders]
    assert ratios == sorted(ratios)


def test_operands_of_one_pattern_are_told_of_their_version(A):
    B = A * 2.0
    assert "what follows is for others" not in product().explain(A, A[:, ::-1])
    told = product().explain(A, B)
    assert re.search(
        r"these operands have one pattern: a call runs a version without searches, estimated "
        r"[\d.e-]+ ms, measured [\d.e-]+ ms; what follows is for others",
        told,
    )


def test_the_fastest_of_many_orders_are_told_and_the_others_counted():
    @sd.kernel
    def mttkrp(X, B, C):
        i, j, k, r = sd.indices("i j k r")
        M = sd.output()
        M[i, r] = X[i, j, k] * B[j, r] * C[k, r]
        return M

    X = sd.asarray(np.arange(60.0).reshape(3, 4, 5), "csf")
    text = mttkrp.explain(X, np.ones((4, 3)), np.ones((5, 3)))
    told = re.findall(r"alternative loops [ijkr ]+\b", text)
    (others,) = re.findall(r"alternative loops in (\d+) other orders: estimated", text)
    assert len(told) == len(set(told)) == 6
    assert int(others) + 6 <= 23


def test_outputs_are_told_apart():
    @sd.kernel
    def two(A, x):
        i, j, k = sd.indices("i j k")
        t, y = sd.output(), sd.output("csr")
        t[i] = A[i, j] * x[j]
        y[i, k] = A[i, k] * t[i]
        return t, y

    A = sp.random_array((50, 50), density=0.1, format="csr", rng=0)
    text = two.explain(A, np.ones(50))
    assert re.findall("time of .*", text) == ["time of t", "time of y"]


def test_workspaces_are_those_of_the_arguments_given():
    kernel = spgemm()
    for n, density in ((40, 0.35), (60, 0.2)):  # of one kind, planned once
        given = sp.random_array((n, n), density=density, format="csr", rng=0)
        assert f"workspace C_sums: float64[n_j] ({8 * n} bytes)" in kernel.explain(given, given)


def test_hash_tables_with_bytes():
    x = sp.random_array((4000,), density=0.05, rng=0)
    A = sp.random_array((50, 4000), density=0.01, format="csr", rng=0)

    @sd.kernel(find={"x": "hash"})
    def product(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    assert "workspace x_p_slots: int64[x_p_room] (4.1 kB)" in product.explain(A, x)


def test_copies_with_bytes():
    A = sp.random_array((400, 400), density=0.05, format="csr", rng=0)
    text = spgemm().explain(A.tocsc(), A)
    assert re.search(
        r"copy of A in mode order \(0, 1\), made once for the same values \(about \d+ kB\)", text
    )


def test_time_is_told_of_data_alone():
    small, large = (sp.random_array((n, n), density=0.1, format="csr", rng=0) for n in (4, 500))
    assert "ms with what any call costs\n" in spgemm().explain(small, small)
    told = spgemm().explain(large, large)
    assert re.search(r"measured [\d.e-]+ ms( on \d threads)?: [\d.e+-]+ times the est", told)
    given = sd.ShapeOf((40, 40), "float64", nnz=320)
    assert "measured" not in spgemm().explain(given, given)


def test_intermediate_programs_are_dumped(tmp_path):
    def product(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    A = sp.csr_array(np.eye(3))
    for _ in range(2):  # planned anew, and found in the cache
        with sd.options(dump=str(tmp_path / "deep" / "stages")):
            sd.kernel(product)(A, np.ones(3))
        files = sorted((tmp_path / "deep" / "stages").iterdir())
        assert [f.name.partition(".")[2] for f in files] == [
            *("1-statements.txt", "2-space.txt", "3-plan.txt", "4-loops.txt", "5-source.py")
        ]
        texts = [f.read_text() for f in files]
        assert "y[i] = sum(j, A[i, j] * x[j])" in texts[0]
        assert "A_indptr(A_i) <= A_p" in texts[1]
        assert "scan A" in texts[2]
        compile(texts[4], "dumped", "exec")
        for file in files:
            file.unlink()


def test_verify_looks_at_the_loops_after_every_pass(monkeypatch):
    seen = []
    monkeypatch.setattr("sparsedsl.loops.optimise.verify", seen.append)
    passes = ("simplify", "unroll", "promote", "reuse", "strip", "fetch")
    A = sp.csr_array(np.eye(3))
    for wanted in (False, True):
        with sd.options(verify=wanted):
            assert sd.kernel(_doubled).lower(A).source
        assert (len(seen) >= len(passes)) == wanted
        assert wanted or not seen


def _doubled(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = 2 * A[i, j]
    return C


def test_costs_are_those_of_the_sizes_given():
    """Kernels are planned for rounded sizes, which these two share."""

    @sd.kernel
    def product(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    costs = []
    for rows in (1100, 3300):
        A = sp.csr_array((np.ones(4 * rows), np.arange(4 * rows) % 1100, np.arange(rows + 1) * 4))
        lowered = product.lower(A, np.ones(A.shape[1]))
        costs.append(lowered.cost - CAUSES["call"].rate)
    assert 2.9 < costs[1] / costs[0] < 3.1


def test_large_copies_and_workspaces_are_warned_of(tmp_path, monkeypatch):
    from scipy.sparse import SparseEfficiencyWarning

    @sd.kernel
    def smaller(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = sd.minimum(A[i, j], B[i, j])
        return C

    rng = np.random.default_rng(0)
    A = sd.asarray(sp.random_array((50, 40), density=0.2, rng=rng), "coo_repeated")
    B = sp.random_array((50, 40), density=0.2, rng=rng, format="csr")
    told = r"C takes .* a copy of A in .* \(.* kB\).*explain\(\) says why"
    with sd.options(cache_dir=str(tmp_path)):
        smaller(A, B)  # nothing to warn of
        monkeypatch.setattr("sparsedsl.explain.costly.COSTLY", 1000)
    with sd.options(cache_dir=str(tmp_path / "other")):
        monkeypatch.setattr("sparsedsl.calls.kernels._WARNED", {})
        for _ in range(2):  # planned, then found on disk
            with pytest.warns(SparseEfficiencyWarning, match=told) as caught:
                sd.kernel(smaller.function)(A, B)
            (one,) = caught
            assert one.filename == __file__
        with warnings.catch_warnings(record=True, action="default") as caught:
            for _ in range(2):
                sd.kernel(smaller.function)(A, B)
        assert len(caught) == 1  # at each place
