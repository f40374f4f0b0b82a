"""Files that are not what they say: each ends in an error of the tree, none in a crash."""

import gzip
import io
import json
import zipfile

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.interop import files, npz

BANNER = "%%MatrixMarket matrix coordinate real general\n"

TEXTS = {
    "a coordinate that is no number": (".mtx", BANNER + "2 2 1\nnan 1 3\n"),
    "a coordinate outside": (".mtx", BANNER + "2 2 1\n3 1 3\n"),
    "extents beyond int64": (".mtx", BANNER + f"{10**30} 2 1\n1 1 3\n"),
    "more entries than memory": (".mtx", BANNER + "2 2 999999999999\n1 1 3\n"),
    "an array larger than memory": (
        ".mtx",
        "%%MatrixMarket matrix array real general\n999999 999999\n1\n",
    ),
    "a value beyond int64": (
        ".mtx",
        "%%MatrixMarket matrix coordinate integer general\n2 2 1\n2 1 99999999999999999999\n",
    ),
    "fewer lines than stated": (".mtx", BANNER + "2 2 2\n1 1 3\n"),
    "no text": (".mtx", ""),
    "a coordinate with a point": (".tns", "1.5 1 2\n"),
    "a NaN coordinate": (".tns", "nan 1 2\n"),
    "a coordinate below one": (".tns", "0 1 2\n"),
    "a coordinate beyond int64": (".tns", f"{10**30} 1 2\n"),
    "a line too short": (".tns", "1 1 2\n1 2\n"),
    "a line too long": (".tns", "1 1 2\n1 2 3 4\n"),
    "a shape of another order": (".tns", "# shape 3 3 3\n1 1 2\n"),
    "a shape that is too small": (".tns", "# shape 1 1\n5 5 2\n"),
    "an empty .tns": (".tns", ""),
    "text that is no archive": (".npz", "PK\x03\x04 and nothing else"),
    "text that is no array": (".npy", "\x93NUMPY"),
    "text that is no HDF5": (".bsp.h5", "hello"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_malformed_text_is_refused(name, tmp_path):
    ending, text = TEXTS[name]
    path = tmp_path / f"x{ending}"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(sd.InvalidTensorError):
        sd.read(path)
    if ending in (".mtx", ".tns"):
        path = tmp_path / f"x{ending}.gz"
        path.write_bytes(gzip.compress(text.encode()))
        with pytest.raises(sd.InvalidTensorError):
            sd.read(path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.8])
def test_truncated_and_damaged_compression_is_refused(kept, tmp_path):
    whole = gzip.compress((BANNER + "9 9 9\n" + "1 1 3.5\n" * 9).encode())
    cut = whole[: int(len(whole) * kept)]
    for n, content in enumerate((cut, cut + b"\xff" * 20)):
        path = tmp_path / f"{n}.mtx.gz"
        path.write_bytes(content)
        with pytest.raises(sd.InvalidTensorError):
            sd.read(path)


@pytest.mark.parametrize("ending", [".mtx.gz", ".tns.gz"])
def test_a_decompression_bomb_is_refused(ending, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TEXT_BYTES", 1 << 20)
    path = tmp_path / f"bomb{ending}"
    path.write_bytes(
        gzip.compress((BANNER + "%" if ending == ".mtx.gz" else "#").encode() + b" " * (8 << 20))
    )
    with pytest.raises(sd.InvalidTensorError, match="grows to more than"):
        sd.read(path)


def _archive(**members):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            with archive.open(f"{name}.npy", "w") as file:
                file.write(content)
    return made.getvalue()


def _header(shape):
    made = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, described)
    return made.getvalue()


def test_an_archive_that_states_more_than_memory_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(_archive(coords=_header((1 << 48,)), data=b"", shape=b""))
    with pytest.raises(sd.InvalidTensorError):
        sd.read(path)


HEADERS = ["{", "[1]", "3", json.dumps({"name": "x"}), json.dumps({"name": 1, "relation": 2})]


@pytest.mark.parametrize("header", HEADERS)
def test_a_layout_that_is_none_is_refused(header, tmp_path):
    np.savez(tmp_path / "x.npz", **{npz.HEADER: np.array(header)})
    with pytest.raises(sd.SparseDSLError):
        sd.read(tmp_path / "x.npz")


GCXS = {
    "format": "gcxs",
    "shape": [2, 3, 2],
    "data": [1.0, 2.0, 3.0],
    "indices": [0, 3, 1],
    "indptr": [0, 1, 1, 3],
    "compressed_axes": [1],
    "fill_value": 0.0,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"indptr": [0, 1, 3]},
        {"indptr": [0, 5, 1, 3]},
        {"indptr": [0, 1, 1, 4]},
        {"indptr": [0.0, np.nan, 1.0, 3.0]},
        {"indices": [0, 4, 1]},
        {"indices": [0, -1, 1]},
        {"indices": [0.5, 3, 1]},
        {"compressed_axes": [3]},
        {"compressed_axes": [1, 1]},
        {"compressed_axes": [-1]},
        {"shape": [2, 3]},
        {"shape": [2**40, 2**40, 2**40]},
        {"data": [1.0, 2.0]},
        {"fill_value": "x"},
    ],
    ids=str,
)
def test_compressed_archives_of_pydata_sparse_are_checked(wrong, tmp_path):
    np.savez(tmp_path / "good.npz", **GCXS)
    assert sd.read(tmp_path / "good.npz").nnz == 3
    np.savez(tmp_path / "x.npz", **{**GCXS, **wrong})
    with pytest.raises(sd.InvalidTensorError):
        sd.read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "name", ["coords", "data", "shape", "fill_value", npz.HEADER, "array_data"]
)
def test_a_member_that_is_no_array_is_refused(name, tmp_path):
    """NumPy gives the bytes of a member whose content is no array."""
    members = {"coords": [[0]], "data": [2.0], "shape": [3], "fill_value": 0.0}
    if name in (npz.HEADER, "array_data"):
        sd.write(tmp_path / "x.npz", sd.convert(np.eye(2), "ell"))
        with np.load(tmp_path / "x.npz") as found:
            members = {key: found[key] for key in found.files}
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for key, value in members.items():
            made = io.BytesIO()
            np.save(made, np.asarray(value))
            archive.writestr(f"{key}.npy", b"no array" if key == name else made.getvalue())
    with pytest.raises(sd.InvalidTensorError, match="no array"):
        sd.read(tmp_path / "x.npz")


@pytest.mark.parametrize("coords", [[[np.nan]], [[-1]], [[0.5]], [[5]]])
def test_coordinates_that_are_none_are_refused(coords, tmp_path):
    np.savez(tmp_path / "x.npz", coords=np.array(coords), data=np.ones(1), shape=np.array([2]))
    with pytest.raises(sd.InvalidTensorError):
        sd.read(tmp_path / "x.npz")


def test_objects_are_never_unpickled_and_directories_are_no_files(tmp_path):
    np.save(tmp_path / "x.npy", np.array([print, None]), allow_pickle=True)
    (tmp_path / "x.mtx").mkdir()
    for name in ("x.npy", "x.mtx"):
        with pytest.raises(sd.InvalidTensorError):
            sd.read(tmp_path / name)


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dcsr", "dense"])
def test_binsparse_files_keep_layout_and_values(layout, tmp_path):
    given = sd.asarray(np.eye(3) * 2.0, layout)
    sd.write(tmp_path / "x.bsp.h5", given)
    found = sd.read(tmp_path / "x.bsp.h5")
    assert found.layout == given.layout
    np.testing.assert_array_equal(found.to_numpy(), given.to_numpy())
