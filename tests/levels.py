"""Run a kernel at each level: dense oracle, loop interpreter, Numba.

A level is a way to compute what a kernel means.  The dense oracle works on plain arrays and
knows no layout; the loop interpreter runs the very loops that are printed for Numba.
"""

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from sparsedsl.calls.kernels import Ready
from sparsedsl.calls.specialisation import Specialisation
from sparsedsl.codegen import numba_jit
from sparsedsl.contraction.interpret import interpret as interpret_dense
from sparsedsl.find import queries, smt
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import stored
from sparsedsl.layouts.levels import exact
from sparsedsl.loops.interpret import interpret as interpret_loops
from sparsedsl.pipeline import groups, stages
from sparsedsl.runtime.execute import Call
from sparsedsl.runtime.tensor import Tensor, bound


@dataclass(frozen=True)
class InterpretedKernel:
    """What the cache gives for a compiled kernel, but run by the loop interpreter."""

    kernel: Any

    def function(self, _arguments):
        def call(*arguments):
            names = [param.name for param in self.kernel.params]
            return interpret_loops(self.kernel, dict(zip(names, arguments, strict=True)))

        return call


@dataclass(frozen=True)
class CompiledKernel:
    """What the cache gives for a compiled kernel, but kept nowhere."""

    source: str

    def load(self):
        return _compiled(self.source)


@lru_cache(maxsize=8)
def _compiled(source):
    return numba_jit.load(source)


def _prepare_interpreted(special: Specialisation, place: int) -> Ready:
    key = -1 - place
    if key not in special.ready:
        group = special.groups[place]
        unit = stages.compile_group(group, special.settings)
        entry = InterpretedKernel(unit.kernel)
        beside = [side.assembled for side in group.beside]
        call = Call(unit.recipe, group.assembled, entry.function, beside)
        special.ready[key] = Ready(group, call, entry, unit)
    return special.ready[key]


def _prepare_compiled(special: Specialisation, place: int) -> Ready:
    if place not in special.ready:
        planned = _prepare_interpreted(special, place)
        special.ready[place] = replace(planned, entry=CompiledKernel(planned.unit.source))
    return special.ready[place]


@contextmanager
def _preparing(prepare):
    usual = Specialisation.prepare, Specialisation.maps_of
    # no values are mapped without a kernel: it is the kernel that is looked at
    Specialisation.prepare, Specialisation.maps_of = prepare, lambda *_: None
    try:
        yield
    finally:
        Specialisation.prepare, Specialisation.maps_of = usual


def interpreting():
    """Inside the block every kernel runs in the loop interpreter instead of Numba."""
    return _preparing(_prepare_interpreted)


def compiling():
    """Inside the block kernels planned by ``interpreting`` are not planned again for Numba."""
    return _preparing(_prepare_compiled)


@contextmanager
def remembering_proofs():
    """Inside the block a question asked before is not put to the solver again."""
    asked = queries.prove
    queries.prove = _remembered
    try:
        yield
    finally:
        queries.prove = asked


@contextmanager
def whole_products():
    """Inside the block products of several tensors are not taken apart.

    Where operands hold infinities, parts may be zero or NaN where the whole is not.
    """
    apart = groups.paired
    groups.paired = lambda program, *_: (program, frozenset())
    try:
        yield
    finally:
        groups.paired = apart


def _remembered(question, timeout_ms, known):
    del known  # of an earlier process
    return _proved(question, timeout_ms)


@cache
def _proved(question, timeout_ms):
    # time enough on a loaded machine: a time-out would change the plan under test
    return smt.prove(question, 10 * timeout_ms)


def store(dense, mask, layout, fill=0, index_dtype=None) -> Tensor:
    """Store the entries of ``dense`` where ``mask`` is true in a layout."""
    dense = np.asarray(dense)
    target = resolve(layout, dense.ndim)
    coords = np.stack(np.nonzero(mask)) if dense.ndim else np.zeros((0, 1), int)
    values = dense[tuple(coords)] if dense.ndim else dense.reshape(1)
    arrays = construct(target, dense.shape, coords, values, fill=fill, index_dtype=index_dtype)
    return bound(target, dense.shape, arrays, fill)


def pattern_of(tensor: Tensor) -> np.ndarray:
    """Where a tensor stores an entry, padding included."""
    found = np.zeros(tensor.shape, bool)
    coords, _ = stored(tensor.layout, tensor.shape, tensor.arrays, tensor.sizes)
    found[tuple(coords)] = True
    return found


def dense_of(tensor: Tensor) -> np.ndarray:
    """The values of a tensor as a plain array; fails when a coordinate is stored twice."""
    coords, values = stored(tensor.layout, tensor.shape, tensor.arrays, tensor.sizes)
    if tensor.ndim:
        unique = np.unique(coords, axis=1)
        assert unique.shape[1] == coords.shape[1], "a coordinate is stored twice"
    found = np.full(tensor.shape, tensor.fill_value, tensor.dtype)
    found[tuple(coords)] = values if tensor.ndim else values[0]
    return found


def oracle(
    special: Specialisation, tensors: Mapping[str, Tensor], truth: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The results of the dense interpreter on the plain arrays of ``truth``."""
    patterns = {name: pattern_of(t) for name, t in tensors.items()}
    return interpret_dense(special.traced.program, truth, patterns)


def check_result(found: Tensor, expected: np.ndarray, rtol: float = 0.0) -> None:
    """Compare values and check what every result promises."""
    found.validate()
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if rtol:
        np.testing.assert_allclose(dense_of(found), expected, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(dense_of(found), expected)
    if exact(found.layout):
        fill = found.fill_value
        _, values = stored(found.layout, found.shape, found.arrays, found.sizes)
        same = np.isnan(values) if fill != fill else values == fill
        assert not same.any(), "an entry equal to the fill is stored"


def check(
    special: Specialisation,
    tensors: Mapping[str, Tensor],
    truth: Mapping[str, Any],
    rtol: float = 0.0,
) -> None:
    """Run a specialisation at the level in force and compare it with the dense oracle."""
    before = {name: {a: x.copy() for a, x in t.arrays.items()} for name, t in tensors.items()}
    found = special.run(dict(tensors))
    expected = oracle(special, tensors, truth)
    for name in special.traced.program.results:
        check_result(found[name], expected[name], rtol)
    for name, arrays in before.items():
        for array, value in arrays.items():
            np.testing.assert_array_equal(tensors[name].arrays[array], value)
