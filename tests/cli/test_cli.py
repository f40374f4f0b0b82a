import json

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.cli import main
from sparsedsl.interop.files import _WRITERS

PRODUCT = "C[i,j] = A[i,k] * B[k,j]"


@pytest.fixture
def sparsedsl(monkeypatch, capsys):
    """Run the command line in this process: (exit status, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["sparsedsl", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            main()
        text = capsys.readouterr()
        return done.value.code or 0, text.out, text.err

    return run


@pytest.fixture
def matrix(tmp_path):
    A = sp.random_array((30, 20), density=0.2, rng=np.random.default_rng(0), format="csr")
    path = tmp_path / "A.mtx"
    scipy.io.mmwrite(path, A)
    return A, path


def test_help_lists_the_commands(sparsedsl):
    status, out, _ = sparsedsl("--help")
    assert status == 0
    for command in ("demo", "explain", "show", "run", "convert", "layouts", "cache", "warmup"):
        assert command in out


def test_version(sparsedsl):
    assert sparsedsl("--version")[:2] == (0, f"{sd.__version__}\n")


def test_explain_tells_layouts_plan_and_proofs(sparsedsl):
    layouts = "A=bcsr(2,2),x=dense"
    status, out, _ = sparsedsl("explain", "y[i] = A[i,j] * x[j]", "--layouts", layouts)
    assert status == 0
    assert "A: float64 in bcsr(2, 2)" in out
    assert "x: float64 in dense" in out
    assert "scan A" in out
    assert "proofs" in out


def test_explain_as_json(sparsedsl):
    status, out, _ = sparsedsl(
        "explain", PRODUCT, "--layouts", "A=csr,B=csr", "--shape", "i=40,B=50x60", "--json"
    )
    record = json.loads(out)
    assert status == 0
    assert record["proofs"]
    assert all({"goal", "proved", "seconds", "allows"} == set(p) for p in record["proofs"])
    assert record["estimated_seconds"] > 0


def test_show_prints_a_module_that_compiles(sparsedsl):
    status, out, _ = sparsedsl("show", PRODUCT, "--layouts", "A=csr,B=csr", "--order", "i k j")
    assert status == 0
    compile(out, "shown", "exec")
    assert "def kernel(" in out


def test_run_reads_and_writes_files(sparsedsl, matrix, tmp_path):
    A, path = matrix
    target = tmp_path / "C.mtx"
    statement = "C[i,j] = A[i,k] * B[j,k]"
    status, out, _ = sparsedsl("run", statement, "-t", f"A={path}", "-t", f"B={path}", "-o", target)
    assert status == 0
    assert "csr tensor shape=(30, 30)" in out
    assert np.allclose(scipy.io.mmread(target, spmatrix=False).toarray(), (A @ A.T).toarray())


def test_run_as_json_with_a_vector(sparsedsl, matrix, tmp_path):
    A, path = matrix
    x = np.arange(20.0)
    np.save(tmp_path / "x.npy", x)
    words = ("-t", f"A={path}", "-t", f"x={tmp_path / 'x.npy'}", "-o", tmp_path / "y.npy", "--json")
    status, out, _ = sparsedsl("run", "y[i] = A[i,j] * x[j]", *words, "--layouts", "A=csc")
    assert status == 0
    assert json.loads(out)["shape"] == [30]
    assert np.allclose(np.load(tmp_path / "y.npy"), A @ x)


@pytest.mark.parametrize("layout", ["csc", "bcsr(2,3)", "ell", "dcsr"])
def test_convert_keeps_the_matrix_and_the_layout(sparsedsl, matrix, tmp_path, layout):
    A, path = matrix
    target = tmp_path / "out.npz"
    status, out, _ = sparsedsl("convert", path, target, "--layout", layout)
    assert status == 0
    back = sd.read(target)
    assert back.layout.label.replace(" ", "") == layout
    assert back.layout.label in out
    assert np.array_equal(back.to_numpy(), A.toarray())


def test_layouts_lists_all(sparsedsl):
    names = [line.split()[0] for line in sparsedsl("layouts")[1].splitlines()]
    assert names == list(sd.layouts)


def test_layouts_shows_one(sparsedsl):
    status, out, _ = sparsedsl("layouts", "csr", "--json")
    record = json.loads(out)
    assert status == 0
    assert record["arrays"][0] == "indptr: length N + 1, int32 or int64"
    assert "nondecreasing indptr" in record["properties"]
    again = sd.Layout(
        "again", record["relation"], value=record["value"], properties=record["properties"]
    )
    assert again.arrays == sd.layouts.CSR.arrays


def test_layouts_tells_the_bytes_of_a_tensor(sparsedsl):
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((30, 20)) < 0.2, 1.0, 0.0)
    words = ("--shape", "30x20", "--nnz", str(np.count_nonzero(dense)))
    tensor = sd.convert(dense, "csr")
    size = sum(array.nbytes for array in tensor.arrays.values())
    assert f"{size} for 30x20" in sparsedsl("layouts", "csr", *words)[1]
    blocked = sd.convert(dense, sd.layouts["bcsr"](2, 2))
    size = sum(array.nbytes for array in blocked.arrays.values())
    status, out, error = sparsedsl("layouts", "bcsr(2,2)", *words)
    assert (status, out) == (2, "")
    assert "indices" in error
    count = f"indices={len(blocked.arrays['indices'])}"
    out = sparsedsl("layouts", "bcsr(2,2)", *words, "--counts", count)[1]
    assert f"{size} for 30x20" in out


def test_layouts_tells_the_bytes_of_a_tensor_in_a_file(sparsedsl, matrix):
    path = matrix[1]
    for name, layout in (("dia", "dia"), ("bcsr(2,3)", sd.layouts["bcsr"](2, 3))):
        size = sum(array.nbytes for array in sd.read(path).convert(layout).arrays.values())
        assert f"{size} for {path}" in sparsedsl("layouts", name, "--tensor", path)[1]
    status, out, error = sparsedsl("layouts", "dia", "--tensor", f"{path}.none")
    assert (status, out) == (2, "")
    assert "none" in error


def test_a_layout_without_block_sizes_is_shown_for_small_ones(sparsedsl):
    for name in (name for name, entry in sd.layouts.items() if getattr(entry, "blocks", ())):
        out = sparsedsl("layouts", name)[1]
        assert f"arrays, bytes and example for {name}(2" in out
        assert "bytes, " in out
        assert "as a plain array" in out


def test_cache_info_and_clear(sparsedsl, tmp_path):
    with sd.options(cache_dir=str(tmp_path / "kernels")):
        sd.evaluate("y[i] = 3 * A[i,j] * x[j]", A=np.eye(2), x=np.ones(2))
        assert json.loads(sparsedsl("cache", "info", "--json")[1])["kernels"] == 1
        assert sparsedsl("cache", "clear")[:2] == (0, "removed 1 kernels\n")
        assert json.loads(sparsedsl("cache", "info", "--json")[1])["kernels"] == 0


def test_doctor_finds_a_working_installation(sparsedsl):
    status, out, _ = sparsedsl("doctor", "--json")
    record = json.loads(out)
    assert status == 0
    assert record["good"]
    assert {"numba", "z3-solver", "cache", "solver", "kernel"} <= {
        c["name"] for c in record["checks"]
    }


MISTAKES = [
    (("explain", "C[i,j] = A[i,k * B[k,j]"), "A[i,k * B[k,j]"),
    (("explain", "C[i,j]"), "expected a statement"),
    (("explain", PRODUCT, "--layouts", "A=cs"), "unknown layout 'cs'"),
    (("explain", PRODUCT, "--layouts", "A"), "expected NAME=VALUE"),
    (("explain", PRODUCT, "--layouts", "Z=csr"), "no tensor 'Z'"),
    (("explain", PRODUCT, "--shape", "q=3"), "no index or tensor 'q'"),
    (("explain", PRODUCT, "--shape", "i=many"), "whole number"),
    (("explain", PRODUCT, "--shape", "A=3x4x5"), "2 subscripts"),
    (("explain", PRODUCT, "--layouts", "A=csr,B=csr", "--order", "j k"), "order"),
    (("run", PRODUCT, "-t", "A=missing.mtx"), "missing.mtx: no such file"),
    (("run", PRODUCT), "none for A, B"),
    (("run", PRODUCT, "A=a.mtx", "B=b.mtx"), "with -t: -t A=a.mtx"),
    (("explain", PRODUCT, "a.mtx"), "with -t: -t A=a.mtx"),
    (("show", PRODUCT, "a.mtx"), "expected one statement, found 'a.mtx' after it"),
    (("convert", "missing.xyz", "out.npz"), "expected a file name ending in"),
    (("convert", "missing.npz", "out.npz"), "no such file"),
    (("layouts", "cs"), "unknown layout"),
    (("nonsense",), "No such command"),
    (("explain",), "Missing argument"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda v: " ".join(v)[:40])
def test_mistakes_end_with_status_2_and_a_message(sparsedsl, words, message):
    status, out, err = sparsedsl(*words)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""


def test_a_file_that_is_not_what_it_says(sparsedsl, tmp_path):
    path = tmp_path / "A.mtx"
    path.write_text("not a matrix\n")
    status, _, err = sparsedsl("convert", path, tmp_path / "out.npz")
    assert status == 2
    assert "A.mtx" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explain", PRODUCT, "--shape", f"i={10**20}"), "--shape: expected a whole number from 0"),
        (("explain", PRODUCT, "--shape", "i=90000000,j=90000000,k=90000000"), "fit into memory"),
        (("explain", PRODUCT, "--layouts", "A=csr,A=csc"), "--layouts: expected one value for A"),
        (("run", "y[i] = A[i,j]", "-t", "A={A}", "-t", "A={A}"), "--tensor: expected one file"),
        (("explain", PRODUCT, "--shape", "A=3x4", "--nnz", "A=13"), "--nnz: expected at most 12"),
        (("layouts", "hash", "--shape", "9x9", "--nnz", "5"), "--counts W=... on the command line"),
        (("layouts", "csr", "--shape", "10"), "expected 2 extents for 'csr', found '10'"),
        (("layouts", "csr", "--shape", "10x10", "--nnz", "-3"), "Invalid value for '--nnz'"),
        (("layouts", "csf", "--order", "-1"), "Invalid value for '--order'"),
        (("spy", "{A}", "x.png"), "expected a file name ending in .svg"),
        (("bench", "--plot", "x.txt"), "--plot: expected a file name ending in"),
        (("bench", "--plot", "none/x.png"), "--plot: expected a path in a folder that exists"),
        (("bench", "-o", "none/x.md"), "--output: expected a path in a folder that exists"),
        (("bench", "--finds", "-o", "none/x.md"), "--output: expected a path in a folder"),
        (("nope",), "Error: No such command 'nope'"),
        (("convert", "{A}", "."), "expected a file name ending in"),
        (("convert", "{A}", "folder.mtx"), "folder.mtx: expected a file, found a directory"),
        (("compile", "y[i] = x[i]", "-o", "class"), "a name in Python and C, such as kernel"),
        (("compile", "y[i] = x[i]", "-o", "double"), "a name in Python and C, such as kernel"),
        (("explain", "y[i] = x[i]", "--layouts", "x=csr y=csr"), "a comma before the next"),
        (("explain", "y[i] = A[i,j]", "--svg", "x.svg"), "with --shape on the command line"),
    ],
)
def test_more_mistakes_end_with_status_2(sparsedsl, matrix, words, said, monkeypatch):
    monkeypatch.chdir(matrix[1].parent)
    (matrix[1].parent / "folder.mtx").mkdir()
    status, out, err = sparsedsl(*(str(w).replace("{A}", str(matrix[1])) for w in words))
    assert (status, out) == (2, "")
    assert said in err


def test_settings_that_cannot_be_read_are_no_fault_of_the_installation(sparsedsl, monkeypatch):
    monkeypatch.setenv("SPARSEDSL_NUM_THREADS", "many")
    sd.config.reset()
    status, out, err = sparsedsl("doctor")
    assert (status, out) == (2, "")
    assert "SPARSEDSL_NUM_THREADS: expected" in err
    monkeypatch.undo()
    sd.config.reset()


def test_a_layout_of_many_modes_has_an_example(sparsedsl):
    status, out, _ = sparsedsl("layouts", "csf", "--order", "6")
    assert status == 0
    assert "as a plain array" in out


def test_a_layout_by_its_name_has_its_usual_sizes(sparsedsl, matrix):
    A, source = matrix
    target = source.with_name("B.npz")
    for name in ("hicoo", "bcsr", "sell"):
        status, out, _ = sparsedsl("convert", source, target, "--layout", name)
        assert status == 0
        assert out.startswith(f"<{name}(")
        assert abs(sd.read(target).convert("csr").to_scipy() - A).max() == 0


def test_an_interrupt_of_a_conversion_leaves_no_part_of_a_file(sparsedsl, matrix, monkeypatch):
    """Whether it comes while a new file is written, or over one that is there."""

    def interrupted(path, tensor):
        path.write_bytes(b"half of")
        raise KeyboardInterrupt

    _, source = matrix
    before = sd.read(source)
    monkeypatch.setitem(_WRITERS, ".mtx", interrupted)
    for target in (source, source.with_name("B.mtx")):
        assert sparsedsl("convert", source, target, "--layout", "csc") == (130, "", "")
        assert list(source.parent.iterdir()) == [source]
    assert np.array_equal(sd.read(source).to_numpy(), before.to_numpy())


def test_a_statement_that_cannot_be_read_is_shown_before_options_are(sparsedsl):
    status, _, err = sparsedsl("explain", "C[i] = A[i,k*B[k]", "--layouts", "A=csr")
    assert status == 2
    assert "cannot be read: '[' was never closed\n  C[i] = A[i,k*B[k]\n          ^" in err
