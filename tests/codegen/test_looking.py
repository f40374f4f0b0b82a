"""Machine code that compares arrays, against NumPy on the same arrays."""

import sys
import weakref
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedsl.codegen import llvm_looking, looking
from sparsedsl.codegen.looking import Action, Given, Made, acting, finite, holding, like, owning
from sparsedsl.codegen.machine import linked

looker = partial(looking.looker, linked(llvm_looking.code()))

DTYPES = ["int8", "int32", "uint32", "int64", "float32", "float64", "complex128"]


@given(st.data())
def test_arrays_are_the_same_where_numpy_says_so(data):
    count = data.draw(st.integers(0, 130))
    first = data.draw(st.sampled_from([0, 0, 65536 - 130, 65536 - 20, -20]))
    array = np.arange(first, first + count).astype(data.draw(st.sampled_from(DTYPES)))
    places = None
    if count and array.itemsize in (4, 8) and data.draw(st.booleans()):
        places = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=9)), np.intp)
    seen = (array if places is None else array.take(places)).tobytes()
    look = looker([(array, holding(array, places, seen)), (0, like(array))], 1)
    assert look is not None
    assert look(np.zeros_like(array))
    if count:
        array.view("uint8")[data.draw(st.integers(0, array.nbytes - 1))] ^= 1
        now = array if places is None else array.take(places)
        assert look(array) == (now.tobytes() == seen)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "complex64"])
@pytest.mark.parametrize("size", [0, 1, 7, 31, 32, 33, 63, 64, 97])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, None, -0.0])
def test_values_are_finite_where_numpy_says_so(size, value, dtype):
    real = np.finfo(dtype)
    whole = np.ones(size, dtype)
    look = looker([(0, finite(whole))], 1)
    assert look is not None
    assert look(whole)
    values = whole.view(real.dtype)
    for place in range(values.size):
        values[place] = real.max if value is None else value
        assert look(whole) == np.isfinite(values).all()
        values[place] = real.smallest_subnormal


def test_what_is_no_array_of_that_kind_is_told_apart():
    array = np.ones((6, 4))
    look = looker([(0, like(array))], 1)
    assert look is not None
    assert look(np.zeros((6, 4)))
    fields = np.zeros((6, 4, 2)).view([("a", "f8"), ("b", "f8")])[..., 0]["a"]
    others = [
        *(None, 3, [1.0], "text", array.tolist(), np.float64(1), object()),
        *(array.T, array[:, :3], array[::2], array.reshape(4, 6), array.reshape(-1)),
        *(array.astype("float32"), array.view("int64"), array.astype(">f8"), fields),
        *(array.view(type("Other", (np.ndarray,), {})), np.ones((6, 4, 1)), np.ones(())),
    ]
    for other in others:
        assert not look(other)


def test_no_record_is_made_of_what_cannot_be_compared():
    array = np.ones((6, 4))
    assert like(array.T) is None
    assert like(array.view(type("Other", (np.ndarray,), {}))) is None
    assert finite(array.astype(">f8")) is None
    assert finite(array.astype("float16")) is None
    assert holding(np.ones(3, "complex128"), np.array([0]), bytes(16)) is None
    assert looker([(0, like(array)), (1, None)], 2) is None


def test_each_array_is_compared_with_its_own_record():
    arrays = [np.arange(k + 1) for k in range(4)]
    look = looker([(k, holding(a, None, a.tobytes())) for k, a in enumerate(arrays)], 4)
    assert look is not None
    assert look(*arrays)
    for array in arrays:
        array[-1] += 1
        assert not look(*arrays)
        array[-1] -= 1
    assert not look(*arrays[:3])
    assert not look(*arrays, arrays[0])


class Holder:
    """An object with attributes, one of them a property that would be wrong to ask."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    @property
    def first(self):
        raise AssertionError


def test_an_object_is_told_by_itself_and_its_attributes():
    first, second = np.ones(3), (3, 4)
    x = Holder(first=first, second=second)
    look = looker([(1, owning(x, {"first": first, "second": second}))], 2)
    assert look is not None
    assert look(None, x)
    assert not look(x, None)
    assert not look(None, Holder(first=first, second=second))
    x.__dict__["first"] = np.ones(3)
    assert not look(None, x)
    x.__dict__["first"] = first
    assert look(None, x)
    del x.second
    assert not look(None, x)
    bare = object()
    alone = looker([(0, owning(bare, {}))], 1)
    assert alone is not None
    assert alone(bare)
    assert not alone(object())
    # without a place for attributes
    asked = looker([(0, owning(bare, {"first": first}))], 1)
    assert asked is not None
    assert not asked(bare)


def test_looking_takes_and_leaves_no_references():
    first = np.ones(3)
    x = Holder(first=first)
    look = looker([(0, owning(x, {"first": first})), (first, like(first))], 1)
    assert look is not None
    counts = [sys.getrefcount(o) for o in (x, first, x.__dict__)]
    for _ in range(50):
        assert look(x)
        assert not look(first)
    assert [sys.getrefcount(o) for o in (x, first, x.__dict__)] == counts
    kept = weakref.ref(x)
    del x
    assert kept() is None


def _asked(first):
    look = looker([(0, like(first))], 2)
    assert look is not None
    return look


@pytest.mark.parametrize("count", [0, 1, 4])
def test_an_action_calls_a_kernel_with_objects_arguments_and_new_arrays(count):
    def kernel(*arguments):
        called.append(arguments)
        return count, "counts"

    first, called = np.ones(3), []
    makers = tuple((np.full, (2, k), float(k)) for k in range(count))
    arguments = (Given(1), "text", *map(Made, range(count)), first, Given(0), 7)
    run = acting(_asked(first), Action(makers, kernel, arguments, lambda *found: found))
    given = np.zeros(3)
    *made, counts = run(given, None)
    assert counts == (count, "counts")
    assert [x.tolist() for x in made] == [np.full((2, k), float(k)).tolist() for k in range(count)]
    ((second, text, *arrays, held, other, seven),) = called
    assert (second, text, seven) == (None, "text", 7)
    assert held is first
    assert other is given
    assert all(x is y for x, y in zip(arrays, made, strict=True))
    assert run(first[:2], None) is False
    assert run(first) is False
    assert len(called) == 1


def test_without_more_to_do_the_array_is_the_result():
    first = np.ones(3)
    maker = (np.zeros, (4,), first.dtype)
    run = acting(_asked(first), Action((maker,), np.copyto, (Made(0), Given(1)), None))
    np.testing.assert_array_equal(run(first, 3.0), np.full(4, 3.0))


@pytest.mark.parametrize("failing", ["maker", "kernel", "finish", None])
def test_an_action_gives_back_every_reference_and_raises_what_it_meets(failing):
    def fails(*_):
        raise ValueError(failing)

    class Kept:
        def __init__(self, *_):
            alive.append(weakref.ref(self))

    first, argument, alive = np.ones(3), object(), []
    made = ((Kept, 0, 0), (fails if failing == "maker" else Kept, 1, argument))
    kernel = fails if failing == "kernel" else lambda *_: argument
    finish = fails if failing == "finish" else lambda *_: None
    action = Action(made, kernel, (Made(0), argument, Made(1), Given(1)), finish)
    run = acting(_asked(first), action)
    held = first, argument, kernel, finish
    counts = [sys.getrefcount(o) for o in held]
    for _ in range(20):
        if failing:
            with pytest.raises(ValueError, match=failing):
                run(first, argument)
        else:
            assert run(first, argument) is None
    assert [sys.getrefcount(o) for o in held] == counts
    assert alive
    assert all(one() is None for one in alive)
