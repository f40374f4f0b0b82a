import gzip

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import sparsedsl as sd

LAYOUTS = ["csr", "csc", "coo", "dcsr", "ell", "dia", "csf", "bitmap", "dense"]


@pytest.fixture(name="A")
def matrix():
    return sp.random_array((9, 7), density=0.3, rng=np.random.default_rng(0), format="csr")


@pytest.mark.parametrize("ending", [".mtx", ".mtx.gz", ".tns", ".tns.gz", ".npz", ".npy"])
def test_every_ending_keeps_the_values(A, tmp_path, ending):
    path = tmp_path / f"A{ending}"
    sd.write(path, A)
    assert np.allclose(sd.read(path).to_numpy(), A.toarray(), rtol=1e-15)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_npz_keeps_the_layout(A, tmp_path, layout):
    given = sd.convert(A, layout)
    sd.write(tmp_path / "A.npz", given)
    back = sd.read(tmp_path / "A.npz")
    assert back.layout == given.layout
    for name, array in given.arrays.items():
        assert np.array_equal(back.arrays[name], array)


def test_npz_keeps_a_layout_of_the_users_and_the_fill(tmp_path):
    own = sd.Layout(
        "own",
        "[N, K] -> { [p] -> [i] : 0 <= p < K and i = place(p) and 0 <= i < N }",
        value="data(p)",
        properties=["increasing place"],
    )
    given = sd.from_arrays(own, (10,), {"place": [1, 4], "data": [2.0, 3.0]}, fill_value=1)
    sd.write(tmp_path / "x.npz", given)
    back = sd.read(tmp_path / "x.npz")
    assert back.layout == own
    assert back.fill_value == 1
    assert np.array_equal(back.to_numpy(), given.to_numpy())


def test_files_of_scipy_are_read_and_files_are_read_by_scipy(A, tmp_path):
    sp.save_npz(tmp_path / "A.npz", A.tocsc())
    assert sd.read(tmp_path / "A.npz").layout == sd.layouts.CSC
    sd.write(tmp_path / "B.npz", sd.convert(A, "csc"))
    assert np.array_equal(sp.load_npz(tmp_path / "B.npz").toarray(), A.toarray())
    sd.write(tmp_path / "B.mtx", A)
    assert np.allclose(
        scipy.io.mmread(tmp_path / "B.mtx", spmatrix=False).toarray(), A.toarray(), rtol=1e-15
    )


def test_pydata_sparse_files_are_read(tmp_path):
    coords = np.array([[0, 1, 1], [2, 0, 1], [0, 0, 3]])
    shape = np.array([2, 3, 4])
    data = np.array([1.0, 2.0, 3.0])
    np.savez(tmp_path / "T.npz", coords=coords, data=data, shape=shape, fill_value=np.float64(0))
    expected = np.zeros((2, 3, 4))
    expected[tuple(coords)] = data
    assert np.array_equal(sd.read(tmp_path / "T.npz").to_numpy(), expected)


def test_tns_counts_from_one_and_adds_repetitions(tmp_path):
    (tmp_path / "T.tns").write_text("# a comment\n1 1 2 1.5\n2 3 1 4\n1 1 2 1\n")
    T = sd.read(tmp_path / "T.tns")
    assert T.shape == (2, 3, 2)
    assert T.to_numpy()[0, 0, 1] == 2.5
    assert T.nnz == 2


def test_tns_keeps_the_shape_without_entries(tmp_path):
    sd.write(tmp_path / "Z.tns", sp.csr_array((3, 4)))
    assert sd.read(tmp_path / "Z.tns").shape == (3, 4)


def test_nothing_pickled_is_read(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(sd.InvalidTensorError, match=r"x\.npy"):
        sd.read(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["A.mtx", "A.npz", "A.npy", "A.tns", "A.mtx.gz"])
def test_other_content_is_refused(tmp_path, name):
    (tmp_path / name).write_text("this is not a tensor\n")
    with pytest.raises(sd.InvalidTensorError, match=name):
        sd.read(tmp_path / name)


def test_other_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "A.npz", weights=np.ones(3))
    with pytest.raises(sd.InvalidTensorError, match="weights"):
        sd.read(tmp_path / "A.npz")


def test_unknown_endings_and_missing_files(tmp_path, A):
    with pytest.raises(sd.InvalidTensorError, match=r"\.mtx"):
        sd.read(tmp_path / "A.csv")
    with pytest.raises(sd.InvalidTensorError, match=r"\.mtx"):
        sd.write(tmp_path / "A.csv", A)
    with pytest.raises(FileNotFoundError):
        sd.read(tmp_path / "A.npz")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "T.mtx"
    path.write_text("old")
    with pytest.raises(sd.InvalidTensorError, match="Matrix Market"):
        sd.write(path, np.zeros((2, 2, 2)))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["T.mtx"]


def test_gz_is_compressed(A, tmp_path):
    sd.write(tmp_path / "A.tns.gz", A)
    with gzip.open(tmp_path / "A.tns.gz", "rt") as file:
        assert file.readline() == "# shape 9 7\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("matrix coordinate real general\n9 999999999 9999999999\n1 1 3.0\n", "does not fit in"),
        ("matrix array real general\n999999999992 2\n1\n", "does not fit in"),
        ("matrix coordinate real general\n2 2 99999999999\n1 1 3.0\n", "does not fit in"),
        ("matrix array real symmetric\n3 3\n1\n2\n3\n4\n5\n6\n", None),
    ],
)
def test_sizes_that_matrix_market_states_are_compared_first(tmp_path, text, said):
    path = tmp_path / "A.mtx"
    path.write_text(f"%%MatrixMarket {text}")
    if said is None:
        assert np.array_equal(sd.read(path).to_numpy(), [[1, 2, 3], [2, 4, 5], [3, 5, 6]])
    else:
        with pytest.raises(sd.InvalidTensorError, match=said):
            sd.read(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("A.tns", "999999999999 3 1.0\n"),
        (
            "A.mtx",
            "%%MatrixMarket matrix coordinate real general\n999999999999 3 1\n999999999999 3 1\n",
        ),
    ],
)
def test_huge_extents_take_memory_for_entries_alone(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = sd.read(tmp_path / name)
    assert (found.shape, found.layout.label) == ((999999999999, 3), "coo")
    assert found.coordinates()[0].tolist() == [[999999999998], [2]]


def test_characters_outside_the_tables_of_the_parser_are_refused(tmp_path):
    path = tmp_path / "A.tns"
    for code in range(0x10000, 0x110000, 0x1111):
        path.write_text(f"# é {chr(code)}\n2{chr(code)} 1 1.0\n", encoding="utf-8")
        with pytest.raises(sd.InvalidTensorError, match="could not convert"):
            sd.read(path)
    path.write_text("# é \N{SNOWMAN}\n1 2 1.5\n", encoding="utf-8")
    assert sd.read(path).to_numpy()[0, 1] == 1.5


@pytest.mark.parametrize("dense", [True, False], ids=["array", "coordinate"])
@pytest.mark.parametrize("symmetry", ["general", "symmetric", "skew-symmetric", "hermitian"])
@pytest.mark.parametrize("field", ["real", "integer", "complex", "pattern"])
def test_every_sort_of_matrix_market_is_read_as_scipy_reads_it(tmp_path, dense, symmetry, field):
    if field == "pattern" and (dense or symmetry in ("skew-symmetric", "hermitian")):
        return
    random = np.random.default_rng(1)
    M = random.integers(-4, 5, (5, 5)).astype("int64" if field == "integer" else "float64")
    M = M + 1j * random.integers(-4, 5, (5, 5)) if field == "complex" else M
    mirrored = {"skew-symmetric": -M.T, "hermitian": M.conj().T}.get(symmetry, M.T)
    M = M if symmetry == "general" else M + mirrored
    path = tmp_path / "A.mtx"
    scipy.io.mmwrite(path, M if dense else sp.coo_array(M), field=field, symmetry=symmetry)
    with path.open("a") as file:
        file.write("\n   \n")
    expected = scipy.io.mmread(path, spmatrix=False)
    found = sd.read(path)
    assert found.layout.name == ("dense" if dense else "csr")
    assert found.dtype == expected.dtype
    assert np.array_equal(found.to_numpy(), expected if dense else expected.toarray())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("matrix array real general\n2 2\n1\n2\n3\n4\n5\n", "5 entries where its header states 4"),
        ("matrix coordinate real general\n2 2 2\n1 1 3.0\n", "1 entries where its header states 2"),
        ("matrix coordinate real general\n2 2 1\n3 1 3.0\n", "a coordinate outside 1 to 2"),
        ("matrix coordinate real general\n2 2 1\n1 1\n", "columns"),
        ("matrix coordinate real symmetric\n2 3 1\n1 1 1\n", "2 rows and 3 columns"),
        ("matrix coordinate real general\n2 2\n", "3 sizes"),
        ("matrix coordinate real general\n", "no line of sizes"),
        ("vector coordinate real general\n2 1\n1 1\n", "at its start"),
        ("matrix array pattern general\n1 1\n", "pattern without coordinates"),
        (
            "matrix coordinate number general\n1 1 0\n",
            "coordinate number general",
        ),
    ],
)
def test_what_is_wrong_with_matrix_market_is_said(tmp_path, text, said):
    path = tmp_path / "A.mtx"
    path.write_text(f"%%MatrixMarket {text}")
    with pytest.raises(sd.InvalidTensorError, match=said):
        sd.read(path)


def test_an_archive_that_refers_outside_itself_is_refused(A, tmp_path):
    """Found by fuzzing: the file lacks some bytes, so that its first entry begins before it."""
    path = tmp_path / "A.npz"
    sd.write(path, sd.convert(A, "ell"))
    content = path.read_bytes()
    path.write_bytes(content[:4] + content[12:])
    with pytest.raises(sd.InvalidTensorError, match="places outside the file"):
        sd.read(path)


def test_a_new_file_has_the_permissions_of_any_new_file(A, tmp_path):
    """Not those of a temporary one, which nobody else may read."""
    (tmp_path / "plain").write_text("")
    for name in ("A.mtx", "A.mtx.gz", "A.npz", "A.npy", "A.tns"):
        sd.write(tmp_path / name, A)
        assert (tmp_path / name).stat().st_mode == (tmp_path / "plain").stat().st_mode
