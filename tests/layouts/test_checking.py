"""The loops that check data accept what ``validate`` accepts, and nothing else."""

import itertools

import numpy as np
import pytest

from sparsedsl.errors import InvalidTensorError
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.checking import REACH, check_kernel
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.levels import unique
from sparsedsl.layouts.places import length_name
from sparsedsl.layouts.properties import Injective, Morton, Permutation
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.layouts.walking import LIMIT
from sparsedsl.loops import text
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.optimise import optimise
from sparsedsl.loops.verify import verify


def by_loops(members):
    """Layouts with the loops that check them; one that needs a sort has none."""
    for layout in members:
        made = check_kernel(layout, dict.fromkeys(layout.functions, "int64"))
        sorts = any(isinstance(p, Permutation | Morton) for p in layout.properties)
        assert (made is None) == sorts
        if made is not None and (unique(layout) or layout.repeats):
            yield layout, optimise(verify(made))


def found_bad(kernel, layout, shape, arrays):
    """What the loops say, run by the interpreter, which follows no subscript that is outside."""
    value = layout.value.function
    given = {f"s_{name}": n for name, n in infer_sizes(layout, shape, arrays).items()}
    given |= {f"s_{name}": arrays[name].astype(np.int64) for name in layout.functions}
    lengths = enumerate(arrays[value].shape)
    given |= {length_name(value, axis): n for axis, n in lengths}
    (bad,) = interpret(kernel, given | {LIMIT: 1 << 20, REACH: 1 << 40})
    return bool(bad)


def accepted(layout, shape, arrays):
    """Whether ``validate`` accepts data."""
    try:
        validate(layout, shape, arrays)
    except InvalidTensorError:
        return False
    return True


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (1, 3), (3, 0)])
def test_data_that_was_built_passes(cases, shape):
    passed = set()
    for layout, kernel in by_loops(cases.members(2)):
        for dense in cases.matrices(shape, 3):
            if not cases.holdable(layout, dense):
                continue
            arrays = construct(layout, shape, *cases.coordinates(dense))
            once = [f for p in layout.properties if isinstance(p, Injective) for f in p.functions]
            if all((np.diff(arrays[name]) > 0).all() for name in once):
                assert not found_bad(kernel, layout, shape, arrays), layout.label
                passed.add(layout.name)
    assert {"csr", "csc", "coo", "dcsr", "bcsr", "dia", "ell", "skyline"} <= passed


def test_nothing_passes_that_is_refused_elsewhere(cases):
    for layout, kernel in by_loops(cases.members(2)):
        fitting = [d for d in cases.matrices((5, 5), 2) if cases.holdable(layout, d) and d.any()]
        dense = sorted(fitting, key=np.count_nonzero)[len(fitting) // 2]
        arrays = construct(layout, dense.shape, *cases.coordinates(dense))
        for name in layout.arrays:
            for kind, changed in cases.tampered(arrays[name], name == layout.value.function):
                given = {**arrays, name: changed}
                try:
                    bad = kind == "dtype" or found_bad(kernel, layout, dense.shape, given)
                except InvalidTensorError:  # from the lengths, before any loop
                    continue
                assert bad or accepted(layout, dense.shape, given), f"{layout}, {name}, {kind}"


def test_values_too_large_for_index_arithmetic_do_not_pass():
    layout = resolve("csr", 2)
    kernel = check_kernel(layout, {"indptr": "int64", "indices": "int64"})
    arrays = {"indptr": np.array([0, 1]), "indices": np.array([1 << 41]), "data": np.ones(1)}
    assert found_bad(kernel, layout, (1, 1 << 42), arrays)
    assert not found_bad(kernel, layout, (1, 1 << 42), arrays | {"indices": np.array([1 << 39])})


def test_small_compressed_data_is_judged_like_elsewhere():
    """All starts of three rows, empty ones too, with all columns of up to three entries."""
    layout = resolve("csr", 2)
    kernel = optimise(check_kernel(layout, {"indptr": "int64", "indices": "int64"}))
    passed = 0
    for count in range(4):
        columns = range(-1, 4) if count < 3 else range(3)
        for starts in itertools.product(range(-1, 5), repeat=2):
            for indices in itertools.product(columns, repeat=count):
                arrays = {
                    "indptr": np.array([0, *starts, count]),
                    "indices": np.array(indices, dtype=np.int64),
                    "data": np.ones(count),
                }
                right = accepted(layout, (3, 3), arrays)
                assert found_bad(kernel, layout, (3, 3), arrays) != right, arrays
                passed += right
    # places of up to three entries among nine
    assert passed == 1 + 9 + 36 + 84


@pytest.mark.parametrize("name", ["csr", "csc", "bcsr"])
def test_rows_of_csr_are_known_to_join(name):
    """Starts of rows that rise are enough: how rows follow one another is not looked at."""
    layout = resolve(name, 2)
    kernel = check_kernel(layout, dict.fromkeys(layout.functions, "int64"))
    assert "apart" not in text.kernel(kernel)
