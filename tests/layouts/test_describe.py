import numpy as np
import pytest

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.describe import bytes_text, example, picture, storage_bytes, text


@pytest.mark.parametrize("shape", [(7, 9), (1, 4), (6, 6)], ids=str)
def test_bytes_are_as_predicted(member, shape, cases):
    for dense in cases.matrices(shape, seed=5):
        if not cases.holdable(member, dense):
            continue
        coords, values = cases.coordinates(dense)
        arrays = construct(member, shape, coords, values)
        found = cases.predicted(member, shape, len(values), arrays)
        assert found == sum(array.nbytes for array in arrays.values())


def test_entries_alone_tell_most_layouts():
    assert storage_bytes(resolve("csr", 2), (100, 50), 400) == 101 * 4 + 400 * 12
    assert storage_bytes(resolve("coo", 3), (9, 9, 9), 10, dtype="float32") == 10 * 16
    assert storage_bytes(resolve("csr", 2), (1, 2**40), 1) == 16 + 8 + 8
    assert storage_bytes(resolve("triangular", 2), (4, 4), 3) == 5 * 4 + 10 * 8
    blocks = layouts["bcsr"](2, 2)
    assert storage_bytes(blocks, (4, 4), 5, {"indices": 3}) == 3 * 4 + 3 * 4 + 12 * 8
    with pytest.raises(LayoutError, match="indices") as caught:
        storage_bytes(blocks, (4, 4), 5)
    assert "counts={" in str(caught.value)


def test_text_names_everything():
    shown = text(resolve("csr", 2))
    for part in ("indptr(i) <= p", "data(p)", "nondecreasing indptr", "indices[indptr(N)]"):
        assert part in shown
    assert "block sizes R, C" in text(layouts["bcsr"])
    assert bytes_text(resolve("dense", 2)) == "v*I*J"


def test_pictures(member, any_member):
    for layout in (member, any_member):
        if layout.rank:
            shown = picture(layout)
            assert all(name in shown for name in layout.arrays)
            assert shown.endswith("as a plain array")


def test_a_picture_shows_the_arrays():
    lines = picture(resolve("csr", 2)).splitlines()
    assert lines[0] == "  5 1 . . . ."
    assert "  indptr   [0 2 3 3 5]" in lines
    dense, arrays = example(resolve("ell", 2))
    assert arrays["counts"].tolist() == np.count_nonzero(dense, axis=1).tolist()


def test_every_part_and_array_of_an_example_holds_something(member):
    """Parts of a union, runs of equal values, and the order along a curve show, too."""
    dense, arrays = example(member)
    for name, array in arrays.items():
        assert array.size, name
    coords = np.array(np.nonzero(dense)).T.tolist()
    match member.name:
        case "hyb":
            assert 0 < len(arrays["rest0"]) < len(coords)
        case "rle":
            assert len(arrays["data"]) < len(coords)
        case "morton" if member.order is None:
            assert np.array([arrays["crd0"], arrays["crd1"]]).T.tolist() != coords
        case _:
            pass


def test_a_layout_without_a_fitting_example_says_so():
    with pytest.raises(LayoutError, match="no small example"):
        picture(resolve("dense", 0))
