"""The applications that sparse abstract machines are judged by, on the unit and on the CPU."""

import re

import numpy as np
import pytest
import scipy.sparse as sp

import rdu
import sparsedsl as sd

NODE = rdu.sn40l_node(1)


def values(rng, *shape, density=0.35):
    return rng.standard_normal(shape) * (rng.random(shape) < density)


def csr(rng, rows, columns):
    return sp.csr_array(values(rng, rows, columns))


def tree(rng, *shape):
    return sd.asarray(values(rng, *shape)).convert("csf")


def dense(x):
    if sp.issparse(x):
        return x.toarray()
    return x.to_numpy() if hasattr(x, "to_numpy") else np.asarray(x)


# Text after the arguments: indices, result, expression; then the arguments and NumPy's answer.
APPLICATIONS = {
    "SpMV": ("i j", "x[i]", "B[i, j] * c[j]", lambda r: {"B": csr(r, 9, 7), "c": tree(r, 7)}),
    "SpM*SpM, linear combination": (
        "i j k", "X[i, j]", "B[i, k] * C[k, j]",
        lambda r: {"B": csr(r, 9, 7), "C": csr(r, 7, 8)},
    ),
    "SpM*SpM, inner products": (
        "i j k", "X[i, j]", "B[i, k] * C[j, k]",
        lambda r: {"B": csr(r, 9, 7), "C": csr(r, 8, 7)},
    ),
    "SpM*SpM, outer products": (
        "i j k", "X[i, j]", "B[k, i] * C[k, j]",
        lambda r: {"B": csr(r, 7, 9), "C": csr(r, 7, 8)},
    ),
    "SDDMM": (
        "i j k", "X[i, j]", "B[i, j] * C[i, k] * D[j, k]",
        lambda r: {"B": csr(r, 9, 8), "C": values(r, 9, 5, density=1), "D": values(r, 8, 5)},
    ),
    "inner product": (
        "i j k", "x[()]", "B[i, j, k] * C[i, j, k]",
        lambda r: {"B": tree(r, 4, 5, 6), "C": tree(r, 4, 5, 6)},
    ),
    "TTV": (
        "i j k", "X[i, j]", "B[i, j, k] * c[k]",
        lambda r: {"B": tree(r, 4, 5, 6), "c": tree(r, 6)},
    ),
    "TTM": (
        "i j k l", "X[i, j, k]", "B[i, j, l] * C[k, l]",
        lambda r: {"B": tree(r, 4, 5, 6), "C": csr(r, 7, 6)},
    ),
    "MTTKRP": (
        "i j k l", "X[i, j]", "B[i, k, l] * C[j, k] * D[j, l]",
        lambda r: {"B": tree(r, 4, 5, 6), "C": csr(r, 3, 5), "D": csr(r, 3, 6)},
    ),
    "residual": (
        "i j", "x[i]", "b[i] - C[i, j] * d[j]",
        lambda r: {"b": tree(r, 9), "C": csr(r, 9, 7), "d": tree(r, 7)},
    ),
    "MatTransMul": (
        "i j", "x[i]", "2.0 * B[j, i] * c[j] + 3.0 * d[i]",
        lambda r: {"B": csr(r, 7, 9), "c": values(r, 7, density=1), "d": values(r, 9, density=1)},
    ),
    "MMAdd": (
        "i j", "X[i, j]", "B[i, j] + C[i, j]",
        lambda r: {"B": csr(r, 9, 7), "C": csr(r, 9, 7)},
    ),
    "Plus3": (
        "i j", "X[i, j]", "B[i, j] + C[i, j] + D[i, j]",
        lambda r: {"B": csr(r, 9, 7), "C": csr(r, 9, 7), "D": csr(r, 9, 7)},
    ),
    "Plus2": (
        "i j k", "X[i, j, k]", "B[i, j, k] + C[i, j, k]",
        lambda r: {"B": tree(r, 4, 5, 6), "C": tree(r, 4, 5, 6)},
    ),
}  # fmt: skip


def kernel_of(names, result, expression, arguments):
    target = result.split("[")[0]
    text = (
        f"def application({', '.join(arguments)}):\n"
        f"    {', '.join(names.split())} = sd.indices({names!r})\n"
        f"    {target} = sd.output()\n"
        f"    {result} = {expression}\n"
        f"    return {target}\n"
    )
    space = {"sd": sd}
    exec(text, space)
    return sd.kernel(space["application"])


def numpy_answer(name, a):
    b = {key: dense(value) for key, value in a.items()}
    match name:
        case "SpMV":
            return b["B"] @ b["c"]
        case "SpM*SpM, linear combination":
            return b["B"] @ b["C"]
        case "SpM*SpM, inner products":
            return b["B"] @ b["C"].T
        case "SpM*SpM, outer products":
            return b["B"].T @ b["C"]
        case "SDDMM":
            return b["B"] * (b["C"] @ b["D"].T)
        case "inner product":
            return (b["B"] * b["C"]).sum()
        case "TTV":
            return b["B"] @ b["c"]
        case "TTM":
            return np.einsum("ijl,kl->ijk", b["B"], b["C"])
        case "MTTKRP":
            return np.einsum("ikl,jk,jl->ij", b["B"], b["C"], b["D"])
        case "residual":
            return b["b"] - b["C"] @ b["d"]
        case "MatTransMul":
            return 2 * b["B"].T @ b["c"] + 3 * b["d"]
        case _:
            return sum(b.values())


@pytest.mark.parametrize("name", APPLICATIONS)
def test_application(name):
    names, result, expression, make = APPLICATIONS[name]
    arguments = make(np.random.default_rng(4))
    kernel = kernel_of(names, result, expression, arguments)
    graph = rdu.trace(kernel, *arguments.values(), precision="fp32")
    exact = numpy_answer(name, arguments)
    found = {}
    for fusion in ("none", "spatial"):
        program = rdu.compile(graph, NODE, fusion=fusion, moves=50)
        value, report = rdu.run(program, *arguments.values())
        found[fusion] = dense(value)
        assert report.cycles == rdu.estimate(program).cycles
    assert np.array_equal(found["none"], found["spatial"])
    np.testing.assert_allclose(found["spatial"], exact, rtol=1e-5, atol=1e-5)
    # The CPU kernel of the same program.
    cpu = dense(kernel(*arguments.values()))
    np.testing.assert_allclose(found["spatial"], cpu, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "loops"),
    [("linear combination", "ikj"), ("inner products", "ijk"), ("outer products", "kij")],
)
def test_the_stored_orders_make_the_three_products_of_matrices(name, loops):
    names, result, expression, make = APPLICATIONS[f"SpM*SpM, {name}"]
    arguments = make(np.random.default_rng(4))
    graph = rdu.trace(kernel_of(names, result, expression, arguments), *arguments.values())
    (operator,) = graph.operators
    left, right = operator.factors
    written = re.findall(r"\w(?=[],])", expression)
    letters = dict(zip((*left.axes, *right.axes), written, strict=True))
    assert "".join(letters[axis] for axis in operator.loops) == loops
