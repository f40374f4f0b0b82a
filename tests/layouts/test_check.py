import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.errors import InvalidTensorError, TensorTypeError
from sparsedsl.layouts import check, order, scan
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import stored
from sparsedsl.layouts.interval import Intervals
from sparsedsl.layouts.layout import Layout


@pytest.fixture
def csr():
    matrix = sp.csr_array(sp.random_array((6, 7), density=0.5, rng=np.random.default_rng(0)))
    return {"indptr": matrix.indptr, "indices": matrix.indices, "data": matrix.data}


def refused(arrays, *parts, layout="csr", shape=(6, 7), error=InvalidTensorError):
    with pytest.raises(error) as caught:
        validate(resolve(layout, len(shape)), shape, arrays)
    for part in parts:
        assert part in str(caught.value)


def test_valid_data_gives_every_parameter(csr):
    assert validate(resolve("csr", 2), (6, 7), csr) == {"N": 6, "M": 7}
    coo = construct(resolve("coo", 2), (6, 7), np.array([[1, 2], [3, 0]]), np.ones(2))
    assert validate(resolve("coo", 2), (6, 7), coo) == {"I": 6, "J": 7, "NNZ": 2}


def test_pointers(csr):
    refused({**csr, "indptr": csr["indptr"][:-1]}, "length N + 1 = 7 along axis 0, found 6")
    for place, value, shown in [
        (3, 100, "'nondecreasing indptr' does not hold: indptr(3) = 100, then indptr(4) = "),
        (0, -1, "'indptr(0) = 0' does not hold: indptr(0) = -1"),
        (6, 10**9, "expected indices to have length indptr(N) = 1000000000"),
    ]:
        changed = csr["indptr"].copy()
        changed[place] = value
        refused({**csr, "indptr": changed}, shown)


def test_coordinates(csr):
    for value, shown in [(100, "indices(p) < M: indices(p) = 100"), (-1, "0 <= indices(p)")]:
        changed = csr["indices"].copy()
        changed[3] = value
        refused({**csr, "indices": changed}, shown, "p = 3")


def test_order_and_duplicates(csr):
    row = int(np.argmax(np.diff(csr["indptr"]) >= 2))
    place = int(csr["indptr"][row])
    swapped, doubled = csr["indices"].copy(), csr["indices"].copy()
    swapped[[place, place + 1]] = swapped[[place + 1, place]]
    doubled[place + 1] = doubled[place]
    for changed in (swapped, doubled):
        refused(
            {**csr, "indices": changed},
            "'increasing indices within indptr(i) <= p < indptr(i + 1)' does not hold",
            f"where i = {row}",
        )


def test_rows_may_start_below_the_last_one_ended():
    arrays = {"indptr": [0, 2, 4], "indices": [1, 2, 0, 1], "data": [1.0, 2, 3, 4]}
    validate(resolve("csr", 2), (2, 3), {name: np.array(a) for name, a in arrays.items()})


def test_arrays_as_such(csr):
    refused({**csr, "data": csr["data"][::-1]}, "C-contiguous", "numpy.ascontiguousarray(data)")
    refused({**csr, "indices": csr["indices"][None]}, "to have 1 axes, found shape")
    refused({"indptr": csr["indptr"], "data": csr["data"]}, "missing indices")
    refused({**csr, "extra": csr["data"]}, "unknown extra")
    refused({**csr, "data": csr["data"][:-1]}, "expected data to have length indptr(N)")
    for name, dtype in [("data", "float16"), ("data", ">f8"), ("indptr", "float64")]:
        refused({**csr, name: csr[name].astype(dtype)}, name, error=TensorTypeError)
    refused({**csr, "data": list(csr["data"])}, "found list", error=TensorTypeError)


def test_shapes(csr):
    refused(csr, "length N + 1", shape=(5, 7))
    refused(csr, "expected extents", shape=(6, -1))
    refused(csr, "tuple of integers", shape=(6, 7.5))
    with pytest.raises(InvalidTensorError, match="expected 2 extents"):
        validate(resolve("csr", 2), (6,), csr)


def test_sizes_that_disagree():
    arrays = {"crd0": np.array([0, 1]), "crd1": np.array([0]), "data": np.ones(2)}
    refused(arrays, "crd1.shape[0] gives NNZ = 1, but crd0.shape[0] gives NNZ = 2", layout="coo")


@pytest.mark.parametrize(
    ("prop", "good", "bad"),
    [
        ("increasing f", [0, 2, 3], [0, 2, 2]),
        ("nondecreasing f", [0, 2, 2], [0, 2, 1]),
        ("injective f", [3, 0, 2], [3, 0, 3]),
        ("permutation f", [2, 0, 1], [2, 0, 2]),
        ("permutation f", [2, 0, 1], [3, 0, 1]),
        ("range f in [0, N)", [0, 3, 1], [0, 4, 1]),
        ("f(0) = 1", [1, 0, 2], [0, 1, 2]),
        ("f(p) = g(p) + 1", [1, 2, 3], [1, 3, 3]),
        ("lexicographic (f, g)", [0, 1, 1], [1, 0, 2]),
        ("lexicographic (g, f)", [0, 1, 2], None),
        ("morton (f, g)", [0, 1, 2], [2, 1, 3]),
    ],
)
def test_each_property(prop, good, bad):
    layout = Layout(
        "list",
        "[N, NNZ] -> { [p] -> [i] : 0 <= p < NNZ and i = f(p) and 0 <= i < N and g(p) >= 0 }",
        value="data(p)",
        properties=[prop],
    )
    other = np.array([0, 1, 2])
    arrays = {"f": np.array(good), "g": other, "data": np.ones(3)}
    validate(layout, (4,), arrays, distinct=False)
    if bad is not None:
        with pytest.raises(InvalidTensorError, match="does not hold"):
            validate(layout, (4,), {**arrays, "f": np.array(bad)}, distinct=False)


@pytest.mark.parametrize(("place", "held"), [(-1, False), (0, True), (1, True), (2, False)])
def test_a_place_loaded_from_an_array_lies_in_the_next_one(place, held):
    layout = Layout(
        "renamed",
        "[N, NNZ] -> { [p] -> [i] : 0 <= p < NNZ and i = rows(place(p)) and 0 <= i < N }",
        value="data(p)",
        properties=["injective place"],
    )
    arrays = {"place": np.array([place]), "rows": np.array([3, 2]), "data": np.ones(1)}
    if held:
        validate(layout, (4,), arrays, distinct=False)
    else:
        with pytest.raises(InvalidTensorError, match="rows has length 2"):
            validate(layout, (4,), arrays, distinct=False)


def test_repeated_coordinates_are_found_where_no_property_excludes_them():
    layout = Layout(
        "list",
        "[N, NNZ] -> { [p] -> [i] : 0 <= p < NNZ and i = f(p) and 0 <= i < N }",
        value="data(p)",
    )
    arrays = {"f": np.array([2, 0, 2]), "data": np.ones(3)}
    with pytest.raises(InvalidTensorError, match=r"\(2,\) is stored twice, as entries 0 and 2"):
        validate(layout, (3,), arrays)
    validate(layout, (3,), {**arrays, "f": np.array([2, 0, 1])})


def test_padding_is_not_checked_as_a_coordinate(cases):
    arrays = {"cols": np.array([[1, -1], [-7, 0]]), "data": np.ones((2, 2))}
    validate(cases.own["padded"], (2, 3), arrays)
    arrays["cols"][0, 1] = 3
    with pytest.raises(InvalidTensorError, match="where i = 0 and s = 1"):
        validate(cases.own["padded"], (2, 3), arrays)


SPANS = Layout(
    "spans",
    "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and first(i) <= p < last(i) "
    "and j = cols(p) and 0 <= j < M }",
    value="data(p)",
)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ([0, 0], [10**9, 2]),
        ([-1, 0], [2, 2]),
        ([-(2**63), 0], [2**63 - 1, 0]),
        ([2**62, 0], [2**62 + 1, 0]),
        ([0, 3], [2, 5]),
    ],
)
def test_ranges_outside_the_arrays_cost_nothing(first, last):
    arrays = {
        "first": np.array(first),
        "last": np.array(last),
        "cols": np.array([1, 2]),
        "data": np.ones(2),
    }
    with pytest.raises(InvalidTensorError):
        validate(SPANS, (2, 3), arrays)


def test_ranges_that_overlap_without_end_are_refused():
    count = 3000
    arrays = {
        "first": np.zeros(count, np.int64),
        "last": np.full(count, count),
        "cols": np.arange(count),
        "data": np.ones(count),
    }
    with pytest.raises(InvalidTensorError, match="ranges overlap"):
        validate(SPANS, (count, count), arrays)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_hostile_index_arrays_are_refused_or_read_safely(data):
    """Any integers whatever: refused, or every entry lies inside the shape and the arrays."""
    name = data.draw(st.sampled_from(["csr", "csf", "dia", "ell", "vbl", "sell", "hicoo", "csb"]))
    sized = {"sell": (2,), "hicoo": (2,), "csb": (2,)}
    layout = resolve(layouts[name](*sized.get(name, ())), 2) if name in sized else resolve(name, 2)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    dense = np.where(rng.random((4, 5)) < 0.5, 1.0, 0.0)
    coords = np.array(np.nonzero(dense))
    arrays = construct(layout, (4, 5), coords, dense[tuple(coords)], index_dtype="int64")
    target = data.draw(st.sampled_from(sorted(layout.functions)))
    if not arrays[target].size:
        return
    place = data.draw(st.integers(0, arrays[target].size - 1))
    edges = st.sampled_from([-(2**63), 2**63 - 1, 2**31, -1, 2**62])
    arrays[target].flat[place] = data.draw(st.one_of(st.integers(-3, 12), edges))
    try:
        validate(layout, (4, 5), arrays)
    except InvalidTensorError:
        return
    found, values = stored(layout, (4, 5), arrays)
    assert ((found >= 0) & (found < np.array([[4], [5]]))).all()
    assert len(np.unique(found, axis=1).T) == found.shape[1] == len(values)


def verdict(layout, shape, arrays):
    try:
        return validate(layout, shape, arrays)
    except InvalidTensorError as error:
        return str(error)


def test_quick_answers_are_those_of_the_walk(monkeypatch):
    """Whole arrays are looked at first; where that says yes, so does a look at every place."""
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((4, 5)) < 0.5, 1.0, 0.0)
    coords = np.array(np.nonzero(dense))
    cases = []
    for name in ("csr", "csc", "dcsr", "csf", "coo", "dia", "ell", "vbl", "ragged", "jad"):
        layout = resolve(name, 2)
        arrays = construct(layout, (4, 5), coords, dense[tuple(coords)])
        cases.append((layout, arrays))
        for target in layout.functions:
            for _ in range(12 if arrays[target].size else 0):
                changed = arrays[target].copy()
                changed.flat[rng.integers(changed.size)] += rng.integers(-3, 4)
                cases.append((layout, {**arrays, target: changed}))
    quick = [verdict(layout, (4, 5), arrays) for layout, arrays in cases]
    monkeypatch.setattr(Intervals, "certain", lambda self, value: False)
    monkeypatch.setattr(check._Checker, "_slices", lambda *_: None)
    walked = [verdict(layout, (4, 5), arrays) for layout, arrays in cases]
    assert quick == walked
    assert sum(isinstance(found, str) for found in walked) > len(walked) // 4
    assert sum(isinstance(found, dict) for found in walked) > 10


@pytest.mark.parametrize("layout", ["csr", "bcsr", "csf", "coo", "vbl", "ell", "jad", "dcsr"])
def test_windows_refuse_what_the_whole_does(layout, monkeypatch):
    rng = np.random.default_rng(0)
    made = resolve(layout, 2)
    coords = np.stack(np.nonzero(rng.random((9, 12)) < 0.4))
    arrays = construct(made, (9, 12), coords, np.ones(coords.shape[1]))
    refusals = 0
    for _ in range(40):
        name = rng.choice([n for n in made.functions if arrays[n].size])
        changed = arrays[name].copy()
        changed.reshape(-1)[rng.integers(changed.size)] += rng.choice([-9, -1, 1, 9])
        verdicts = []
        for window, part in ((scan.WINDOW, order.PART), (3, 2), (1, 1)):
            with monkeypatch.context() as patch:
                patch.setattr(scan, "WINDOW", window)
                patch.setattr(order, "PART", part)
                try:
                    verdicts.append(validate(made, (9, 12), {**arrays, name: changed}))
                except InvalidTensorError as error:
                    verdicts.append(type(error))
        assert verdicts.count(verdicts[0]) == len(verdicts)
        refusals += verdicts[0] is InvalidTensorError
    assert refusals


def test_places_are_counted_over_all_windows(monkeypatch):
    arrays = {"indptr": np.tile([0, 40], 600), "indices": np.arange(40), "data": np.ones(40)}
    loose = Layout(
        "loose",
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(2 * i) <= p < indptr(2 * i + 1) "
        "and j = indices(p) and 0 <= j < M }",
        value="data(p)",
    )
    for window in (scan.WINDOW, 10):
        monkeypatch.setattr(scan, "WINDOW", window)
        monkeypatch.setattr(scan, "ROOM", 0)
        monkeypatch.setattr(scan, "OVERLAP", 4)
        refused(arrays, "ranges of p hold", "overlap", layout=loose, shape=(600, 40))
