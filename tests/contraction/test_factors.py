"""Which functions of dense operands are computed beforehand, and into what."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.contraction.factors import taken_out
from sparsedsl.contraction.text import statement_text

MANY = {"A": (2.0**10, 2.0**20)}
SIZES = {"i": 2.0**10, "j": 2.0**10, "k": 2.0**2}
NONE = frozenset[str]()


def program_of(text, **tensors):
    """Return the program of a statement, its indices named as they are written."""
    A = sp.csr_array(np.eye(3))
    given = {"A": A, "x": np.ones(3), "z": np.ones(3), "n": np.ones(3, "int64"), **tensors}
    used = {name: value for name, value in given.items() if f"{name}[" in text}
    names = ", ".join(used)
    space = {"sd": sd}
    target, value = text.split(" = ")
    exec(
        f"def f({names}):\n"
        '    i, j, k = sd.indices("i j k")\n'
        "    Y = sd.output()\n"
        f"    {target} = {value}\n"
        "    return Y\n",
        space,
    )
    return sd.kernel(space["f"]).lower(*used.values()).program


def written(program):
    return [statement_text(s) for s in program.statements]


def taken(text, unusual=NONE, turns=MANY, extents=SIZES, *, ieee=True, **tensors):
    program = program_of(text, **tensors)
    found = taken_out(program, turns, extents, frozenset(unusual), ieee=ieee)
    return written(found)[:-1] if found is not program else []


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Y[i, j] = A[i, j] * sd.exp(x[j])", ["once0[j] = exp(x[j])"]),
        ("Y[i, j] = A[i, j] * sd.exp(x[i])", ["once0[i] = exp(x[i])"]),
        ("Y[i, j] = A[i, j] * sd.exp(n[j])", ["once0[j] = exp(n[j])"]),
        (
            "Y[i, j] = sd.log(z[i]) * A[i, j] * sd.sqrt(x[j])",
            ["once0[i] = log(z[i])", "once1[j] = sqrt(x[j])"],
        ),
        (
            "Y[i, j] = sd.log(x[i]) * A[i, j] * sd.log(x[j])",
            ["once0[i] = log(x[i])", "once1[j] = log(x[j])"],
        ),
        ("Y[i, j] = A[i, j] * sd.exp(x[j]) + A[i, j] * sd.exp(x[j])", ["once0[j] = exp(x[j])"]),
        ("Y[i, j] = A[i, j] / (1 + sd.exp(-x[j]))", ["once0[j] = 1.0 + exp(-x[j])"]),
        ("Y[i] = sd.sum(A[i, j] * sd.exp(x[j]), over=j)", ["once0[j] = exp(x[j])"]),
        ("Y[i, j] = A[i, j] * sd.exp(D[i, k])", ["once0[i, k] = exp(D[i, k])"]),
        ("Y[i, j] = A[i, j] * sd.exp(s[()])", ["once0[()] = exp(s[()])"]),
        # nothing that is one operand's size, or not a function, or read at every point of the loops
        ("Y[i, j] = A[i, j] * sd.exp(x[i] + z[j])", []),
        ("Y[i, j] = A[i, j] * sd.exp(D[i, j])", []),
        ("Y[i, j] = A[i, j] * (x[j] * z[j] + x[j] ** 2)", []),
        ("Y[i, j] = A[i, j] * (x[j] / 2)", []),
        ("Y[i, j] = A[i, j] * sd.exp(B[j, j])", []),
        ("Y[i, j] = A[i, j] * sd.exp(x[j] * j)", []),
    ],
)
def test_functions_that_may_be_infinite_are_taken_out(text, made):
    others = {"D": np.ones((3, 3)), "B": sp.csr_array(np.eye(3)), "s": np.array(1.0)}
    assert taken(text, **others) == made


def test_functions_met_often_are_taken_out():
    by_row, by_column = (f"Y[i, j] = A[i, j] * sd.tanh(x[{index}])" for index in "ij")
    assert taken(by_column) == ["once0[j] = tanh(x[j])"]
    assert taken(by_column, ieee=False) == ["once0[j] = tanh(x[j])"]
    assert taken(by_row) == []
    assert taken(by_row, turns={"A": (2.0**20, 2.0**20)}) == ["once0[i] = tanh(x[i])"]
    assert taken(by_column, turns={"A": (2.0**10, 2.0**11)}) == []
    assert taken("Y[i, j] = A[i, j] + sd.exp(x[j])") == ["once0[j] = exp(x[j])"]
    assert taken("Y[i, j] = A[i, j] + sd.exp(x[j])", turns={"A": (2.0**10, 2.0**11)}) == []
    assert taken(by_column, extents={**SIZES, "j": 2.0**20}) == []


def test_what_is_known_to_be_unusual():
    text = "Y[i, j] = A[i, j] * sd.tanh(x[i])"
    assert taken(text, {"x"}) == ["once0[i] = tanh(x[i])"]
    assert taken(text, {"x", "once0"}) == []
    assert taken("Y[i, j] = A[i, j] * x[j]", {"x"}) == []


def test_small_dense_results_take_one_kernel_and_sparse_ones_stay_sparse():
    few, tiny = {"A": (4.0, 4.0)}, {"i": 4.0, "j": 4.0, "k": 4.0}
    row = "Y[i] = sd.sum(A[i, j] * sd.exp(x[j]), over=j)"
    assert taken(row, turns=few, extents=tiny) == []
    assert taken("Y[i, j] = A[i, j] * sd.exp(x[j])", turns=few, extents=tiny)
    v = sd.convert(np.array([0.0, 2.0, 0.0]), "csf")
    assert taken("Y[i] = v[i] * sd.exp(s[()])", turns=few, extents=tiny, v=v, s=np.array(1.0))


def test_names_of_the_users_are_left_alone():
    text = "Y[i, j] = A[i, j] * sd.exp(once0[j])"
    assert taken(text, once0=np.ones(3)) == ["once1[j] = exp(once0[j])"]
