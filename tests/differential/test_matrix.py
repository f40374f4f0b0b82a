"""Every expression over combinations of layouts, at each level, against the dense oracle."""

import itertools
import zlib

import numpy as np
import pytest
from expressions import EXPRESSIONS, draw
from levels import check, compiling, interpreting, remembering_proofs

import sparsedsl as sd

BLOCKS = {
    "bcsr": (2, 3),
    "bcsc": (3, 2),
    "sell": (2,),
    "sell_sigma": (2, 4),
    "csb": (3,),
    "nm": (2, 4),
    "hicoo": (2,),
    "banded": (2, 1),
}

# combined with each other
CORE = ("csr", "csc", "coo", "dcsr", "dcsc", "bcsr", "dia", "ell", "dense")

# each combined with CSR and coordinates
OTHERS = (
    *(
        "bcsc",
        "csf",
        "coo_repeated",
        "mode_generic",
        "sell_sigma",
        "coo_unsorted",
        "bitmap",
        "vbl",
        "sell",
        "csb",
        "rle",
        "morton",
        "hicoo",
    ),
    *("triangular", "skyline", "banded", "ragged", "nm", "pattern"),
)

ANY_RANK = (
    "csf",
    "coo",
    "coo_repeated",
    "mode_generic",
    "coo_unsorted",
    "bitmap",
    "dense",
    "morton",
    "hicoo",
)


@pytest.fixture(autouse=True)
def _proofs():
    with remembering_proofs():
        yield


def layout_named(name, rank):
    if rank != 2 and name not in ANY_RANK:
        name = "csf"
    layout = sd.layouts[name]
    return layout(*BLOCKS[name]) if name in BLOCKS else layout


def run(name, layouts, **choices):
    """Check an expression at each level, on arguments of several shapes with one kernel."""
    expr = EXPRESSIONS[name]
    chosen = {
        operand: layout_named(layout, rank)
        for (operand, rank), layout in zip(expr.sparse(), itertools.cycle(layouts), strict=False)
    }
    rng = np.random.default_rng(zlib.crc32(f"{name} {layouts}".encode()))
    arguments = [draw(expr, chosen, rng)]
    for least, most in ((0, 2), (1, 1), (0, 4), (4, 9)):
        arguments.append(draw(expr, chosen, rng, least=least, most=most))
    tensors, _ = arguments[0]
    special = sd.kernel(**choices)(expr.body).engine.specialise(list(tensors.values()))
    for level in (interpreting, compiling):
        with level():
            for given in arguments:
                check(special, *given, expr.rtol)
    return special


@pytest.mark.parametrize("layouts", list(itertools.product(CORE, CORE)), ids="-".join)
@pytest.mark.parametrize("name", ["product", "spgemm", "add"])
def test_pairs(name, layouts):
    run(name, layouts)


@pytest.mark.parametrize("layout", OTHERS)
@pytest.mark.parametrize("name", ["product", "spgemm", "add", "maximum"])
def test_others(name, layout):
    for pair in ((layout, "csr"), ("csr", layout), ("coo", layout)):
        run(name, pair)


@pytest.mark.parametrize("layout", [*CORE, *OTHERS])
@pytest.mark.parametrize("name", ["spmv", "vecmat", "spmspv", "sddmm", "copy", "transpose"])
def test_one_matrix(name, layout):
    run(name, (layout, "csf"))


@pytest.mark.parametrize("layouts", [("csr",), ("csf",), ("coo",), ("csc", "csr", "coo")], ids=str)
@pytest.mark.parametrize("name", sorted(EXPRESSIONS))
def test_expressions(name, layouts):
    run(name, layouts)


THREE = [
    (a, b, c)
    for a, b, c in itertools.product(("csr", "csc", "coo", "bcsr", "dia"), repeat=3)
    if len({a, b, c}) == 3
]


@pytest.mark.parametrize("layouts", THREE[::4], ids="-".join)
@pytest.mark.parametrize("name", ["product3", "add3", "times_sum", "masked", "triangles", "where"])
def test_triples(name, layouts):
    run(name, layouts)


@pytest.mark.parametrize("out", ["dense", "csr", "csc", "coo", "dcsr", "dcsc", "csf", "ell", "dia"])
@pytest.mark.parametrize("name", ["product", "spgemm", "add", "sddmm", "transpose", "outer"])
def test_output_layouts(name, out):
    for layouts in (("csr",), ("csc", "coo")):
        special = run(name, layouts, out=out)
        result = special.traced.program.results[0]
        layout = next(g.layout for g in special.groups if g.output.name == result)
        assert layout.name == out


@pytest.mark.parametrize(
    ("name", "layout", "out"),
    [("copy", "coo", "dcsr"), ("product", "coo", "dcsc"), ("scale3", "coo", "csf")],
)
def test_entries_of_one_loop_share_the_segments_of_a_result(name, layout, out):
    """Coordinates that one loop gives come several times: their segment ends behind the last."""
    run(name, (layout,), out=out)


@pytest.mark.parametrize("out", ["dense", "csf", "coo"])
@pytest.mark.parametrize("layout", ["csf", "coo", "coo_unsorted", "bitmap", "hicoo", "morton"])
@pytest.mark.parametrize("name", ["ttv", "ttv_sparse", "ttm", "mttkrp", "transpose3"])
def test_order_three(name, layout, out):
    run(name, (layout, "csf"), out=out)


@pytest.mark.parametrize("order", ["i j k", "i k j", "k i j", "k j i", "j k i"])
def test_forced_order(order):
    for layouts in (("csr",), ("csc",), ("csr", "csc"), ("csc", "csr")):
        run("spgemm", layouts, order=order)


@pytest.mark.parametrize("workspace", ["dense", "hash", "sort"])
@pytest.mark.parametrize("name", ["spgemm", "add", "chain", "transpose"])
def test_forced_workspace(name, workspace):
    for layouts in (("csr",), ("csc", "coo")):
        run(name, layouts, workspace=workspace)
