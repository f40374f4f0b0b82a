"""Each find algorithm alone, against brute force on every small model."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sparsedsl.codegen.numba_jit import load as load_numba
from sparsedsl.codegen.python import source
from sparsedsl.find import algorithms as al
from sparsedsl.find import site as si
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import ExecutionError, interpret
from sparsedsl.loops.nodes import INT, ArrayParam, Assign, For, If, IntParam, Kernel, Var
from sparsedsl.loops.verify import verify

EXTENT = 5
NAMES = [a.name for a in al.ALGORITHMS if si.NEUTRAL not in a.needs]


def kernel(algorithm, columns=1, **more):
    """``found[q]`` becomes the position in ``[low, high)`` that holds query ``q``, or -1."""
    names = [f"key{c}" for c in range(columns)]
    q, position = Var("q", INT), Var("p", INT)
    site = si.Site(
        position=position,
        low=Var("low", INT),
        high=Var("high", INT),
        keys=lambda at: tuple(lb.load(name, at) for name in names),
        sought=tuple(lb.load(f"sought{c}", q) for c in range(columns)),
        extent=lb.i(EXTENT) if columns == 1 else None,
        verify=False,
        state="p",
        **more,
    )
    emission = algorithm.emit(site)
    hit = If(
        emission.hit,
        (lb.store("found", (q,), position),),
        (lb.store("found", (q,), lb.i(-1)),),
    )
    loop = For(q, lb.i(0), lb.length("found"), (*emission.query, hit))
    params = (
        *(ArrayParam(name, "int32", 1) for name in names),
        *(ArrayParam(f"sought{c}", "int64", 1) for c in range(columns)),
        ArrayParam("found", "int64", 1),
        IntParam("low"),
        IntParam("high"),
    )
    body = (*emission.top, *emission.setup, loop)
    return verify(Kernel("kernel", params, body, ("found",)))


def models(needs):
    """Every array of distinct keys the algorithm may meet, every range of it."""
    for size in range(EXTENT + 1):
        if needs & {si.SORTED, si.ORDERED}:
            arrays = itertools.combinations(range(EXTENT), size)
        else:
            arrays = itertools.permutations(range(EXTENT), min(size, 3))
        for keys in arrays:
            for low in range(len(keys) + 1):
                for high in range(low, len(keys) + 1):
                    yield np.array(keys, np.int32), low, high


def queries(needs):
    yield list(range(EXTENT))
    yield [0, 0, 2, 2, 2, 4]
    yield []
    if si.RISING not in needs:
        yield [4, 0, 3, 1, 2, 2, 4]


def brute_force(keys, low, high, sought):
    hits = [[p for p in range(low, high) if keys[p] == s] for s in sought]
    return [h[0] if h else -1 for h in hits]


def runs(algorithm, execute):
    for keys, low, high in models(algorithm.needs):
        for sought in queries(algorithm.needs):
            given = np.array(sought, np.int64)
            (found,) = execute(keys, given, np.full(len(sought), -7, np.int64), low, high)
            yield list(found), brute_force(keys, low, high, sought), (keys, low, high, sought)


def interpreted(made):
    names = [p.name for p in made.params]
    return lambda *arguments: interpret(made, dict(zip(names, arguments, strict=True)))


@pytest.mark.parametrize("name", NAMES)
def test_interpreted(name):
    algorithm = al.algorithm(name)
    for found, expected, model in runs(algorithm, interpreted(kernel(algorithm))):
        assert found == expected, model


@pytest.mark.parametrize("name", NAMES)
def test_compiled(name):
    algorithm = al.algorithm(name)
    for found, expected, model in runs(algorithm, load_numba(source(kernel(algorithm)))):
        assert found == expected, model


@pytest.mark.parametrize("name", ["table", "count"])
def test_positions_of_32_bits(name):
    right = al.algorithm(name)
    narrow = replace(right, emit=lambda site: right.emit(replace(site, positions="int32")))
    for found, expected, model in runs(narrow, load_numba(source(kernel(narrow)))):
        assert found == expected, model


@pytest.mark.parametrize("name", [n for n in NAMES if si.EXTENT not in al.algorithm(n).needs])
def test_two_keys(name):
    algorithm = al.algorithm(name)
    run = interpreted(kernel(algorithm, 2))
    pairs = list(itertools.product(range(3), range(2)))
    for size in range(len(pairs) + 1):
        for chosen in itertools.combinations(pairs, size):
            rows, columns = np.array(chosen, np.int32).reshape(-1, 2).T
            sought = np.array(pairs, np.int64)
            keys = (np.ascontiguousarray(rows), np.ascontiguousarray(columns))
            wanted = (np.ascontiguousarray(c) for c in sought.T)
            (found,) = run(*keys, *wanted, np.zeros(len(pairs), np.int64), 0, size)
            assert list(found) == [chosen.index(p) if p in chosen else -1 for p in pairs]


def along_curve(point):
    """The bits of the numbers in turn, as text."""
    return "".join(map("".join, zip(*(f"{number:04b}" for number in point), strict=True)))


def found_on_curve(rank, points, *, curved):
    """Yield what is found of every point in every subset of points, and what should be."""
    run = load_numba(source(kernel(al.algorithm("binary"), rank, curved=curved)))
    ordered = sorted(points, key=along_curve)
    sought = [np.ascontiguousarray(c) for c in np.array(ordered, np.int64).T]
    for size in range(len(ordered) + 1):
        for chosen in itertools.combinations(ordered, size):
            keys = np.array(chosen, np.int32).reshape(-1, rank).T
            keys = [np.ascontiguousarray(c) for c in keys]
            (found,) = run(*keys, *sought, np.zeros(len(ordered), np.int64), 0, size)
            yield list(found), [chosen.index(p) if p in chosen else -1 for p in ordered]


@pytest.mark.parametrize(
    "numbers",
    [
        ((0, 1, 2), (0, 1, 3)),
        ((0, 3, 4, 5), (2, 5)),
        ((0, 1), (0, 2), (1, 4)),
        ((1, 4), (0, 2), (3,), (0, 8)),
        ((2,), (1, 2), (0, 4), (6,), (0, 4)),
    ],
)
def test_binary_search_along_the_morton_curve(numbers):
    points = list(itertools.product(*numbers))
    for found, expected in found_on_curve(len(numbers), points, curved=True):
        assert found == expected
    plain = found_on_curve(len(numbers), points, curved=False)
    assert any(found != expected for found, expected in plain)


def test_comparisons_along_the_morton_curve_grow_with_the_square_of_the_numbers():
    def size(rank):
        text = source(kernel(al.algorithm("binary"), rank, curved=True))
        return len(text)

    assert size(8) < 5 * size(4)


def wrong(algorithm):
    """Report whether some model shows the algorithm wrong."""
    try:
        return any(f != e for f, e, _ in runs(algorithm, interpreted(kernel(algorithm))))
    except ExecutionError:
        return True


def changed(name, **parts):
    """An algorithm with parts of what it emits replaced by functions of the site."""
    right = al.algorithm(name)

    def emit(site):
        emission = right.emit(site)
        made = {part: make(site, emission) for part, make in parts.items()}
        return replace(emission, **made)

    return replace(right, emit=emit)


def without_clamp(site, emission):
    return site.matches(site.position)


def any_match(site, emission):
    return lb.lt(site.position, site.high)


def one_too_low(name):
    right = al.algorithm(name)

    def emit(site):
        return right.emit(replace(site, low=lb.add(site.low, 1)))

    return replace(right, emit=emit)


def one_too_high(name):
    right = al.algorithm(name)

    def emit(site):
        return right.emit(replace(site, high=lb.add(site.high, 1)))

    return replace(right, emit=emit)


@pytest.mark.parametrize("name", ["merge", "gallop", "binary", "count"])
def test_missing_clamp_is_caught(name):
    assert wrong(changed(name, hit=without_clamp))


@pytest.mark.parametrize("name", ["merge", "gallop", "binary", "count"])
def test_missing_comparison_is_caught(name):
    assert wrong(changed(name, hit=any_match))


@pytest.mark.parametrize("name", NAMES)
def test_range_off_by_one_is_caught(name):
    assert wrong(one_too_low(name))
    assert wrong(one_too_high(name))


@pytest.mark.parametrize("name", ["merge", "gallop", "binary", "bitmap", "count"])
def test_unsorted_data_is_caught(name):
    assert wrong(replace(al.algorithm(name), needs=frozenset({si.UNIQUE})))


@pytest.mark.parametrize("name", ["merge", "gallop"])
def test_falling_queries_are_caught(name):
    assert wrong(replace(al.algorithm(name), needs=frozenset({si.UNIQUE, si.SORTED})))


def scattered(algorithm):
    """Yield what is found of keys that meet in the slots of a hash, and what should be."""
    rng = np.random.default_rng(0)
    run = interpreted(kernel(algorithm))
    for size in (3, 8, 20, 40):
        keys = rng.choice(5000, size, replace=False).astype(np.int32)
        sought = np.concatenate([keys, rng.integers(0, 5000, 60)]).astype(np.int64)
        (found,) = run(keys, sought, np.zeros(len(sought), np.int64), 0, size)
        yield list(found), brute_force(keys, 0, size, sought)


def test_keys_that_share_a_slot_are_found():
    for found, expected in scattered(al.algorithm("hash")):
        assert found == expected


def test_looking_at_one_slot_alone_is_caught():
    def first_alone(site, emission):
        *before, _ = emission.query
        return tuple(before)

    one = changed("hash", query=first_alone)
    assert any(found != expected for found, expected in scattered(one))
    unmatched = changed(
        "hash",
        query=first_alone,
        hit=lambda site, e: lb.conj(lb.ge(site.position, 0), site.matches(site.position)),
    )
    assert any(found != expected for found, expected in scattered(unmatched))


@pytest.mark.parametrize("extent", [EXTENT - 1, 0])
def test_a_table_too_short_is_caught(extent):
    right = al.algorithm("table")
    assert wrong(replace(right, emit=lambda site: right.emit(replace(site, extent=lb.i(extent)))))


def test_stale_table_is_caught():
    """A table used for one range, then another: positions of the first must not hit."""
    keys = np.array([1, 3, 1, 2], np.int32)

    def two_ranges(algorithm):
        made = kernel(algorithm)
        (top, *rest) = made.body
        first = next(s for s in rest if isinstance(s, For))
        earlier = replace(first, start=lb.i(0), stop=lb.i(2))
        return interpreted(replace(made, body=(top, earlier, *rest)))

    sought = np.arange(EXTENT)
    expected = brute_force(keys, 2, 4, sought)
    (found,) = two_ranges(al.algorithm("table"))(keys, sought, np.zeros(EXTENT, int), 2, 4)
    assert list(found) == expected
    stale = changed("table", hit=lambda site, _: lb.ge(site.position, 0))
    (found,) = two_ranges(stale)(keys, sought, np.zeros(EXTENT, int), 2, 4)
    assert list(found) != expected


def test_bits_of_later_keys_counted_is_caught():
    def off_by_one(site, emission):
        *before, last = emission.query
        return (*before, Assign(site.position, lb.add(last.value, 1)))

    assert wrong(changed("bitmap", query=off_by_one))
    assert wrong(changed("bitmap", hit=lambda site, _: lb.ge(site.position, site.low)))


def value_at(position):
    return lb.load("value", position, type="float64")


def laid_out(algorithm, *, at_once=False):
    """``found[q]`` becomes the value whose key is query ``q``, 0 where there is none, twice.

    The range ``[0, middle)`` comes first, then ``[middle, len(key0))``; ``at_once``: both are rows.
    """
    q, low, high = Var("q", INT), Var("low", INT), Var("high", INT)
    middle, end, row = lb.ivar("middle"), lb.ivar("end"), lb.ivar("row")

    def both(at):
        first = lb.eq(at, 0)
        return lb.select(first, 0, middle), lb.select(first, middle, end)

    site = si.Site(
        position=Var("p", INT),
        low=low,
        high=high,
        keys=lambda at: (lb.load("key0", at),),
        sought=(q,),
        extent=lb.i(EXTENT),
        verify=False,
        state="p",
        stored=si.Stored("float64", lb.const(0.0, "float64"), value_at),
        rows=si.Rows(row, lb.i(2), both) if at_once else None,
    )
    emission = algorithm.emit(site)
    assert emission.value is not None
    assert emission.hit == lb.TRUE
    body = [*emission.top]
    for turn, ends in enumerate([(lb.i(0), middle), (middle, end)]):
        store = lb.store("found", (lb.i(turn), q), emission.value)
        queries = For(q, lb.i(0), lb.i(EXTENT), (*emission.query, store))
        body += [Assign(row, lb.i(turn)), Assign(low, ends[0]), Assign(high, ends[1])]
        body += [*emission.setup, queries, *emission.after]
    params = (
        ArrayParam("key0", "int32", 1),
        ArrayParam("value", "float64", 1),
        ArrayParam("found", "float64", 2),
        IntParam("middle"),
        IntParam("end"),
    )
    return verify(Kernel("kernel", params, tuple(body), ("found",)))


def values_found(algorithm, *, at_once=False):
    """Yield what two ranges of each small model give, and what they should."""
    run = interpreted(laid_out(algorithm, at_once=at_once))
    for keys, middle, end in models(al.algorithm("spread").needs):
        value = np.arange(1.0, len(keys) + 1)
        expected = np.zeros((2, EXTENT))
        expected[0, keys[:middle]] = value[:middle]
        for p in range(middle, end):
            expected[1, keys[p]] = value[p]
        (found,) = run(keys, value, np.full((2, EXTENT), np.nan), middle, end)
        yield found, expected


@pytest.mark.parametrize("at_once", [False, True])
def test_spread(at_once):
    for found, expected in values_found(al.algorithm("spread"), at_once=at_once):
        assert np.array_equal(found, expected)


def test_spread_of_all_rows_leaves_keys_out_that_nothing_was_proved_of():
    run = interpreted(laid_out(al.algorithm("spread"), at_once=True))
    keys, value = np.array([1, -1, EXTENT], np.int32), np.arange(1.0, 4.0)
    (found,) = run(keys, value, np.full((2, EXTENT), np.nan), 1, 3)
    expected = np.zeros((2, EXTENT))
    expected[0, 1] = 1.0
    np.testing.assert_array_equal(found, expected)


def test_spread_that_is_not_cleared_is_caught():
    stale = changed("spread", after=lambda *_: ())
    assert any(not np.array_equal(f, e) for f, e in values_found(stale))


def test_costs_are_finite_and_not_negative():
    for length, count, setups, extent in itertools.product((0, 1, 1e6), repeat=4):
        load = al.Workload(length, count, setups, extent, length, min(length, 1.0))
        for algorithm in al.ALGORITHMS:
            assert 0 <= algorithm.cost(load) < float("inf")
