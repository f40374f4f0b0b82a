import pytest

import rdu
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, MULTIPLY, SIGMOID
from rdu.models.monarch import monarch_fft

MIB = 2**20


@pytest.mark.parametrize(
    ("fusion", "paper_bytes", "printed", "strict_bytes"),
    [
        ("none", 13 * MIB, 39.5, 15 * MIB),
        ("gemm0-mul-transpose", 5 * MIB, 102.6, 7 * MIB),
        ("pattern", 5 * MIB, 102.6, 7 * MIB),
        ("full", 1.25 * MIB, 410.4, 3 * MIB),
        ("spatial", 1.25 * MIB, 410.4, 3 * MIB),
    ],
)
def test_table_one(fusion, paper_bytes, printed, strict_bytes):
    graph = monarch_fft()
    assert graph.flops == 2 * 2 * 1024 * 128 * 1024 + 1024**2
    assert graph.bytes(fusion, "paper") == paper_bytes
    assert graph.bytes(fusion) == strict_bytes
    assert graph.operational_intensity(fusion, accounting="paper") == pytest.approx(
        printed, abs=0.05
    )
    strict = graph.operational_intensity(fusion)
    assert strict == pytest.approx(graph.flops / strict_bytes)


def test_paper_accounting_lists_what_it_leaves_out_and_adds():
    rows = monarch_fft().traffic("full", "paper")
    left_out = [row for row in rows if not row.counted]
    added = [row for row in rows if "unexplained" in row.note]
    assert [row.tensor for row in left_out] == ["Scale"]
    assert [(row.tensor, row.bytes) for row in added] == [("Out", MIB // 4)]
    assert all(row.note for row in (*left_out, *added))


def test_other_sizes_follow_the_same_rule():
    graph = monarch_fft(64, 16)
    small, large = 64 * 16 * 2, 64 * 64 * 2
    assert graph.bytes("none", "paper") == 4 * small + 2 * large + 4 * large
    assert graph.bytes("none") == 4 * small + 7 * large


def test_unknown_names_are_refused():
    graph = monarch_fft()
    with pytest.raises(rdu.RDUError, match="accounting"):
        graph.bytes("none", "loose")
    with pytest.raises(rdu.RDUError, match="Gemm9"):
        graph.groups("Gemm9-Mul")
    with pytest.raises(rdu.RDUError, match="two groups"):
        graph.groups("gemm0-mul,mul-gemm1")
    with pytest.raises(rdu.RDUError, match="each read what the other writes"):
        graph.groups("gemm0-transpose,mul")
    with pytest.raises(KeyError):
        graph.tensor("absent")


def test_groups_by_sequences():
    graph = monarch_fft()
    names = [[op.name for op in group] for group in graph.groups([["Mul", "Transpose"]])]
    assert names == [["Gemm0"], ["Mul", "Transpose"], ["Gemm1"]]


def test_axes_join_across_operators():
    b = GraphBuilder("mlp")
    x, w1, w2 = b.input("x", (4, 6)), b.input("w1", (6, 8)), b.input("w2", (8, 5))
    h = b.contract("h", "ij", (x, "ik"), (w1, "kj"))
    s = b.map("s", "ab", SIGMOID, (h, "ab"))
    y = b.contract("y", "pq", (s, "pr"), (w2, "rq"))
    graph = b.finish([y])
    assert graph.tensor("h").axes == graph.tensor("s").axes
    assert graph.tensor("w2").axes[0] == graph.tensor("h").axes[1]
    assert len(graph.extents) == 4


def test_self_product_keeps_two_axes():
    b = GraphBuilder("gram")
    x = b.input("x", (4, 6))
    graph = b.finish([b.contract("g", "ij", (x, "ik"), (x, "jk"))])
    assert len(set(graph.tensor("g").axes)) == 2
    assert graph.flops == 2 * 4 * 4 * 6


def test_builder_refuses_wrong_shapes():
    b = GraphBuilder("bad")
    x, y = b.input("x", (4, 6)), b.input("y", (5, 6))
    with pytest.raises(rdu.RDUError, match="index k is 6 elsewhere and 5"):
        b.contract("z", "ij", (x, "ik"), (y, "kj"))
    with pytest.raises(rdu.RDUError, match="2 modes"):
        b.map("z", "i", ADD, (x, "i"))
    with pytest.raises(rdu.RDUError, match="extent"):
        b.map("z", "ijk", MULTIPLY, (x, "ij"))
    with pytest.raises(rdu.RDUError, match="already"):
        b.input("x", (1,))


def test_drawing_names_every_operator(tmp_path):
    text = monarch_fft().draw(tmp_path / "g.svg").read_text()
    for name in ("Gemm0", "Mul", "Transpose", "Gemm1", "Scale"):
        assert name in text


def test_printing():
    assert "Gemm0: Contract P[i,j] <- W0[i,k], I0[k,j]" in str(monarch_fft())
